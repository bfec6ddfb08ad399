//! Why expired segments are kept for a while after the clock has jumped.
//!
//! Readers are shown what the clock says, to the instant. But a clock that is years ahead, on a
//! machine that lost its battery or was given a wrong date, would have everything dropped for good
//! as soon as the database is opened. So space is not given back for some time when the clock has
//! moved in a way that looks wrong: at opening, when it is far later than anything ever written
//! here; and later, when it moves ahead of the time that has really passed. Set right within that
//! time, it shows everything again.

use std::time::Duration;

use parking_lot::Mutex;

use crate::cast::saturate_ns;
use crate::clock::Clock;

/// A database may lie unused for so long before its opening looks like a jump of the clock.
const UNUSED: Duration = Duration::from_secs(24 * 60 * 60);
/// A running clock that moves by more than this was set, not corrected.
const STEP: Duration = Duration::from_secs(60 * 60);

/// Whether expired segments are kept for now. Shared by all tables of a database.
#[derive(Debug)]
pub(crate) struct ExpiryHold {
    /// How long they are kept after a jump; zero for never.
    length: Duration,
    state: Mutex<ClockWatch>,
}

#[derive(Debug)]
enum ClockWatch {
    /// The newest value is not known before every table is open.
    Opening,
    Watching {
        /// Both clocks when they were last looked at.
        seen: Instants,
        /// Held until this instant of the monotonic clock.
        until_ns: u64,
        /// Why, once for the log.
        untold: Option<String>,
    },
}

#[derive(Clone, Copy, Debug)]
struct Instants {
    real_ns: u64,
    monotonic_ns: u64,
}

impl Instants {
    fn now(clock: &Clock) -> Self {
        Self { real_ns: clock.now_ns(), monotonic_ns: clock.monotonic_ns() }
    }
}

impl ExpiryHold {
    /// Holds until [`ExpiryHold::opened`].
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, state: Mutex::new(ClockWatch::Opening) }
    }

    /// All tables are open; this is when the newest of their values was written.
    pub(crate) fn opened(&self, clock: &Clock, last_written_ns: Option<u64>) {
        let seen = Instants::now(clock);
        let mut until_ns = 0;
        let mut untold = None;
        if let Some(unused) = last_written_ns.and_then(|at_ns| seen.real_ns.checked_sub(at_ns))
            && Duration::from_nanos(unused) > UNUSED
        {
            until_ns = self.end_ns(seen);
            let days = unused / saturate_ns(UNUSED);
            untold = Some(format!("the clock is {days} days past the last write to this database"));
        }
        *self.state.lock() = ClockWatch::Watching { seen, until_ns, untold };
    }

    /// How long expired segments are still to be kept; None when they need not be. Says so in the
    /// log, once for each jump: it is asked when there is something to drop.
    pub(crate) fn left(&self, clock: &Clock) -> Option<Duration> {
        if self.length.is_zero() {
            return None;
        }
        let now = Instants::now(clock);
        let mut state = self.state.lock();
        let ClockWatch::Watching { seen, until_ns, untold } = &mut *state else {
            return Some(self.length);
        };
        let passed_ns = now.monotonic_ns.saturating_sub(seen.monotonic_ns);
        let ahead_ns = now.real_ns.saturating_sub(seen.real_ns.saturating_add(passed_ns));
        *seen = now;
        if Duration::from_nanos(ahead_ns) > STEP {
            *until_ns = self.end_ns(now);
            let hours = ahead_ns / saturate_ns(STEP);
            *untold = Some(format!("the clock was set forward by {hours} hours"));
        }
        let left_ns = until_ns.checked_sub(now.monotonic_ns).filter(|left_ns| *left_ns > 0)?;
        if let Some(reason) = untold.take() {
            log::warn!(
                "{reason}; what has expired by it is hidden, but kept for {}: if the clock is \
                 wrong, unmount, set it right and mount again",
                humantime::format_duration(self.length)
            );
        }
        Some(Duration::from_nanos(left_ns))
    }

    fn end_ns(&self, now: Instants) -> u64 {
        now.monotonic_ns.saturating_add(saturate_ns(self.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_NS: u64 = 1_700_000_000_000_000_000;
    const HOUR: Duration = Duration::from_secs(3600);

    fn opened(last_written_ns: Option<u64>) -> (ExpiryHold, Clock) {
        let clock = Clock::manual_ns(START_NS);
        let hold = ExpiryHold::new(HOUR);
        hold.opened(&clock, last_written_ns);
        (hold, clock)
    }

    #[test]
    fn nothing_is_dropped_before_the_newest_value_is_known() {
        let hold = ExpiryHold::new(HOUR);
        assert_eq!(hold.left(&Clock::manual_ns(START_NS)), Some(HOUR));
    }

    #[test]
    fn a_database_in_use_is_not_held() {
        for last_written_ns in
            [None, Some(START_NS - saturate_ns(UNUSED)), Some(START_NS), Some(u64::MAX)]
        {
            let (hold, clock) = opened(last_written_ns);
            assert_eq!(hold.left(&clock), None, "{last_written_ns:?}");
            clock.advance(HOUR * 1000);
            assert_eq!(hold.left(&clock), None, "time that passes is no jump");
        }
    }

    #[test]
    fn a_late_opening_is_held_for_a_while() {
        let (hold, clock) = opened(Some(START_NS - saturate_ns(UNUSED) - 1));
        assert_eq!(hold.left(&clock), Some(HOUR));
        clock.advance(HOUR / 2);
        assert_eq!(hold.left(&clock), Some(HOUR / 2));
        clock.advance(HOUR / 2);
        assert_eq!(hold.left(&clock), None);
    }

    #[test]
    fn a_clock_set_forward_is_held_and_small_corrections_are_not() {
        let (hold, clock) = opened(Some(START_NS));
        clock.set_ns(START_NS + saturate_ns(STEP));
        assert_eq!(hold.left(&clock), None);
        clock.set_ns(START_NS + 3 * saturate_ns(STEP));
        assert_eq!(hold.left(&clock), Some(HOUR));
        // Set right again; what is past by the right clock is dropped when the hold ends.
        clock.set_ns(START_NS);
        assert_eq!(hold.left(&clock), Some(HOUR));
        clock.advance(HOUR);
        assert_eq!(hold.left(&clock), None);
    }

    #[test]
    fn a_hold_of_zero_never_holds() {
        let clock = Clock::manual_ns(START_NS);
        let hold = ExpiryHold::new(Duration::ZERO);
        hold.opened(&clock, Some(0));
        assert_eq!(hold.left(&clock), None);
    }
}
