//! Reading records of segments, whatever state those are in.

use std::sync::Arc;

use super::Segments;
use crate::cast::to_usize;
use crate::disk::DiskFile;
use crate::error::{Error, Result};
use crate::format::entry::Entry;
use crate::format::location::{Location, SegmentNumber};
use crate::layout::segment_files::values_name;
use crate::segment::descriptors::FileKey;
use crate::segment::value::RecordBytes;

/// Records up to this length are read whole with their header; of longer ones only the start.
const WHOLE_RECORD_BYTES_MAX: usize = 64 * 1024 + 4096;
/// What is read of a longer record to see its header and key.
const RECORD_START_BYTES: usize = 512;

impl Segments {
    /// Reads the record, of about this length, at a location; `None` when its segment has been dropped
    /// meanwhile.
    pub(in crate::table) fn read_record(
        &self,
        location: Location,
        record_bytes: u32,
    ) -> Result<Option<(RecordBytes, Arc<DiskFile>)>> {
        let file = match self.shard_file(location.segment, u32::from(location.shard)) {
            Err(Error::MissingFile { .. }) if location.segment < self.lowest_live() => {
                return Ok(None);
            }
            other => other?,
        };
        let record = RecordBytes::read(&file, location.offset, record_hint(record_bytes))?;
        Ok(Some((record, file)))
    }

    /// The record of an entry, read whole when it is short.
    pub(in crate::table) fn record_of(
        &self,
        entry: &Entry,
    ) -> Result<(RecordBytes, Arc<DiskFile>)> {
        let read = match self.read_record(entry.location, entry.record_bytes) {
            Err(damage @ Error::Corrupt { .. }) => {
                self.read_unsettled(entry).map(Some).ok_or(damage)?
            }
            other => other?,
        };
        match read {
            Some((record, file)) => match record.difference_from(entry) {
                None => Ok((record, file)),
                Some(reason) => Err(Error::corrupt(file.path(), entry.location.offset, reason)),
            },
            None => Err(Error::NotFound { key: format!("value {}", entry.id) }),
        }
    }

    /// The record of an entry in a segment that is not sealed yet, although its header is damaged: a
    /// power cut while headers were being rewritten leaves such. Sealing writes it anew.
    fn read_unsettled(&self, entry: &Entry) -> Option<(RecordBytes, Arc<DiskFile>)> {
        let view = self.view.load();
        view.unsealed().find(|segment| segment.holds(entry))?.read_half_rewritten(entry)
    }

    /// The open file of a shard, packed or dedicated.
    pub(in crate::table) fn shard_file(
        &self,
        segment: SegmentNumber,
        shard: u32,
    ) -> Result<Arc<DiskFile>> {
        let view = self.view.load();
        if let Some(unsealed) = view.unsealed().find(|unsealed| unsealed.number() == segment)
            && let Some(packed) = unsealed.packed_file(shard)
        {
            return packed.map(Arc::clone);
        }
        let key = FileKey { table: self.identity.number, segment, file: shard };
        self.context.descriptors.get(key, || self.dirs.open(&values_name(segment, shard)))
    }
}

/// How much of a record to read at once.
fn record_hint(record_bytes: u32) -> usize {
    let record_bytes = to_usize(record_bytes);
    if record_bytes <= WHOLE_RECORD_BYTES_MAX { record_bytes } else { RECORD_START_BYTES }
}
