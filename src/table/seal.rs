//! Sealing a closed segment.
//!
//! It is done in the background, in an order that leaves the segment whole wherever a crash falls:
//! values and log synced, headers brought up to date in place, values synced again, the run written
//! beside the log, synced and renamed over it, the metadata marked sealed. Until the run has its name
//! the log tells everything, so all of it can be done again.

use std::sync::Arc;

use super::Table;
use super::active::ActiveSegment;
use super::sealed::SealedSegment;
use crate::error::{Error, Result};
use crate::format::location::ValueId;
use crate::format::segment_metadata::SegmentSummary;
use crate::layout::segment_files::values_name;

impl Table {
    /// Seals a closed segment.
    pub(super) fn seal(&self, segment: &ActiveSegment) -> Result<()> {
        if segment.key_count() == 0 && self.segments.is_on_failed_root(segment) {
            // The first write to it failed and went elsewhere.
            self.segments.forget_unused(segment.number());
            return Ok(());
        }
        let summary = self.write_sealed(segment)?;
        let sealed = Arc::new(SealedSegment::new(segment.number(), summary));
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
        segment.settle().inspect_err(|error| self.health.poison_unless_full(error))?;
        let given_out = ValueId(self.ids.next().saturating_sub(1));
        let summary = segment.write_run(given_out, self.context.clock.now_ns())?;
        segment.mark_sealed(summary)?;
        self.free_dedicated(segment);
        Ok(summary)
    }

    /// Unlinks the dedicated shards of values that were removed or superseded before the segment
    /// was sealed: no name leads to them any more. Handles that are open read on.
    fn free_dedicated(&self, segment: &ActiveSegment) {
        for shard in segment.unnamed_dedicated() {
            match self.segments.dirs().open(&values_name(segment.number(), shard)) {
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
}
