//! A sealed segment: files that never change, and what is known of them without reading them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::Result;
use crate::format::location::SegmentNumber;
use crate::format::segment_metadata::SegmentSummary;
use crate::layout::segment_files::{SegmentDirs, keys_name};
use crate::names::Run;
use crate::segment::descriptors::{Descriptors, FileKey, RUN_FILE};

/// A sealed segment of a table.
#[derive(Debug)]
pub(crate) struct SealedSegment {
    pub(crate) number: SegmentNumber,
    pub(crate) summary: SegmentSummary,
    /// Opened when first needed, so that opening a database reads no runs.
    run: Mutex<Option<Arc<Run>>>,
}

impl SealedSegment {
    pub(crate) fn new(number: SegmentNumber, summary: SegmentSummary) -> Self {
        Self { number, summary, run: Mutex::new(None) }
    }

    /// The names in it.
    pub(crate) fn run(&self, files: &RunFiles) -> Result<Arc<Run>> {
        let mut slot = self.run.lock();
        if let Some(run) = &*slot {
            return Ok(Arc::clone(run));
        }
        let run = Arc::new(files.open_run(self.number)?);
        *slot = Some(Arc::clone(&run));
        Ok(run)
    }
}

/// All sealed segments by number, as a view has them.
pub(crate) type SealedSegments = Arc<BTreeMap<SegmentNumber, Arc<SealedSegment>>>;

/// Where the runs of a table are opened from.
#[derive(Clone, Debug)]
pub(crate) struct RunFiles {
    pub(crate) table_number: u16,
    pub(crate) table_id: [u8; 16],
    pub(crate) dirs: SegmentDirs,
    pub(crate) descriptors: Arc<Descriptors>,
    pub(crate) cache: Arc<crate::names::BlockCache>,
}

impl RunFiles {
    fn open_run(&self, segment: SegmentNumber) -> Result<Run> {
        let files = self.clone();
        let open = move || files.file(segment);
        Run::open(Box::new(open), Arc::clone(&self.cache), self.table_id, segment)
    }

    /// The key of a run in the descriptor cache.
    pub(crate) fn file_key(&self, segment: SegmentNumber) -> FileKey {
        FileKey { table: self.table_number, segment, file: RUN_FILE }
    }

    /// The open file of a run.
    pub(crate) fn file(&self, segment: SegmentNumber) -> Result<Arc<crate::disk::DiskFile>> {
        self.descriptors.get(self.file_key(segment), || self.dirs.open(&keys_name(segment)))
    }
}
