//! Making everything written so far survive a power cut, once for all who ask at the same time.

use std::sync::Arc;

use super::Table;
use crate::error::Result;

impl Table {
    /// Returns when everything stored before the call survives a power cut. Callers at the same
    /// time share one sync. A sync that fails makes the table read-only, since what the drive
    /// holds is then unknown; it is never tried again.
    pub fn flush(&self) -> Result<()> {
        if self.context.read_only {
            return Ok(());
        }
        // A lack of descriptors, which poisons nothing, ends a sync for its own caller alone.
        let is_poisoned = || self.health.poisoned().is_some();
        self.flushing.share(|| self.sync_segments(), is_poisoned)?;
        // It may have been somebody else's that failed.
        self.health.check_not_poisoned()
    }

    fn sync_segments(&self) -> Result<()> {
        self.health.check_not_poisoned()?;
        self.signals.note_flush();
        let view = self.segments.view_to_keep();
        // Oldest first, so that a mention is never durable before what it refers to.
        let unsealed: Vec<_> = view.unsealed().map(Arc::clone).collect();
        for segment in unsealed.iter().rev() {
            segment.sync().inspect_err(|error| self.health.poison_unless_unopened(error))?;
        }
        Ok(())
    }
}
