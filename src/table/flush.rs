//! Making everything written so far survive a power cut, once for all who ask at the same time.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Table;
use crate::error::Result;
use crate::sync::Condvar;

/// One flush at a time; whoever asks while it runs shares the next one.
#[derive(Debug, Default)]
pub(super) struct GroupFlush {
    state: Mutex<FlushProgress>,
    finished: Condvar,
}

#[derive(Debug, Default)]
struct FlushProgress {
    /// Flushes that have begun, counted.
    begun: u64,
    /// The last one that has ended.
    ended: u64,
    is_running: bool,
}

impl Table {
    /// Returns when everything stored before the call survives a power cut. Callers at the same
    /// time share one sync. A sync that fails makes the table read-only, since what the drive
    /// holds is then unknown; it is never tried again.
    pub fn flush(&self) -> Result<()> {
        if self.context.read_only {
            return Ok(());
        }
        let flush = &self.flushing;
        let mut state = flush.state.lock();
        // A flush that has begun already may have missed what the caller wrote last.
        let wanted = state.begun + 1;
        while state.ended < wanted {
            if state.is_running {
                flush.finished.wait(&mut state);
                continue;
            }
            state.is_running = true;
            state.begun += 1;
            let this = state.begun;
            drop(state);
            let result = self.sync_segments();
            state = flush.state.lock();
            state.is_running = false;
            // One that failed for a lack of descriptors, which poisons nothing, tells its own caller;
            // the others have to ask again.
            if result.is_ok() || self.health.poisoned().is_some() {
                state.ended = this;
            }
            flush.finished.notify_all();
            result?;
        }
        drop(state);
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
