//! The segment after the active one, made before it is needed.
//!
//! Making a segment takes several syncs, and while drives are busy each can take a tenth of a
//! second. So upkeep makes the next one when the active one is half full, and a writer that finds
//! the active one full only swaps it in. A spare is a segment like any other, with nothing in it;
//! it is removed when the table is closed, and found again after a crash.
//!
//! Numbers are handed out and segments made under one lock: of two segments the one with the
//! higher number takes writes later, on which supersession, expiry and the keymap's mark rely.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Segments;
use crate::error::Result;
use crate::format::location::SegmentNumber;
use crate::format::segment_metadata::SegmentMetadata;
use crate::root_id::RootId;
use crate::table::active::ActiveSegment;

impl Segments {
    /// Has the next segment made when the active one is half full.
    pub(super) fn ask_for_spare(&self, active: &ActiveSegment) {
        if active.ask_for_successor(&self.context.engine) {
            self.signals.wake_upkeep();
        }
    }

    /// Makes the spare that was asked for.
    pub(in crate::table) fn make_spare(&self) -> Result<()> {
        let view = self.view.load();
        let is_asked = view.active.as_ref().is_some_and(|active| active.is_successor_asked());
        let mut spare = self.spare_io.lock();
        if is_asked && spare.is_none() {
            *spare = Some(self.make_segment()?);
        }
        Ok(())
    }

    /// The segment that takes writes next: the spare, or one that is made now.
    pub(super) fn next_segment(&self) -> Result<Arc<ActiveSegment>> {
        let mut spare = self.spare_io.lock();
        if let Some(failed) = spare.take_if(|spare| self.is_on_failed_root(spare)) {
            self.remove_blank(&failed);
        }
        match spare.take() {
            Some(spare) => {
                spare.begin_use(self.context.clock.now_ns());
                Ok(spare)
            }
            None => self.make_segment(),
        }
    }

    /// Called with `spare_io` locked. A root that refuses its part is left out from then on, and the
    /// others are asked.
    fn make_segment(&self) -> Result<Arc<ActiveSegment>> {
        loop {
            let failed_before = self.failed_roots();
            match self.try_make_segment() {
                Err(error) if !error.is_sync() => {
                    self.health.blame_drive(&error);
                    if self.failed_roots() == failed_before {
                        return Err(error);
                    }
                }
                other => return other.inspect_err(|error| self.health.poison_if_sync(error)),
            }
        }
    }

    fn failed_roots(&self) -> usize {
        let roots = &self.context.roots;
        roots.ids().filter(|root| roots.is_failed(*root)).count()
    }

    fn try_make_segment(&self) -> Result<Arc<ActiveSegment>> {
        // The number is used up even if this fails half-way: files of it may be there.
        let number = SegmentNumber(self.next.fetch_add(1, Ordering::AcqRel));
        let shards = self.lifetime.shards();
        let roots = self.place(usize::from(shards), number)?;
        // Keys and metadata stay in the first root while it takes files.
        let keys_root = roots.iter().copied().min().unwrap_or(RootId::FIRST);
        let metadata = SegmentMetadata {
            table_id: self.identity.id,
            segment: number,
            shards,
            salt: self.identity.salt,
            opened_at_ns: self.context.clock.now_ns(),
            sealed: None,
        };
        ActiveSegment::create(&self.dirs, metadata, keys_root, &roots).map(Arc::new)
    }

    /// Whether any of its shards is on a root that has failed.
    pub(in crate::table) fn is_on_failed_root(&self, segment: &ActiveSegment) -> bool {
        segment.roots().any(|root| self.context.roots.is_failed(root))
    }

    /// Removes the spare: the table is being closed, or a drive it is on may have failed.
    pub(in crate::table) fn discard_spare(&self) {
        let spare = self.spare_io.lock().take();
        if let Some(spare) = spare {
            self.remove_blank(&spare);
        }
    }

    /// Removes the files of a segment in which nothing was ever stored. What stays, on a drive that
    /// has failed, is a spare to whoever opens the table next.
    fn remove_blank(&self, segment: &ActiveSegment) {
        // The metadata first, durably: without it the rest is cleared away when the table is
        // opened, with it the rest is required.
        let metadata = segment.metadata_path();
        if let Err(error) = metadata.unlink().and_then(|()| metadata.sync_parent()) {
            if !self.is_on_failed_root(segment) {
                self.health.poison_if_sync(&error);
            }
            log::warn!("table {}: an unused segment stays: {error}", self.identity.name);
            return;
        }
        for path in segment.other_paths() {
            if let Err(error) = path.unlink() {
                log::warn!("table {}: an unused file stays: {error}", self.identity.name);
            }
        }
    }
}
