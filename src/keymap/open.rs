//! Opening the keymap folder: which generation counts, and what to do when none does.
//!
//! The folder holds `keymap-type.txt` and `data/G.map`. The highest valid generation counts; what a
//! crash left behind (unfinished `.tmp` files, older and damaged generations) is removed. A file of
//! a later format version is refused and left alone.

use std::path::{Path, PathBuf};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::file::MapFile;
use super::grow::{build_empty, discard, generation_path};
use super::{Keymap, WriterState};
use crate::disk::{Disk, DiskFile, TEMPORARY_SUFFIX};
use crate::error::{Error, Result, printable};
use crate::format::Malformed;
use crate::format::keymap_header::{HEADER_PAGES, KeymapHeader};
use crate::format::keymap_page::PAGE_BYTES;

pub(super) const TYPE_FILE: &str = "keymap-type.txt";
pub(super) const TYPE: &[u8] = b"HashKeymap";
pub(super) const TYPE_FILE_BYTES_MAX: u64 = 256;
pub(super) const DATA_DIR: &str = "data";
/// Later generations are taken for files of somebody else, so that adding one never overflows.
const GENERATION_MAX: u64 = u64::MAX / 2;

impl Keymap {
    /// Opens the keymap in `keymap_dir`. When none can be used it starts empty, and the second
    /// part of the answer says why; then, as always, the caller inserts every segment above
    /// [`Keymap::complete_up_to`].
    pub(crate) fn open(
        disk: &Disk,
        keymap_dir: &Path,
        table_id: [u8; 16],
    ) -> Result<(Self, Option<String>)> {
        let data_dir = keymap_dir.join(DATA_DIR);
        prepare_folder(disk, keymap_dir, &data_dir)?;
        let found = DataFolder::look(disk, &data_dir, table_id, Disk::open_writable)?;
        let next = found.generations.first().map_or(1, |newest| newest + 1);
        let reason = found.reason();
        let (map, kept) = match found.newest_valid {
            Some(map) => {
                let kept = map.generation();
                (map, kept)
            }
            None => (build_empty(disk, &data_dir, table_id, next)?, next),
        };
        let older = found.generations.iter().filter(|&&generation| generation != kept);
        let leftovers = older.map(|&generation| generation_path(&data_dir, generation));
        for path in leftovers.chain(found.unfinished) {
            discard(disk, &path);
        }
        Ok((Self::of_map(disk, data_dir, table_id, map), reason))
    }

    /// Opens the keymap in `keymap_dir` for lookups only and writes nothing; `None` when there is
    /// none that can be used.
    pub(crate) fn open_read_only(
        disk: &Disk,
        keymap_dir: &Path,
        table_id: [u8; 16],
    ) -> Result<Option<Self>> {
        let data_dir = keymap_dir.join(DATA_DIR);
        let found = DataFolder::look(disk, &data_dir, table_id, Disk::open)?;
        if let Some(reason) = found.reason() {
            log::info!("{}: {reason}", keymap_dir.display());
        }
        Ok(found.newest_valid.map(|map| Self::of_map(disk, data_dir, table_id, map)))
    }

    fn of_map(disk: &Disk, data_dir: PathBuf, table_id: [u8; 16], map: MapFile) -> Self {
        Self {
            disk: disk.clone(),
            data_dir,
            table_id,
            current: ArcSwap::from_pointee(map),
            reserved_keys: 0.into(),
            writer: Mutex::new(WriterState::default()),
        }
    }
}

/// How map files are opened: for writing or not.
type OpenWith = fn(&Disk, &Path) -> Result<DiskFile>;

/// Checks the type of an existing folder, or makes one.
fn prepare_folder(disk: &Disk, keymap_dir: &Path, data_dir: &Path) -> Result<()> {
    let type_file = keymap_dir.join(TYPE_FILE);
    if disk.exists(&type_file)? {
        let content = disk.read_small(&type_file, TYPE_FILE_BYTES_MAX)?;
        if content.trim_ascii() != TYPE {
            let reason = format!(
                "keymap type {:?} found, \"HashKeymap\" expected; remove the folder {} while \
                 nothing is mounted, and the keymap is rebuilt",
                printable(&content),
                keymap_dir.display()
            );
            return Err(Error::corrupt(&type_file, 0, reason));
        }
        return disk.create_dir_all(data_dir);
    }
    disk.create_dir_all(data_dir)?;
    disk.write_atomically(&type_file, TYPE)?;
    disk.sync_parent(keymap_dir)
}

/// What is in the data folder.
struct DataFolder {
    /// All generations there are, the newest first.
    generations: Vec<u64>,
    newest_valid: Option<MapFile>,
    unfinished: Vec<PathBuf>,
    /// What is wrong with those that cannot be used.
    complaints: Vec<String>,
}

impl DataFolder {
    /// Reads the headers of all generations, before anything is removed.
    fn look(disk: &Disk, data_dir: &Path, table_id: [u8; 16], open_file: OpenWith) -> Result<Self> {
        let mut found = Self {
            generations: Vec::new(),
            newest_valid: None,
            unfinished: Vec::new(),
            complaints: Vec::new(),
        };
        for name in disk.list(data_dir)? {
            let path = data_dir.join(&name);
            let name = name.to_string_lossy();
            if let Some(generation) = generation_of(&name) {
                found.generations.push(generation);
            } else if name.strip_suffix(TEMPORARY_SUFFIX).and_then(generation_of).is_some() {
                found.unfinished.push(path);
            } else {
                log::warn!("{} is no file of the keymap; it is left alone", path.display());
            }
        }
        found.generations.sort_unstable_by(|left, right| right.cmp(left));
        for &generation in &found.generations {
            let path = generation_path(data_dir, generation);
            let opened = open_file(disk, &path);
            match opened.and_then(|file| read_generation(file, generation, table_id)) {
                Ok(map) if found.newest_valid.is_none() => found.newest_valid = Some(map),
                Ok(_older) => {}
                Err(error @ Error::Corrupt { .. }) => found.complaints.push(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Why the map starts empty, when it does.
    fn reason(&self) -> Option<String> {
        if self.newest_valid.is_some() {
            for complaint in &self.complaints {
                log::warn!("a generation of the keymap cannot be used: {complaint}");
            }
            return None;
        }
        if self.complaints.is_empty() {
            return Some("there is no keymap yet".to_owned());
        }
        Some(self.complaints.join("; "))
    }
}

/// The generation of a file name such as `12.map`.
pub(super) fn generation_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".map")?;
    let generation: u64 = digits.parse().ok()?;
    (generation <= GENERATION_MAX && generation.to_string() == digits).then_some(generation)
}

fn read_generation(file: DiskFile, generation: u64, table_id: [u8; 16]) -> Result<MapFile> {
    let header = read_header(&file)?;
    let path = file.path();
    if header.table_id != table_id {
        return Err(Error::corrupt(path, 0, "it belongs to another table"));
    }
    if header.generation != generation {
        let reason = format!("it says it is generation {}", header.generation);
        return Err(Error::corrupt(path, 0, reason));
    }
    MapFile::new(file, &header)
}

/// The newer of the header copies that are whole. A torn write spoils one copy at most.
fn read_header(file: &DiskFile) -> Result<KeymapHeader> {
    let mut newest: Option<KeymapHeader> = None;
    let mut complaint = None;
    for copy in 0..u64::from(HEADER_PAGES) {
        let offset = copy * PAGE_BYTES as u64;
        let mut bytes = [0; PAGE_BYTES];
        file.read_exact_at(&mut bytes, offset)?;
        match KeymapHeader::decode(&bytes) {
            Ok(header) => {
                if newest.is_none_or(|other| header.sequence > other.sequence) {
                    newest = Some(header);
                }
            }
            Err(malformed) => {
                let is_future = matches!(malformed, Malformed::Future { .. });
                let error = malformed.in_file(file.path(), offset);
                if is_future {
                    return Err(error);
                }
                complaint.get_or_insert(error);
            }
        }
    }
    match (newest, complaint) {
        (Some(header), _) => Ok(header),
        (None, Some(error)) => Err(error),
        (None, None) => Err(Error::corrupt(file.path(), 0, "it has no header")),
    }
}
