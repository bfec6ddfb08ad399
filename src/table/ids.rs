//! The identities that a table gives to values, each once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::identity::TableIdentity;
use crate::error::{Error, Result};
use crate::format::location::ValueId;

/// Hands out value ids.
#[derive(Debug)]
pub(super) struct ValueIds {
    identity: Arc<TableIdentity>,
    next: AtomicU64,
}

impl ValueIds {
    /// Begins with `next`; what is found in the segments moves that on.
    pub(super) fn new(identity: &Arc<TableIdentity>, next: u64) -> Self {
        Self { identity: Arc::clone(identity), next: AtomicU64::new(next) }
    }

    /// An id that nothing else has or had.
    pub(super) fn take(&self) -> Result<ValueId> {
        let id = ValueId(self.next.fetch_add(1, Ordering::Relaxed));
        if id > ValueId::MAX {
            let reason = "its 2^48 value ids are used up; make a new table".to_owned();
            return Err(Error::Poisoned { table: self.identity.name.clone(), reason });
        }
        Ok(id)
    }

    /// The one that is given out next.
    pub(super) fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// This id, and every lower one, was given out before.
    pub(super) fn note_given_out(&self, id: u64) {
        self.next.fetch_max(id.saturating_add(1), Ordering::AcqRel);
    }
}
