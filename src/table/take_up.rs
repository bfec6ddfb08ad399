//! Taking an unsealed segment up again from its key log, when the table is opened.

use std::sync::Arc;

use super::active::{ActiveSegment, NameChange, SegmentParts};
use super::replay::{self, LogVerdict, Trust};
use super::{Table, key};
use crate::cast::saturate_signed_ns;
use crate::disk::{DiskFile, DiskPath};
use crate::error::{Error, Result};
use crate::format::entry::{Entry, Mention};
use crate::format::location::SegmentNumber;
use crate::format::segment_metadata::SegmentMetadata;
use crate::layout::segment_files::{Listing, SegmentFile, keys_name, values_name};
use crate::segment::key_log::{self, KeyLog};
use crate::segment::packed::PackedShard;

impl Table {
    /// Takes an unsealed segment up again from its key log. When something of it is lost, nothing
    /// that came later is trusted.
    pub(super) fn take_up(
        &self,
        metadata: SegmentMetadata,
        metadata_path: DiskPath,
        listing: &Listing,
        trust: &mut Trust,
    ) -> Result<Arc<ActiveSegment>> {
        let number = metadata.segment;
        let keys = Arc::new(self.open_file(&keys_name(number))?);
        key_log::check_header(&key_log::read_header(&keys)?, self.identity.id, number, &keys)?;
        let shards = self.open_shards(&metadata)?;
        let forget_cached = || {
            keys.forget_cached();
            shards.iter().flat_map(PackedShard::file).for_each(|file| file.forget_cached());
        };
        let is_whole = |entry: &Entry| self.is_whole(entry, &shards);
        let verdict = replay::judge(&keys, *trust, forget_cached, is_whole)?;
        if verdict.replayed.cut_bytes > 0 {
            *trust = Trust::Synced;
        }
        self.ids.note_given_out(verdict.id_max);
        if !self.context.read_only {
            key_log::cut(&keys, verdict.replayed)?;
            let leftover = keys.at().temporary();
            if leftover.exists()? {
                leftover.unlink()?;
            }
        }
        let keys_path = keys.at().clone();
        let log = KeyLog::resume(Arc::clone(&keys), verdict.replayed.bytes);
        let parts = SegmentParts { metadata, metadata_path, keys_path, shards, log };
        let segment = ActiveSegment::assemble(parts);
        self.replay(&segment, &keys, &verdict)?;
        for (file, _) in &listing.files {
            if let SegmentFile::Values(of, shard) = *file
                && of == number
            {
                segment.note_number(shard);
            }
        }
        if !self.context.read_only {
            self.note_unsynced(&segment, &verdict);
        }
        if verdict.dropped > 0 {
            log::warn!(
                "table {}: a power cut took {} values of segment {number}, the last ones stored",
                self.identity.name,
                verdict.dropped
            );
        }
        Ok(Arc::new(segment))
    }

    fn open_file(&self, name: &str) -> Result<DiskFile> {
        let dirs = self.segments.dirs();
        if self.context.read_only { dirs.open(name) } else { dirs.open_writable(name) }
    }

    /// The packed shards of a segment; those on a missing root stand for themselves.
    fn open_shards(&self, metadata: &SegmentMetadata) -> Result<Vec<PackedShard>> {
        let is_complete = self.context.roots.missing().is_empty();
        let shard = |number: u32| match self.open_file(&values_name(metadata.segment, number)) {
            Err(Error::MissingFile { table, name }) if !is_complete => {
                Ok(PackedShard::absent(&table, name))
            }
            opened => PackedShard::new(Arc::new(opened?)),
        };
        (0..u32::from(metadata.shards)).map(shard).collect()
    }

    /// Whether the record of an entry, and its value, are as they were written.
    fn is_whole(&self, entry: &Entry, shards: &[PackedShard]) -> bool {
        let Some(shard) = shards.get(usize::from(entry.location.shard)) else { return false };
        // What cannot be looked at is not judged: readers get the error.
        let Ok(file) = shard.file() else { return true };
        replay::is_whole(entry, file, |dedicated| {
            let file = self.open_dedicated(entry.location.segment, dedicated)?;
            file.forget_cached();
            Ok(Arc::new(file))
        })
    }

    fn open_dedicated(&self, segment: SegmentNumber, dedicated: u32) -> Result<DiskFile> {
        self.segments.dirs().open(&values_name(segment, dedicated))
    }

    /// Dedicated shards of which no sync is known are made durable by the next one: whoever wrote them
    /// was killed before they were synced.
    fn note_unsynced(&self, segment: &ActiveSegment, verdict: &LogVerdict) {
        for shard in &verdict.unsynced_dedicated {
            match self.open_dedicated(segment.number(), *shard) {
                Ok(file) => segment.note_dedicated(Arc::new(file)),
                Err(error) => {
                    log::warn!("table {}: it is not synced: {error}", self.identity.name);
                }
            }
        }
    }

    /// Shows in the memtable what of the log counts.
    fn replay(&self, segment: &ActiveSegment, keys: &DiskFile, verdict: &LogVerdict) -> Result<()> {
        replay::apply(keys, verdict, |key, mention, in_batch| {
            if let Mention::Put(entry) = &mention {
                segment.keep_clear_of(entry);
                self.ids.note_given_out(entry.id.0);
                if key.ends_with(b"/") {
                    self.locks.note_folder();
                }
                self.touch_again(segment, key, entry);
            }
            let change = NameChange::replayed(self.identity.hash(key), key, mention);
            segment.show(&change, in_batch);
        })
    }

    /// Moves the time of the folder that a name came into, which is not logged.
    fn touch_again(&self, segment: &ActiveSegment, key: &[u8], entry: &Entry) {
        let memtable = segment.memtable();
        if !is_new_name(entry, memtable.get(self.identity.hash(key), key)) {
            return;
        }
        let written = saturate_signed_ns(entry.written_at_ns);
        match key::parent(key) {
            Some(parent) => {
                memtable.touch_folder(self.identity.hash(parent), parent, written);
            }
            None => self.lifetime.touch_again(written),
        }
    }
}

/// Whether a mention, read from a log, brought a name into its folder. One that changed attributes,
/// or repeated a folder in this segment, must leave the folder's time alone: it may have been set.
fn is_new_name(entry: &Entry, before: Option<Mention>) -> bool {
    let is_same = |before: &Mention| {
        matches!(before, Mention::Put(known)
            if (known.id, known.written_at_ns) == (entry.id, entry.written_at_ns))
    };
    entry.supersedes.is_none() && !before.as_ref().is_some_and(is_same)
}
