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

use std::path::Path;

use super::file_names::TABLE_FILE;
use crate::disk::DiskPath;
use crate::error::{Error, Result};
use crate::format::table_file::{TABLE_FILE_BYTES_MAX, TableFile};
use crate::root_id::RootId;

/// The place of a table file in one root, and what is there.
#[derive(Debug)]
pub(crate) struct TableFileCopy {
    pub(crate) path: DiskPath,
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
    pub(crate) fn read(folder: &DiskPath) -> Self {
        let path = folder.join(TABLE_FILE);
        let content = match path.exists() {
            Ok(true) => read_existing(&path).unwrap_or_else(CopyContent::Bad),
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

fn read_existing(path: &DiskPath) -> Result<CopyContent> {
    let bytes = path.read_small(TABLE_FILE_BYTES_MAX)?;
    let file = TableFile::decode(&bytes).map_err(|malformed| malformed.in_file(path, 0))?;
    Ok(CopyContent::Good { file: Box::new(file), bytes: bytes.len() as u64 })
}

/// The copies in all folders of a table, in the order of the folders.
pub(crate) fn read_copies(folders: &[DiskPath]) -> Vec<TableFileCopy> {
    folders.iter().map(TableFileCopy::read).collect()
}

/// The good copies, in their order.
pub(crate) fn good_copies(
    copies: &[TableFileCopy],
) -> impl DoubleEndedIterator<Item = (&Path, &TableFile)> {
    copies.iter().filter_map(|copy| Some((&*copy.path, copy.good()?)))
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

/// Writes the table file into the folders of a table, durably. Roots to be left out are those that
/// have failed: the newest copy counts, so they are merely behind. When all are to be left out none
/// is, so that the failure is seen.
pub(crate) fn write_everywhere(
    folders: &[DiskPath],
    is_left_out: impl Fn(RootId) -> bool,
    file: &TableFile,
) -> Result<()> {
    let mut chosen: Vec<_> =
        folders.iter().filter(|folder| !folder.root().is_some_and(&is_left_out)).collect();
    if chosen.is_empty() {
        chosen.extend(folders);
    }
    chosen.into_iter().try_for_each(|folder| {
        let path = folder.join(TABLE_FILE);
        path.write_atomically(&encode(file, &path)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;

    fn of_revision(revision: u64, shards: u8) -> TableFile {
        let mut file = TableFile::new([1; 16], 3, [2; 16]);
        (file.revision, file.shards) = (revision, shards);
        file
    }

    /// A folder in each of four roots.
    fn folders(scratch: &Path) -> Vec<DiskPath> {
        let folder = |position: usize| {
            let disk = Disk::new().in_root(RootId::nth(position).unwrap());
            let folder = DiskPath::new(&disk, scratch.join(position.to_string()));
            folder.create_dir_all().unwrap();
            folder
        };
        (0..4).map(folder).collect()
    }

    #[test]
    fn the_first_of_the_newest_good_copies_counts() {
        let scratch = tempfile::tempdir().unwrap();
        let folders = folders(scratch.path());
        let newest_shards = || {
            let copies = read_copies(&folders);
            newest(&copies).map(|(path, file)| (path.parent().unwrap().to_owned(), file.shards))
        };
        assert_eq!(newest_shards(), None);
        let write = |at: usize, file| {
            write_everywhere(&folders[at..=at], |_| false, &file).unwrap();
        };
        write(1, of_revision(7, 1));
        write(2, of_revision(9, 2));
        write(3, of_revision(9, 3));
        assert_eq!(newest_shards(), Some((folders[2].to_path_buf(), 2)));
        folders[2].join(TABLE_FILE).write_atomically(b"damaged").unwrap();
        assert_eq!(newest_shards(), Some((folders[3].to_path_buf(), 3)));
        let copies = read_copies(&folders);
        assert!(matches!(copies[0].content, CopyContent::Missing));
        assert!(matches!(copies[2].content, CopyContent::Bad(Error::Corrupt { .. })));
    }

    #[test]
    fn failed_roots_are_left_out_unless_all_have_failed() {
        let scratch = tempfile::tempdir().unwrap();
        let folders = folders(scratch.path());
        let revisions = || {
            let copies = read_copies(&folders);
            copies
                .iter()
                .map(|copy| copy.good().map_or(0, |file| file.revision))
                .collect::<Vec<_>>()
        };
        let is_second = |root: RootId| root.position() == 1;
        write_everywhere(&folders, is_second, &of_revision(5, 1)).unwrap();
        assert_eq!(revisions(), [5, 0, 5, 5]);
        write_everywhere(&folders, |_| true, &of_revision(6, 1)).unwrap();
        assert_eq!(revisions(), [6, 6, 6, 6]);
    }
}
