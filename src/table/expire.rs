//! Expiry: whole segments, by unlinking a handful of files.
//!
//! Readers never see a value whose time is up; that is decided for each entry when it is looked
//! at. Here the space comes back: when the newest value of the oldest segment has expired, the
//! mark below which nothing lives is moved, durably, and only then the files are unlinked. Nothing
//! is done per key: slots of the keymap that name a segment below the mark are free space.

use std::sync::Arc;

use super::Table;
use super::active::ActiveSegment;
use crate::error::Result;
use crate::format::location::SegmentNumber;

impl Table {
    /// Drops every segment at the old end of the table whose values have all expired, and closes the
    /// active one when it is due.
    pub(super) fn expire(&self) -> Result<()> {
        let last = self
            .segments
            .view()
            .last_sealed_that(|segment| self.lifetime.is_past(segment.summary.last_written_at_ns));
        if let Some(last) = last
            && !self.is_expiry_held()
        {
            self.drop_up_to(last)?;
        }
        self.segments.close_expired();
        Ok(())
    }

    /// Drops a closed segment, instead of sealing it, when all of it has expired and nothing older is
    /// left; tells whether.
    pub(super) fn drop_unsealed(&self, segment: &ActiveSegment) -> Result<bool> {
        if !self.lifetime.is_past(segment.last_written_ns()) {
            return Ok(false);
        }
        let number = segment.number();
        let is_lowest = self.segments.view().sealed.keys().all(|sealed| *sealed > number);
        let may_go = is_lowest && !self.is_expiry_held();
        if may_go {
            self.drop_up_to(number)?;
        }
        Ok(may_go && self.segments.lowest_live() > number)
    }

    fn is_expiry_held(&self) -> bool {
        self.context.hold.left(&self.context.clock).is_some()
    }

    /// Moves the mark behind `last`, then removes what is below it. Nothing happens when the time to
    /// live has become longer meanwhile: whoever set it sees everything that had not been dropped by
    /// then.
    pub(super) fn drop_up_to(&self, last: SegmentNumber) -> Result<()> {
        let lowest = last.0.saturating_add(1);
        let next_value_id = self.ids.next();
        if !self.index.is_marked(last) {
            // Pages that were written for these segments are synced first. A crash can tear one that
            // is not: opening finds that when it inserts again what is above the mark, and once these
            // segments are gone there would be nothing to insert.
            self.index.mark_all(&self.segments.view())?;
        }
        let is_dropped = self.lifetime.change_then(
            |file| {
                file.lowest_segment = file.lowest_segment.max(lowest);
                file.next_value_id = file.next_value_id.max(next_value_id);
                let newest_ns = self.segments.view().last_written_up_to_ns(last);
                newest_ns.is_none_or(|at_ns| self.lifetime.is_past(at_ns))
            },
            || self.segments.hide_up_to(last),
        )?;
        if is_dropped { self.segments.unlink_gone() } else { Ok(()) }
    }

    /// When upkeep has something to do next, ns since the epoch: the active segment to be closed,
    /// or the oldest segment to be dropped.
    pub(super) fn upkeep_at_ns(&self) -> Option<u64> {
        self.lifetime.ttl_ns()?;
        let view = self.segments.view();
        let oldest = view.sealed.values().next().map(|sealed| sealed.summary.last_written_at_ns);
        let active = view.active.as_ref();
        // One without keys was opened for a write that is under way, and nothing wakes upkeep when
        // that is done: it looks again before the value can expire.
        let last_written_ns = |active: &Arc<ActiveSegment>| {
            if active.key_count() > 0 {
                active.last_written_ns()
            } else {
                self.context.clock.now_ns()
            }
        };
        let newest_ns = oldest.or_else(|| active.map(last_written_ns));
        let expires = newest_ns.and_then(|at_ns| self.lifetime.expires_at_ns(at_ns));
        let closes = active.and_then(|active| self.segments.closes_at_ns(active));
        expires.into_iter().chain(closes).min()
    }
}
