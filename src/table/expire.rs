//! Expiry: whole segments, by unlinking a handful of files.
//!
//! Readers never see a value whose time is up; that is decided for each entry when it is looked
//! at. Here the space comes back: when the newest value of the oldest segment has expired, the
//! mark below which nothing lives is moved, durably, and only then the files are unlinked. Nothing
//! is done per key: slots of the keymap that name a segment below the mark are free space.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Table;
use super::active::ActiveSegment;
use super::view::View;
use crate::error::Result;
use crate::format::location::SegmentNumber;

impl Table {
    /// Drops every segment at the old end of the table whose values have all expired.
    pub(super) fn expire(&self) -> Result<()> {
        let view = self.view.load_full();
        let last = view
            .sealed
            .values()
            .take_while(|segment| self.lifetime.is_past(segment.summary.last_written_at_ns))
            .last();
        if let Some(last) = last
            && self.context.hold.left(&self.context.clock).is_none()
        {
            self.drop_up_to(last.number)?;
        }
        self.close_expired();
        Ok(())
    }

    /// Closes the active segment when all of it has expired or it is old; the sealer does the
    /// rest.
    fn close_expired(&self) {
        let view = self.view.load_full();
        let Some(active) = view.active.as_ref().filter(|active| active.key_count() > 0) else {
            return;
        };
        let now_ns = self.context.clock.now_ns();
        let is_old = self.closes_at_ns(active).is_some_and(|at_ns| at_ns <= now_ns);
        if is_old || self.lifetime.is_past(active.last_written_ns()) {
            self.rotate(active);
        }
    }

    /// Drops a closed segment instead of sealing it, when nothing older is left; tells whether.
    pub(super) fn drop_unsealed(&self, segment: &ActiveSegment) -> Result<bool> {
        let is_lowest = self.view.load().sealed.keys().all(|number| *number > segment.number);
        let may_go = is_lowest && self.context.hold.left(&self.context.clock).is_none();
        if may_go {
            self.drop_up_to(segment.number)?;
        }
        Ok(may_go && self.lowest_live() > segment.number)
    }

    /// Moves the mark behind `last`, then removes what is below it. Nothing happens when the time to
    /// live has become longer meanwhile: whoever set it sees everything that had not been dropped by
    /// then.
    pub(super) fn drop_up_to(&self, last: SegmentNumber) -> Result<()> {
        let lowest = last.0.saturating_add(1);
        let next_value_id = self.ids.next();
        if self.keymap.as_ref().is_some_and(|keymap| keymap.complete_up_to() < last) {
            // A crash could still tear a page that was written for these segments, and then nothing
            // would be left that has to be inserted again and so meets it.
            self.mark_all_indexed()?;
        }
        let is_dropped = self.lifetime.change_then(
            |file| {
                file.lowest_segment = file.lowest_segment.max(lowest);
                file.next_value_id = file.next_value_id.max(next_value_id);
                self.view
                    .load()
                    .last_written_up_to_ns(last)
                    .is_none_or(|at_ns| self.lifetime.is_past(at_ns))
            },
            || {
                let _change = self.change.lock();
                let mut changed = View::clone(&self.view.load());
                changed.sealing.retain(|segment| segment.number > last);
                changed.unindexed.retain(|segment| segment.number > last);
                Arc::make_mut(&mut changed.sealed).retain(|number, _| *number > last);
                self.lowest_live.fetch_max(lowest, Ordering::AcqRel);
                self.view.store(Arc::new(changed));
            },
        )?;
        if !is_dropped {
            return Ok(());
        }
        self.signals.note_sealed();
        self.context.descriptors.forget(self.identity.number, |segment| segment <= last);
        self.unlink_below(SegmentNumber(lowest))
    }

    /// Unlinks every file of a segment below the mark. What cannot be unlinked now is tried again
    /// when the table is opened.
    pub(super) fn unlink_below(&self, lowest: SegmentNumber) -> Result<()> {
        for (file, _, path) in self.dirs.list()?.files {
            if file.segment().is_some_and(|segment| segment < lowest)
                && let Err(error) = self.context.disk.unlink(&path)
            {
                log::warn!("table {}: an expired file stays: {error}", self.identity.name);
            }
        }
        Ok(())
    }

    /// When the newest value was written, ns since the epoch; None for a table without values.
    pub(crate) fn last_written_ns(&self) -> Option<u64> {
        let view = self.view.load();
        let sealed = view.sealed.values().map(|sealed| sealed.summary.last_written_at_ns);
        let unsealed = view.unsealed().filter(|segment| segment.key_count() > 0);
        sealed.chain(unsealed.map(|segment| segment.last_written_ns())).max()
    }

    /// When upkeep has something to do next, ns since the epoch: the active segment to be closed,
    /// or the oldest segment to be dropped.
    pub(super) fn upkeep_at_ns(&self) -> Option<u64> {
        self.lifetime.ttl_ns()?;
        let view = self.view.load();
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
        let expires = oldest.or_else(|| active.map(last_written_ns));
        let expires = expires.and_then(|written_at_ns| self.lifetime.expires_at_ns(written_at_ns));
        let closes = active.and_then(|active| self.closes_at_ns(active));
        expires.into_iter().chain(closes).min()
    }
}
