//! `table.metadata` in every root: each copy by itself, and all of them together.

use super::{Checker, Finding};
use crate::disk::DiskPath;
use crate::format::table_file::TableFile;
use crate::layout::SEGMENTS_DIR;
use crate::layout::table_file::{CopyContent, good_copies, newest, read_copies};
use crate::root_id::RootId;

impl Checker<'_> {
    /// Checks all copies; the newest good one, which is the one that counts.
    pub(super) fn check_table_files(&mut self, table_dirs: &[DiskPath]) -> Option<TableFile> {
        let copies = read_copies(table_dirs);
        let mut missing = Vec::new();
        let mut damaged = 0;
        for copy in &copies {
            match &copy.content {
                CopyContent::Missing => {
                    missing.push(copy.path.clone());
                    continue;
                }
                CopyContent::Good { bytes, .. } => self.advance(*bytes),
                CopyContent::Bad(error) | CopyContent::Hidden(error) => {
                    damaged += 1;
                    self.add(Finding::of_error(error, &copy.path));
                }
            }
            self.report.counts.files += 1;
        }
        let Some((newest_path, newest)) = newest(&copies) else {
            let first_dir = &table_dirs[RootId::FIRST.position()];
            if damaged == 0 && is_unused(table_dirs) {
                let what = "a table that was never made to the end; there is nothing in it";
                self.add(Finding::note(first_dir, what));
            } else if damaged == 0 {
                let path = missing.swap_remove(0);
                let what = "it is missing in every root, so the table cannot be opened: put it back, \
                            or `littfs check --repair` makes it anew without its settings";
                self.add(Finding::damage(&path, what));
            } else {
                let what = "no root has a good table.metadata, so nothing of this table was checked; `littfs \
                     check --repair` makes it anew without its settings";
                self.add(Finding::damage(first_dir, what));
            }
            return None;
        };
        for path in missing {
            let what = "this copy is missing; the next open writes it again";
            self.add(Finding::note(&path, what));
        }
        for (path, file) in good_copies(&copies).filter(|(path, _)| *path != newest_path) {
            if file.id() != newest.id() {
                let what = format!("it is that of another table than {}", newest_path.display());
                self.add(Finding::damage(path, what));
            } else if file.revision != newest.revision {
                let what = format!(
                    "revision {} found, {} has {}; the next open brings it up to date",
                    file.revision,
                    newest_path.display(),
                    newest.revision
                );
                self.add(Finding::note(path, what));
            } else if file != newest {
                let what =
                    format!("it differs from {} of the same revision", newest_path.display());
                self.add(Finding::damage(path, what));
            }
        }
        Some(newest.clone())
    }
}

/// Whether the folders of a table hold no segment: a crash came while they were made.
fn is_unused(table_dirs: &[DiskPath]) -> bool {
    let is_empty =
        |dir: &DiskPath| dir.join(SEGMENTS_DIR).list().is_ok_and(|names| names.is_empty());
    table_dirs.iter().all(is_empty)
}
