//! The segments of a table: which there are, which takes writes, which are gone.
//!
//! What is readable at one moment is an immutable [`View`]; this is the only place that replaces it,
//! and each way of replacing it is a method here. Readers load it and keep what they took.
//!
//! Three locks, taken in this order: `change` over a replacement of the view and over opening a
//! segment, never over sealing; `spare_io` over the making of a segment; the gate of the active
//! segment, for reading over each write, for writing to close it.

mod opening;
mod placement;
mod reading;
mod spare;
mod writing;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use super::active::ActiveSegment;
use super::context::Context;
use super::health::Health;
use super::identity::TableIdentity;
use super::lifetime::Lifetime;
use super::sealed::{SealedSegment, SealedSegments};
use super::signals::TableSignals;
use super::usage::Usage;
use super::view::View;
use crate::error::Result;
use crate::format::location::SegmentNumber;
use crate::layout::segment_files::SegmentDirs;

/// The segments of one table.
#[derive(Debug)]
pub(super) struct Segments {
    identity: Arc<TableIdentity>,
    context: Arc<Context>,
    health: Arc<Health>,
    lifetime: Arc<Lifetime>,
    signals: Arc<TableSignals>,
    dirs: SegmentDirs,
    view: ArcSwap<View>,
    change: Mutex<()>,
    /// The segment after the active one, when it was made already; locked over the making.
    spare_io: Mutex<Option<Arc<ActiveSegment>>>,
    /// The number of the segment that is made next.
    next: AtomicU32,
    /// Segments below it are gone for good.
    lowest_live: AtomicU32,
}

/// What the segments of a table are made of.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) identity: &'a Arc<TableIdentity>,
    pub(super) context: &'a Arc<Context>,
    pub(super) health: &'a Arc<Health>,
    pub(super) lifetime: &'a Arc<Lifetime>,
    pub(super) signals: &'a Arc<TableSignals>,
}

impl Segments {
    /// None yet; those below `lowest` are gone.
    pub(super) fn new(around: &Surroundings<'_>, dirs: SegmentDirs, lowest: SegmentNumber) -> Self {
        Self {
            identity: Arc::clone(around.identity),
            context: Arc::clone(around.context),
            health: Arc::clone(around.health),
            lifetime: Arc::clone(around.lifetime),
            signals: Arc::clone(around.signals),
            dirs,
            view: ArcSwap::default(),
            change: Mutex::default(),
            spare_io: Mutex::default(),
            next: AtomicU32::new(lowest.0),
            lowest_live: AtomicU32::new(lowest.0),
        }
    }

    /// What is readable now, for a short look.
    pub(super) fn view(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    /// What is readable now, to be kept over I/O.
    pub(super) fn view_to_keep(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Where the files of segments are.
    pub(super) fn dirs(&self) -> &SegmentDirs {
        &self.dirs
    }

    /// Segments below it are gone for good.
    pub(super) fn lowest_live(&self) -> SegmentNumber {
        SegmentNumber(self.lowest_live.load(Ordering::Acquire))
    }

    /// Replaces the view.
    fn change(&self, change: impl FnOnce(&mut View)) {
        let _change = self.change.lock();
        self.change_locked(change);
    }

    /// Replaces the view; called with `change` locked.
    fn change_locked(&self, change: impl FnOnce(&mut View)) {
        let mut changed = View::clone(&self.view.load());
        change(&mut changed);
        self.view.store(Arc::new(changed));
    }

    /// The segments found on disk when the table is opened, and one more that nothing was stored in.
    pub(super) fn begin_with(&self, view: View, spare: Option<Arc<ActiveSegment>>) {
        *self.spare_io.lock() = spare;
        self.view.store(Arc::new(view));
    }

    /// A segment of this number is on disk: the next one has a higher number.
    pub(super) fn note_number(&self, number: SegmentNumber) {
        self.next.fetch_max(number.0.saturating_add(1), Ordering::AcqRel);
    }

    /// Swaps a sealed segment in for the memtable it was.
    pub(super) fn show_sealed(&self, sealed: &Arc<SealedSegment>, is_indexed: bool) {
        self.change(|view| {
            view.sealing.retain(|sealing| sealing.number() != sealed.number);
            Arc::make_mut(&mut view.sealed).insert(sealed.number, Arc::clone(sealed));
            if !is_indexed {
                view.unindexed.insert(0, Arc::clone(sealed));
            }
        });
        self.signals.note_sealed();
    }

    /// Leaves a closed segment that holds nothing, on a drive that has failed, to whoever opens the
    /// table next.
    pub(super) fn forget_unused(&self, number: SegmentNumber) {
        self.change(|view| view.sealing.retain(|sealing| sealing.number() != number));
        self.signals.note_sealed();
    }

    /// Shows nothing any more of the segments up to `last`, whose going is durable.
    pub(super) fn hide_up_to(&self, last: SegmentNumber) {
        self.change(|view| {
            view.sealing.retain(|segment| segment.number() > last);
            view.unindexed.retain(|segment| segment.number > last);
            Arc::make_mut(&mut view.sealed).retain(|number, _| *number > last);
            self.lowest_live.fetch_max(last.0.saturating_add(1), Ordering::AcqRel);
        });
        self.signals.note_sealed();
    }

    /// The oldest segment that waits to be sealed.
    pub(super) fn oldest_closed(&self) -> Option<Arc<ActiveSegment>> {
        self.view.load().sealing.last().map(Arc::clone)
    }

    /// From now on lookups search the runs of all sealed segments instead of the index; which these
    /// are.
    pub(super) fn search_all_runs(&self) -> SealedSegments {
        let _change = self.change.lock();
        self.change_locked(|view| {
            view.unindexed = view.sealed.values().rev().map(Arc::clone).collect();
        });
        Arc::clone(&self.view.load().sealed)
    }

    /// The index covers these segments: their runs need not be searched.
    pub(super) fn note_indexed(&self, sealed: &SealedSegments) {
        self.change(|view| view.unindexed.retain(|segment| !sealed.contains_key(&segment.number)));
    }

    /// Runs `end` if there is no segment at all, in which case none can come meanwhile; tells
    /// whether it did.
    pub(super) fn end_if_none(&self, end: impl FnOnce()) -> bool {
        let _change = self.change.lock();
        let is_none = self.view.load().is_empty();
        if is_none {
            end();
        }
        is_none
    }

    /// Unlinks every file of a segment below the mark. What cannot be unlinked now is tried again
    /// when the table is opened.
    pub(super) fn unlink_gone(&self) -> Result<()> {
        let lowest = self.lowest_live();
        self.context.descriptors.forget(self.identity.number, |segment| segment < lowest);
        for (file, path) in self.dirs.list()?.files {
            if file.segment().is_some_and(|segment| segment < lowest)
                && let Err(error) = path.unlink()
            {
                log::warn!("table {}: an expired file stays: {error}", self.identity.name);
            }
        }
        Ok(())
    }

    /// Keys and bytes in all segments.
    pub(super) fn usage(&self) -> Usage {
        self.view.load().usage()
    }
}
