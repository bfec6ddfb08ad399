//! What the threads of a table, and those who wait for them, tell each other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::sync::Condvar;

/// Whoever waits for the sealer looks again this often: a table may be poisoned meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the threads of a table wait for.
#[derive(Debug, Default)]
pub(super) struct TableSignals {
    state: Mutex<Wanted>,
    changed: Condvar,
    /// Writes since the last flush; kept apart so that a write costs one load.
    is_dirty: AtomicBool,
    stopping: AtomicBool,
    rebuild: AtomicBool,
    /// So much was written that the next flush should not wait for its interval.
    is_hurried: AtomicBool,
}

#[derive(Debug, Default)]
struct Wanted {
    upkeep_wanted: bool,
    /// Why sealing does not go on, if so.
    seal_failure: Option<SealFailure>,
}

#[derive(Debug)]
struct SealFailure {
    reason: String,
    /// It goes on as soon as there is room.
    is_no_space: bool,
}

impl TableSignals {
    /// Something was written that a flush must make durable.
    pub(super) fn note_write(&self) {
        if !self.is_dirty.load(Ordering::Relaxed) && !self.is_dirty.swap(true, Ordering::AcqRel) {
            let _state = self.state.lock();
            self.changed.notify_all();
        }
    }

    /// Much was written: the drives can have it while more comes.
    pub(super) fn hurry_flush(&self) {
        if !self.is_hurried.swap(true, Ordering::AcqRel) {
            let _state = self.state.lock();
            self.changed.notify_all();
        }
    }

    /// A flush begins: what is written from now on needs another one.
    pub(super) fn note_flush(&self) {
        self.is_dirty.store(false, Ordering::Release);
        self.is_hurried.store(false, Ordering::Release);
    }

    /// There may be something to seal, drop or mend.
    pub(super) fn wake_upkeep(&self) {
        self.state.lock().upkeep_wanted = true;
        self.changed.notify_all();
    }

    pub(super) fn ask_for_rebuild(&self) {
        if !self.rebuild.swap(true, Ordering::AcqRel) {
            self.wake_upkeep();
        }
    }

    pub(super) fn take_rebuild(&self) -> bool {
        self.rebuild.swap(false, Ordering::AcqRel)
    }

    /// A closed segment has left memory.
    pub(super) fn note_sealed(&self) {
        self.state.lock().seal_failure = None;
        self.changed.notify_all();
    }

    /// Sealing does not go on for now; whoever waits for it is told why. Tells
    /// whether the reason is a new one.
    pub(super) fn note_seal_failure(&self, error: &Error) -> bool {
        let reason = error.to_string();
        let mut state = self.state.lock();
        let is_new = state.seal_failure.as_ref().is_none_or(|known| known.reason != reason);
        state.seal_failure = Some(SealFailure { reason, is_no_space: error.is_no_space() });
        self.changed.notify_all();
        is_new
    }

    /// Waits until the sealer of `table` tells something, unless `is_done`; an error when sealing
    /// fails. Whoever waits looks again at what else may be: a poisoned table has no sealer any more.
    pub(super) fn wait_for_seal(&self, table: &str, is_done: impl Fn() -> bool) -> Result<()> {
        let mut state = self.state.lock();
        if is_done() {
            return Ok(());
        }
        if self.stopping.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        if let Some(SealFailure { reason, is_no_space }) = &state.seal_failure {
            let reason = reason.clone();
            return Err(if *is_no_space {
                Error::NoSpace { roots: reason }
            } else {
                Error::SealFailing { table: table.to_owned(), reason }
            });
        }
        self.changed.wait_for(&mut state, LOOK_AGAIN);
        Ok(())
    }

    /// The table is poisoned: whoever waits is to look.
    pub(super) fn note_poison(&self) {
        let _state = self.state.lock();
        self.changed.notify_all();
    }

    /// Set when the table is being closed: long work is to stop.
    pub(super) fn stopping(&self) -> &AtomicBool {
        &self.stopping
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let _state = self.state.lock();
        self.changed.notify_all();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits for the first write since the last flush; `false` when the table is being closed.
    pub(super) fn wait_for_write(&self) -> bool {
        let mut state = self.state.lock();
        while !self.is_stopping() && !self.is_dirty.load(Ordering::Acquire) {
            self.changed.wait(&mut state);
        }
        !self.is_stopping()
    }

    /// Sleeps, but not beyond the closing of the table, nor when there is much to flush.
    pub(super) fn sleep(&self, duration: Duration) {
        let deadline = std::time::Instant::now() + duration;
        let mut state = self.state.lock();
        while !self.is_stopping() && !self.is_hurried.load(Ordering::Acquire) {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    /// Waits until upkeep is asked for or `timeout` has passed; `false` when the table is being
    /// closed.
    pub(super) fn wait_for_upkeep(&self, timeout: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        if !self.is_stopping() && !state.upkeep_wanted {
            match timeout {
                Some(timeout) => {
                    let deadline = std::time::Instant::now() + timeout;
                    while !self.is_stopping() && !state.upkeep_wanted {
                        if self.changed.wait_until(&mut state, deadline).timed_out() {
                            break;
                        }
                    }
                }
                None => {
                    while !self.is_stopping() && !state.upkeep_wanted {
                        self.changed.wait(&mut state);
                    }
                }
            }
        }
        state.upkeep_wanted = false;
        !self.is_stopping()
    }
}
