//! The way of every write into the active segment.
//!
//! A write holds the gate of the segment, so that the segment cannot be closed half-way. A drive that
//! has no room, or fails to write, closes the segment; the next one is placed on other drives and the
//! write is made again there, once.

use super::Segments;
use crate::error::Result;
use crate::table::active::ActiveSegment;
use crate::table::health::is_drive_failure;

/// After so many bytes of records a flush begins at once, whatever the interval: drives write while
/// more comes, and whoever waits for a flush never waits for much.
const UNSYNCED_BYTES_MAX: u64 = 32 << 20;

impl Segments {
    /// Runs a write against the active segment, opening one when there is none.
    pub(in crate::table) fn with_active<T>(
        &self,
        mut write: impl FnMut(&ActiveSegment) -> Result<T>,
    ) -> Result<T> {
        let mut tried_again = false;
        loop {
            let view = self.view.load();
            let Some(active) = &view.active else {
                self.open_next()?;
                continue;
            };
            let Some(passage) = active.enter() else {
                // Whoever closed it holds the lock until the view has a new state.
                drop(self.change.lock());
                continue;
            };
            self.health.check_open()?;
            let result = write(active);
            drop(passage);
            self.signals.note_write();
            if active.unsynced_bytes() >= UNSYNCED_BYTES_MAX {
                self.signals.hurry_flush();
            }
            match result {
                Err(error) if !tried_again && is_drive_failure(&error) => {
                    tried_again = true;
                    log::warn!("table {}: {error}; writing elsewhere", self.identity.name);
                    self.health.blame_drive(&error);
                    self.discard_spare();
                    self.rotate(active);
                }
                result => {
                    self.ask_for_spare(active);
                    if active.is_full(&self.context.engine) {
                        self.rotate(active);
                    }
                    return result;
                }
            }
        }
    }

    /// Runs a change of the active segment while nobody else writes.
    pub(in crate::table) fn with_active_alone<T>(
        &self,
        mut write: impl FnMut(&ActiveSegment) -> Result<T>,
    ) -> Result<T> {
        loop {
            // Opens a segment when there is none.
            self.with_active(|_| Ok(()))?;
            let view = self.view.load_full();
            let Some(active) = &view.active else { continue };
            let Some(passage) = active.enter_alone() else { continue };
            // The table may have ended since the gate was passed before.
            self.health.check_open()?;
            let result = write(active);
            drop(passage);
            self.signals.note_write();
            return result;
        }
    }

    /// Returns when every write has ended that found the table open.
    pub(in crate::table) fn wait_for_writes(&self) {
        let _change = self.change.lock();
        if let Some(active) = &self.view.load().active {
            active.wait_for_writes();
        }
    }
}
