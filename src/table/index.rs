//! Where a key is in the sealed segments: through the keymap, or through the runs where that does not
//! reach.
//!
//! The keymap is kept complete segment by segment as they are sealed, and from all runs when it has to
//! be made anew. Up to its mark it covers everything; what it lacks behind that, lookups search the
//! runs for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::active::ActiveSegment;
use super::context::Context;
use super::identity::TableIdentity;
use super::sealed::{RunFiles, SealedSegment};
use super::signals::TableSignals;
use super::view::View;
use crate::error::{Error, Result};
use crate::format::entry::Mention;
use crate::format::key_hash::KeyHash;
use crate::format::location::SegmentNumber;
use crate::format::sort_key::{plain_key, sort_key};
use crate::keymap::{Inserted, Keymap, KeymapChange, KeymapStats, Lookup};
use crate::names::Run;
use crate::sync::{SyncSender, scope, sync_channel};

/// Changes gathered before they are inserted in page order: about 40 MiB, and twice that while the
/// next ones are gathered, however large the table.
const BATCH_CHANGES: usize = 1 << 20;
/// The mark "complete up to" is moved after this many segments: each time costs a sync of the
/// pages written since, and a crash costs inserting this many segments again.
const MARK_SEGMENTS: u32 = 8;

/// Keymap and runs of one table.
#[derive(Debug)]
pub(super) struct Index {
    identity: Arc<TableIdentity>,
    context: Arc<Context>,
    signals: Arc<TableSignals>,
    run_files: RunFiles,
    /// `None` when the database is open read-only and there is none that can be used.
    keymap: Option<Keymap>,
    /// The first sealed segment whose run could not be read; `u32::MAX` for none.
    unreadable_from: AtomicU32,
}

impl Index {
    pub(super) fn new(
        identity: &Arc<TableIdentity>,
        context: &Arc<Context>,
        signals: &Arc<TableSignals>,
        run_files: RunFiles,
        keymap: Option<Keymap>,
    ) -> Self {
        Self {
            identity: Arc::clone(identity),
            context: Arc::clone(context),
            signals: Arc::clone(signals),
            run_files,
            keymap,
            unreadable_from: AtomicU32::new(u32::MAX),
        }
    }

    /// The names in a sealed segment.
    pub(super) fn run(&self, segment: &SealedSegment) -> Result<Arc<Run>> {
        segment.run(&self.run_files)
    }

    /// What the keymap knows of a key; `None` without a keymap.
    pub(super) fn lookup(&self, hash: KeyHash, lowest_live: SegmentNumber) -> Option<Lookup> {
        let lookup = self.keymap.as_ref()?.lookup(hash, lowest_live);
        if lookup == Lookup::Damaged && !self.context.read_only {
            self.signals.ask_for_rebuild();
        }
        Some(lookup)
    }

    /// The first mention of a key in the runs of these segments.
    pub(super) fn find_in_runs<'s>(
        &self,
        newest_first: impl Iterator<Item = &'s Arc<SealedSegment>>,
        key: &[u8],
    ) -> Result<Option<Mention>> {
        let sort_key = sort_key(key);
        for segment in newest_first {
            if let Some(mention) = self.run(segment)?.get(&sort_key)? {
                return Ok(Some(mention));
            }
        }
        Ok(None)
    }

    /// Size and fill of the keymap, if there is one.
    pub(super) fn stats(&self) -> Result<Option<KeymapStats>> {
        self.keymap.as_ref().map(Keymap::stats).transpose()
    }

    /// Whether the keymap durably covers this segment, or there is no keymap.
    pub(super) fn is_marked(&self, segment: SegmentNumber) -> bool {
        self.keymap.as_ref().is_none_or(|keymap| keymap.complete_up_to() >= segment)
    }

    /// Inserts a closed segment from its memtable; `false` when the keymap could not take it, which
    /// the runs then make good.
    pub(super) fn insert_memtable(
        &self,
        segment: &ActiveSegment,
        view: &View,
        lowest_live: SegmentNumber,
    ) -> Result<bool> {
        let mut changes = Vec::with_capacity(segment.memtable().len());
        for (sort_key, mention) in segment.memtable().in_order() {
            changes.extend(self.change_of(&sort_key, &mention));
        }
        let live_keys = key_count(view.sealed.values()) + changes.len() as u64;
        if !view.unindexed.is_empty() || !self.insert(&changes, lowest_live, live_keys)? {
            return Ok(false);
        }
        let marked = self.keymap()?.complete_up_to();
        if segment.number().0 >= marked.0.saturating_add(MARK_SEGMENTS) {
            self.mark_indexed(segment.number())?;
        }
        Ok(true)
    }

    /// The keymap of a table that takes writes.
    fn keymap(&self) -> Result<&Keymap> {
        self.keymap.as_ref().ok_or(Error::ReadOnly)
    }

    /// The sealed segments that the keymap does not cover, newest first.
    pub(super) fn above_mark(
        &self,
        sealed: &BTreeMap<SegmentNumber, Arc<SealedSegment>>,
    ) -> Vec<Arc<SealedSegment>> {
        let marked = self.keymap.as_ref().map_or(0, |keymap| keymap.complete_up_to().0);
        let missing = sealed.range(SegmentNumber(marked.saturating_add(1))..);
        missing.rev().map(|(_, segment)| Arc::clone(segment)).collect()
    }

    fn change_of(&self, sort_key: &[u8], mention: &Mention) -> Option<KeymapChange> {
        let fingerprint = self.identity.hash(&plain_key(sort_key)).fingerprint();
        match mention {
            Mention::Put(entry) => Some(KeymapChange::Put {
                fingerprint,
                location: entry.location,
                record_bytes: entry.record_bytes,
                supersedes: entry.supersedes,
            }),
            Mention::Removed { supersedes } => {
                supersedes.map(|location| KeymapChange::Remove { fingerprint, location })
            }
        }
    }

    /// `false` when it was told to stop, has no room or is damaged; then some changes may be in it.
    fn insert(
        &self,
        changes: &[KeymapChange],
        lowest_live: SegmentNumber,
        live_keys: u64,
    ) -> Result<bool> {
        match self.keymap()?.insert(changes, lowest_live, live_keys, self.signals.stopping()) {
            Ok(Inserted::All) => Ok(true),
            Ok(Inserted::Aborted) => Ok(false),
            Err(error) if error.is_no_space() => {
                log::warn!("table {}: the keymap falls behind: {error}", self.identity.name);
                Ok(false)
            }
            // A power cut can tear a page that was being written, at this opening or before it.
            Err(damage @ Error::Corrupt { .. }) => {
                log::warn!("table {}: {damage}", self.identity.name);
                self.signals.ask_for_rebuild();
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Moves the mark, but not past a run that could not be read: what passes is tried again with
    /// the next open.
    fn mark_indexed(&self, segment: SegmentNumber) -> Result<()> {
        let keymap = self.keymap()?;
        let unreadable_from = self.unreadable_from.load(Ordering::Acquire);
        let readable = SegmentNumber(segment.0.min(unreadable_from.saturating_sub(1)));
        if readable <= keymap.complete_up_to() {
            return Ok(());
        }
        keymap.mark_complete(readable)
    }

    /// Moves the mark as far as everything is inserted: at a clean close, and before segments are
    /// dropped that it does not cover.
    pub(super) fn mark_all(&self, view: &View) -> Result<()> {
        let keymap = self.keymap()?;
        let last = view.sealed.keys().next_back();
        match last.filter(|last| **last > keymap.complete_up_to()) {
            Some(last) if view.unindexed.is_empty() && !keymap.is_damaged() => {
                self.mark_indexed(*last)
            }
            _ => Ok(()),
        }
    }

    /// Inserts what is above the mark, from the runs, in order; `false` when not all of it could be
    /// inserted.
    pub(super) fn catch_up(
        &self,
        sealed: &BTreeMap<SegmentNumber, Arc<SealedSegment>>,
        lowest_live: SegmentNumber,
    ) -> Result<bool> {
        let keymap = self.keymap()?;
        let marked = keymap.complete_up_to();
        let missing: Vec<_> = sealed.range(SegmentNumber(marked.0.saturating_add(1))..).collect();
        if missing.is_empty() {
            return Ok(true);
        }
        let live_keys = key_count(sealed.values());
        if marked.0 == 0 {
            keymap.reserve(live_keys);
        }
        let segments: Vec<&SealedSegment> =
            missing.iter().map(|(_, segment)| &***segment).collect();
        let (batches, received) = sync_channel(0);
        // Reading and hashing the names goes on while the batch before is inserted.
        let is_inserted = scope(|scope| {
            scope.spawn(move || self.read_changes(&segments, &batches));
            // Taken whole, so that it goes, and lets the reader end, when an insertion fails.
            for changes in received {
                if !self.insert(&changes, lowest_live, live_keys)? {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        if let Some((last, _)) = missing.last().filter(|_| is_inserted) {
            self.mark_indexed(**last)?;
        }
        Ok(is_inserted)
    }

    /// Hands on what the runs of these segments say, in their order, until nobody takes it.
    fn read_changes(&self, segments: &[&SealedSegment], batches: &SyncSender<Vec<KeymapChange>>) {
        let mut changes = Vec::new();
        for segment in segments {
            if let Err(error) = self.read_run(segment, &mut changes) {
                self.unreadable_from.fetch_min(segment.number.0, Ordering::AcqRel);
                log::error!(
                    "table {}: some keys of segment {} cannot be found: {error}; run `littfs check`",
                    self.identity.name,
                    segment.number
                );
            }
            if changes.len() >= BATCH_CHANGES && batches.send(std::mem::take(&mut changes)).is_err()
            {
                return;
            }
        }
        // Nobody takes it when an insertion has failed, and then that is the answer.
        drop(batches.send(changes));
    }

    fn read_run(&self, segment: &SealedSegment, changes: &mut Vec<KeymapChange>) -> Result<()> {
        let run = self.run(segment)?;
        let mut scan = run.scan_all()?;
        while let Some((sort_key, mention)) = scan.next()? {
            changes.extend(self.change_of(sort_key, &mention));
        }
        Ok(())
    }

    /// Empties the keymap, to be made anew.
    pub(super) fn clear(&self) -> Result<()> {
        log::warn!("table {}: the keymap is damaged and is made anew", self.identity.name);
        self.keymap()?.clear()
    }

    /// Has what is read of the keymap come from the drive, if anything is to be inserted.
    pub(super) fn forget_cached(&self, sealed: &BTreeMap<SegmentNumber, Arc<SealedSegment>>) {
        if let Some(keymap) = &self.keymap
            && !self.above_mark(sealed).is_empty()
        {
            keymap.forget_cached();
        }
    }
}

/// Names in sealed segments.
fn key_count<'s>(sealed: impl Iterator<Item = &'s Arc<SealedSegment>>) -> u64 {
    sealed.map(|segment| segment.summary.files + segment.summary.folders).sum()
}
