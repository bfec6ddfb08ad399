//! The segments of a table that is being opened: what a clean close, a kill or a power cut left.
//!
//! A segment exists when its metadata does. A sealed one is taken as it is. An unsealed one is
//! taken up again from its key log: records up to the last synced mark count as they are, later
//! ones only when their values are whole; the first bad record ends the log. What lies below the
//! mark of expiry is removed, and so is what was never finished.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Table;
use super::replay::Trust;
use super::sealed::SealedSegment;
use super::view::View;
use crate::disk::DiskPath;
use crate::error::{Error, Result};
use crate::format::location::SegmentNumber;
use crate::format::log_record::{LOG_HEADER_BYTES, LOG_MAGIC};
use crate::format::run_footer::RunSummary;
use crate::format::segment_metadata::{SEGMENT_METADATA_BYTES, SegmentMetadata, SegmentSummary};
use crate::layout::segment_files::{Listing, SegmentFile, keys_name, metadata_name};
use crate::segment::key_log;

/// A segment found on disk.
struct FoundSegment {
    metadata: SegmentMetadata,
    metadata_path: DiskPath,
}

impl Table {
    pub(super) fn recover(&self) -> Result<()> {
        let listing = self.segments.dirs().list()?;
        listing.check_unique()?;
        if let Some(first) = listing.unknown.first() {
            log::warn!(
                "table {}: {} and {} other unknown files are left alone",
                self.identity.name,
                first.display(),
                listing.unknown.len() - 1
            );
        }
        let found = self.read_metadata(&listing)?;
        self.remove_leftovers(&listing, &found)?;
        let mut view = View::default();
        let mut sealed = BTreeMap::new();
        let mut unsealed = Vec::new();
        let mut trust = Trust::Whole;
        for (number, segment) in found {
            if let Some(summary) = self.sealed_summary(number, &segment)? {
                self.ids.note_given_out(summary.value_id_max);
                if summary.folders > 0 {
                    self.locks.note_folder();
                }
                sealed.insert(number, Arc::new(SealedSegment::new(number, summary)));
            } else {
                let FoundSegment { metadata, metadata_path } = segment;
                unsealed.push(self.take_up(metadata, metadata_path, &listing, &mut trust)?);
            }
            self.segments.note_number(number);
        }
        // What the keymap lacks is looked for in the runs: of a database that is open read-only, and
        // otherwise until upkeep has mended it.
        if self.context.read_only || !self.catch_up(&sealed)? {
            view.unindexed = self.index.above_mark(&sealed);
        }
        let newest_sealed = sealed.keys().next_back().copied().unwrap_or_default();
        // The newest may be a spare that was not needed yet. One that lost what it held, values in
        // files of their own perhaps, is none: a spare is taken away without a look at them.
        let mut spare = None;
        if let [.., _, newest] = unsealed.as_slice()
            && newest.is_blank()?
        {
            spare = unsealed.pop();
        }
        // Only the newest segment takes writes; others were being sealed.
        if unsealed.last().is_some_and(|last| last.number() > newest_sealed) {
            view.active = unsealed.pop();
        }
        if view.active.is_some() && !self.context.read_only {
            // Whoever wrote last may have been killed before it was flushed.
            self.signals.note_write();
        }
        for segment in &unsealed {
            segment.close();
        }
        view.sealing = unsealed.into_iter().rev().collect();
        view.sealed = Arc::new(sealed);
        self.segments.begin_with(view, spare);
        self.signals.wake_upkeep();
        Ok(())
    }

    fn catch_up(&self, sealed: &BTreeMap<SegmentNumber, Arc<SealedSegment>>) -> Result<bool> {
        self.index.forget_cached(sealed);
        self.index.catch_up(sealed, self.segments.lowest_live())
    }

    fn read_metadata(&self, listing: &Listing) -> Result<BTreeMap<SegmentNumber, FoundSegment>> {
        let mut found = BTreeMap::new();
        for (file, path) in &listing.files {
            let SegmentFile::Metadata(number) = *file else { continue };
            if number < self.segments.lowest_live() {
                continue;
            }
            let read = path.read_small(SEGMENT_METADATA_BYTES as u64);
            let decoded = read.and_then(|bytes| {
                let metadata = SegmentMetadata::decode(&bytes)
                    .map_err(|malformed| malformed.in_file(path, 0))?;
                if metadata.table_id != self.identity.id || metadata.segment != number {
                    return Err(Error::corrupt(path, 8, "it belongs to another table or segment"));
                }
                Ok(metadata)
            });
            let metadata = match decoded {
                Err(damage @ Error::Corrupt { .. }) => self.metadata_of_keys(number, damage)?,
                other => other?,
            };
            found.insert(number, FoundSegment { metadata, metadata_path: path.clone() });
        }
        Ok(found)
    }

    /// Removes what is below the mark of expiry, and what a crash kept from being finished.
    fn remove_leftovers(
        &self,
        listing: &Listing,
        found: &BTreeMap<SegmentNumber, FoundSegment>,
    ) -> Result<()> {
        // First it is judged, then removed: a table that is refused is left as it was found.
        let mut leftovers = Vec::new();
        for (file, path) in &listing.files {
            let is_leftover = match file.segment() {
                None => true,
                Some(number) if number < self.segments.lowest_live() => true,
                Some(number) if found.contains_key(&number) => false,
                // The metadata comes last when a segment is made, so nothing is in it without.
                Some(_) if is_blank(path)? => true,
                // It may be on the root that is missing.
                Some(_) if !self.context.roots.missing().is_empty() => false,
                Some(number) => {
                    let name = metadata_name(number);
                    return Err(Error::MissingFile { table: self.identity.name.clone(), name });
                }
            };
            if is_leftover {
                leftovers.push(path);
            }
        }
        if self.context.read_only {
            return Ok(());
        }
        leftovers.into_iter().try_for_each(DiskPath::unlink)
    }

    /// Judges metadata that is damaged by what the key file tells, which is nearly the same. The
    /// damaged file stays as it is, for `check` to name, until the segment is sealed or dropped.
    fn metadata_of_keys(&self, number: SegmentNumber, damage: Error) -> Result<SegmentMetadata> {
        let keys = self.segments.dirs().open(&keys_name(number))?;
        let unsealed = |shards, opened_at_ns| SegmentMetadata {
            table_id: self.identity.id,
            segment: number,
            shards,
            salt: self.identity.salt,
            opened_at_ns,
            sealed: None,
        };
        let metadata = if let Ok(header) = key_log::read_header(&keys) {
            unsealed(header.shards, header.opened_at_ns)
        } else {
            let read = SealedSegment::new(number, SegmentSummary::default());
            let Ok(run) = self.index.run(&read) else { return Err(damage) };
            let summary = summary_of_run(run.summary(), 0, self.context.clock.now_ns());
            let opened_at_ns = summary.first_written_at_ns;
            SegmentMetadata { sealed: Some(summary), ..unsealed(1, opened_at_ns) }
        };
        log::error!("table {}: {damage}; its key file is used instead", self.identity.name);
        Ok(metadata)
    }

    /// The summary of a sealed segment; `None` when it is still to be sealed.
    fn sealed_summary(
        &self,
        number: SegmentNumber,
        segment: &FoundSegment,
    ) -> Result<Option<SegmentSummary>> {
        if let Some(summary) = segment.metadata.sealed {
            return self.plausible(number, segment, summary).map(Some);
        }
        let keys = self.segments.dirs().open(&keys_name(number))?;
        let mut magic = [0; 3];
        keys.read_at(&mut magic, 0)?;
        if magic == LOG_MAGIC || magic == [0; 3] {
            return Ok(None);
        }
        // The crash came between the run taking its name and the metadata saying so.
        let unread = SealedSegment::new(number, SegmentSummary::default());
        let run = self.index.run(&unread)?;
        let now_ns = self.context.clock.now_ns();
        let summary = summary_of_run(run.summary(), segment.metadata.opened_at_ns, now_ns);
        if !self.context.read_only {
            let metadata = SegmentMetadata { sealed: Some(summary), ..segment.metadata };
            segment.metadata_path.write_atomically(&metadata.encode())?;
        }
        Ok(Some(summary))
    }

    /// A summary, unless it counts more names than the key file has bytes: memory and files are made
    /// as large as the counts say.
    fn plausible(
        &self,
        number: SegmentNumber,
        segment: &FoundSegment,
        summary: SegmentSummary,
    ) -> Result<SegmentSummary> {
        // One that cannot be opened costs its names, and whoever needs them tells of it.
        let Ok(keys) = self.segments.dirs().open(&keys_name(number)) else { return Ok(summary) };
        if summary.files + summary.folders + summary.removals <= keys.len()? {
            return Ok(summary);
        }
        let reason = "it counts more names than its key file can hold";
        let damage = || Error::corrupt(&segment.metadata_path, 88, reason);
        self.metadata_of_keys(number, damage())?.sealed.ok_or_else(damage)
    }
}

/// Whether a shard or key log is as it was made.
fn is_blank(path: &DiskPath) -> Result<bool> {
    Ok(path.open()?.len()? <= LOG_HEADER_BYTES as u64)
}

/// What a run tells of its segment.
fn summary_of_run(counted: &RunSummary, opened_at_ns: u64, now_ns: u64) -> SegmentSummary {
    SegmentSummary {
        sealed_at_ns: now_ns,
        first_written_at_ns: counted.written_at_ns_min.min(counted.written_at_ns_max),
        last_written_at_ns: counted.written_at_ns_max.max(opened_at_ns),
        value_id_max: counted.id_max.0,
        files: counted.files,
        folders: counted.folders,
        removals: counted.removed,
        value_bytes: counted.value_bytes,
        superseded_keys: 0,
        superseded_bytes: 0,
    }
}
