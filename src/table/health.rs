//! Whether a table may be used, and what becomes of it when a drive fails.
//!
//! A table is closed with its database, or dropped. It is poisoned, which makes it read-only, by the
//! first sync that fails: what the drive holds is unknown from then on, and the next sync would say
//! that all is well. Both are for good, until the database is opened again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use parking_lot::Mutex;

use super::context::Context;
use super::identity::TableIdentity;
use super::signals::TableSignals;
use crate::error::{Error, Result};
use crate::operation::Operation;

// How a table has ended, in `Health::end`; the later ones stay.
const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const DROPPED: u8 = 2;

/// The state of use of one table.
#[derive(Debug)]
pub(super) struct Health {
    identity: Arc<TableIdentity>,
    context: Arc<Context>,
    signals: Arc<TableSignals>,
    /// Why it takes no more writes.
    poison: Mutex<Option<String>>,
    /// Whether there is a reason; kept apart so that a write costs one load.
    is_poisoned: AtomicBool,
    end: AtomicU8,
}

impl Health {
    pub(super) fn new(
        identity: &Arc<TableIdentity>,
        context: &Arc<Context>,
        signals: &Arc<TableSignals>,
    ) -> Self {
        Self {
            identity: Arc::clone(identity),
            context: Arc::clone(context),
            signals: Arc::clone(signals),
            poison: Mutex::default(),
            is_poisoned: AtomicBool::new(false),
            end: AtomicU8::new(OPEN),
        }
    }

    /// Why the table takes no more writes, if so.
    pub(super) fn poisoned(&self) -> Option<String> {
        self.poison.lock().clone()
    }

    /// Refuses all use of a table that was closed or dropped.
    pub(super) fn check_open(&self) -> Result<()> {
        match self.end.load(Ordering::Acquire) {
            OPEN => Ok(()),
            DROPPED => Err(Error::TableDropped { name: self.identity.name.clone() }),
            _ => Err(Error::Closed),
        }
    }

    /// Refuses writes that cannot be kept.
    pub(super) fn check_writable(&self) -> Result<()> {
        if self.context.read_only {
            return Err(Error::ReadOnly);
        }
        self.check_open()?;
        if self.is_poisoned.load(Ordering::Acquire) { self.check_not_poisoned() } else { Ok(()) }
    }

    /// A flush that somebody else made may have failed.
    pub(super) fn check_not_poisoned(&self) -> Result<()> {
        match self.poisoned() {
            None => Ok(()),
            Some(reason) => Err(Error::Poisoned { table: self.identity.name.clone(), reason }),
        }
    }

    /// Nothing may begin any more: the database is being closed.
    pub(super) fn close(&self) {
        // One that was dropped stays so.
        self.end.fetch_max(CLOSED, Ordering::AcqRel);
    }

    /// Nothing may begin any more: the table is gone.
    pub(super) fn drop_table(&self) {
        self.end.store(DROPPED, Ordering::Release);
    }

    /// Makes the table read-only after a sync failed.
    pub(super) fn poison(&self, error: &Error) {
        let mut poison = self.poison.lock();
        if poison.is_none() {
            log::error!("table {}: read-only from now on: {error}", self.identity.name);
            *poison = Some(error.to_string());
            self.is_poisoned.store(true, Ordering::Release);
            drop(poison);
            self.blame_drive(error);
            self.signals.note_poison();
        }
    }

    /// Makes the table read-only if it was a sync that failed, whatever of: it is never tried again.
    pub(super) fn poison_if_sync(&self, error: &Error) {
        if error.is_sync() {
            self.poison_unless_unopened(error);
        }
    }

    /// Makes the table read-only, but not for a file that could not even be opened for its sync: that
    /// can be done when descriptors are free again.
    pub(super) fn poison_unless_unopened(&self, error: &Error) {
        if !error.is_out_of_descriptors() {
            self.poison(error);
        }
    }

    /// Makes the table read-only unless a drive was only full.
    pub(super) fn poison_unless_full(&self, error: &Error) {
        self.poison_if_sync(error);
        if !error.is_no_space() {
            self.poison_unless_unopened(error);
        }
    }

    /// A drive refused a call: what is written from now on goes elsewhere. Other errors, such as those
    /// of permissions, say nothing about the drive, but for a sync: that has no other way to fail.
    pub(super) fn blame_drive(&self, error: &Error) {
        let Error::Io { root: Some(root), source, .. } = error else { return };
        if error.is_no_space() || error.is_out_of_descriptors() {
            return;
        }
        let errno = source.raw_os_error();
        let is_of_drive =
            matches!(errno, Some(libc::EIO | libc::EROFS | libc::ENODEV | libc::ENXIO));
        if !is_of_drive && !error.is_sync() {
            return;
        }
        self.context.roots.mark_failed(*root, &error.to_string());
    }
}

/// Whether writing failed for a reason that another drive may not have.
pub(super) fn is_drive_failure(error: &Error) -> bool {
    match error {
        Error::Io { operation: Operation::Write, source, .. } => {
            error.is_no_space()
                // ext4 makes itself read-only when its journal cannot be written.
                || matches!(source.raw_os_error(), Some(libc::EIO | libc::EROFS))
        }
        _ => false,
    }
}
