//! Opening, closing and sealing segments.
//!
//! A segment is closed when it is large, has many keys, or is old compared with the TTL; the next
//! write opens another. The closed one is sealed in the background, in an order that leaves it
//! whole wherever a crash falls: values and log synced, headers brought up to date in place,
//! values synced again, the run written beside the log, synced and renamed over it, the metadata
//! marked sealed. Until the run has its name the log tells everything, so all of it can be done
//! again.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Table;
use super::active::{ActiveSegment, Settlement};
use super::sealed::SealedSegment;
use super::view::View;
use crate::disk::temporary_path;
use crate::error::{Error, Result};
use crate::format::attributes::Kind;
use crate::format::entry::{Entry, Mention};
use crate::format::location::{Location, SegmentNumber, ValueId};
use crate::format::record::{HEADER_BYTES, RecordHeader};
use crate::format::segment_metadata::{SegmentMetadata, SegmentSummary};
use crate::format::sort_key::plain_key;
use crate::layout::segment_files::values_name;
use crate::names::RunWriter;
use crate::segment::value::RecordBytes;

/// Closed segments that may wait to be sealed before writers wait for the sealer. Bounds memory.
const SEALING_MAX: usize = 2;
/// A segment is closed when its memtable takes this much memory: with the longest keys that comes
/// before it has many.
const MEMTABLE_BYTES_MAX: usize = 128 << 20;

impl Table {
    /// Opens the segment that takes writes from now on, unless somebody else just did.
    pub(super) fn open_segment(&self) -> Result<Arc<ActiveSegment>> {
        self.wait_for_sealer()?;
        let _change = self.change.lock();
        let view = self.view.load_full();
        if let Some(active) = &view.active {
            return Ok(Arc::clone(active));
        }
        self.health.check_open()?;
        let active = self.next_segment()?;
        let changed = View { active: Some(Arc::clone(&active)), ..View::clone(&view) };
        self.view.store(Arc::new(changed));
        // With nothing in the table there was nothing to expire, and upkeep sleeps without an end.
        self.signals.wake_upkeep();
        Ok(active)
    }

    /// The root of each shard of a new segment.
    pub(super) fn place(&self, shards: usize, number: SegmentNumber) -> Result<Vec<usize>> {
        let expected_bytes = self.context.config.segment_bytes_max;
        let roots = self.context.roots.place(shards, number.0, expected_bytes)?;
        Ok(roots.into_iter().map(|root| usize::from(root.0)).collect())
    }

    /// The root for a value that gets a file of its own.
    pub(super) fn choose_root(&self, bytes: u64) -> Result<usize> {
        let number = self.ids.next();
        // Only the rotation depends on the number.
        let turn = u32::try_from(number % u64::from(u32::MAX)).unwrap_or(0);
        let roots = self.context.roots.place(1, turn, bytes)?;
        Ok(roots.first().map_or(0, |root| usize::from(root.0)))
    }

    /// Waits while too many closed segments are in memory.
    fn wait_for_sealer(&self) -> Result<()> {
        while self.view.load().sealing.len() >= SEALING_MAX {
            self.health.check_writable()?;
            self.signals.wait_for_seal(&self.identity.name, || {
                self.view.load().sealing.len() < SEALING_MAX
            })?;
        }
        Ok(())
    }

    /// Whether the segment has taken as much as it should.
    pub(super) fn is_full(&self, active: &ActiveSegment) -> bool {
        let config = &self.context.config;
        active.record_bytes.load(Ordering::Relaxed) >= config.segment_bytes_max
            || active.key_count() >= config.segment_keys_max
            || active.memtable.bytes() >= MEMTABLE_BYTES_MAX
    }

    /// When the active segment is to be closed for its age, ns since the epoch.
    pub(super) fn closes_at_ns(&self, active: &ActiveSegment) -> Option<u64> {
        let since_ns = active.in_use_since_ns.load(Ordering::Acquire);
        self.lifetime.closes_at_ns(since_ns).filter(|_| active.key_count() > 0)
    }

    /// Closes a segment for writes and hands it to the sealer, unless somebody else just did.
    pub(super) fn rotate(&self, active: &ActiveSegment) {
        let _change = self.change.lock();
        let view = self.view.load_full();
        let Some(current) = view.active.as_ref().filter(|current| current.number == active.number)
        else {
            return;
        };
        let current = Arc::clone(current);
        *current.gate.write() = true;
        let mut changed = View { active: None, ..View::clone(&view) };
        changed.sealing.insert(0, current);
        self.view.store(Arc::new(changed));
        self.signals.wake_upkeep();
    }

    /// Seals the oldest closed segment, if there is one; tells whether there was.
    pub(super) fn seal_oldest(&self) -> Result<bool> {
        let Some(segment) = self.view.load().sealing.last().map(Arc::clone) else {
            return Ok(false);
        };
        if self.lifetime.is_past(segment.last_written_ns()) && self.drop_unsealed(&segment)? {
            return Ok(true);
        }
        if segment.key_count() == 0 && self.is_on_failed_root(&segment) {
            // The first write to it failed and went elsewhere.
            self.forget_unused(&segment);
            return Ok(true);
        }
        let summary = self.write_sealed(&segment)?;
        let sealed = Arc::new(SealedSegment::new(segment.number, summary));
        // Sealed it is, and so its files change no more, whatever becomes of the keymap.
        let is_indexed = self.index_memtable(&segment).unwrap_or_else(|error| {
            log::warn!("table {}: the keymap falls behind: {error}", self.identity.name);
            self.health.poison_if_sync(&error);
            false
        });
        self.show_sealed(&segment, &sealed, is_indexed);
        self.signals.note_sealed();
        Ok(true)
    }

    /// Leaves a segment that holds nothing, on a drive that has failed, to whoever opens the table
    /// next.
    fn forget_unused(&self, segment: &ActiveSegment) {
        {
            let _change = self.change.lock();
            let mut changed = View::clone(&self.view.load());
            changed.sealing.retain(|sealing| sealing.number != segment.number);
            self.view.store(Arc::new(changed));
        }
        self.signals.note_sealed();
    }

    /// Swaps a sealed segment in for the memtable it was.
    fn show_sealed(&self, segment: &ActiveSegment, sealed: &Arc<SealedSegment>, is_indexed: bool) {
        let _change = self.change.lock();
        let mut changed = View::clone(&self.view.load());
        changed.sealing.retain(|sealing| sealing.number != segment.number);
        Arc::make_mut(&mut changed.sealed).insert(sealed.number, Arc::clone(sealed));
        if !is_indexed {
            changed.unindexed.insert(0, Arc::clone(sealed));
        }
        self.view.store(Arc::new(changed));
    }

    /// Turns the files of a closed segment into those of a sealed one.
    fn write_sealed(&self, segment: &ActiveSegment) -> Result<SegmentSummary> {
        segment
            .sync(&self.dirs)
            .and_then(|()| Self::settle(segment))
            .and_then(|()| segment.sync_values(&self.dirs))
            .inspect_err(|error| self.health.poison_unless_full(error))?;
        let summary = self.write_run(segment)?;
        let metadata = SegmentMetadata { sealed: Some(summary), ..segment.metadata };
        self.context.disk.write_atomically(&segment.metadata_path, &metadata.encode())?;
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
            match self.dirs.open(&values_name(segment.number, shard)) {
                Ok(file) => {
                    if let Err(error) = self.context.disk.unlink(file.path()) {
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
        let disk = &self.context.disk;
        let path: PathBuf = temporary_path(&segment.keys_path);
        if disk.exists(&path)? {
            disk.unlink(&path)?;
        }
        let mut writer =
            RunWriter::create(disk, &path, self.identity.id, segment.number, segment.salt())?;
        let cursor = segment.memtable.in_order();
        for (sort_key, mention) in cursor {
            writer.push(&sort_key, &mention)?;
        }
        let next_id = self.ids.next();
        writer.note_given_out(ValueId(next_id.saturating_sub(1)));
        let counted = writer.finish()?;
        disk.rename(&path, &segment.keys_path)?;
        disk.sync_parent(&segment.keys_path)?;
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
