//! What damaged key files still say.

use std::collections::{BTreeMap, HashMap};

use crate::disk::DiskFile;
use crate::disk::window::Window;
use crate::error::Result;
use crate::format::entry::Mention;
use crate::format::location::SegmentNumber;
use crate::format::log_record::{self, LOG_HEADER_BYTES, LogRecord, RECORD_HEADER_BYTES};
use crate::format::run_block::{RunBlock, Walk};
use crate::format::run_entry::MentionDecoder;
use crate::format::run_footer::{RUN_FOOTER_BYTES, RunFooter};
use crate::format::run_header::RUN_HEADER_BYTES;
use crate::format::sort_key::sort_key;
use crate::names::run_blocks::{block_at, next_block};
use crate::segment::log_damage::{Search, is_torn, record_bytes};

/// The newest mention of each name that can be read, by sort key.
pub(super) type Mentions = BTreeMap<Vec<u8>, Mention>;

/// The footer of a run, if it is good.
pub(super) fn footer(file: &DiskFile) -> Option<RunFooter> {
    let bytes = file.len().ok()?;
    let mut footer = [0; RUN_FOOTER_BYTES];
    file.read_exact_at(&mut footer, bytes.checked_sub(RUN_FOOTER_BYTES as u64)?).ok()?;
    RunFooter::decode(&footer, bytes).ok()
}

/// The mentions in the good blocks of a run.
pub(super) fn of_run(file: &DiskFile, segment: SegmentNumber) -> Result<Mentions> {
    let end = footer(file).map_or(file.len()?, |footer| footer.blocks_end);
    let mut window = Window::new(file, end);
    let mut mentions = Mentions::new();
    let mut at = RUN_HEADER_BYTES as u64;
    while at < end {
        at = match block_at(&mut window, at)? {
            Ok(block) => {
                take_block(&block, segment, &mut mentions);
                at + block.len() as u64
            }
            Err(_) => next_block(&mut window, at + 1, end)?,
        };
    }
    Ok(mentions)
}

/// Takes the mentions of a block up to the first that makes no sense.
fn take_block(block: &RunBlock, segment: SegmentNumber, mentions: &mut Mentions) {
    let mut walk = Walk::default();
    if block.level() > 0 || walk.start(block, 0).is_err() {
        return;
    }
    let mut decoder = MentionDecoder::new(segment, block.base());
    while let Ok(Some((is_restart, mut fields))) = walk.step(block) {
        let Ok(mention) = decoder.decode(is_restart, &mut fields) else { return };
        walk.end_payload(&fields);
        mentions.insert(walk.key().to_vec(), mention);
    }
}

/// The good records of a key log, with those behind damage.
#[derive(Debug, Default)]
pub(super) struct LogParts {
    /// Start and length of each stretch of good records.
    pub(super) stretches: Vec<(u64, u64)>,
    /// Whether something is wrong that no crash leaves.
    pub(super) is_damaged: bool,
    /// Bytes at the end that are what a crash leaves.
    pub(super) torn_bytes: u64,
}

/// Finds the good records of a log.
pub(super) fn parts_of_log(file: &DiskFile) -> Result<LogParts> {
    let end = file.len()?;
    let mut window = Window::new(file, end);
    let mut parts = LogParts::default();
    let mut search = Search::default();
    let mut start = LOG_HEADER_BYTES as u64;
    let mut at = start;
    while at < end {
        let bytes = record_bytes(window.slice(at, RECORD_HEADER_BYTES)?);
        if let Ok((_, bytes)) = log_record::decode(window.slice(at, bytes)?) {
            at += bytes as u64;
            continue;
        }
        parts.stretches.push((start, at - start));
        let Some((next, _)) = search.next_good(&mut window, at + 1, end)? else {
            if is_torn(&mut window, at, end)? {
                parts.torn_bytes = end - at;
            } else {
                parts.is_damaged = true;
            }
            return Ok(parts);
        };
        parts.is_damaged = true;
        (start, at) = (next, next);
    }
    parts.stretches.push((start, at.saturating_sub(start)));
    Ok(parts)
}

/// Hands on the good records of a log: the stretch, the bytes, the record, and its end in the file.
pub(super) fn for_each_record(
    file: &DiskFile,
    parts: &LogParts,
    mut visit: impl FnMut(usize, &[u8], LogRecord<'_>, u64) -> Result<()>,
) -> Result<()> {
    for (index, &(start, length)) in parts.stretches.iter().enumerate() {
        let end = start + length;
        let mut window = Window::new(file, end);
        let mut at = start;
        while at < end {
            let bytes = record_bytes(window.slice(at, RECORD_HEADER_BYTES)?);
            let bytes = window.slice(at, bytes)?;
            // It was good a moment ago.
            let Ok((record, count)) = log_record::decode(bytes) else { break };
            at += count as u64;
            visit(index, &bytes[..count], record, at)?;
        }
    }
    Ok(())
}

/// What a log that stands in the place of a run says of each name.
pub(super) fn of_log(file: &DiskFile) -> Result<Mentions> {
    let parts = parts_of_log(file)?;
    let mut newest: HashMap<Vec<u8>, Mention> = HashMap::new();
    for_each_record(file, &parts, |_, _, record, _| {
        for (key, mention) in mentions_of(record) {
            newest.insert(key, mention);
        }
        Ok(())
    })?;
    Ok(newest.into_iter().map(|(key, mention)| (sort_key(&key), mention)).collect())
}

/// The mentions of a record.
pub(super) fn mentions_of(record: LogRecord<'_>) -> Vec<(Vec<u8>, Mention)> {
    match record {
        LogRecord::Mention(key, mention) => vec![(key.to_vec(), mention)],
        LogRecord::Batch(parts) => {
            parts.into_iter().map(|(key, mention)| (key.to_vec(), mention)).collect()
        }
        LogRecord::Synced(_) => Vec::new(),
    }
}
