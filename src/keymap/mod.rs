//! The keymap: an on-disk hash table from the fingerprint of a key to where its record stands.
//!
//! It covers sealed segments and is an accelerator: the runs of the segments are the truth, and a
//! keymap that is missing, damaged or of another table is started again empty. It holds 16 bytes
//! per key in pages of 4 KiB, filled to between 0.68 and 0.80; a lookup touches one page.
//!
//! Invariants:
//! - [`Keymap::complete_up_to`] never names a segment whose slots are not synced.
//! - A key that was inserted is found by every later lookup, also while other keys are inserted
//!   and while the map grows, until its segment is below the `lowest_live` of the caller.
//! - Slots that name a segment below `lowest_live` are free space: lookups pass over them, and they
//!   are dropped when an insertion rewrites their page. Expiry does nothing here.
//! - Every change can be applied again: to make good what a crash lost, insert the segments above
//!   `complete_up_to` once more, in order.
//!
//! What it does not do: compare keys (different keys may share a fingerprint, and a caller must
//! verify the key it reads), know tables or segments, or decide when to rebuild.
//!
//! Files: `open` (directory and generations), `file` (one generation, its locks), `pages` (the
//! mapping), `candidates` (what a lookup answers), `change` (what an insertion applies), `window`
//! (pages in memory that changes are applied to), `size` (how large a map should be), `insert`
//! (in place), `grow` (writing anew), `inspect` (looking without changing).
//!
//! Lock order: the writer lock, then page stripes in rising order. Lookups take page stripes only.

mod candidates;
mod change;
mod file;
mod grow;
mod insert;
pub(crate) mod inspect;
mod open;
mod pages;
mod size;
mod window;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_damage;
#[cfg(test)]
mod tests_model;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

pub(crate) use self::candidates::{Candidate, Candidates, Lookup};
pub(crate) use self::change::{Inserted, KeymapChange};

use self::change::{Halt, InOrder, Insertion};
use self::file::MapFile;
use self::insert::insert_in_place;
use self::size::{Rewrite, reason_to_rewrite};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::key_hash::KeyHash;
use crate::format::location::SegmentNumber;

/// Numbers about a keymap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeymapStats {
    /// Pages of 4 KiB that hold slots.
    pub pages: u64,
    /// Slots in use, those of expired segments included that no insertion met yet.
    pub used_slots: u64,
    /// Bytes of the file.
    pub bytes_on_disk: u64,
    /// How often the map was written anew.
    pub generation: u64,
}

/// An open keymap. Any number of threads may look up while one inserts.
#[derive(Debug)]
pub(crate) struct Keymap {
    disk: Disk,
    data_dir: PathBuf,
    table_id: [u8; 16],
    current: ArcSwap<MapFile>,
    /// Keys to make room for at the next insertion.
    reserved_keys: AtomicU64,
    writer: Mutex<WriterState>,
}

/// What only the one writer touches.
#[derive(Debug, Default)]
struct WriterState {
    /// The first failed sync. The file was given up, so it takes nothing more and claims nothing.
    sync_failure: Option<String>,
}

impl Keymap {
    /// The places where a key may stand in segments from `lowest_live` on.
    #[inline]
    pub(crate) fn lookup(&self, hash: KeyHash, lowest_live: SegmentNumber) -> Lookup {
        self.lookup_fingerprint(hash.fingerprint(), lowest_live)
    }

    fn lookup_fingerprint(&self, fingerprint: u64, lowest_live: SegmentNumber) -> Lookup {
        self.current.load().lookup(fingerprint, lowest_live)
    }

    /// Applies changes, in their order for each fingerprint, and lets the map grow when it needs
    /// to. `live_keys_estimate` counts the keys of all live sealed segments, these changes
    /// included. When `abort` is set, it stops at the next stretch of pages.
    ///
    /// After an error, too, some changes may be in the map; insert all of them again. Needs 16 bytes
    /// of memory for each change, beside the changes themselves.
    pub(crate) fn insert(
        &self,
        changes: &[KeymapChange],
        lowest_live: SegmentNumber,
        live_keys_estimate: u64,
        abort: &AtomicBool,
    ) -> Result<Inserted> {
        let writer = self.writer.lock();
        self.refuse_after_failed_sync(&writer)?;
        let keys = live_keys_estimate.max(self.reserved_keys.load(Ordering::Relaxed));
        let changes = InOrder::new(changes);
        match self.insert_or_grow(&Insertion { changes, lowest_live, keys, abort }) {
            Ok(()) => Ok(Inserted::All),
            Err(Halt::Aborted) => Ok(Inserted::Aborted),
            Err(Halt::Failed(error)) => Err(error),
            Err(Halt::Crowded { page }) => {
                let map = self.current.load();
                let reason = format!("page {page} stays full however large the map is made");
                Err(Error::corrupt(map.file().path(), file::page_offset(page), reason))
            }
        }
    }

    fn insert_or_grow(&self, insertion: &Insertion<'_>) -> Result<(), Halt> {
        let map = self.current.load_full();
        let additions = insertion.changes.additions();
        let (pages, used) = (map.home_pages(), map.used_slots());
        if let Some(reason) = reason_to_rewrite(pages, used, insertion.keys, additions)
            && self.rewrite(&map, reason, insertion)?
        {
            return Ok(());
        }
        match insert_in_place(&map, insertion) {
            Err(Halt::Crowded { .. }) => {
                self.rewrite(&map, Rewrite::Crowded, insertion).map(|_rewritten| ())
            }
            other => other,
        }
    }

    /// Writes the map anew and uses that from here on; whether there was a reason to.
    fn rewrite(
        &self,
        old: &MapFile,
        reason: Rewrite,
        insertion: &Insertion<'_>,
    ) -> Result<bool, Halt> {
        let anew = grow::rewrite(&self.disk, &self.data_dir, old, reason, insertion)?;
        let is_new = anew.is_some();
        if let Some(map) = anew {
            self.publish(map);
        }
        Ok(is_new)
    }

    /// Puts an empty map, complete up to nothing, in the place of the current one.
    fn start_empty(&self) -> Result<()> {
        let generation = self.current.load().generation() + 1;
        self.publish(grow::build_empty(&self.disk, &self.data_dir, self.table_id, generation)?);
        Ok(())
    }

    /// From the next insertion on the map has room for at least this many keys, so that filling
    /// it does not grow it step by step. Holds until the keymap is closed or told otherwise; 0
    /// lets it be as small as it may.
    pub(crate) fn reserve(&self, expected_keys: u64) {
        self.reserved_keys.store(expected_keys, Ordering::Relaxed);
    }

    /// Every segment up to this one was inserted and synced; 0 for none.
    pub(crate) fn complete_up_to(&self) -> SegmentNumber {
        self.current.load().complete_up_to()
    }

    /// Has pages come from the drive again, before anything was looked up. Whoever wrote them last may
    /// have been killed after the drive had refused them: a page that memory shows with all that is
    /// to be inserted would not be written again, and yet be claimed.
    pub(crate) fn forget_cached(&self) {
        self.current.load().file().forget_cached();
    }

    /// Says that every segment up to `segment` was inserted, and makes that durable.
    pub(crate) fn mark_complete(&self, segment: SegmentNumber) -> Result<()> {
        self.persist(|map| map.complete_up_to().max(segment))
    }

    /// Makes the pages durable without claiming more.
    #[cfg(test)]
    pub(crate) fn sync(&self) -> Result<()> {
        self.persist(MapFile::complete_up_to)
    }

    fn persist(&self, complete_up_to: impl Fn(&MapFile) -> SegmentNumber) -> Result<()> {
        let mut writer = self.writer.lock();
        self.refuse_after_failed_sync(&writer)?;
        let map = self.current.load();
        self.sync_pages(&map, &mut writer)?;
        let header = map.write_next_header(complete_up_to(&map))?;
        self.sync_pages(&map, &mut writer)?;
        map.take_header(&header);
        Ok(())
    }

    /// Syncs, and gives the file up when that fails: the kernel may then hold pages that it takes
    /// for written though the drive has never seen them, so that even inserting them again, now or
    /// after reopening, would not bring them there. Lookups go on in the unlinked file.
    fn sync_pages(&self, map: &MapFile, writer: &mut WriterState) -> Result<()> {
        map.sync().inspect_err(|error| {
            writer.sync_failure = Some(error.to_string());
            grow::discard(&self.disk, map.file().path());
        })
    }

    /// Starts again empty, complete up to nothing: the first step of a rebuild, after damage or a
    /// failed sync. Until the segments are inserted again, lookups do not know them.
    pub(crate) fn clear(&self) -> Result<()> {
        let mut writer = self.writer.lock();
        self.start_empty()?;
        writer.sync_failure = None;
        Ok(())
    }

    /// Whether a lookup or an insertion met a damaged page, so that the map should be rebuilt.
    pub(crate) fn is_damaged(&self) -> bool {
        self.current.load().is_damaged()
    }

    /// Reads and verifies every page and counts the slots of segments from `lowest_live` on.
    #[cfg(test)]
    pub(crate) fn count_live(&self, lowest_live: SegmentNumber) -> Result<u64> {
        // The writer lock keeps pages from changing between their reads.
        let _writer = self.writer.lock();
        grow::count_live(&self.current.load(), lowest_live, &AtomicBool::new(false)).map_err(
            |stop| match stop {
                Halt::Failed(error) => error,
                Halt::Aborted | Halt::Crowded { .. } => Error::Closed,
            },
        )
    }

    pub(crate) fn stats(&self) -> Result<KeymapStats> {
        let map = self.current.load();
        Ok(KeymapStats {
            pages: u64::from(map.all_pages()),
            used_slots: map.used_slots(),
            bytes_on_disk: map.file().len()?,
            generation: map.generation(),
        })
    }

    fn refuse_after_failed_sync(&self, writer: &WriterState) -> Result<()> {
        match &writer.sync_failure {
            None => Ok(()),
            Some(reason) => {
                let table = self.data_dir.ancestors().nth(2).and_then(|path| path.file_name());
                let table = table.unwrap_or_default().to_string_lossy().into_owned();
                Err(Error::Poisoned { table, reason: reason.clone() })
            }
        }
    }

    /// Puts another generation in the place of the current one and removes the file of that.
    /// Lookups under way finish in the old one.
    fn publish(&self, map: MapFile) {
        let old = self.current.swap(Arc::new(map));
        grow::discard(&self.disk, old.file().path());
    }
}
