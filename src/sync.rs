//! Locks that are waited on, and threads that work together: those of the system, or, in a build with
//! `--cfg shuttle`, those that the concurrency checker schedules (`table/tests/schedules.rs`). All other
//! locks are those of `parking_lot`, which such a build replaces as a whole.

#[cfg(not(shuttle))]
mod plain {
    pub(crate) use std::sync::mpsc::{SyncSender, sync_channel};
    pub(crate) use std::thread::scope;

    pub(crate) use parking_lot::Condvar;
}
#[cfg(not(shuttle))]
pub(crate) use self::plain::*;

#[cfg(shuttle)]
mod checked {
    use std::time::{Duration, Instant};

    use parking_lot::MutexGuard;
    pub(crate) use shuttle::sync::mpsc::{SyncSender, sync_channel};
    pub(crate) use shuttle::thread::scope;

    /// Wakes whoever waits at any time: what is waited for is looked at again, as it must be.
    #[derive(Debug, Default)]
    pub(crate) struct Condvar(());

    /// Whether the time was up, which never happens here.
    pub(crate) struct WaitTimeoutResult(());

    impl WaitTimeoutResult {
        pub(crate) fn timed_out(&self) -> bool {
            false
        }
    }

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(())
        }

        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            MutexGuard::unlocked(guard, shuttle::thread::yield_now);
        }

        pub(crate) fn wait_for<T>(
            &self,
            guard: &mut MutexGuard<'_, T>,
            _timeout: Duration,
        ) -> WaitTimeoutResult {
            self.wait(guard);
            WaitTimeoutResult(())
        }

        pub(crate) fn wait_until<T>(
            &self,
            guard: &mut MutexGuard<'_, T>,
            _deadline: Instant,
        ) -> WaitTimeoutResult {
            self.wait(guard);
            WaitTimeoutResult(())
        }

        pub(crate) fn notify_all(&self) -> usize {
            0
        }
    }
}
#[cfg(shuttle)]
pub(crate) use self::checked::*;
