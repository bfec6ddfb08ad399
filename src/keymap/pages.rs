//! The pages of a keymap file as memory: read-only, shared, word by word.
//!
//! The only file of the keymap with `unsafe`. It lends no slice and no reference over mapped
//! bytes: another thread writes them through the file (`pwrite`), so every word is read with one
//! atomic load. A single word is never torn; that a whole page is read unchanged is the business
//! of the locks in `file.rs`.
//!
//! What it does not do: check anything it reads, or survive the file being cut short by somebody
//! else, or a read error of the drive, which the kernel reports to mapped memory as SIGBUS.
#![expect(unsafe_code, reason = "the one place that reads mapped index pages")]

use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{Advice, MmapOptions, MmapRaw};

use crate::disk::DiskFile;
use crate::error::Result;
use crate::format::keymap_page::{PAGE_BYTES, PAGE_WORDS, PageBytes, Slot};
use crate::operation::Operation;

const WORD_BYTES: usize = 8;

/// The mapped pages.
#[derive(Debug)]
pub(super) struct MappedPages {
    map: MmapRaw,
    /// Pages from the start of the file, the header copies included.
    pages: usize,
}

impl MappedPages {
    /// Maps the first `pages` pages of `file`, which the caller knows to be that long.
    pub(super) fn new(file: &DiskFile, pages: usize) -> Result<Self> {
        let fail = |source| file.fail(Operation::Map, source);
        let bytes = pages.checked_mul(PAGE_BYTES).ok_or_else(|| fail(out_of_range()))?;
        let map = MmapOptions::new().len(bytes).map_raw_read_only(file.as_file()).map_err(fail)?;
        // A lookup needs one page; reading its neighbours ahead would only cost.
        if let Err(error) = map.advise(Advice::Random) {
            log::debug!("{}: no access advice given: {error}", file.path().display());
        }
        Ok(Self { map, pages })
    }

    /// Page `number`, counted from the start of the file.
    pub(super) fn page(&self, number: usize) -> Option<MappedPage<'_>> {
        (number < self.pages).then_some(MappedPage { map: &self.map, start: number * PAGE_BYTES })
    }
}

fn out_of_range() -> std::io::Error {
    std::io::Error::from_raw_os_error(libc::EFBIG)
}

/// One mapped page.
#[derive(Clone, Copy)]
pub(super) struct MappedPage<'a> {
    map: &'a MmapRaw,
    /// Byte offset of a whole page within the mapping.
    start: usize,
}

impl MappedPage<'_> {
    /// Word `index` of the page; the index is taken modulo the words of a page.
    pub(super) fn word(&self, index: usize) -> u64 {
        let offset = self.start + index % PAGE_WORDS * WORD_BYTES;
        #[expect(clippy::cast_ptr_alignment, reason = "whole pages and whole words, see below")]
        // SAFETY: `start` is the offset of a whole page inside the mapping (`MappedPages::page` is
        // the only maker of this type) and the index is below the words of a page, so all eight
        // bytes are inside, and `map` is borrowed, so they stay mapped. The mapping starts at a
        // page boundary and the offset is a multiple of eight, so the word is aligned. The memory
        // is read-only and changes through the file, so it is read as an atomic and with a relaxed
        // load of one machine word, the access that atomics permit on read-only memory.
        let word = unsafe { &*self.map.as_ptr().add(offset).cast::<AtomicU64>() };
        u64::from_le(word.load(Ordering::Relaxed))
    }

    /// Slot `index`, 1..=255.
    pub(super) fn slot(&self, index: usize) -> Slot {
        Slot::from_words(self.word(index * 2), self.word(index * 2 + 1))
    }

    /// Copies the page out.
    pub(super) fn copy(&self) -> PageBytes {
        let mut page = [0; PAGE_BYTES];
        let (words, _) = page.as_chunks_mut::<WORD_BYTES>();
        for (index, word) in words.iter_mut().enumerate() {
            *word = self.word(index).to_le_bytes();
        }
        page
    }
}
