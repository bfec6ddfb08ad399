//! `table.metadata` in every root: reading the copies, telling which one counts, writing them.
//!
//! The copy with the highest revision counts, since a crash may leave some roots behind; of equal
//! ones that of the first root. It is for the caller to say what the others mean, and the callers
//! differ:
//!
//! - **Opening** must not guess. It goes by the newest good copy and writes the others again, but
//!   refuses a table of which one copy is that of another table or of a later version, or may be
//!   there or not.
//! - **`check`** names what is wrong with each copy by itself, and then goes by the newest: it is to
//!   find as much as it can in one go.
//! - **`repair`** does as opening, and where opening would refuse it leaves the table as it is. What
//!   it writes over is kept, so it does not go through [`write_everywhere`].

use std::path::{Path, PathBuf};

use super::file_names::TABLE_FILE;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::table_file::{TABLE_FILE_BYTES_MAX, TableFile};
use crate::roots::RootIndex;

/// The place of a table file in one root, and what is there.
#[derive(Debug)]
pub(crate) struct TableFileCopy {
    pub(crate) path: PathBuf,
    pub(crate) content: CopyContent,
}

/// What is in the place of a table file.
#[derive(Debug)]
pub(crate) enum CopyContent {
    /// A file that decodes, and its length.
    Good { file: Box<TableFile>, bytes: u64 },
    /// No file.
    Missing,
    /// A file that cannot be read, is damaged, or has a later version.
    Bad(Error),
    /// Nobody can tell whether there is a file.
    Hidden(Error),
}

impl TableFileCopy {
    /// The copy in this folder of a table.
    pub(crate) fn read(disk: &Disk, folder: &Path) -> Self {
        let path = folder.join(TABLE_FILE);
        let content = match disk.exists(&path) {
            Ok(true) => read_existing(disk, &path).unwrap_or_else(CopyContent::Bad),
            Ok(false) => CopyContent::Missing,
            Err(error) => CopyContent::Hidden(error),
        };
        Self { path, content }
    }

    /// What it says, if it is good.
    pub(crate) fn good(&self) -> Option<&TableFile> {
        match &self.content {
            CopyContent::Good { file, .. } => Some(file),
            CopyContent::Missing | CopyContent::Bad(_) | CopyContent::Hidden(_) => None,
        }
    }
}

fn read_existing(disk: &Disk, path: &Path) -> Result<CopyContent> {
    let bytes = disk.read_small(path, TABLE_FILE_BYTES_MAX)?;
    let file = TableFile::decode(&bytes).map_err(|malformed| malformed.in_file(path, 0))?;
    Ok(CopyContent::Good { file: Box::new(file), bytes: bytes.len() as u64 })
}

/// The copies in all folders of a table, in the order of the folders.
pub(crate) fn read_copies(disk: &Disk, folders: &[PathBuf]) -> Vec<TableFileCopy> {
    folders.iter().map(|folder| TableFileCopy::read(disk, folder)).collect()
}

/// The good copies, in their order.
pub(crate) fn good_copies(
    copies: &[TableFileCopy],
) -> impl DoubleEndedIterator<Item = (&Path, &TableFile)> {
    copies.iter().filter_map(|copy| Some((copy.path.as_path(), copy.good()?)))
}

/// The copy that counts and its place; `None` when none is good.
pub(crate) fn newest(copies: &[TableFileCopy]) -> Option<(&Path, &TableFile)> {
    good_copies(copies).reduce(
        |newest, other| {
            if other.1.revision > newest.1.revision { other } else { newest }
        },
    )
}

/// What stands in a table file at `path`.
pub(crate) fn encode(file: &TableFile, path: &Path) -> Result<Vec<u8>> {
    file.encode().map_err(|malformed| malformed.in_file(path, 0))
}

/// Writes the table file into the folders of a table, `folders[n]` being the one in root `n`,
/// durably. Roots to be left out are those that have failed: the newest copy counts, so they are
/// merely behind. When all are to be left out none is, so that the failure is seen.
pub(crate) fn write_everywhere(
    disk: &Disk,
    folders: &[PathBuf],
    is_left_out: impl Fn(RootIndex) -> bool,
    file: &TableFile,
) -> Result<()> {
    let indexes = (0..).map(RootIndex);
    let working: Vec<_> =
        folders.iter().zip(indexes).filter(|(_, root)| !is_left_out(*root)).collect();
    let chosen: Vec<&PathBuf> = if working.is_empty() {
        folders.iter().collect()
    } else {
        working.into_iter().map(|(folder, _)| folder).collect()
    };
    chosen.into_iter().try_for_each(|folder| {
        let path = folder.join(TABLE_FILE);
        disk.write_atomically(&path, &encode(file, &path)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_revision(revision: u64, shards: u8) -> TableFile {
        let mut file = TableFile::new([1; 16], 3, [2; 16]);
        (file.revision, file.shards) = (revision, shards);
        file
    }

    fn folders(scratch: &Path) -> Vec<PathBuf> {
        let folders: Vec<PathBuf> = ["a", "b", "c", "d"].map(|root| scratch.join(root)).into();
        for folder in &folders {
            std::fs::create_dir(folder).unwrap();
        }
        folders
    }

    #[test]
    fn the_first_of_the_newest_good_copies_counts() {
        let (scratch, disk) = (tempfile::tempdir().unwrap(), Disk::new());
        let folders = folders(scratch.path());
        let newest_shards = || {
            let copies = read_copies(&disk, &folders);
            newest(&copies).map(|(path, file)| (path.parent().unwrap().to_owned(), file.shards))
        };
        assert_eq!(newest_shards(), None);
        let write = |at: usize, file| {
            write_everywhere(&disk, &folders[at..=at], |_| false, &file).unwrap();
        };
        write(1, of_revision(7, 1));
        write(2, of_revision(9, 2));
        write(3, of_revision(9, 3));
        assert_eq!(newest_shards(), Some((folders[2].clone(), 2)));
        std::fs::write(folders[2].join(TABLE_FILE), b"damaged").unwrap();
        assert_eq!(newest_shards(), Some((folders[3].clone(), 3)));
        let copies = read_copies(&disk, &folders);
        assert!(matches!(copies[0].content, CopyContent::Missing));
        assert!(matches!(copies[2].content, CopyContent::Bad(Error::Corrupt { .. })));
    }

    #[test]
    fn failed_roots_are_left_out_unless_all_have_failed() {
        let (scratch, disk) = (tempfile::tempdir().unwrap(), Disk::new());
        let folders = folders(scratch.path());
        let revisions = || {
            let copies = read_copies(&disk, &folders);
            copies
                .iter()
                .map(|copy| copy.good().map_or(0, |file| file.revision))
                .collect::<Vec<_>>()
        };
        let is_second = |root: RootIndex| root == RootIndex(1);
        write_everywhere(&disk, &folders, is_second, &of_revision(5, 1)).unwrap();
        assert_eq!(revisions(), [5, 0, 5, 5]);
        write_everywhere(&disk, &folders, |_| true, &of_revision(6, 1)).unwrap();
        assert_eq!(revisions(), [6, 6, 6, 6]);
    }
}
