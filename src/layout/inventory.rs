//! The files of a table, segment by segment.
//!
//! A file may be in any root but in one only. Where there are two of a name the one in the first of
//! the roots is taken, as [`SegmentDirs::open`](super::segment_files::SegmentDirs::open) takes it,
//! and the others are listed beside.
//!
//! # Who judges how
//!
//! - **Opening** does not gather the files, it goes by the plain listing. It refuses a table of
//!   which a file is there twice, unless its segment was never made to the end: those are removed,
//!   and so is a segment without metadata when each of its files is short enough to be blank.
//! - **`check`** calls every second file damage, since opening refuses it, and leaves out what
//!   opening removes. It is stricter with what is blank: a shard has no header, so any byte of it
//!   may be of a record, and is worth a word.
//! - **`repair`** looks at all segments there are. Of two files that are equal it moves one away;
//!   where they differ nobody knows which one is right, and the table is left as it is.

use std::collections::BTreeMap;

use super::segment_files::{Listing, SegmentFile};
use crate::disk::DiskPath;
use crate::format::location::SegmentNumber;

/// The files of one segment, where they are.
#[derive(Debug, Default)]
pub(crate) struct SegmentFiles {
    pub(crate) metadata: Option<DiskPath>,
    pub(crate) keys: Option<DiskPath>,
    /// Shards, packed and dedicated, by number.
    pub(crate) values: BTreeMap<u32, DiskPath>,
    /// Files of which one of that name is taken already.
    pub(crate) twice: Vec<SecondFile>,
}

/// A file in one root that is in an earlier one as well.
#[derive(Debug)]
pub(crate) struct SecondFile {
    pub(crate) file: SegmentFile,
    pub(crate) first: DiskPath,
    pub(crate) second: DiskPath,
}

/// The files of all segments of a table, by number.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub(crate) segments: BTreeMap<SegmentNumber, SegmentFiles>,
}

impl Inventory {
    /// Sorts what a listing found.
    pub(crate) fn of(listing: Listing) -> Self {
        let mut inventory = Self::default();
        for (file, path) in listing.files {
            if let Some(number) = file.segment() {
                inventory.segments.entry(number).or_default().take(file, path);
            }
        }
        inventory
    }
}

impl SegmentFiles {
    fn take(&mut self, file: SegmentFile, path: DiskPath) {
        let first = match file {
            SegmentFile::Metadata(_) => self.metadata.as_ref(),
            SegmentFile::Keys(_) => self.keys.as_ref(),
            SegmentFile::Values(_, shard) => self.values.get(&shard),
            SegmentFile::Unfinished => return,
        };
        if let Some(first) = first {
            let first = first.clone();
            self.twice.push(SecondFile { file, first, second: path });
            return;
        }
        match file {
            SegmentFile::Metadata(_) => self.metadata = Some(path),
            SegmentFile::Keys(_) => self.keys = Some(path),
            SegmentFile::Values(_, shard) => drop(self.values.insert(shard, path)),
            SegmentFile::Unfinished => {}
        }
    }

    /// All of them, those in a second root included.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &DiskPath> {
        let taken = self.metadata.iter().chain(&self.keys).chain(self.values.values());
        taken.chain(self.twice.iter().map(|file| &file.second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::layout::SEGMENTS_DIR;
    use crate::layout::segment_files::SegmentDirs;

    #[test]
    fn the_first_of_two_files_is_taken_and_the_other_is_listed() {
        let scratch = tempfile::tempdir().unwrap();
        let scratch = DiskPath::new(&Disk::new(), scratch.path());
        let roots: Vec<DiskPath> = ["a", "b"].map(|root| scratch.join(root)).into();
        let path = |root: usize, name: &str| roots[root].join(SEGMENTS_DIR).join(name);
        for (root, name) in [(0, "3.metadata"), (1, "3-0.values"), (0, "3.keys"), (1, "3.keys")] {
            roots[root].join(SEGMENTS_DIR).create_dir_all().unwrap();
            path(root, name).create_new().unwrap();
        }
        for name in ["4-17.values", "spill-5.tmp", "other"] {
            path(0, name).create_new().unwrap();
        }
        let listing = SegmentDirs::new("t", &roots).list().unwrap();
        assert_eq!(listing.unknown, [path(0, "other")]);
        let inventory = Inventory::of(listing);
        let numbers: Vec<u32> = inventory.segments.keys().map(|number| number.0).collect();
        assert_eq!(numbers, [3, 4]);
        let third = &inventory.segments[&SegmentNumber(3)];
        assert_eq!(third.metadata, Some(path(0, "3.metadata")));
        assert_eq!(third.keys, Some(path(0, "3.keys")));
        assert_eq!(third.values, BTreeMap::from([(0, path(1, "3-0.values"))]));
        assert_eq!(third.twice[0].first, path(0, "3.keys"));
        assert_eq!(third.twice[0].second, path(1, "3.keys"));
        assert_eq!((third.twice.len(), third.paths().count()), (1, 4));
        let fourth = &inventory.segments[&SegmentNumber(4)];
        assert_eq!(fourth.paths().collect::<Vec<_>>(), [&path(0, "4-17.values")]);
    }
}
