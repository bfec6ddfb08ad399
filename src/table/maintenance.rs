//! The two threads of a table: one flushes, one seals, expires and keeps the keymap.
//!
//! They sleep until there is something to do: a first write wakes the flusher, which then waits
//! one flush interval; a closed segment, a changed TTL or the next expiry wakes upkeep.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::Table;
use crate::error::{Error, Result};
use crate::sync::Condvar;

/// After a failure that may pass (a full drive), upkeep tries again this often.
const RETRY: Duration = Duration::from_secs(1);
/// However far off the next expiry is, the clock is looked at this often: it may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What the threads of a table wait for.
#[derive(Debug, Default)]
pub(super) struct Signals {
    state: Mutex<State>,
    changed: Condvar,
    /// Writes since the last flush; kept apart so that a write costs one load.
    is_dirty: AtomicBool,
    stopping: AtomicBool,
    pub(super) rebuild: AtomicBool,
    /// So much was written that the next flush should not wait for its interval.
    is_hurried: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
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

impl Signals {
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

    /// Waits until the sealer tells something, unless `is_done`; an error when sealing fails. Whoever
    /// waits looks again at what else may be: a poisoned table has no sealer any more.
    pub(super) fn wait_for_seal(&self, is_done: impl Fn() -> bool) -> Result<()> {
        let mut state = self.state.lock();
        if is_done() {
            return Ok(());
        }
        if self.stopping.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        if let Some(SealFailure { reason, is_no_space }) = &state.seal_failure {
            let roots = reason.clone();
            return Err(if *is_no_space {
                Error::NoSpace { roots }
            } else {
                let source = std::io::Error::other(roots);
                Error::io("seal what was written to", Path::new("a table"), source)
            });
        }
        self.changed.wait_for(&mut state, RETRY);
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

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits for the first write since the last flush; `false` when the table is being closed.
    fn wait_for_write(&self) -> bool {
        let mut state = self.state.lock();
        while !self.is_stopping() && !self.is_dirty.load(Ordering::Acquire) {
            self.changed.wait(&mut state);
        }
        !self.is_stopping()
    }

    /// Sleeps, but not beyond the closing of the table, nor when there is much to flush.
    fn sleep(&self, duration: Duration) {
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
    fn wait_for_upkeep(&self, timeout: Option<Duration>) -> bool {
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

/// The running threads of a table.
#[derive(Debug, Default)]
pub(crate) struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    /// Starts the threads of a table. One opened read-only has nothing to do.
    pub(crate) fn start(table: &Arc<Table>) -> Result<Self> {
        // The concurrency checker does upkeep and flushes where it wants to.
        if table.context.read_only || cfg!(shuttle) {
            return Ok(Self::default());
        }
        let spawn = |role: &str, run: fn(&Table)| {
            let table = Arc::clone(table);
            std::thread::Builder::new()
                .name(format!("{role}-{}", table.number))
                .spawn(move || run(&table))
                .map_err(|source| Error::io("start a thread for", Path::new("littfs"), source))
        };
        Ok(Self(vec![spawn("flush", Table::run_flusher)?, spawn("upkeep", Table::run_upkeep)?]))
    }

    /// Ends the threads of a table and waits for them.
    pub(crate) fn stop(self, table: &Table) {
        table.signals.stop();
        for thread in self.0 {
            if thread.join().is_err() {
                log::error!("table {}: a background thread panicked", table.name);
            }
        }
    }
}

impl Table {
    fn run_flusher(&self) {
        while self.signals.wait_for_write() {
            self.signals.sleep(self.context.config.flush_interval);
            if self.signals.is_stopping() {
                return;
            }
            if let Err(error) = self.flush() {
                // The table is poisoned and takes no more writes; its log line said why.
                log::debug!("table {}: {error}", self.name);
                return;
            }
            if let Some(active) = &self.view.load().active {
                active.memtable.put_many_in_order();
            }
        }
    }

    /// There may be something to seal, drop or mend.
    pub(crate) fn wake_upkeep(&self) {
        self.signals.wake_upkeep();
    }

    fn run_upkeep(&self) {
        let mut timeout = self.time_to_upkeep();
        while self.signals.wait_for_upkeep(timeout) {
            timeout = match self.upkeep() {
                Ok(()) => self.time_to_upkeep(),
                Err(_) if self.poisoned().is_some() => return,
                Err(error) => {
                    let mut state = self.signals.state.lock();
                    let reason = error.to_string();
                    if state.seal_failure.as_ref().is_none_or(|known| known.reason != reason) {
                        log::error!("table {}: {reason}; trying again every second", self.name);
                    }
                    let is_no_space = error.is_no_space();
                    state.seal_failure = Some(SealFailure { reason, is_no_space });
                    self.signals.changed.notify_all();
                    Some(RETRY)
                }
            };
        }
    }

    fn time_to_upkeep(&self) -> Option<Duration> {
        if self.context.clock.is_manual() {
            return None;
        }
        let at_ns = self.upkeep_at_ns()?;
        let left_ns = at_ns.saturating_sub(self.context.clock.now_ns());
        let mut left = Duration::from_nanos(left_ns);
        if left.is_zero()
            && let Some(held) = self.context.hold.left(&self.context.clock)
        {
            left = held;
        }
        Some(left.min(LOOK_AGAIN).max(Duration::from_millis(10)))
    }

    /// Does what is due now: seals closed segments, drops expired ones, mends the keymap.
    pub(crate) fn upkeep(&self) -> Result<()> {
        let _one_at_a_time = self.upkeep_io.lock();
        self.do_upkeep().inspect_err(|error| self.poison_if_sync(error))
    }

    fn do_upkeep(&self) -> Result<()> {
        self.check_not_poisoned()?;
        self.make_spare()?;
        self.expire()?;
        while !self.signals.is_stopping() && self.seal_oldest()? {}
        self.mend_keymap()?;
        self.expire()
    }
}
