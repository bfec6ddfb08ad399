//! A record about to be written: what every way of storing puts together the same way.

use super::active::{ActiveSegment, NewRecord};
use crate::cast::to_u16;
use crate::error::Result;
use crate::format::attributes::Attributes;
use crate::format::crc32c;
use crate::format::entry::Entry;
use crate::format::key_hash::KeyHash;
use crate::format::location::ValueId;
use crate::format::record::{BLOCK_BYTES, RecordHeader, checksum_value, key_capacity};

/// A value, link or folder about to be stored.
#[derive(Clone, Debug)]
pub(super) struct Draft<'a> {
    id: ValueId,
    attributes: Attributes,
    written_at_ns: u64,
    value_bytes: u64,
    value_crc: u32,
    /// The bytes, unless they are in a dedicated shard.
    inline: &'a [u8],
    /// The encoded block checksums, if the value has them.
    checksums: Vec<u8>,
    /// The dedicated shard of the active segment with the bytes, or 0.
    dedicated: u32,
}

impl<'a> Draft<'a> {
    /// One without bytes, such as a folder's.
    pub(super) fn empty(id: ValueId, attributes: Attributes, written_at_ns: u64) -> Self {
        Self {
            id,
            attributes,
            written_at_ns,
            value_bytes: 0,
            value_crc: crc32c(&[]),
            inline: &[],
            checksums: Vec::new(),
            dedicated: 0,
        }
    }

    /// With these bytes, which stand in the record.
    pub(super) fn with_value(self, value: &'a [u8]) -> Self {
        let mut checksums = self.checksums;
        let value_crc = checksum_value(value, &mut checksums);
        Self { value_bytes: value.len() as u64, value_crc, inline: value, checksums, ..self }
    }

    /// With bytes in a file of their own, which become a dedicated shard; `checksums` are those of
    /// all its blocks.
    pub(super) fn with_file(self, value_bytes: u64, mut checksums: Vec<u8>) -> Self {
        let value_crc = match checksums.as_slice() {
            [] => crc32c(&[]),
            [a, b, c, d] => u32::from_le_bytes([*a, *b, *c, *d]),
            many => crc32c(many),
        };
        if value_bytes <= BLOCK_BYTES {
            checksums.clear();
        }
        Self { value_bytes, value_crc, checksums, ..self }
    }

    /// With the bytes of a record that was read: in `value`, or in a dedicated shard.
    pub(super) fn with_copy_of(
        self,
        header: &RecordHeader,
        value: &'a [u8],
        checksums: Vec<u8>,
    ) -> Self {
        let RecordHeader { value_bytes, value_crc, .. } = *header;
        Self { value_bytes, value_crc, inline: value, checksums, ..self }
    }

    /// The bytes are in this dedicated shard of the active segment.
    pub(super) fn place(&mut self, dedicated: u32) {
        self.dedicated = dedicated;
    }

    /// It is stored now.
    pub(super) fn stamp(&mut self, written_at_ns: u64) {
        self.written_at_ns = written_at_ns;
    }

    pub(super) fn id(&self) -> ValueId {
        self.id
    }

    /// Writes the record under this key into the segment.
    pub(super) fn append(
        &self,
        active: &ActiveSegment,
        hash: KeyHash,
        key: &[u8],
    ) -> Result<Entry> {
        let header = self.header(key);
        let record = NewRecord { header, key, value: self.inline, checksums: &self.checksums };
        active.append(hash, &record)
    }

    /// The header of the record under this key.
    fn header(&self, key: &[u8]) -> RecordHeader {
        RecordHeader {
            // Keys are checked to have at most 4095 bytes before they get here.
            key_bytes: to_u16(key.len()),
            key_capacity: to_u16(key_capacity(key.len())),
            value_bytes: self.value_bytes,
            written_at_ns: self.written_at_ns,
            id: self.id,
            attributes: self.attributes,
            value_crc: self.value_crc,
            dedicated: self.dedicated,
            dead: false,
        }
    }
}
