//! Which segment files there are, and which of them should not be there.

use std::path::Path;

use super::{Checker, Finding, TableFacts};
use crate::disk::DiskPath;
use crate::format::location::SegmentNumber;
use crate::format::log_record::LOG_HEADER_BYTES;
use crate::layout::inventory::{Inventory, SegmentFiles};
use crate::layout::segment_files::SegmentFile;

impl Checker<'_> {
    /// The files of all segments that are not below the mark of expiry.
    pub(super) fn take_inventory(&mut self, facts: &TableFacts) -> Inventory {
        let listing = facts.dirs.look();
        for (dir, error) in &listing.failures {
            self.add(Finding::of_error(error, dir));
        }
        for path in &listing.unknown {
            self.add(Finding::note(path, "littfs knows no such file"));
        }
        for (_, path) in listing.files.iter().filter(|(file, _)| *file == SegmentFile::Unfinished) {
            self.add(Finding::note(path, "it was not finished; the next open removes it"));
        }
        let mut inventory = Inventory::of(listing);
        inventory.segments.retain(|number, files| {
            let is_live = self.is_live(facts, *number, files);
            if is_live {
                self.bytes_total += files.paths().map(|path| self.bytes_of(path)).sum::<u64>();
            }
            is_live
        });
        for file in inventory.segments.values().flat_map(|files| &files.twice) {
            let what = format!(
                "{} has the same name; a file may be in one root only: remove the copy that is \
                 not wanted",
                file.first.display()
            );
            self.add(Finding::damage(&file.second, what));
        }
        inventory
    }

    /// Whether the next open leaves a segment there; reports the files that it removes.
    fn is_live(&mut self, facts: &TableFacts, number: SegmentNumber, files: &SegmentFiles) -> bool {
        if number.0 < facts.file.lowest_segment {
            for path in files.paths() {
                let what = "its segment has expired; the next open removes it";
                self.add(Finding::note(path, what));
            }
            return false;
        }
        // The metadata comes last when a segment is made, and goes first when one that was not
        // needed is removed: in one without it in which nothing is nothing ever was. Where
        // something is, it was lost.
        if files.metadata.is_some() || !self.is_blank(files) {
            return true;
        }
        for path in files.paths() {
            let what =
                format!("{number}.metadata is missing; the next open removes this empty file");
            self.add(Finding::note(path, what));
        }
        false
    }

    /// Whether nothing was ever stored in a segment.
    fn is_blank(&self, files: &SegmentFiles) -> bool {
        let (second_keys, second_values): (Vec<_>, Vec<_>) =
            files.twice.iter().partition(|twice| matches!(twice.file, SegmentFile::Keys(_)));
        let has_no_names = |path: &DiskPath| {
            let bytes = path.open().and_then(|file| file.len());
            bytes.is_ok_and(|bytes| bytes <= LOG_HEADER_BYTES as u64)
        };
        let mut keys = files.keys.iter().chain(second_keys.iter().map(|twice| &twice.second));
        let second_values = second_values.iter().map(|twice| &twice.second);
        keys.all(has_no_names)
            && files.values.values().chain(second_values).all(|path| self.bytes_of(path) == 0)
    }

    /// The length of a file; 0 when it cannot be opened, which is told where it is read.
    pub(super) fn bytes_of(&self, path: &Path) -> u64 {
        self.disk.open(path).and_then(|file| file.len()).unwrap_or(0)
    }
}
