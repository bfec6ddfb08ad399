//! One flush at a time; whoever asks while it runs shares the next one.

use parking_lot::Mutex;

use crate::error::Result;
use crate::sync::Condvar;

/// The flushes of one table.
#[derive(Debug, Default)]
pub(super) struct GroupFlush {
    progress: Mutex<FlushProgress>,
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

impl GroupFlush {
    /// Returns when a `sync` has ended that began after this call, run here or by another caller. Of
    /// one that failed only its own caller is told, and the others sync again, unless it `is_final`.
    pub(super) fn share(
        &self,
        sync: impl Fn() -> Result<()>,
        is_final: impl Fn() -> bool,
    ) -> Result<()> {
        let mut progress = self.progress.lock();
        // A flush that has begun already may have missed what the caller wrote last.
        let wanted = progress.begun + 1;
        while progress.ended < wanted {
            if progress.is_running {
                self.finished.wait(&mut progress);
                continue;
            }
            progress.is_running = true;
            progress.begun += 1;
            let this = progress.begun;
            drop(progress);
            let result = sync();
            progress = self.progress.lock();
            progress.is_running = false;
            if result.is_ok() || is_final() {
                progress.ended = this;
            }
            self.finished.notify_all();
            result?;
        }
        Ok(())
    }
}
