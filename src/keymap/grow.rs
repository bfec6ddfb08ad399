//! Writing the map anew, larger or smaller: one pass over the old file in page order.
//!
//! The home page rises with the fingerprint whatever the number of pages, so the slots of the old
//! file come in nearly the order in which the new one takes them, and only a stretch of each is in
//! memory. Stale slots are left behind and the pending changes are merged on the way. The new file
//! is written as `G.map.tmp`, synced, renamed and only then used; until then the old one answers
//! lookups and stays as it is, and whatever stops the work costs only the temporary file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::change::{Halt, InOrder, Insertion, STRETCH_PAGES, gather};
use super::file::{MapFile, page_offset, write_header};
use super::size::{Rewrite, enlarged, home_pages_for};
use super::window::PageWindow;
use crate::disk::{Disk, DiskFile, temporary_path};
use crate::error::{Error, Result};
use crate::format::keymap_header::{HEADER_PAGES, KeymapHeader};
use crate::format::keymap_page::{self as page, PAGE_BYTES, PageBytes, Slot, TAIL_PAGES};
use crate::format::location::SegmentNumber;

/// How often a map that comes out crowded is tried again, larger, before giving up.
const TRIES_MAX: u32 = 4;

/// The file of a generation.
pub(super) fn generation_path(data_dir: &Path, generation: u64) -> PathBuf {
    data_dir.join(format!("{generation}.map"))
}

/// Writes the map anew, with `changes`, beside `old`, for the caller to use in its place. `None` when
/// there turns out to be no reason for it, and then nothing has happened.
pub(super) fn rewrite(
    disk: &Disk,
    data_dir: &Path,
    old: &MapFile,
    reason: Rewrite,
    insertion: &Insertion<'_>,
) -> Result<Option<MapFile>, Halt> {
    let Insertion { changes, lowest_live, keys, abort } = insertion;
    let live = count_live(old, *lowest_live, abort)?;
    let mut home_pages = home_pages_for((*keys).max(live.saturating_add(changes.additions())));
    match reason {
        Rewrite::Sparse if home_pages > old.home_pages() / 2 => return Ok(None),
        Rewrite::Crowded => home_pages = home_pages.max(enlarged(old.home_pages())),
        Rewrite::Sparse | Rewrite::Full => {}
    }
    let mut tries = 1;
    let map = loop {
        let build = Build {
            disk,
            data_dir,
            header: KeymapHeader {
                table_id: old.table_id(),
                generation: old.generation() + 1,
                sequence: 0,
                home_pages,
                complete_up_to: old.complete_up_to(),
                used_slots: 0,
            },
            lowest_live: *lowest_live,
            abort,
        };
        match build.run(Some(old), changes) {
            Err(Halt::Crowded { .. }) if tries < TRIES_MAX => {
                tries += 1;
                home_pages = enlarged(home_pages);
            }
            other => break other?,
        }
    };
    log::debug!(
        "keymap {}: {} slots in {} pages, {} pages before",
        map.file().path().display(),
        map.used_slots(),
        map.home_pages(),
        old.home_pages()
    );
    Ok(Some(map))
}

/// Writes and opens an empty map.
pub(super) fn build_empty(
    disk: &Disk,
    data_dir: &Path,
    table_id: [u8; 16],
    generation: u64,
) -> Result<MapFile> {
    let build = Build {
        disk,
        data_dir,
        header: KeymapHeader {
            table_id,
            generation,
            sequence: 0,
            home_pages: home_pages_for(0),
            complete_up_to: SegmentNumber(0),
            used_slots: 0,
        },
        lowest_live: SegmentNumber(0),
        abort: &AtomicBool::new(false),
    };
    build.run(None, &InOrder::new(&[])).map_err(|stop| match stop {
        Halt::Failed(error) => error,
        // Neither happens without changes and without anyone to abort.
        Halt::Aborted | Halt::Crowded { .. } => Error::Closed,
    })
}

/// Verifies all pages and counts the slots that are not stale.
pub(super) fn count_live(
    map: &MapFile,
    lowest_live: SegmentNumber,
    abort: &AtomicBool,
) -> Result<u64, Halt> {
    let mut live = 0;
    let mut source = OldSlots::new(map, lowest_live);
    while source.read_stretch()? {
        if abort.load(Ordering::Relaxed) {
            return Err(Halt::Aborted);
        }
        live += source.ahead.len() as u64;
        source.ahead.clear();
    }
    Ok(live)
}

/// A new generation in the making.
struct Build<'a> {
    disk: &'a Disk,
    data_dir: &'a Path,
    /// What its header will say, except for the used slots.
    header: KeymapHeader,
    lowest_live: SegmentNumber,
    abort: &'a AtomicBool,
}

impl Build<'_> {
    fn run(mut self, old: Option<&MapFile>, changes: &InOrder<'_>) -> Result<MapFile, Halt> {
        let path = generation_path(self.data_dir, self.header.generation);
        let temporary = temporary_path(&path);
        if self.disk.exists(&temporary)? {
            self.disk.unlink(&temporary)?;
        }
        let file = self.disk.create_new(&temporary)?;
        let published = self
            .write(&file, old, changes)
            .and_then(|()| Ok(self.disk.rename(&temporary, &path)?))
            .inspect_err(|_| discard(self.disk, &temporary));
        published?;
        drop(file);
        // Past the rename the new file must be used or be gone: it would be taken at the next
        // open, and know nothing of what the old one learned meanwhile.
        self.disk
            .sync_parent(&path)
            .and_then(|()| MapFile::new(self.disk.open_writable(&path)?, &self.header))
            .inspect_err(|_| discard(self.disk, &path))
            .map_err(Halt::Failed)
    }

    fn write(
        &mut self,
        file: &DiskFile,
        old: Option<&MapFile>,
        changes: &InOrder<'_>,
    ) -> Result<(), Halt> {
        let home_pages = self.header.home_pages;
        file.allocate(self.header.file_bytes())?;
        let mut source = old.map(|map| OldSlots::new(map, self.lowest_live));
        let mut changes = changes.with_homes(home_pages).peekable();
        let mut stretch = Vec::new();
        let mut first = 0;
        let mut window = PageWindow::empty(0, STRETCH_PAGES.min(home_pages), self.lowest_live);
        while first < home_pages {
            if self.abort.load(Ordering::Relaxed) {
                return Err(Halt::Aborted);
            }
            let end = first.saturating_add(STRETCH_PAGES).min(home_pages);
            window.advance(first, end);
            if let Some(source) = &mut source {
                let limit = page::first_fingerprint(end, home_pages);
                source.read_below(limit)?;
                source.take_below(limit, |slot| {
                    window.put(page::home_page(slot.fingerprint(), home_pages), slot, None)
                })?;
            }
            gather(&mut changes, end, &mut stretch);
            for (home, change) in &stretch {
                window.apply(*home, change)?;
            }
            // The pages behind the last home page go with it.
            let sealed_end = if end == home_pages { end + TAIL_PAGES } else { end };
            let (number, pages) = window.seal_before(sealed_end);
            self.header.used_slots +=
                pages.iter().map(|page| u64::from(page::used(page))).sum::<u64>();
            file.write_all_at(pages.as_flattened(), page_offset(number))?;
            first = end;
        }
        for _ in 0..HEADER_PAGES {
            self.header.sequence += 1;
            write_header(file, &self.header)?;
        }
        file.sync_all()?;
        Ok(())
    }
}

/// Removes a file that is used no more. A failure costs only space: the next open tries again.
pub(super) fn discard(disk: &Disk, path: &Path) {
    match disk.unlink(path) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        Err(error) => log::warn!("an unused keymap file stays behind: {error}"),
        Ok(()) => {}
    }
}

/// The live slots of an old file, read in page order.
struct OldSlots<'a> {
    map: &'a MapFile,
    lowest_live: SegmentNumber,
    next: u32,
    /// Read and not yet taken.
    ahead: Vec<Slot>,
    buffer: Vec<PageBytes>,
}

impl<'a> OldSlots<'a> {
    fn new(map: &'a MapFile, lowest_live: SegmentNumber) -> Self {
        Self { map, lowest_live, next: 0, ahead: Vec::new(), buffer: Vec::new() }
    }

    /// Reads on; `false` when there is no more.
    fn read_stretch(&mut self) -> Result<bool> {
        let count = STRETCH_PAGES.min(self.map.all_pages() - self.next);
        self.buffer.resize(count as usize, [0; PAGE_BYTES]);
        self.map.read_pages(self.next, &mut self.buffer)?;
        for (number, bytes) in (self.next..).zip(&self.buffer) {
            page::verify(bytes, number).map_err(|malformed| {
                self.map.report_damage(number, "found while writing the map anew");
                malformed.in_file(self.map.file().path(), page_offset(number))
            })?;
            let lowest_live = self.lowest_live;
            for slot in page::slots(bytes).filter(|slot| slot.segment() >= lowest_live) {
                // Taking slots in order relies on this; no other checksum covers it.
                let home = page::home_page(slot.fingerprint(), self.map.home_pages());
                if home > number || number - home > TAIL_PAGES {
                    let reason = format!("a slot of page {home} stands in page {number}");
                    self.map.report_damage(number, &reason);
                    return Err(Error::corrupt(
                        self.map.file().path(),
                        page_offset(number),
                        reason,
                    ));
                }
                self.ahead.push(slot);
            }
        }
        self.next += count;
        Ok(count > 0)
    }

    /// Reads on until all slots with a fingerprint below `limit` were seen.
    fn read_below(&mut self, limit: u64) -> Result<()> {
        let last_home = page::home_page(limit.saturating_sub(1), self.map.home_pages());
        while self.next <= last_home + TAIL_PAGES {
            if !self.read_stretch()? {
                break;
            }
        }
        Ok(())
    }

    /// Hands out the slots with a fingerprint below `limit` that were read.
    fn take_below(
        &mut self,
        limit: u64,
        mut take: impl FnMut(Slot) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        let mut index = 0;
        while let Some(&slot) = self.ahead.get(index) {
            if slot.fingerprint() < limit {
                take(slot)?;
                self.ahead.swap_remove(index);
            } else {
                index += 1;
            }
        }
        Ok(())
    }
}
