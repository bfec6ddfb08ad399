//! What every part of a check works with: the check under way, and what is known of its table.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::report::{Finding, Report};
use crate::clock::Clock;
use crate::disk::{Disk, DiskPath};
use crate::format::entry::Entry;
use crate::format::table_file::TableFile;
use crate::layout::segment_files::SegmentDirs;
use crate::names::BlockCache;
use crate::segment::descriptors::Descriptors;

/// Progress is told each time so many bytes were verified.
const PROGRESS_BYTES: u64 = 4 << 20;

/// How far a check has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that were verified.
    pub bytes_done: u64,
    /// Bytes of all files that are to be read; grows as tables are entered.
    pub bytes_total: u64,
}

/// A check under way.
pub(super) struct Checker<'p> {
    pub(super) disk: Disk,
    pub(super) clock: Clock,
    pub(super) roots: Vec<DiskPath>,
    pub(super) descriptors: Arc<Descriptors>,
    pub(super) report: Report,
    /// The table that findings are about.
    pub(super) table: Option<String>,
    pub(super) progress: &'p mut dyn FnMut(Progress),
    /// Ids of tables whose dropping was interrupted.
    pub(super) dropped: HashSet<String>,
    pub(super) bytes_total: u64,
    /// Bytes done when `progress` was last called.
    pub(super) bytes_told: u64,
}

/// What is known of the table that is checked.
pub(super) struct TableFacts {
    pub(super) name: String,
    pub(super) file: TableFile,
    pub(super) dirs: SegmentDirs,
    /// The table's folder in each root.
    pub(super) table_dirs: Vec<DiskPath>,
    pub(super) cache: Arc<BlockCache>,
    pub(super) now_ns: u64,
}

impl TableFacts {
    /// Whether the time of an entry is up.
    pub(super) fn is_expired(&self, entry: &Entry) -> bool {
        self.file
            .ttl_ns
            .is_some_and(|ttl_ns| entry.written_at_ns.saturating_add(ttl_ns) <= self.now_ns)
    }

    /// Where a segment file that is missing would most likely be.
    pub(super) fn usual_path(&self, name: &str) -> PathBuf {
        self.dirs.usual_path(name).to_path_buf()
    }
}

impl Checker<'_> {
    pub(super) fn add(&mut self, finding: Finding) {
        self.report.add(Finding { table: self.table.clone(), ..finding });
    }

    /// Counts bytes as verified and tells how far the check has come.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.report.counts.bytes += bytes;
        let bytes_done = self.report.counts.bytes;
        if bytes_done - self.bytes_told >= PROGRESS_BYTES {
            self.bytes_told = bytes_done;
            (self.progress)(Progress { bytes_done, bytes_total: self.bytes_total.max(bytes_done) });
        }
    }
}
