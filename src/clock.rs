//! The time, from one place, so that tests can move it.
//!
//! All instants are nanoseconds since the Unix epoch. Expiry compares them with the clock the
//! kernel shows everybody (`CLOCK_REALTIME`), since TTLs must hold across restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::cast;

/// A source of the current time. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Manual>>);

#[derive(Debug)]
struct Manual {
    real_ns: AtomicU64,
    monotonic_ns: AtomicU64,
}

impl Clock {
    /// The machine's real-time clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still at `now_ns` until [`Clock::set`] or [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual(now_ns: u64) -> Self {
        let (real_ns, monotonic_ns) = (AtomicU64::new(now_ns), AtomicU64::new(0));
        Self(Some(Arc::new(Manual { real_ns, monotonic_ns })))
    }

    /// Nanoseconds since the Unix epoch; 0 before it.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        match &self.0 {
            Some(manual) => manual.real_ns.load(Ordering::Acquire),
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, cast::saturate_ns),
        }
    }

    /// Nanoseconds since some start, by a clock that nobody sets and that goes on while the machine
    /// sleeps (`CLOCK_BOOTTIME`).
    #[must_use]
    pub fn monotonic_ns(&self) -> u64 {
        match &self.0 {
            Some(manual) => manual.monotonic_ns.load(Ordering::Acquire),
            None => {
                clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |at| cast::saturate_ns(at.into()))
            }
        }
    }

    /// Whether this is a clock that tests move.
    #[must_use]
    pub fn is_manual(&self) -> bool {
        self.0.is_some()
    }

    /// Sets a manual clock, as somebody sets the clock of a machine: no time passes by it. The
    /// system clock stays as it is.
    pub fn set(&self, now_ns: u64) {
        if let Some(manual) = &self.0 {
            manual.real_ns.store(now_ns, Ordering::Release);
        }
    }

    /// Lets time pass on a manual clock; the system clock stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Some(manual) = &self.0 {
            manual.real_ns.fetch_add(cast::saturate_ns(by), Ordering::AcqRel);
            manual.monotonic_ns.fetch_add(cast::saturate_ns(by), Ordering::AcqRel);
        }
    }
}
