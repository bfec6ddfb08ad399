//! Sealing a closed segment.
//!
//! It is done in the background, in an order that leaves the segment
//! whole wherever a crash falls: values and log synced, headers brought up to date in place,
//! values synced again, the run written beside the log, synced and renamed over it, the metadata
//! marked sealed. Until the run has its name the log tells everything, so all of it can be done
//! again.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Table;
use super::active::{ActiveSegment, Settlement};
use super::sealed::SealedSegment;
use crate::error::{Error, Result};
use crate::format::attributes::Kind;
use crate::format::entry::{Entry, Mention};
use crate::format::location::{Location, ValueId};
use crate::format::record::{HEADER_BYTES, RecordHeader};
use crate::format::segment_metadata::{SegmentMetadata, SegmentSummary};
use crate::format::sort_key::plain_key;
use crate::layout::segment_files::values_name;
use crate::names::RunWriter;
use crate::segment::value::RecordBytes;

impl Table {
    /// Seals a closed segment.
    pub(super) fn seal(&self, segment: &ActiveSegment) -> Result<()> {
        if segment.key_count() == 0 && self.segments.is_on_failed_root(segment) {
            // The first write to it failed and went elsewhere.
            self.segments.forget_unused(segment.number);
            return Ok(());
        }
        let summary = self.write_sealed(segment)?;
        let sealed = Arc::new(SealedSegment::new(segment.number, summary));
        // Sealed it is, and so its files change no more, whatever becomes of the keymap.
        let lowest_live = self.segments.lowest_live();
        let inserted =
            self.index.insert_memtable(segment, &self.segments.view_to_keep(), lowest_live);
        let is_indexed = inserted.unwrap_or_else(|error| {
            log::warn!("table {}: the keymap falls behind: {error}", self.identity.name);
            self.health.poison_if_sync(&error);
            false
        });
        self.segments.show_sealed(&sealed, is_indexed);
        Ok(())
    }

    /// Turns the files of a closed segment into those of a sealed one.
    fn write_sealed(&self, segment: &ActiveSegment) -> Result<SegmentSummary> {
        segment
            .sync()
            .and_then(|()| Self::settle(segment))
            .and_then(|()| segment.sync_values())
            .inspect_err(|error| self.health.poison_unless_full(error))?;
        let summary = self.write_run(segment)?;
        let metadata = SegmentMetadata { sealed: Some(summary), ..segment.metadata };
        segment.metadata_path.write_atomically(&metadata.encode())?;
        self.free_dedicated(segment);
        Ok(summary)
    }

    /// Unlinks the dedicated shards of values that were removed or superseded before the segment
    /// was sealed: no name leads to them any more. Handles that are open read on.
    fn free_dedicated(&self, segment: &ActiveSegment) {
        let mut named = HashSet::new();
        for (_, mention) in segment.memtable.in_order() {
            if let Mention::Put(entry) = mention
                && entry.location.segment == segment.number
            {
                named.insert(entry.dedicated);
            }
        }
        let first = u32::from(segment.metadata.shards);
        for shard in first..segment.next_dedicated.load(Ordering::Acquire) {
            if named.contains(&shard) {
                continue;
            }
            match self.segments.dirs().open(&values_name(segment.number, shard)) {
                Ok(file) => {
                    if let Err(error) = file.at().unlink() {
                        log::warn!("table {}: an unused file stays: {error}", self.identity.name);
                    }
                }
                Err(Error::MissingFile { .. }) => {}
                Err(error) => log::warn!("table {}: {error}", self.identity.name),
            }
        }
    }

    /// Brings the headers of records up to date whose name or attributes changed.
    fn settle(segment: &ActiveSegment) -> Result<()> {
        let unsettled = segment.unsettled.lock().clone();
        for (location, settlement) in &unsettled {
            if *settlement == Settlement::Bury {
                bury(segment, *location)?;
            }
        }
        let cursor = segment.memtable.in_order();
        for (sort_key, mention) in cursor {
            let Mention::Put(entry) = mention else { continue };
            let is_changed = entry.kind() == Kind::Folder
                || unsettled.get(&entry.location) == Some(&Settlement::Rewrite);
            if is_changed && entry.location.segment == segment.number {
                rewrite(segment, &plain_key(&sort_key), &entry)?;
            }
        }
        Ok(())
    }

    /// Writes the run of a segment in the place of its key log.
    fn write_run(&self, segment: &ActiveSegment) -> Result<SegmentSummary> {
        let path = segment.keys_path.temporary();
        if path.exists()? {
            path.unlink()?;
        }
        let (id, number) = (self.identity.id, segment.number);
        let mut writer = RunWriter::create(path.disk(), &path, id, number, segment.salt())?;
        let cursor = segment.memtable.in_order();
        for (sort_key, mention) in cursor {
            writer.push(&sort_key, &mention)?;
        }
        let next_id = self.ids.next();
        writer.note_given_out(ValueId(next_id.saturating_sub(1)));
        let counted = writer.finish()?;
        path.rename(&segment.keys_path)?;
        segment.keys_path.sync_parent()?;
        let (_, superseded) = segment.usage();
        Ok(SegmentSummary {
            sealed_at_ns: self.context.clock.now_ns(),
            first_written_at_ns: counted.written_at_ns_min.min(segment.last_written_ns()),
            last_written_at_ns: segment.last_written_ns(),
            value_id_max: counted.id_max.0,
            files: counted.files,
            folders: counted.folders,
            removals: counted.removed,
            value_bytes: counted.value_bytes,
            superseded_keys: superseded.keys,
            superseded_bytes: superseded.bytes,
        })
    }
}

/// Marks a record dead, so that a rebuild from the shards does not bring it back.
fn bury(segment: &ActiveSegment, location: Location) -> Result<()> {
    let Some(shard) = segment.shards.get(usize::from(location.shard)) else { return Ok(()) };
    let record = match RecordBytes::read(shard.file()?, location.offset, HEADER_BYTES) {
        // A crash in the middle of an earlier attempt has torn the header: it is dead already.
        Err(Error::Corrupt { .. }) => return Ok(()),
        other => other?,
    };
    let header = RecordHeader { dead: true, ..record.header };
    let mut bytes = Vec::new();
    header.encode(record.key(), &mut bytes);
    shard.rewrite(location.offset, &bytes)
}

/// Writes name and attributes of an entry into the header of its record. A crash in the middle of
/// an earlier attempt may have left the header torn, so only what never changes is taken from it.
fn rewrite(segment: &ActiveSegment, key: &[u8], entry: &Entry) -> Result<()> {
    let Some(shard) = segment.shards.get(usize::from(entry.location.shard)) else {
        return Ok(());
    };
    let file = shard.file()?;
    let mut start = [0; HEADER_BYTES];
    file.read_exact_at(&mut start, entry.location.offset)?;
    let header = RecordHeader::rebuilt(&start, key, entry)
        .map_err(|malformed| malformed.in_file(file.path(), entry.location.offset))?;
    let mut bytes = Vec::new();
    header.encode(key, &mut bytes);
    shard.rewrite(entry.location.offset, &bytes)
}
