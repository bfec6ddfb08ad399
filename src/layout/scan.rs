//! One look over the roots: which tables are in each, and what is there beside them.
//!
//! The scan judges nothing and fails nowhere: what could not be looked at is told with the root it
//! is in. It looks at the folders of tables, not into them, so it takes little memory however much
//! they hold. Their files are listed table by table, by `SegmentDirs` in `segment_files`. Files and
//! folders that are nothing of a table are passed over.
//!
//! # Who judges how
//!
//! - **Opening** takes a folder for a table when it has settings or at least one segment file
//!   ([`TableFolder::holds_segment_files`]). Empty folders are what a crash leaves of a table that
//!   was being made, whose name is free again. What cannot be looked at has it refuse the whole
//!   database: a table that seems to be absent could be made once more.
//! - **`check`** takes empty folders for tables too, since somebody may ask what they are, and says
//!   that nothing is in them. Folders of dropped tables are notes, and so are tables of which only
//!   a part was moved there.
//! - **`repair`** looks at all that `check` does. It does not finish drops: the opening with which
//!   it ends does.

use std::collections::{BTreeMap, HashSet};

use super::file_names::{
    DROPPED_PREFIX, REPLACED_PREFIX, SEGMENTS_DIR, TABLE_FILE, check_table_name,
};
use super::segment_files::SegmentFile;
use crate::disk::DiskPath;
use crate::error::{Error, Result};

/// What the roots hold.
#[derive(Debug)]
pub(crate) struct RootsScan {
    /// One for each root, in the order of the roots.
    pub(crate) roots: Vec<RootScan>,
}

/// What one root holds, each list in byte order.
#[derive(Debug, Default)]
pub(crate) struct RootScan {
    pub(crate) tables: Vec<TableFolder>,
    pub(crate) dropped: Vec<DroppedFolder>,
    /// Folders with what repairs replaced.
    pub(crate) replaced: Vec<DiskPath>,
    /// Why the root, or a folder in it, could not be looked at.
    pub(crate) failures: Vec<Error>,
}

/// A folder of a table in one root, or what is left of one.
#[derive(Debug)]
pub(crate) struct TableFolder {
    pub(crate) name: String,
    pub(crate) path: DiskPath,
    /// Whether `table.metadata` is there; if not, a folder for segments is.
    pub(crate) has_settings: bool,
}

/// What is left of a dropped table in one root.
#[derive(Debug)]
pub(crate) struct DroppedFolder {
    /// The identity of the table, 32 hexadecimal digits.
    pub(crate) table_id: String,
    pub(crate) path: DiskPath,
}

impl RootsScan {
    /// Looks over these directories of roots.
    pub(crate) fn new<'r>(roots: impl IntoIterator<Item = &'r DiskPath>) -> Self {
        Self { roots: roots.into_iter().map(RootScan::new).collect() }
    }

    /// The scan, unless something could not be looked at.
    pub(crate) fn complete(mut self) -> Result<Self> {
        let mut failures = self.roots.iter_mut().flat_map(|root| root.failures.drain(..));
        let first = failures.next();
        drop(failures);
        first.map_or(Ok(self), Err)
    }

    /// The folders of each table, in the order of the roots, by its name.
    pub(crate) fn tables(&self) -> BTreeMap<&str, Vec<&TableFolder>> {
        let mut tables: BTreeMap<&str, Vec<&TableFolder>> = BTreeMap::new();
        for folder in self.roots.iter().flat_map(|root| &root.tables) {
            tables.entry(&folder.name).or_default().push(folder);
        }
        tables
    }

    /// The ids of the tables that were dropped and are not gone yet.
    pub(crate) fn dropped_ids(&self) -> HashSet<String> {
        let dropped = self.roots.iter().flat_map(|root| &root.dropped);
        dropped.map(|folder| folder.table_id.clone()).collect()
    }
}

impl RootScan {
    fn new(root: &DiskPath) -> Self {
        let mut scan = Self::default();
        match root.list() {
            Ok(mut names) => {
                names.sort_unstable();
                for name in names.iter().filter_map(|name| name.to_str()) {
                    scan.take(root, name);
                }
            }
            Err(error) => scan.failures.push(error),
        }
        scan
    }

    fn take(&mut self, root: &DiskPath, name: &str) {
        let path = root.join(name);
        if let Some(id) = name.strip_prefix(DROPPED_PREFIX) {
            self.dropped.push(DroppedFolder { table_id: id.to_owned(), path });
        } else if name.starts_with(REPLACED_PREFIX) {
            self.replaced.push(path);
        } else if check_table_name(name).is_ok() {
            match TableFolder::look(name, path) {
                Ok(folder) => self.tables.extend(folder),
                Err(error) => self.failures.push(error),
            }
        }
    }
}

impl TableFolder {
    fn look(name: &str, path: DiskPath) -> Result<Option<Self>> {
        let has_settings = path.join(TABLE_FILE).exists()?;
        let is_one = has_settings || path.join(SEGMENTS_DIR).exists()?;
        Ok(is_one.then(|| Self { name: name.to_owned(), path, has_settings }))
    }

    /// Whether files of a segment are in it.
    pub(crate) fn holds_segment_files(&self) -> Result<bool> {
        let names = self.path.join(SEGMENTS_DIR).list()?;
        let is_of_segment =
            |name| SegmentFile::parse(name).is_some_and(|file| file.segment().is_some());
        Ok(names.iter().any(|name| is_of_segment(name)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::Disk;

    fn roots(scratch: &Path, names: &[&str]) -> Vec<DiskPath> {
        names.iter().map(|name| DiskPath::new(&Disk::new(), scratch.join(name))).collect()
    }

    #[test]
    fn each_root_is_told_of_by_itself() {
        let scratch = tempfile::tempdir().unwrap();
        let roots = roots(scratch.path(), &["a", "b", "gone"]);
        let make = |path: &str, is_folder: bool| {
            let path = scratch.path().join(path);
            std::fs::create_dir_all(if is_folder { &path } else { path.parent().unwrap() })
                .unwrap();
            if !is_folder {
                std::fs::write(path, b"").unwrap();
            }
        };
        for file in ["a/t/table.metadata", "b/t/segments/1-0.values", "a/littfs.root", "a/u/file"] {
            make(file, false);
        }
        for folder in ["a/half/segments", "b/.dropped-17", "b/.replaced-1", "b/.t/segments"] {
            make(folder, true);
        }
        let scan = RootsScan::new(&roots).complete().unwrap();
        let names = |root: &RootScan| {
            let names = root.tables.iter().map(|table| (table.name.clone(), table.has_settings));
            names.collect::<Vec<_>>()
        };
        assert_eq!(names(&scan.roots[0]), [("half".to_owned(), false), ("t".to_owned(), true)]);
        assert_eq!(names(&scan.roots[1]), [("t".to_owned(), false)]);
        assert_eq!(names(&scan.roots[2]), []);
        assert_eq!(scan.dropped_ids(), HashSet::from(["17".to_owned()]));
        assert_eq!(scan.roots[1].replaced, [roots[1].join(".replaced-1")]);
        let tables = scan.tables();
        let holds = |folder: &&TableFolder| folder.holds_segment_files().unwrap();
        assert_eq!(tables["t"].iter().map(holds).collect::<Vec<_>>(), [false, true]);
        assert_eq!(tables["half"].iter().map(holds).collect::<Vec<_>>(), [false]);
    }

    #[test]
    fn a_root_that_cannot_be_listed_leaves_the_others() {
        let scratch = tempfile::tempdir().unwrap();
        let roots = roots(scratch.path(), &["a", "b"]);
        roots[0].create_new().unwrap();
        roots[1].join("t/segments").create_dir_all().unwrap();
        let scan = RootsScan::new(&roots);
        assert_eq!((scan.roots[0].failures.len(), scan.roots[1].failures.len()), (1, 0));
        assert_eq!(scan.tables().keys().copied().collect::<Vec<_>>(), ["t"]);
        let error = scan.complete().unwrap_err().to_string();
        assert!(error.contains(roots[0].to_str().unwrap()), "{error}");
    }
}
