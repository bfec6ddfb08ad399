//! Looking at the keymap without changing anything, for checks.
//!
//! Opening a keymap removes what a crash left and makes a new one where none can be used; this does
//! neither. Pages are read with `pread`, since a page that a drive cannot read must be an error
//! here, and would be a signal through a mapping.

use std::path::{Path, PathBuf};

use super::file::page_offset;
use super::grow::generation_path;
use super::open::{DATA_DIR, TYPE, TYPE_FILE, TYPE_FILE_BYTES_MAX, generation_of};
use crate::disk::{Disk, DiskFile, TEMPORARY_SUFFIX};
use crate::error::{Error, Result};
use crate::format::keymap_header::{HEADER_PAGES, KeymapHeader};
use crate::format::keymap_page::{
    self as page, CHAIN_PAGES_MAX, PAGE_BYTES, PageBytes, Slot, TAIL_PAGES,
};
use crate::format::location::{Location, SegmentNumber};

/// What was found in a keymap folder.
#[derive(Debug, Default)]
pub(crate) struct KeymapLook {
    /// The generation that counts.
    pub(crate) reader: Option<KeymapReader>,
    /// What is damaged.
    pub(crate) damage: Vec<Error>,
    /// What the next open removes or makes anew, with the reason.
    pub(crate) notes: Vec<(PathBuf, String)>,
}

/// A generation of the keymap, open for reading.
#[derive(Debug)]
pub(crate) struct KeymapReader {
    file: DiskFile,
    header: KeymapHeader,
    /// Pages that the last lookups met, by number.
    recent: Vec<(u32, PageBytes)>,
}

/// Looks at a keymap folder.
pub(crate) fn look(disk: &Disk, keymap_dir: &Path, table_id: [u8; 16]) -> Result<KeymapLook> {
    let mut look = KeymapLook::default();
    let type_file = keymap_dir.join(TYPE_FILE);
    if disk.exists(&type_file)? {
        match disk.read_small(&type_file, TYPE_FILE_BYTES_MAX) {
            Ok(content) if content.trim_ascii() == TYPE => {}
            Ok(_) => look.damage.push(Error::corrupt(&type_file, 0, "\"HashKeymap\" expected")),
            Err(error) => look.damage.push(error),
        }
    } else {
        look.notes.push((type_file, "it is missing; the next open writes it".to_owned()));
    }
    let data_dir = keymap_dir.join(DATA_DIR);
    let mut generations = Vec::new();
    for name in disk.list(&data_dir)? {
        let path = data_dir.join(&name);
        let name = name.to_string_lossy();
        match generation_of(&name) {
            Some(generation) => generations.push(generation),
            None if name.strip_suffix(TEMPORARY_SUFFIX).and_then(generation_of).is_some() => {
                look.notes.push((path, "it was not finished; the next open removes it".to_owned()));
            }
            None => look.notes.push((path, "it is no file of the keymap".to_owned())),
        }
    }
    generations.sort_unstable_by(|left, right| right.cmp(left));
    for generation in generations {
        let path = generation_path(&data_dir, generation);
        if look.reader.is_some() {
            look.notes.push((path, "an older generation; the next open removes it".to_owned()));
            continue;
        }
        match KeymapReader::open(disk, &path, generation, table_id, &mut look.damage) {
            Ok(reader) => look.reader = Some(reader),
            Err(error) => look.damage.push(error),
        }
    }
    if look.reader.is_none() && look.damage.is_empty() {
        look.notes.push((data_dir, "there is no keymap; the next open makes one".to_owned()));
    }
    Ok(look)
}

impl KeymapReader {
    fn open(
        disk: &Disk,
        path: &Path,
        generation: u64,
        table_id: [u8; 16],
        damage: &mut Vec<Error>,
    ) -> Result<Self> {
        let file = disk.open(path)?;
        let mut newest: Option<KeymapHeader> = None;
        let mut bad = Vec::new();
        for copy in 0..u64::from(HEADER_PAGES) {
            let offset = copy * PAGE_BYTES as u64;
            let mut bytes = [0; PAGE_BYTES];
            file.read_exact_at(&mut bytes, offset)?;
            match KeymapHeader::decode(&bytes) {
                Ok(header) if newest.is_none_or(|other| header.sequence > other.sequence) => {
                    newest = Some(header);
                }
                Ok(_) => {}
                Err(malformed) => bad.push(malformed.in_file(path, offset)),
            }
        }
        let Some(header) = newest else {
            let first = bad.drain(..).next();
            return Err(first.unwrap_or_else(|| Error::corrupt(path, 0, "it has no header")));
        };
        damage.append(&mut bad);
        if header.table_id != table_id {
            return Err(Error::corrupt(path, 16, "it belongs to another table"));
        }
        if header.generation != generation {
            let reason = format!("it says it is generation {}", header.generation);
            return Err(Error::corrupt(path, 32, reason));
        }
        let (found, expected) = (file.len()?, header.file_bytes());
        if found != expected {
            let reason = format!("it has {found} bytes, {expected} expected");
            return Err(Error::corrupt(path, found.min(expected), reason));
        }
        Ok(Self { file, header, recent: Vec::new() })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Bytes of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.header.file_bytes()
    }

    /// Every segment up to this one is in it.
    pub(crate) fn complete_up_to(&self) -> SegmentNumber {
        self.header.complete_up_to
    }

    /// How many pages of slots there are.
    pub(crate) fn pages(&self) -> u32 {
        self.header.home_pages + TAIL_PAGES
    }

    /// Reads and verifies a page.
    pub(crate) fn page(&self, number: u32) -> Result<PageBytes> {
        let mut bytes = [0; PAGE_BYTES];
        self.file.read_exact_at(&mut bytes, page_offset(number))?;
        let fail = |malformed: crate::format::Malformed| {
            malformed.in_file(self.file.path(), page_offset(number))
        };
        page::verify(&bytes, number).map_err(fail)?;
        Ok(bytes)
    }

    /// The first slot of a verified page that cannot be looked up there, or names a segment behind
    /// `newest`: its place in the file, and why.
    pub(crate) fn misplaced_slot(
        &self,
        number: u32,
        bytes: &PageBytes,
        newest: SegmentNumber,
    ) -> Option<(u64, String)> {
        let complaint = |slot: Slot| {
            let home = page::home_page(slot.fingerprint(), self.header.home_pages);
            if home > number || number - home > TAIL_PAGES {
                return Some(format!("a slot of page {home} stands in page {number}"));
            }
            let segment = slot.segment();
            (segment > newest).then(|| format!("a slot names segment {segment}, there is none"))
        };
        Some((page_offset(number), page::slots(bytes).find_map(complaint)?))
    }

    /// Whether the slot that says so is found by looking the fingerprint up. Quick when it is asked
    /// in the order of fingerprints. `None` when a damaged page is in the way.
    pub(crate) fn holds(&mut self, fingerprint: u64, location: Location) -> Option<bool> {
        let home = page::home_page(fingerprint, self.header.home_pages);
        for number in home..home.saturating_add(CHAIN_PAGES_MAX).min(self.pages()) {
            let bytes = self.recent_page(home, number)?;
            let mut is_there = false;
            page::probe(
                fingerprint,
                |index| page::slot(bytes, index),
                |_, slot| is_there |= slot.location() == location,
            );
            if is_there {
                return Some(true);
            }
            if !page::overflows(bytes) {
                break;
            }
        }
        Some(false)
    }

    fn recent_page(&mut self, home: u32, number: u32) -> Option<&PageBytes> {
        let held = self.recent.iter().position(|(held, _)| *held == number);
        let index = if let Some(index) = held {
            index
        } else {
            let bytes = self.page(number).ok()?;
            self.recent.retain(|(held, _)| *held >= home);
            self.recent.truncate(CHAIN_PAGES_MAX as usize);
            self.recent.push((number, bytes));
            self.recent.len() - 1
        };
        self.recent.get(index).map(|(_, bytes)| bytes)
    }
}
