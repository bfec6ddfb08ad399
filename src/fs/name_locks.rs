//! Locks on names: whoever makes, moves or takes away a name holds the lock of it.
//!
//! Striped, so that changes of different names go side by side, and held over the engine's I/O: a
//! name that is being checked must not appear meanwhile. Lookups take no name lock.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

const STRIPES: usize = 256;

/// The locks, and a count of changes per folder.
pub(super) struct NameLocks {
    hasher: RandomState,
    stripes: Vec<Mutex<()>>,
    changes: Vec<AtomicU64>,
}

/// One or two held name locks.
pub(super) struct HeldNames<'a> {
    _first: MutexGuard<'a, ()>,
    _second: Option<MutexGuard<'a, ()>>,
}

impl NameLocks {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            changes: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn stripe(&self, parent: u64, name: &[u8]) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "only the low bits choose the stripe")]
        let index = self.hasher.hash_one((parent, name)) as usize % STRIPES;
        index
    }

    pub(super) fn lock(&self, parent: u64, name: &[u8]) -> HeldNames<'_> {
        HeldNames { _first: self.stripes[self.stripe(parent, name)].lock(), _second: None }
    }

    /// Both locks, in the order of the stripes, so that two renames never wait for each other.
    pub(super) fn lock_two(&self, one: (u64, &[u8]), other: (u64, &[u8])) -> HeldNames<'_> {
        let (one, other) = (self.stripe(one.0, one.1), self.stripe(other.0, other.1));
        let (low, high) = (one.min(other), one.max(other));
        let first = self.stripes[low].lock();
        let second = (low != high).then(|| self.stripes[high].lock());
        HeldNames { _first: first, _second: second }
    }

    fn counter(&self, folder: u64) -> &AtomicU64 {
        #[expect(clippy::cast_possible_truncation, reason = "only the low bits choose the counter")]
        let index = (folder ^ (folder >> 48)) as usize % STRIPES;
        &self.changes[index]
    }

    /// A name in the folder came, went or was stored: listings under way must look again.
    pub(super) fn changed(&self, folder: u64) {
        self.counter(folder).fetch_add(1, Ordering::Release);
    }

    /// Rises whenever a name in the folder changes (now and then also when none did).
    pub(super) fn changes(&self, folder: u64) -> u64 {
        self.counter(folder).load(Ordering::Acquire)
    }
}
