//! What stands in the shards of a segment that no name refers to.
//!
//! Removed and superseded records, and the holes of writes that failed, are what they should be:
//! they are counted. Whole records that are not marked dead, though no log ever mentioned them, and
//! dedicated shards without a record are worth a note.

use std::collections::HashSet;

use super::records::SegmentRecords;
use super::{AffectedKeys, Checker, Finding};
use crate::cast;
use crate::disk::DiskFile;
use crate::disk::window::{SEARCH_BYTES_MAX, Window};
use crate::error::Result;
use crate::format::location::RECORD_ALIGNMENT;
use crate::format::record::{self, HEADER_BYTES, RECORD_START_BYTES_MAX, RecordHeader};
use crate::layout::inventory::SegmentFiles;

/// What the gaps of a shard hold.
#[derive(Debug, Default)]
struct GapContents {
    /// Offsets of records that the log mentioned once.
    superseded: HashSet<u64>,
    /// Whole records that are not marked dead.
    alive: AffectedKeys,
    /// Bytes that belong to no record and are not zero.
    unknown_bytes: u64,
    first_unknown_at: Option<u64>,
    searched_bytes: u64,
}

impl Checker<'_> {
    /// Looks at everything in the shards that is not a record of a name.
    pub(super) fn check_gaps(&mut self, files: &SegmentFiles, records: &mut SegmentRecords) {
        records.extents.sort_unstable();
        let packed: std::collections::BTreeSet<u32> =
            records.extents.iter().map(|extent| u32::from(extent.0)).collect();
        for (&shard, path) in &files.values {
            let bytes = self.bytes_of(path);
            self.report.counts.files += 1;
            let is_packed = records.is_packed_shard(shard) || packed.contains(&shard);
            if !is_packed {
                if !records.dedicated.contains(&shard) {
                    self.report.counts.unreferenced_bytes += bytes;
                    let what = if records.is_incomplete {
                        format!(
                            "a value of {bytes} bytes; the record that refers to it may be among \
                             those that cannot be read: leave it where it is"
                        )
                    } else {
                        format!("no record refers to this file of {bytes} bytes")
                    };
                    self.add(Finding::note(path, what));
                }
                continue;
            }
            let result = self.disk.open(path).and_then(|file| {
                let of_shard = records.logged.iter().filter(|place| u32::from(place.0) == shard);
                let superseded = of_shard.map(|place| place.1).collect();
                let mut contents = GapContents { superseded, ..GapContents::default() };
                let extents = records.extents.iter().filter(|extent| u32::from(extent.0) == shard);
                let mut at = 0;
                for &(_, offset, length) in extents {
                    self.look_at_gap(&file, at, offset.min(bytes), &mut contents)?;
                    at = at.max(offset + u64::from(length));
                }
                self.look_at_gap(&file, at, bytes, &mut contents)?;
                Ok(contents)
            });
            match result {
                Ok(contents) => self.report_gaps(path, contents),
                Err(error) => self.add(Finding::of_error(&error, path)),
            }
        }
    }

    fn report_gaps(&mut self, path: &std::path::Path, contents: GapContents) {
        if contents.alive.count > 0 {
            let what =
                "whole records that were never named, or whose names are lost; they cannot be read";
            self.add(Finding::note(path, what).affecting(contents.alive));
        }
        if let Some(at) = contents.first_unknown_at {
            let what = format!(
                "{} bytes, the first of them here, belong to no record; a write that failed \
                 leaves such a hole",
                contents.unknown_bytes
            );
            self.add(Finding::note(path, what).at(at));
        }
    }

    fn look_at_gap(
        &mut self,
        file: &DiskFile,
        from: u64,
        end: u64,
        contents: &mut GapContents,
    ) -> Result<()> {
        if from >= end {
            return Ok(());
        }
        self.report.counts.unreferenced_bytes += end - from;
        let mut window = Window::new(file, end);
        let mut at = from;
        while at < end {
            let step = if let Some(bytes) = record_at(&mut window, at, end, contents)? {
                bytes
            } else {
                let wanted = cast::to_usize(RECORD_ALIGNMENT);
                let bytes = window.slice(at, wanted)?;
                if bytes.is_empty() {
                    return Ok(());
                }
                if bytes.iter().any(|&byte| byte != 0) {
                    contents.first_unknown_at.get_or_insert(at);
                    contents.unknown_bytes += bytes.len() as u64;
                }
                bytes.len() as u64
            };
            self.advance(step);
            at += step;
        }
        Ok(())
    }
}

/// The length of the whole record at `at`, if there is one.
fn record_at(
    window: &mut Window<'_>,
    at: u64,
    end: u64,
    contents: &mut GapContents,
) -> Result<Option<u64>> {
    let start = window.slice(at, HEADER_BYTES)?;
    let wanted = record::peek_bytes(start).filter(|&bytes| bytes <= RECORD_START_BYTES_MAX);
    let Some(wanted) = wanted.filter(|_| contents.searched_bytes < SEARCH_BYTES_MAX) else {
        return Ok(None);
    };
    contents.searched_bytes += wanted as u64;
    let Ok((header, key)) = RecordHeader::decode(window.slice(at, wanted)?) else {
        return Ok(None);
    };
    let bytes = header.record_bytes();
    if bytes > end - at {
        return Ok(None);
    }
    if !header.dead && !contents.superseded.contains(&at) {
        contents.alive.add(key);
    }
    Ok(Some(bytes))
}
