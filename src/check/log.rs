//! Walks the key log of a segment that is not sealed, and judges how it ends.
//!
//! The first bad record ends a log. A crash leaves such an end (`segment/log_damage.rs`); a record
//! that has good ones behind it was whole once.

use super::{AffectedKeys, Checker, Finding};
use crate::cast;
use crate::disk::DiskFile;
use crate::disk::window::Window;
use crate::error::Result;
use crate::format::log_record::{self, LOG_HEADER_BYTES, LogRecord, RECORD_HEADER_BYTES};
use crate::segment::log_damage::{SECTOR_BYTES, Search, is_torn, record_bytes};

/// Hands every record up to the first bad one to `visit`, with the offset behind it. Reports how
/// the log ends.
pub(super) fn walk(
    checker: &mut Checker<'_>,
    file: &DiskFile,
    mut visit: impl FnMut(&mut Checker<'_>, LogRecord<'_>, u64),
) -> Result<()> {
    let end = file.len()?;
    let mut window = Window::new(file, end);
    let mut at = LOG_HEADER_BYTES as u64;
    while at < end {
        let bytes = record_bytes(window.slice(at, RECORD_HEADER_BYTES)?);
        match log_record::decode(window.slice(at, bytes)?) {
            Ok((record, bytes)) => {
                visit(checker, record, at + bytes as u64);
                checker.advance(bytes as u64);
                at += bytes as u64;
            }
            Err(malformed) => {
                let error = malformed.in_file(file.path(), at);
                let finding = Finding::of_error(&error, file.path());
                let judged = judge_end(&mut window, at, end, finding)?;
                checker.add(judged);
                break;
            }
        }
    }
    Ok(())
}

/// What to say of the bad record at `at`.
fn judge_end(window: &mut Window<'_>, at: u64, end: u64, finding: Finding) -> Result<Finding> {
    let Behind { records, marks, keys } = good_records_behind(window, at + 1, end)?;
    let cut_bytes = end - at;
    // Before the second mark was written, everything in front of the first one was made durable.
    if marks < 2 && has_hole(window, at, end)? {
        let what = format!(
            "a crash came before this record and what is behind it, {records} good ones among \
             that, were made durable; the next open cuts {cut_bytes} bytes off"
        );
        return Ok(Finding::note(&finding.file, what).at(at).affecting(keys));
    }
    if records > 0 {
        let what = format!(
            "{}; {records} good records behind it are lost with it: the next open cuts the log \
             here, {cut_bytes} bytes",
            finding.what
        );
        return Ok(Finding { what, ..finding }.affecting(keys));
    }
    if is_torn(window, at, end)? {
        let what = format!(
            "the last record was not written whole; the next open cuts {cut_bytes} bytes off"
        );
        return Ok(Finding::note(&finding.file, what).at(at));
    }
    let what = format!("{}; the next open cuts the log here", finding.what);
    Ok(Finding { what, ..finding })
}

/// What good records there are behind a bad one.
struct Behind {
    records: u64,
    /// How many of them are synced marks.
    marks: u64,
    keys: AffectedKeys,
}

fn good_records_behind(window: &mut Window<'_>, from: u64, end: u64) -> Result<Behind> {
    let (mut records, mut marks, mut keys) = (0, 0, AffectedKeys::default());
    let mut search = Search::default();
    let mut at = from;
    while let Some((start, bytes)) = search.next_good(window, at, end)? {
        records += 1;
        at = start + bytes as u64;
        match log_record::decode(window.slice(start, bytes)?) {
            Ok((LogRecord::Mention(key, _), _)) => keys.add(key),
            Ok((LogRecord::Batch(parts), _)) => parts.iter().for_each(|(key, _)| keys.add(key)),
            Ok((LogRecord::Synced(_), _)) => marks += 1,
            Err(_) => {}
        }
    }
    Ok(Behind { records, marks, keys })
}

/// Whether a sector that the bad record at `at` reaches into was never written, or not since the
/// record before it: zeros, then. A byte that has changed since looks different.
fn has_hole(window: &mut Window<'_>, at: u64, end: u64) -> Result<bool> {
    let head = RECORD_HEADER_BYTES.min(cast::to_usize(end - at));
    let bytes = record_bytes(window.slice(at, head)?) as u64;
    let record_end = at.saturating_add(bytes).min(end);
    let mut from = at;
    while from < record_end {
        let sector_end = (from + 1).next_multiple_of(SECTOR_BYTES).min(end);
        let length = cast::to_usize(sector_end - from);
        if window.slice(from, length)?.iter().all(|byte| *byte == 0) {
            return Ok(true);
        }
        from = sector_end;
    }
    Ok(false)
}
