//! Which segment files there are, in which root, and which of them should not be there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Finding, Session, TableFacts};
use crate::format::location::SegmentNumber;
use crate::format::log_record::LOG_HEADER_BYTES;
use crate::layout::segment_files::SegmentFile;

/// The files of one segment.
#[derive(Debug, Default)]
pub(super) struct SegmentFiles {
    pub(super) metadata: Option<PathBuf>,
    pub(super) keys: Option<PathBuf>,
    /// Shards, packed and dedicated, by number, each with its length.
    pub(super) values: BTreeMap<u32, (PathBuf, u64)>,
    /// Files that are in two roots, with what to say of it.
    twice: Vec<(PathBuf, String)>,
}

/// The files of all segments that are not below the mark of expiry.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) segments: BTreeMap<SegmentNumber, SegmentFiles>,
}

impl Session<'_> {
    /// Lists the segment files in every root.
    pub(super) fn take_inventory(&mut self, facts: &TableFacts) -> Inventory {
        let mut inventory = Inventory::default();
        for dir in facts.dirs.all() {
            let names = match self.disk.list(dir) {
                Ok(names) => names,
                Err(error) => {
                    self.add(Finding::of_error(&error, dir));
                    continue;
                }
            };
            for name in names {
                let path = dir.join(&name);
                match SegmentFile::parse(&name) {
                    None => self.add(Finding::note(&path, "littfs knows no such file")),
                    Some(SegmentFile::Unfinished) => {
                        let what = "it was not finished; the next open removes it";
                        self.add(Finding::note(&path, what));
                    }
                    Some(file) => self.take_file(facts, &mut inventory, file, &path),
                }
            }
        }
        self.drop_unborn(&mut inventory);
        for files in inventory.segments.values() {
            for (path, what) in &files.twice {
                self.add(Finding::damage(path, what.clone()));
            }
        }
        inventory
    }

    fn take_file(
        &mut self,
        facts: &TableFacts,
        inventory: &mut Inventory,
        file: SegmentFile,
        path: &Path,
    ) {
        let Some(number) = file.segment() else { return };
        if number.0 < facts.file.lowest_segment {
            let what = "its segment has expired; the next open removes it";
            self.add(Finding::note(path, what));
            return;
        }
        let bytes = self.disk.open(path).and_then(|file| file.len()).unwrap_or(0);
        self.bytes_total += bytes;
        let segment = inventory.segments.entry(number).or_default();
        let taken = match file {
            SegmentFile::Metadata(_) => segment.metadata.replace(path.to_path_buf()),
            SegmentFile::Keys(_) => segment.keys.replace(path.to_path_buf()),
            SegmentFile::Values(_, shard) => {
                segment.values.insert(shard, (path.to_path_buf(), bytes)).map(|(path, _)| path)
            }
            SegmentFile::Unfinished => None,
        };
        if let Some(other) = taken {
            let what = format!(
                "{} has the same name; a file may be in one root only: remove the copy that is \
                 not wanted",
                other.display()
            );
            segment.twice.push((path.to_path_buf(), what));
        }
    }

    /// The metadata comes last when a segment is made, and goes first when one that was not needed is
    /// removed: in one without it in which nothing is nothing ever was. Where something is, it was lost.
    fn drop_unborn(&mut self, inventory: &mut Inventory) {
        let (born, unborn) = std::mem::take(&mut inventory.segments)
            .into_iter()
            .partition(|(_, files)| files.metadata.is_some() || !self.is_blank(files));
        inventory.segments = born;
        let unborn: BTreeMap<SegmentNumber, SegmentFiles> = unborn;
        for (number, files) in unborn {
            let values = files.values.into_values().map(|(path, _)| path);
            for path in values.chain(files.keys) {
                let what =
                    format!("{number}.metadata is missing; the next open removes this empty file");
                self.add(Finding::note(&path, what));
            }
        }
    }

    fn is_blank(&self, files: &SegmentFiles) -> bool {
        let length = |path: &PathBuf| self.disk.open(path).and_then(|file| file.len());
        let has_names = files
            .keys
            .as_ref()
            .is_some_and(|keys| !length(keys).is_ok_and(|bytes| bytes <= LOG_HEADER_BYTES as u64));
        !has_names && files.values.values().all(|(_, bytes)| *bytes == 0)
    }
}
