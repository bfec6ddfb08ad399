//! The time, from one place, so that tests can move it.
//!
//! Inside, all instants are nanoseconds since the Unix epoch; the public face shows them as
//! [`SystemTime`]. Expiry compares them with the clock the
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

    /// A clock that stands still until [`Clock::set`] or [`Clock::advance`] moves it. Times before
    /// 1970 count as its beginning.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    ///
    /// let start = SystemTime::now();
    /// let clock = littfs::Clock::manual(start);
    /// clock.advance(Duration::from_secs(7 * 24 * 3600));
    /// assert_eq!(clock.now(), start + Duration::from_secs(7 * 24 * 3600));
    /// ```
    #[must_use]
    pub fn manual(now: SystemTime) -> Self {
        Self::manual_ns(ns_of(now))
    }

    /// A manual clock that stands at `now_ns`.
    pub(crate) fn manual_ns(now_ns: u64) -> Self {
        let (real_ns, monotonic_ns) = (AtomicU64::new(now_ns), AtomicU64::new(0));
        Self(Some(Arc::new(Manual { real_ns, monotonic_ns })))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        time_of(self.now_ns())
    }

    /// Nanoseconds since the Unix epoch; 0 before it.
    pub(crate) fn now_ns(&self) -> u64 {
        match &self.0 {
            Some(manual) => manual.real_ns.load(Ordering::Acquire),
            None => ns_of(SystemTime::now()),
        }
    }

    /// Nanoseconds since some start, by a clock that nobody sets and that goes on while the machine
    /// sleeps (`CLOCK_BOOTTIME`).
    pub(crate) fn monotonic_ns(&self) -> u64 {
        match &self.0 {
            Some(manual) => manual.monotonic_ns.load(Ordering::Acquire),
            None => {
                clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |at| cast::saturate_ns(at.into()))
            }
        }
    }

    /// Whether this is a clock that tests move.
    pub(crate) fn is_manual(&self) -> bool {
        self.0.is_some()
    }

    /// Sets a manual clock, as somebody sets the clock of a machine: no time passes by it. The
    /// system clock stays as it is.
    pub fn set(&self, now: SystemTime) {
        self.set_ns(ns_of(now));
    }

    pub(crate) fn set_ns(&self, now_ns: u64) {
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

/// An instant as the public face shows it.
pub(crate) fn time_of(instant_ns: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(instant_ns)
}

/// An instant as it is kept: what lies before 1970 becomes its beginning.
pub(crate) fn ns_of(instant: SystemTime) -> u64 {
    instant.duration_since(UNIX_EPOCH).map_or(0, cast::saturate_ns)
}

/// An instant that may lie before 1970, as the public face shows it.
pub(crate) fn time_of_signed(instant_ns: i64) -> SystemTime {
    let distance = Duration::from_nanos(instant_ns.unsigned_abs());
    if instant_ns < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

/// An instant that may lie before 1970, as it is kept; what is too far away becomes the last or the
/// first that there is.
pub(crate) fn signed_ns_of(instant: SystemTime) -> i64 {
    let saturate = |distance| cast::saturate_signed_ns(cast::saturate_ns(distance));
    match instant.duration_since(UNIX_EPOCH) {
        Ok(behind) => saturate(behind),
        Err(before) => -saturate(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_come_back() {
        for instant_ns in [0, 1, 1_790_000_000_123_456_789] {
            assert_eq!(ns_of(time_of(instant_ns)), instant_ns);
        }
        for instant_ns in [i64::MIN + 1, -1, 0, 1, i64::MAX] {
            assert_eq!(signed_ns_of(time_of_signed(instant_ns)), instant_ns);
        }
        assert_eq!(ns_of(time_of_signed(-5)), 0);
        let far = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!((ns_of(far), signed_ns_of(far)), (u64::MAX, i64::MAX));
    }
}
