//! Opening and closing the segment that takes writes.
//!
//! A segment is closed when it is large, has many keys, or is old compared with the TTL; the next
//! write opens another. The closed one waits for the sealer.

use std::sync::Arc;

use super::Segments;
use crate::error::Result;
use crate::table::active::ActiveSegment;

/// Closed segments that may wait to be sealed before writers wait for the sealer. Bounds memory.
const SEALING_MAX: usize = 2;

impl Segments {
    /// Opens the segment that takes writes from now on, unless somebody else just did.
    pub(in crate::table) fn open_next(&self) -> Result<()> {
        self.wait_for_sealer()?;
        let _change = self.change.lock();
        if self.view.load().active.is_some() {
            return Ok(());
        }
        self.health.check_open()?;
        let active = self.next_segment()?;
        self.change_locked(|view| view.active = Some(active));
        // With nothing in the table there was nothing to expire, and upkeep sleeps without an end.
        self.signals.wake_upkeep();
        Ok(())
    }

    /// Waits while too many closed segments are in memory.
    fn wait_for_sealer(&self) -> Result<()> {
        let is_behind = || self.view.load().sealing.len() >= SEALING_MAX;
        while is_behind() {
            self.health.check_writable()?;
            self.signals.wait_for_seal(&self.identity.name, || !is_behind())?;
        }
        Ok(())
    }

    /// Closes a segment for writes and hands it to the sealer, unless somebody else just did.
    pub(in crate::table) fn rotate(&self, active: &ActiveSegment) {
        let _change = self.change.lock();
        let view = self.view.load_full();
        let Some(current) =
            view.active.as_ref().filter(|current| current.number() == active.number())
        else {
            return;
        };
        let current = Arc::clone(current);
        current.close();
        self.change_locked(|view| {
            view.active = None;
            view.sealing.insert(0, current);
        });
        self.signals.wake_upkeep();
    }

    /// When the active segment is to be closed for its age, ns since the epoch.
    pub(in crate::table) fn closes_at_ns(&self, active: &ActiveSegment) -> Option<u64> {
        let closes_at_ns = self.lifetime.closes_at_ns(active.in_use_since_ns());
        closes_at_ns.filter(|_| active.key_count() > 0)
    }

    /// Closes the active segment when all of it has expired or it is old.
    pub(in crate::table) fn close_expired(&self) {
        let view = self.view.load();
        let Some(active) = view.active.as_ref().filter(|active| active.key_count() > 0) else {
            return;
        };
        let now_ns = self.context.clock.now_ns();
        let is_old = self.closes_at_ns(active).is_some_and(|at_ns| at_ns <= now_ns);
        if is_old || self.lifetime.is_past(active.last_written_ns()) {
            self.rotate(active);
        }
    }
}
