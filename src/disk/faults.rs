//! Making chosen disk operations fail, for tests.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::operation::Operation;

/// Which operations are to fail, and how.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The first operation that may fail, counted from now on, the next one being 1.
    pub nth: u64,
    /// What it fails with.
    pub errno: i32,
    /// Every operation from then on fails, not only one: a drive that has died.
    pub lasts: bool,
    /// Only operations on this directory and what is in it fail.
    pub below: Option<PathBuf>,
    /// A write that fails has written the first half of its bytes.
    pub tears: bool,
}

/// How an operation fails.
#[derive(Debug)]
pub(super) struct InjectedFailure {
    pub(super) error: io::Error,
    pub(super) tears: bool,
}

/// Counts operations and makes some of them fail. Shared by everything opened through one
/// [`super::Disk`].
#[derive(Debug, Default)]
pub struct Faults {
    seen: AtomicU64,
    reads: AtomicU64,
    /// The fault, with the number of the first operation it concerns, until it has struck.
    arranged: Mutex<Option<(u64, Fault)>>,
    struck: Mutex<Vec<(Operation, PathBuf)>>,
}

impl Faults {
    /// Makes the `nth` operation from now on (1-based) fail with `errno`, once.
    pub fn fail_nth(&self, nth: u64, errno: i32) {
        self.arrange(Fault { nth, errno, lasts: false, below: None, tears: false });
    }

    /// Has operations fail from now on as this says, and no others any more.
    pub fn arrange(&self, fault: Fault) {
        let first = self.seen.load(Ordering::SeqCst) + fault.nth;
        *self.arranged.lock() = Some((first, fault));
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        *self.arranged.lock() = None;
    }

    /// How many operations were seen so far.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    /// How many of them were reads.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    /// The operations that failed so far, each with the file it was tried on.
    #[must_use]
    pub fn struck(&self) -> Vec<(Operation, PathBuf)> {
        self.struck.lock().clone()
    }

    pub(super) fn step(&self, operation: Operation, path: &Path) -> Result<(), InjectedFailure> {
        let number = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        if operation.is_read() {
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
        let mut arranged = self.arranged.lock();
        let Some((first, fault)) = arranged.as_ref() else { return Ok(()) };
        if number < *first || fault.below.as_ref().is_some_and(|below| !path.starts_with(below)) {
            return Ok(());
        }
        let error = io::Error::from_raw_os_error(fault.errno);
        let failure = InjectedFailure { error, tears: fault.tears };
        if !fault.lasts {
            *arranged = None;
        }
        self.struck.lock().push((operation, path.to_path_buf()));
        Err(failure)
    }
}
