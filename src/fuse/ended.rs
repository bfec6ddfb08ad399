//! The end of a mount, for those who wait for it.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::sync::Condvar;

/// Set when the session has ended and everything acknowledged is with the engine.
pub(super) struct Ended {
    flag: Mutex<bool>,
    rung: Condvar,
}

impl Ended {
    pub(super) fn new() -> Self {
        Self { flag: Mutex::new(false), rung: Condvar::new() }
    }

    pub(super) fn set(&self) {
        *self.flag.lock() = true;
        self.rung.notify_all();
    }

    pub(super) fn is_set(&self) -> bool {
        *self.flag.lock()
    }

    pub(super) fn wait(&self) {
        let mut flag = self.flag.lock();
        while !*flag {
            self.rung.wait(&mut flag);
        }
    }

    pub(super) fn wait_for(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut flag = self.flag.lock();
        while !*flag && !self.rung.wait_until(&mut flag, deadline).timed_out() {}
        *flag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_waited_for() {
        let ended = Ended::new();
        assert!(!ended.wait_for(Duration::from_millis(1)));
        ended.set();
        assert!(ended.wait_for(Duration::ZERO));
        ended.wait();
    }
}
