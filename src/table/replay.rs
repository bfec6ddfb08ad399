//! Reading the key log of an unsealed segment, in two passes.
//!
//! The first finds where the log ends: at its first bad record, or earlier, at the first record
//! whose value a power cut did not leave whole. The second applies what counts.
//!
//! Nothing behind such a record counts, whole or not. A rename that is missing while what came
//! later is there would have lost a file under both of its names; and a record that stayed in the
//! log would be vouched for by the next synced mark, when another value is where its own was to be.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::error::{Error, Result};
use crate::format::entry::{Entry, Mention};
use crate::format::log_record::{LOG_HEADER_BYTES, LogRecord};
use crate::segment::key_log::{self, Replayed};
use crate::segment::value::{RecordBytes, ValueBytes};

/// Header and key of most records fit in what is read at first.
const RECORD_START_BYTES: usize = 4096;

/// What of a log counts.
#[derive(Debug, Default)]
pub(super) struct LogVerdict {
    pub(super) replayed: Replayed,
    /// How many values stand behind the end, though their records are good.
    pub(super) dropped: usize,
    /// The highest value id that the log mentions, those of dropped values included.
    pub(super) id_max: u64,
    /// Dedicated shards of values that are whole, but that no sync was known to have reached.
    pub(super) unsynced_dedicated: BTreeSet<u32>,
}

/// How much of a log may count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// All of it, as far as its values are whole.
    Whole,
    /// What is known to be durable: something older was lost, so what came after it goes too.
    Synced,
}

/// A value behind the last synced mark.
struct Uncertain {
    entry: Entry,
    /// Where its record begins and ends.
    start: u64,
    end: u64,
    /// The end of the record that takes its name away again, if any: as long as that counts, nobody
    /// asks for the value, and its bytes may be gone for a good reason.
    outdated_by: u64,
}

/// The values behind the last synced mark, in the order of the log.
#[derive(Default)]
struct Suspects {
    values: Vec<Uncertain>,
    /// The last of each key.
    latest: HashMap<Box<[u8]>, usize>,
}

impl Suspects {
    fn note(&mut self, key: &[u8], mention: Mention, start: u64, end: u64) {
        if let Some(earlier) = self.latest.remove(key) {
            self.values[earlier].outdated_by = end;
        }
        if let Mention::Put(entry) = mention {
            self.latest.insert(key.into(), self.values.len());
            self.values.push(Uncertain { entry, start, end, outdated_by: u64::MAX });
        }
    }

    /// Everything in the first `bytes` of the log is durable.
    fn acquit(&mut self, bytes: u64) {
        let certain = self.values.partition_point(|value| value.end <= bytes);
        self.values.drain(..certain);
        self.latest.retain(|_, index| {
            let stays = *index >= certain;
            *index = index.saturating_sub(certain);
            stays
        });
    }

    /// Where the log has to end so that every value that counts then is whole.
    fn end(&self, end: u64, is_whole: impl Fn(&Entry) -> bool) -> u64 {
        self.values.iter().rev().fold(end, |end, value| {
            let counts = value.end <= end && end < value.outdated_by;
            if counts && !is_whole(&value.entry) { value.start } else { end }
        })
    }
}

/// What is in a log.
struct LogContent {
    suspects: Suspects,
    replayed: Replayed,
    id_max: u64,
    /// What the last synced mark claims.
    synced_bytes: u64,
    /// The end of the last record that is no mark.
    said_bytes: u64,
}

impl LogContent {
    fn read(keys: &DiskFile) -> Result<Self> {
        let mut suspects = Suspects::default();
        let mut id_max = 0;
        let mut synced_bytes = LOG_HEADER_BYTES as u64;
        let mut said_bytes = synced_bytes;
        let mut start = synced_bytes;
        let mut note = |suspects: &mut Suspects, key: &[u8], mention: Mention, start, end| {
            if let Mention::Put(entry) = &mention {
                id_max = id_max.max(entry.id.0);
            }
            suspects.note(key, mention, start, end);
            said_bytes = end;
        };
        let replayed = key_log::replay(keys, |record, end| {
            match record {
                LogRecord::Mention(key, mention) => note(&mut suspects, key, mention, start, end),
                LogRecord::Batch(mentions) => {
                    for (key, mention) in mentions {
                        note(&mut suspects, key, mention, start, end);
                    }
                }
                LogRecord::Synced(bytes) => {
                    suspects.acquit(bytes);
                    synced_bytes = synced_bytes.max(bytes.min(end));
                }
            }
            start = end;
            Ok(())
        })?;
        Ok(Self { suspects, replayed, id_max, synced_bytes, said_bytes })
    }

    /// Whether a mark covers all of it, as after a clean close.
    fn is_synced(&self) -> bool {
        self.said_bytes <= self.synced_bytes && self.replayed.cut_bytes == 0
    }
}

/// Reads the log and judges it. `is_whole` is asked about values that no synced mark covers, after
/// `forget_cached` has seen to it that they are looked at as the drive has them.
pub(super) fn judge(
    keys: &DiskFile,
    trust: Trust,
    forget_cached: impl FnOnce(),
    is_whole: impl Fn(&Entry) -> bool,
) -> Result<LogVerdict> {
    let mut content = LogContent::read(keys)?;
    if !content.is_synced() {
        forget_cached();
        content = LogContent::read(keys)?;
    }
    let LogContent { suspects, mut replayed, id_max, synced_bytes, .. } = content;
    let end = match trust {
        Trust::Whole => suspects.end(replayed.bytes, is_whole),
        Trust::Synced => synced_bytes,
    };
    replayed.cut_bytes += replayed.bytes - end;
    replayed.bytes = end;
    let counts = |value: &&Uncertain| value.end <= end;
    let dropped = suspects.values.iter().filter(|value| !counts(value)).count();
    let live = suspects.values.iter().filter(counts).filter(|value| end < value.outdated_by);
    let dedicated = live.map(|value| value.entry.dedicated).filter(|shard| *shard != 0);
    Ok(LogVerdict { replayed, dropped, id_max, unsynced_dedicated: dedicated.collect() })
}

/// Reads the log again and hands on what counts: key, mention, and whether it is of a batch.
pub(super) fn apply(
    keys: &DiskFile,
    plan: &LogVerdict,
    mut show: impl FnMut(&[u8], Mention, bool),
) -> Result<()> {
    key_log::replay(keys, |record, end| {
        if end > plan.replayed.bytes {
            return Ok(());
        }
        match record {
            LogRecord::Mention(key, mention) => show(key, mention, false),
            LogRecord::Batch(mentions) => {
                for (key, mention) in mentions {
                    show(key, mention, true);
                }
            }
            LogRecord::Synced(_) => {}
        }
        Ok(())
    })
    .map(drop)
}

/// Whether the record of an entry, and its value, are as they were written. A drive that cannot be
/// read says nothing about that: the value stays, and readers get the error.
pub(super) fn is_whole(
    entry: &Entry,
    shard: &Arc<DiskFile>,
    open_dedicated: impl Fn(u32) -> Result<Arc<DiskFile>>,
) -> bool {
    let judge = || {
        let offset = entry.location.offset;
        let hint = RECORD_START_BYTES.min(entry.record_bytes as usize);
        let record = RecordBytes::read(shard, offset, hint)?;
        if let Some(reason) = record.difference_from(entry) {
            return Err(Error::corrupt(shard.path(), offset, reason));
        }
        let data = match record.header.dedicated {
            0 => Arc::clone(shard),
            dedicated => open_dedicated(dedicated)?,
        };
        ValueBytes::new(record.header, Arc::clone(shard), offset, data).verify_all()
    };
    match judge() {
        Err(error @ (Error::Corrupt { .. } | Error::MissingFile { .. })) => {
            log::debug!("{error}");
            false
        }
        Ok(()) | Err(_) => true,
    }
}
