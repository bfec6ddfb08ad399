//! One generation of the keymap: an open file, its mapping, and the locks between readers and the
//! one writer.
//!
//! Invariants:
//! - Pages are read under the read lock of their stripe and written, whole, under its write lock.
//! - Whoever holds more than one stripe took them in rising order of their index, so that a reader
//!   that follows a chain over a stripe border and the writer cannot wait for each other.
//! - All pages that one change touches are written under locks that are held together, so a reader
//!   that follows a chain sees it before or after the change.
//! - The checksum of a page is verified before the first slot of it is believed.
//! - There is one writer at a time (`Keymap` sees to that); only it calls the methods that write.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::candidates::{Candidates, Lookup};
use super::pages::{MappedPage, MappedPages};
use crate::disk::DiskFile;
use crate::error::{Error, Result};
use crate::format::keymap_header::{HEADER_PAGES, KeymapHeader};
use crate::format::keymap_page::{
    self as page, CHAIN_PAGES_MAX, PAGE_BYTES, PageBytes, TAIL_PAGES,
};
use crate::format::location::SegmentNumber;

/// Stripes of page locks.
const STRIPES: u32 = 64;
/// Neighbouring pages that share a stripe; no chain reaches further than into the next group.
const STRIPE_PAGES: u32 = 16;

const _: () = assert!(CHAIN_PAGES_MAX <= STRIPE_PAGES);

/// A lock on a cache line of its own, so that readers of different stripes do not disturb each
/// other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct PageStripe(RwLock<()>);

/// An open keymap file.
#[derive(Debug)]
pub(super) struct MapFile {
    file: DiskFile,
    mapped: MappedPages,
    table_id: [u8; 16],
    generation: u64,
    home_pages: u32,
    /// Of the header on disk; moves only with it.
    sequence: AtomicU64,
    complete_up_to: AtomicU32,
    used_slots: AtomicU64,
    stripes: Vec<PageStripe>,
    /// One bit per page: its checksum was right when it was first read, or it was written since.
    verified: Vec<AtomicU64>,
    damaged: AtomicBool,
}

impl MapFile {
    /// Takes a file whose header was read; the file must be as long as the header says.
    pub(super) fn new(file: DiskFile, header: &KeymapHeader) -> Result<Self> {
        let expected = header.file_bytes();
        let found = file.len()?;
        if found != expected {
            let reason = format!("it has {found} bytes, {expected} expected");
            return Err(Error::corrupt(file.path(), found.min(expected), reason));
        }
        let pages = (HEADER_PAGES as usize) + (header.home_pages as usize) + (TAIL_PAGES as usize);
        Ok(Self {
            mapped: MappedPages::new(&file, pages)?,
            table_id: header.table_id,
            generation: header.generation,
            home_pages: header.home_pages,
            sequence: AtomicU64::new(header.sequence),
            complete_up_to: AtomicU32::new(header.complete_up_to.0),
            used_slots: AtomicU64::new(header.used_slots),
            stripes: (0..STRIPES).map(|_| PageStripe::default()).collect(),
            verified: (0..pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            damaged: AtomicBool::new(false),
            file,
        })
    }

    pub(super) fn file(&self) -> &DiskFile {
        &self.file
    }

    pub(super) fn table_id(&self) -> [u8; 16] {
        self.table_id
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn home_pages(&self) -> u32 {
        self.home_pages
    }

    /// Home pages and tail pages.
    pub(super) fn all_pages(&self) -> u32 {
        self.home_pages + TAIL_PAGES
    }

    pub(super) fn used_slots(&self) -> u64 {
        self.used_slots.load(Ordering::Relaxed)
    }

    /// Counts the change of used slots in pages that were rewritten.
    pub(super) fn count_used(&self, before: u64, after: u64) {
        let used = self.used_slots().saturating_add(after).saturating_sub(before);
        self.used_slots.store(used, Ordering::Relaxed);
    }

    pub(super) fn complete_up_to(&self) -> SegmentNumber {
        SegmentNumber(self.complete_up_to.load(Ordering::Acquire))
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// The header that states what this file holds now.
    fn header(&self, sequence: u64, complete_up_to: SegmentNumber) -> KeymapHeader {
        KeymapHeader {
            table_id: self.table_id,
            generation: self.generation,
            sequence,
            home_pages: self.home_pages,
            complete_up_to,
            used_slots: self.used_slots(),
        }
    }

    /// Makes what was written so far durable.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data()
    }

    /// Writes the header copy that is not the current one. It counts once it is synced, and must
    /// claim only what was synced before.
    pub(super) fn write_next_header(&self, complete_up_to: SegmentNumber) -> Result<KeymapHeader> {
        let sequence = self.sequence.load(Ordering::Relaxed) + 1;
        let header = self.header(sequence, complete_up_to);
        write_header(&self.file, &header)?;
        Ok(header)
    }

    /// Takes a header that was written and synced for the current one.
    pub(super) fn take_header(&self, header: &KeymapHeader) {
        self.sequence.store(header.sequence, Ordering::Relaxed);
        self.complete_up_to.store(header.complete_up_to.0, Ordering::Release);
    }

    /// The live slots of a fingerprint.
    pub(super) fn lookup(&self, fingerprint: u64, lowest_live: SegmentNumber) -> Lookup {
        let home = page::home_page(fingerprint, self.home_pages);
        let mut found = Candidates::default();
        {
            let _read = self.read_lock(home);
            match self.search(home, fingerprint, lowest_live, &mut found) {
                ChainStep::Ended => return Lookup::Found(found),
                ChainStep::Damaged => return Lookup::Damaged,
                ChainStep::GoesOn => {}
            }
        }
        self.lookup_chain(home, fingerprint, lowest_live)
    }

    /// A lookup over several pages, all locked together: a slot that moves from one to another
    /// while they are searched would otherwise be missed.
    #[cold]
    fn lookup_chain(&self, home: u32, fingerprint: u64, lowest_live: SegmentNumber) -> Lookup {
        let _read = self.read_lock_chain(home);
        let mut found = Candidates::default();
        for number in home..home.saturating_add(CHAIN_PAGES_MAX) {
            match self.search(number, fingerprint, lowest_live, &mut found) {
                ChainStep::Ended => return Lookup::Found(found),
                ChainStep::Damaged => return Lookup::Damaged,
                ChainStep::GoesOn => {}
            }
        }
        // The last page may overflow for the chain of a later home page; this one ends here.
        Lookup::Found(found)
    }

    /// Searches one page; the caller holds its stripe.
    fn search(
        &self,
        number: u32,
        fingerprint: u64,
        lowest_live: SegmentNumber,
        found: &mut Candidates,
    ) -> ChainStep {
        let Some(mapped) = self.mapped_page(number) else {
            self.report_damage(number, "it is not in the file");
            return ChainStep::Damaged;
        };
        if !self.is_verified(number) && !self.verify(number, mapped) {
            return ChainStep::Damaged;
        }
        // Asked for before the slots are, so that the two cache misses overlap.
        let overflows = page::overflows_by_words(|index| mapped.word(index));
        let mut fits = true;
        page::probe(
            fingerprint,
            |index| mapped.slot(index),
            |_, slot| {
                if slot.segment() >= lowest_live {
                    fits &= found.add(slot);
                }
            },
        );
        if !fits {
            self.report_damage(number, "too many slots of one fingerprint, or of no known size");
            ChainStep::Damaged
        } else if overflows {
            ChainStep::GoesOn
        } else {
            ChainStep::Ended
        }
    }

    fn mapped_page(&self, number: u32) -> Option<MappedPage<'_>> {
        self.mapped.page((HEADER_PAGES as usize) + (number as usize))
    }

    #[cold]
    fn verify(&self, number: u32, mapped: MappedPage<'_>) -> bool {
        match page::verify(&mapped.copy(), number) {
            Ok(()) => {
                self.set_verified(number, true);
                true
            }
            Err(malformed) => {
                let error = malformed.in_file(self.file.path(), page_offset(number));
                self.report_damage(number, &error.to_string());
                false
            }
        }
    }

    /// Logs damage once for the file; lookups go on to answer it.
    #[cold]
    pub(super) fn report_damage(&self, number: u32, reason: &str) {
        if !self.damaged.swap(true, Ordering::Relaxed) {
            log::warn!(
                "keymap {}: page {number} is damaged and will be rebuilt: {reason}",
                self.file.path().display()
            );
        }
    }

    fn is_verified(&self, number: u32) -> bool {
        let bit = number as usize;
        self.verified
            .get(bit / 64)
            .is_some_and(|word| word.load(Ordering::Relaxed) >> (bit % 64) & 1 == 1)
    }

    fn set_verified(&self, number: u32, verified: bool) {
        let bit = number as usize;
        if let Some(word) = self.verified.get(bit / 64) {
            if verified {
                word.fetch_or(1 << (bit % 64), Ordering::Relaxed);
            } else {
                word.fetch_and(!(1 << (bit % 64)), Ordering::Relaxed);
            }
        }
    }

    /// Reads `pages` from page `first` on. The writer needs no lock: nobody else writes.
    pub(super) fn read_pages(&self, first: u32, pages: &mut [PageBytes]) -> Result<()> {
        self.file.read_exact_at(pages.as_flattened_mut(), page_offset(first))
    }

    /// Writes stretches of sealed pages, all under locks that are held together. `stretches` are
    /// pairs of the first page number and the pages.
    pub(super) fn write_stretches(&self, stretches: &[(u32, &[PageBytes])]) -> Result<()> {
        let numbers = || stretches.iter().flat_map(|&(first, pages)| (first..).take(pages.len()));
        let _write = self.write_lock(numbers());
        for &(first, pages) in stretches {
            let written = self.file.write_all_at(pages.as_flattened(), page_offset(first));
            if written.is_err() {
                // Part of it may be there, and the end of that part may be half a page.
                numbers().for_each(|number| self.set_verified(number, false));
                return written;
            }
        }
        numbers().for_each(|number| self.set_verified(number, true));
        Ok(())
    }

    fn stripe(number: u32) -> usize {
        (number / STRIPE_PAGES % STRIPES) as usize
    }

    fn read_lock(&self, number: u32) -> RwLockReadGuard<'_, ()> {
        self.stripes[Self::stripe(number)].0.read()
    }

    /// Locks the pages that the chain of `home` can reach: at most two stripes.
    fn read_lock_chain(&self, home: u32) -> [Option<RwLockReadGuard<'_, ()>>; 2] {
        let near = Self::stripe(home);
        let far = Self::stripe(home.saturating_add(CHAIN_PAGES_MAX - 1));
        let first = self.stripes[near.min(far)].0.read();
        let second = (near != far).then(|| self.stripes[near.max(far)].0.read());
        [Some(first), second]
    }

    fn write_lock(&self, numbers: impl Iterator<Item = u32>) -> Vec<RwLockWriteGuard<'_, ()>> {
        let wanted = numbers.fold(0_u64, |wanted, number| wanted | 1 << Self::stripe(number));
        self.stripes
            .iter()
            .enumerate()
            .filter(|(index, _)| wanted >> index & 1 == 1)
            .map(|(_, stripe)| stripe.0.write())
            .collect()
    }
}

enum ChainStep {
    /// The page answers for the rest of the chain.
    Ended,
    /// Slots of the fingerprint may stand in the next page.
    GoesOn,
    Damaged,
}

/// Where page `number` stands in the file.
pub(super) fn page_offset(number: u32) -> u64 {
    (u64::from(HEADER_PAGES) + u64::from(number)) * PAGE_BYTES as u64
}

/// Writes a header into the copy that its sequence chooses.
pub(super) fn write_header(file: &DiskFile, header: &KeymapHeader) -> Result<()> {
    let copy = u64::from(KeymapHeader::copy_of(header.sequence));
    file.write_all_at(&header.encode(), copy * PAGE_BYTES as u64)
}
