//! Reading the key log of an unsealed segment, in two passes.
//!
//! The first finds where the good part ends, up to where values are known to be durable, and which
//! of the later values are not whole. The second applies what counts.

use std::collections::HashSet;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::error::{Error, Result};
use crate::format::entry::{Entry, Mention};
use crate::format::log_record::LogRecord;
use crate::segment::key_log::{self, Replayed};
use crate::segment::value::{RecordBytes, ValueBytes};

/// Header and key of most records fit in what is read at first.
const RECORD_START_BYTES: usize = 4096;

/// What of a log counts.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) replayed: Replayed,
    /// Ends of the records that do not count, since a value of theirs is not whole.
    skipped: HashSet<u64>,
    /// How many values those are.
    pub(super) dropped: usize,
}

/// Reads the log once and judges it. `is_whole` is asked about values that no synced mark covers.
pub(super) fn plan(keys: &DiskFile, is_whole: impl Fn(&Entry) -> bool) -> Result<Plan> {
    // Entries behind the last synced mark, each with the end of its record.
    let mut uncertain: Vec<(u64, Entry)> = Vec::new();
    let replayed = key_log::replay(keys, |record, end| {
        match record {
            LogRecord::Mention(_, Mention::Put(entry)) => uncertain.push((end, entry)),
            LogRecord::Mention(..) => {}
            LogRecord::Batch(mentions) => {
                for (_, mention) in mentions {
                    if let Mention::Put(entry) = mention {
                        uncertain.push((end, entry));
                    }
                }
            }
            LogRecord::Synced(bytes) => uncertain.retain(|(end, _)| *end > bytes),
        }
        Ok(())
    })?;
    let mut plan = Plan { replayed, ..Plan::default() };
    for (end, entry) in &uncertain {
        if !is_whole(entry) {
            plan.skipped.insert(*end);
            plan.dropped += 1;
        }
    }
    Ok(plan)
}

/// Reads the log again and hands on what counts: key, mention, and whether it is of a batch.
pub(super) fn apply(
    keys: &DiskFile,
    plan: &Plan,
    mut show: impl FnMut(&[u8], Mention, bool),
) -> Result<()> {
    key_log::replay(keys, |record, end| {
        if end > plan.replayed.bytes || plan.skipped.contains(&end) {
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
        if record.header.id != entry.id {
            return Err(Error::corrupt(shard.path(), offset, "another value is there"));
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
