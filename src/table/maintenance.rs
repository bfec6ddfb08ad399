//! The two threads of a table: one flushes, one seals, expires and keeps the keymap.
//!
//! They sleep until there is something to do: a first write wakes the flusher, which then waits
//! one flush interval; a closed segment, a changed TTL or the next expiry wakes upkeep.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::Table;
use crate::error::{Error, Result};

/// After a failure that may pass (a full drive), upkeep tries again this often.
const RETRY: Duration = Duration::from_secs(1);
/// However far off the next expiry is, the clock is looked at this often: it may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

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
            let shared = Arc::clone(table);
            std::thread::Builder::new()
                .name(format!("{role}-{}", table.identity.number))
                .spawn(move || run(&shared))
                .map_err(|source| Error::Thread { table: table.identity.name.clone(), source })
        };
        Ok(Self(vec![spawn("flush", Table::run_flusher)?, spawn("upkeep", Table::run_upkeep)?]))
    }

    /// Ends the threads of a table and waits for them.
    pub(crate) fn stop(self, table: &Table) {
        table.signals.stop();
        for thread in self.0 {
            if thread.join().is_err() {
                log::error!("table {}: a background thread panicked", table.identity.name);
            }
        }
    }
}

impl Table {
    fn run_flusher(&self) {
        while self.signals.wait_for_write() {
            self.signals.sleep(self.context.engine.flush_interval);
            if self.signals.is_stopping() {
                return;
            }
            if let Err(error) = self.flush() {
                // The table is poisoned and takes no more writes; its log line said why.
                log::debug!("table {}: {error}", self.identity.name);
                return;
            }
            if let Some(active) = &self.segments.view().active {
                active.memtable().put_many_in_order();
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
                Err(_) if self.health.poisoned().is_some() => return,
                Err(error) => {
                    if self.signals.note_seal_failure(&error) {
                        log::error!("table {}: {error}; trying again every second", self.name());
                    }
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
        if self.health.check_open().is_err() {
            // Others may own its files by now, and there may be another table of its name.
            return Ok(());
        }
        self.do_upkeep().inspect_err(|error| self.health.poison_if_sync(error))
    }

    fn do_upkeep(&self) -> Result<()> {
        self.health.check_not_poisoned()?;
        self.segments.make_spare()?;
        self.expire()?;
        while !self.signals.is_stopping()
            && let Some(oldest) = self.segments.oldest_closed()
        {
            if !self.drop_unsealed(&oldest)? {
                self.seal(&oldest)?;
            }
        }
        self.mend_index()?;
        self.expire()
    }

    /// Makes the keymap anew when that was asked for, or inserts what it could not take before.
    fn mend_index(&self) -> Result<()> {
        let is_rebuild = self.signals.take_rebuild();
        if !is_rebuild && self.segments.view().unindexed.is_empty() {
            return Ok(());
        }
        let sealed = if is_rebuild {
            // From now on lookups search the runs, until the keymap is complete again.
            let sealed = self.segments.search_all_runs();
            self.index.clear()?;
            sealed
        } else {
            Arc::clone(&self.segments.view().sealed)
        };
        self.index.catch_up(&sealed, self.segments.lowest_live())?;
        if sealed.keys().next_back().is_none_or(|last| self.index.is_marked(*last)) {
            self.segments.note_indexed(&sealed);
        }
        Ok(())
    }
}
