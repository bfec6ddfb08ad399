//! Names of segment files, and finding them in the roots.
//!
//! A segment file may be in any root: people move files between drives while nothing is mounted.
//! So a file is looked for by name in every root, and the answer is kept only as long as the
//! descriptor is open.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;

use super::file_names::SEGMENTS_DIR;
use crate::disk::{DiskFile, DiskPath, TEMPORARY_SUFFIX};
use crate::error::{Error, Result};
use crate::format::location::SegmentNumber;
use crate::format::segment_metadata::{SEGMENT_METADATA_BYTES, SegmentMetadata};
use crate::root_id::RootId;

/// Start of the name of a value file that is still being written.
const SPILL_PREFIX: &str = "spill-";

/// What a file in a segments folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SegmentFile {
    /// `N.metadata`
    Metadata(SegmentNumber),
    /// `N.keys`
    Keys(SegmentNumber),
    /// `N-M.values`
    Values(SegmentNumber, u32),
    /// Something that was not finished; removed when the table is opened.
    Unfinished,
}

impl SegmentFile {
    /// What the name stands for; `None` for names that are none of ours.
    pub(crate) fn parse(name: &OsStr) -> Option<Self> {
        let name = name.to_str()?;
        if name.ends_with(TEMPORARY_SUFFIX) {
            let ours = name.starts_with(SPILL_PREFIX)
                || Self::parse(OsStr::new(name.strip_suffix(TEMPORARY_SUFFIX)?)).is_some();
            return ours.then_some(Self::Unfinished);
        }
        let (stem, kind) = name.split_once('.')?;
        match kind {
            "metadata" => Some(Self::Metadata(SegmentNumber(canonical(stem)?))),
            "keys" => Some(Self::Keys(SegmentNumber(canonical(stem)?))),
            "values" => {
                let (segment, shard) = stem.split_once('-')?;
                Some(Self::Values(SegmentNumber(canonical(segment)?), canonical(shard)?))
            }
            _ => None,
        }
    }

    /// The segment the file belongs to.
    pub(crate) fn segment(self) -> Option<SegmentNumber> {
        match self {
            Self::Metadata(segment) | Self::Keys(segment) | Self::Values(segment, _) => {
                Some(segment)
            }
            Self::Unfinished => None,
        }
    }
}

/// A number written the one way we write it: no sign, no leading zeros.
fn canonical(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The metadata in this file.
pub(crate) fn read_metadata(path: &DiskPath) -> Result<SegmentMetadata> {
    let bytes = path.read_small(SEGMENT_METADATA_BYTES as u64)?;
    SegmentMetadata::decode(&bytes).map_err(|malformed| malformed.in_file(path, 0))
}

/// Name of a segment's metadata file.
pub(crate) fn metadata_name(segment: SegmentNumber) -> String {
    format!("{segment}.metadata")
}

/// Name of a segment's key log or run.
pub(crate) fn keys_name(segment: SegmentNumber) -> String {
    format!("{segment}.keys")
}

/// Name of a shard, packed or dedicated.
pub(crate) fn values_name(segment: SegmentNumber, shard: u32) -> String {
    format!("{segment}-{shard}.values")
}

/// Name under which a large value is written until it is stored.
pub(crate) fn spill_name(value_id: u64) -> String {
    format!("{SPILL_PREFIX}{value_id}{TEMPORARY_SUFFIX}")
}

/// The segments folders of one table, one per root, in the order of the roots.
#[derive(Clone, Debug)]
pub(crate) struct SegmentDirs {
    table: String,
    dirs: Vec<DiskPath>,
}

impl SegmentDirs {
    /// `table_dirs` are the folders of the table in each root.
    pub(crate) fn new(table: &str, table_dirs: &[DiskPath]) -> Self {
        debug_assert!(!table_dirs.is_empty(), "a database has a root at least");
        let dirs = table_dirs.iter().map(|dir| dir.join(SEGMENTS_DIR)).collect();
        Self { table: table.to_owned(), dirs }
    }

    /// The folder in this root.
    pub(crate) fn dir(&self, root: RootId) -> Result<&DiskPath> {
        self.dirs.get(root.position()).ok_or(Error::UnknownRoot { root })
    }

    /// The folder in the first root.
    pub(crate) fn first(&self) -> &DiskPath {
        &self.dirs[RootId::FIRST.position()]
    }

    /// All folders.
    pub(crate) fn all(&self) -> &[DiskPath] {
        &self.dirs
    }

    /// Where a file is expected that is in none of the roots: in the first.
    pub(crate) fn usual_path(&self, name: &str) -> DiskPath {
        self.first().join(name)
    }

    /// Opens a file wherever it is.
    pub(crate) fn open(&self, name: &str) -> Result<DiskFile> {
        self.open_with(name, DiskPath::open)
    }

    /// Opens a file wherever it is, for reading and writing.
    pub(crate) fn open_writable(&self, name: &str) -> Result<DiskFile> {
        self.open_with(name, DiskPath::open_writable)
    }

    fn open_with(
        &self,
        name: &str,
        open: impl Fn(&DiskPath) -> Result<DiskFile>,
    ) -> Result<DiskFile> {
        for dir in &self.dirs {
            match open(&dir.join(name)) {
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
        }
        Err(Error::MissingFile { table: self.table.clone(), name: name.to_owned() })
    }

    /// What is in every folder; fails when one cannot be listed.
    pub(crate) fn list(&self) -> Result<Listing> {
        let mut listing = self.look();
        if listing.failures.is_empty() {
            return Ok(listing);
        }
        Err(listing.failures.swap_remove(0).1)
    }

    /// What is in the folders that can be listed, and which cannot.
    pub(crate) fn look(&self) -> Listing {
        let mut listing = Listing::default();
        for dir in &self.dirs {
            match dir.list() {
                Ok(names) => names.iter().for_each(|name| listing.take(dir, name)),
                Err(error) => listing.failures.push((dir.clone(), error)),
            }
        }
        listing
    }

    /// Makes the names in every folder durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.dirs.iter().try_for_each(DiskPath::sync_dir)
    }
}

/// What is in the segments folders of a table.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// What each file is, and where.
    pub(crate) files: Vec<(SegmentFile, DiskPath)>,
    /// Files that are none of ours; they are left alone.
    pub(crate) unknown: Vec<DiskPath>,
    /// Folders that could not be listed.
    pub(crate) failures: Vec<(DiskPath, Error)>,
}

impl Listing {
    fn take(&mut self, dir: &DiskPath, name: &OsStr) {
        match SegmentFile::parse(name) {
            Some(file) => self.files.push((file, dir.join(name))),
            None => self.unknown.push(dir.join(name)),
        }
    }

    /// Refuses a name that is in two roots. Segments without metadata were never made to the end:
    /// their numbers are given again, and a power cut can leave files of the second attempt beside
    /// those of the first that were removed.
    pub(crate) fn check_unique(&self) -> Result<()> {
        let born = self.files.iter().filter_map(|(file, _)| match file {
            SegmentFile::Metadata(segment) => Some(*segment),
            _ => None,
        });
        let born: HashSet<SegmentNumber> = born.collect();
        let mut seen = HashMap::new();
        for (file, path) in &self.files {
            if file.segment().is_none_or(|segment| !born.contains(&segment)) {
                continue;
            }
            if let Some(first) = seen.insert(*file, path) {
                return Err(Error::DuplicateFile {
                    first: first.to_path_buf(),
                    second: path.to_path_buf(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;

    #[test]
    fn names_parse_only_as_they_are_written() {
        let parse = |name: &str| SegmentFile::parse(OsStr::new(name));
        let seven = SegmentNumber(7);
        assert_eq!(parse(&metadata_name(seven)), Some(SegmentFile::Metadata(seven)));
        assert_eq!(parse(&keys_name(seven)), Some(SegmentFile::Keys(seven)));
        assert_eq!(parse(&values_name(seven, 300)), Some(SegmentFile::Values(seven, 300)));
        assert_eq!(parse(&spill_name(9)), Some(SegmentFile::Unfinished));
        assert_eq!(parse("7.keys.tmp"), Some(SegmentFile::Unfinished));
        for name in
            ["07.keys", "+7.keys", "7.key", "7-1.keys", "7.values", "a.tmp", "4294967296.keys"]
        {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_in_two_roots_is_refused_by_name() {
        let scratch = tempfile::tempdir().unwrap();
        let scratch = DiskPath::new(&Disk::new(), scratch.path());
        let dirs: Vec<_> = ["a", "b"].iter().map(|root| scratch.join(root)).collect();
        for dir in &dirs {
            dir.join(SEGMENTS_DIR).create_dir_all().unwrap();
            dir.join(SEGMENTS_DIR).join("1-0.values").create_new().unwrap();
        }
        let list = || SegmentDirs::new("t", &dirs).list().unwrap();
        list().check_unique().unwrap();
        // Only where the segment exists: else both are removed.
        dirs[0].join(SEGMENTS_DIR).join("1.metadata").create_new().unwrap();
        let listing = list();
        let message = listing.check_unique().unwrap_err().to_string();
        for dir in &dirs {
            assert!(message.contains(dir.to_str().unwrap()), "{message}");
        }
    }
}
