//! Records, written into the shards of a segment.

use super::ActiveSegment;
use super::buffer::with_buffer;
use crate::cast::to_u8;
use crate::error::Result;
use crate::format::entry::Entry;
use crate::format::key_hash::KeyHash;
use crate::format::location::Location;
use crate::format::record::RecordHeader;

/// Records up to this length are put together in one buffer; longer ones are written from where
/// their parts are.
const COPIED_BYTES_MAX: u64 = 32 * 1024;

/// The bytes of a new record.
pub(in crate::table) struct NewRecord<'a> {
    pub(in crate::table) header: RecordHeader,
    pub(in crate::table) key: &'a [u8],
    /// The value, unless it is in a dedicated shard.
    pub(in crate::table) value: &'a [u8],
    /// The encoded block checksums, if the value has them.
    pub(in crate::table) checksums: &'a [u8],
}

impl ActiveSegment {
    /// Writes a record into the shard that its key's hash chooses.
    pub(in crate::table) fn append(&self, hash: KeyHash, record: &NewRecord<'_>) -> Result<Entry> {
        let shard = hash.part_of(self.shards.len());
        let record_bytes = record.header.record_bytes();
        let offset = with_buffer(|buffer| {
            record.header.encode(record.key, buffer);
            let body_bytes = buffer.len() + record.value.len() + record.checksums.len();
            let padding = &[0; 8][..body_bytes.next_multiple_of(8) - body_bytes];
            if record_bytes <= COPIED_BYTES_MAX {
                buffer.extend_from_slice(record.value);
                buffer.extend_from_slice(record.checksums);
                buffer.extend_from_slice(padding);
                self.shards[shard].append(&[buffer])
            } else {
                self.shards[shard].append(&[buffer, record.value, record.checksums, padding])
            }
        })?;
        self.fill.add(record_bytes);
        // There are at most 255 packed shards.
        let location = Location { segment: self.number(), shard: to_u8(shard), offset };
        record
            .header
            .entry(location)
            .map_err(|malformed| malformed.in_file(&self.keys_path, offset))
    }
}
