//! Reading the key log of an unsealed segment, in two passes.
//!
//! The first finds where the good part ends, up to where values are known to be durable, and which
//! of the later values are not whole. The second applies what counts.
//!
//! Records of values that are not whole must not stay in a log that is written on: the next synced
//! mark would vouch for them, and by then another value can be where theirs was to be.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::format::entry::{Entry, Mention};
use crate::format::log_record::{LOG_HEADER_BYTES, LogRecord};
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
    /// The highest value id that the log mentions, those of dropped values included.
    pub(super) id_max: u64,
    /// Dedicated shards of values that are whole, but that no sync was known to have reached.
    pub(super) unsynced_dedicated: BTreeSet<u32>,
}

/// Reads the log once and judges it. `is_whole` is asked about values that no synced mark covers.
pub(super) fn plan(keys: &DiskFile, is_whole: impl Fn(&Entry) -> bool) -> Result<Plan> {
    // Entries behind the last synced mark, each with the end of its record.
    let mut uncertain: Vec<(u64, Entry)> = Vec::new();
    let mut id_max = 0;
    let mut note = |mention: Mention, end: u64, uncertain: &mut Vec<(u64, Entry)>| {
        if let Mention::Put(entry) = mention {
            id_max = id_max.max(entry.id.0);
            uncertain.push((end, entry));
        }
    };
    let replayed = key_log::replay(keys, |record, end| {
        match record {
            LogRecord::Mention(_, mention) => note(mention, end, &mut uncertain),
            LogRecord::Batch(mentions) => {
                for (_, mention) in mentions {
                    note(mention, end, &mut uncertain);
                }
            }
            LogRecord::Synced(bytes) => uncertain.retain(|(end, _)| *end > bytes),
        }
        Ok(())
    })?;
    let mut plan = Plan { replayed, id_max, ..Plan::default() };
    for (end, entry) in &uncertain {
        if !is_whole(entry) {
            plan.skipped.insert(*end);
            plan.dropped += 1;
        } else if entry.dedicated != 0 {
            plan.unsynced_dedicated.insert(entry.dedicated);
        }
    }
    Ok(plan)
}

/// Replaces the log by one without the records that do not count, and returns that.
pub(super) fn strike_out(disk: &Disk, keys: &DiskFile, plan: &mut Plan) -> Result<DiskFile> {
    let mut kept: Vec<Range<u64>> = Vec::new();
    let mut start = 0;
    let mut before = LOG_HEADER_BYTES as u64;
    key_log::replay(keys, |_, end| {
        if plan.skipped.contains(&end) {
            kept.push(start..before);
            start = end;
        }
        before = end;
        Ok(())
    })?;
    kept.push(start..plan.replayed.bytes);
    // Synced marks tell of what stands before everything that goes, so they stay true.
    let file = key_log::rewrite(disk, keys, &kept)?;
    plan.replayed = Replayed { bytes: file.len()?, cut_bytes: 0 };
    plan.skipped.clear();
    Ok(file)
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
