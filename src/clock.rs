//! The time, from one place, so that tests can move it.
//!
//! All instants are nanoseconds since the Unix epoch. Expiry compares them with the clock the
//! kernel shows everybody (`CLOCK_REALTIME`), since TTLs must hold across restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A source of the current time. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// The machine's real-time clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still at `now_ns` until [`Clock::set`] or [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual(now_ns: u64) -> Self {
        Self(Some(Arc::new(AtomicU64::new(now_ns))))
    }

    /// Nanoseconds since the Unix epoch; 0 before it.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        match &self.0 {
            Some(manual) => manual.load(Ordering::Acquire),
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)),
        }
    }

    /// Whether this is a clock that tests move.
    #[must_use]
    pub fn is_manual(&self) -> bool {
        self.0.is_some()
    }

    /// Moves a manual clock; the system clock stays as it is.
    pub fn set(&self, now_ns: u64) {
        if let Some(manual) = &self.0 {
            manual.store(now_ns, Ordering::Release);
        }
    }

    /// Moves a manual clock forwards; the system clock stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Some(manual) = &self.0 {
            let by_ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
            manual.fetch_add(by_ns, Ordering::AcqRel);
        }
    }
}
