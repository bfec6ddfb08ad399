//! The record: what a packed shard holds for each value, folder and link.
//!
//! A record describes itself, so that a lost key file can be rebuilt from the shards alone.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic `LFR` and version 1 |
//! | 4 | 4 | CRC32C of bytes 8 .. 80 + key capacity |
//! | 8 | 2 | flags: 1 = the bytes are in a dedicated shard, 2 = dead |
//! | 10 | 2 | key length, 1..=4095 |
//! | 12 | 2 | key capacity, a multiple of 8 not below the key length |
//! | 14 | 2 | zero |
//! | 16 | 8 | value length |
//! | 24 | 8 | when the value was stored, ns since the epoch |
//! | 32 | 8 | value id |
//! | 40 | 32 | attributes |
//! | 72 | 4 | value CRC |
//! | 76 | 4 | dedicated shard, or 0 |
//! | 80 | key capacity | key, then zeros |
//! | | value length | the bytes, unless they are in a dedicated shard |
//! | | 4 each | block checksums, when the value is longer than one block of 64 KiB |
//! | | 0..7 | zeros up to a multiple of 8 |
//!
//! A record is dead when its value was removed, or another took its place, before its segment was
//! sealed.
//!
//! The value CRC is that of the bytes when they fit one block, else that of the encoded block
//! checksums, which are the CRC32C of each 64 KiB of the value. So every byte is covered, and a
//! range can be verified without reading the rest.

use super::attributes::Attributes;
use super::bytes::{Fields, Put};
use super::location::{Location, RECORD_ALIGNMENT, ValueId};
use super::preamble::{PREAMBLE_BYTES, Preamble};
use super::{Malformed, crc32c};
use crate::format::entry::Entry;

/// Bytes of the header before the key.
pub(crate) const HEADER_BYTES: usize = 80;
/// Values are checksummed in blocks of this many bytes.
pub(crate) const BLOCK_BYTES: u64 = 64 * 1024;
/// [`BLOCK_BYTES`] as the length of a slice.
pub(crate) const BLOCK_SIZE: usize = 64 * 1024;
const _: () = assert!(BLOCK_SIZE as u64 == BLOCK_BYTES);
/// The longest key, in bytes.
pub(crate) const KEY_BYTES_MAX: usize = 4095;
/// The longest that header and key of a record are together.
pub(crate) const RECORD_START_BYTES_MAX: usize = HEADER_BYTES + KEY_BYTES_MAX.next_multiple_of(8);
/// The longest value, in bytes: 4 TiB, so that its block checksums (256 MiB) fit a record.
pub(crate) const VALUE_BYTES_MAX: u64 = 4 << 40;

const PREAMBLE: Preamble =
    Preamble { magic: *b"LFR", version: 1, foreign: "no record starts here" };
const FLAG_DEDICATED: u16 = 1;
const FLAG_DEAD: u16 = 2;

/// The verified header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) key_bytes: u16,
    pub(crate) key_capacity: u16,
    pub(crate) value_bytes: u64,
    pub(crate) written_at_ns: u64,
    pub(crate) id: ValueId,
    pub(crate) attributes: Attributes,
    pub(crate) value_crc: u32,
    /// 0 when the bytes are in the record itself.
    pub(crate) dedicated: u32,
    pub(crate) dead: bool,
}

/// Key capacity for a key of this length.
pub(crate) fn key_capacity(key_bytes: usize) -> usize {
    key_bytes.next_multiple_of(8)
}

/// How many block checksums a value of this length has.
pub(crate) fn block_count(value_bytes: u64) -> u64 {
    if value_bytes > BLOCK_BYTES { value_bytes.div_ceil(BLOCK_BYTES) } else { 0 }
}

impl RecordHeader {
    /// Where the value (or, for a dedicated one, the block checksums) starts within the record.
    pub(crate) fn body_offset(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.key_capacity)
    }

    fn inline_bytes(&self) -> u64 {
        if self.dedicated == 0 { self.value_bytes } else { 0 }
    }

    /// Where the block checksums start within the record.
    pub(crate) fn checksums_offset(&self) -> u64 {
        self.body_offset() + self.inline_bytes()
    }

    /// Bytes of the whole record, padding included.
    pub(crate) fn record_bytes(&self) -> u64 {
        (self.checksums_offset() + 4 * block_count(self.value_bytes))
            .next_multiple_of(RECORD_ALIGNMENT)
    }

    /// Appends the header and the key, `HEADER_BYTES + key capacity` bytes.
    pub(crate) fn encode(&self, key: &[u8], out: &mut Vec<u8>) {
        debug_assert_eq!(usize::from(self.key_bytes), key.len());
        let start = PREAMBLE.begin(out);
        let dedicated_flag = if self.dedicated == 0 { 0 } else { FLAG_DEDICATED };
        out.put_u16(dedicated_flag | if self.dead { FLAG_DEAD } else { 0 });
        out.put_u16(self.key_bytes);
        out.put_u16(self.key_capacity);
        out.put_u16(0);
        out.put_u64(self.value_bytes);
        out.put_u64(self.written_at_ns);
        out.put_u64(self.id.0);
        self.attributes.encode(out);
        out.put_u32(self.value_crc);
        out.put_u32(self.dedicated);
        out.extend_from_slice(key);
        out.put_zeros(usize::from(self.key_capacity).saturating_sub(key.len()));
        Preamble::finish(start, out);
    }

    /// Decodes and verifies header and key at the start of `bytes`. Returns the key with it.
    /// When `bytes` is too short for the key the error tells so; [`peek_bytes`] tells how
    /// much is needed.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let mut fields = Fields::new(bytes);
        let claimed = PREAMBLE.take(&mut fields)?;
        let flags = fields.u16()?;
        let key_bytes = fields.u16()?;
        let key_capacity = fields.u16()?;
        let end = HEADER_BYTES + usize::from(key_capacity);
        if bytes.len() < end {
            return Err(Malformed::damaged(12, format!("the record needs {end} bytes")));
        }
        Preamble::check(claimed, &bytes[PREAMBLE_BYTES..end])?;
        fields.zeros(2)?;
        let value_bytes = fields.u64()?;
        let written_at_ns = fields.u64()?;
        let id = ValueId(fields.u64()?);
        let attributes = Attributes::decode(&mut fields)?;
        let value_crc = fields.u32()?;
        let dedicated = fields.u32()?;
        let key = fields.take(usize::from(key_bytes))?;
        fields.zeros(usize::from(key_capacity).saturating_sub(key.len()))?;
        let sane = key_bytes > 0
            && key_bytes <= key_capacity
            && key_capacity.is_multiple_of(8)
            && flags & !(FLAG_DEDICATED | FLAG_DEAD) == 0
            && (flags & FLAG_DEDICATED != 0) == (dedicated != 0)
            && value_bytes <= VALUE_BYTES_MAX
            && (1..=ValueId::MAX.0).contains(&id.0);
        if !sane {
            return Err(Malformed::damaged(8, "header fields contradict each other"));
        }
        let dead = flags & FLAG_DEAD != 0;
        let header = Self {
            key_bytes,
            key_capacity,
            value_bytes,
            written_at_ns,
            id,
            attributes,
            value_crc,
            dedicated,
            dead,
        };
        Ok((header, key))
    }

    /// The header with the name and attributes of `entry`. Of `start`, which a crash may have left
    /// half rewritten, only what is the same before and after is used: key capacity, value id and
    /// value CRC.
    pub(crate) fn rebuilt(start: &[u8], key: &[u8], entry: &Entry) -> Result<Self, Malformed> {
        let (Some(end), Some(value_crc)) = (peek_bytes(start), peek_value_crc(start)) else {
            return Err(Malformed::damaged(0, "no record starts here"));
        };
        if start[32..40] != entry.id.0.to_le_bytes() {
            return Err(Malformed::damaged(32, "it is not the record of its entry"));
        }
        let capacity = end - HEADER_BYTES;
        let (Ok(key_bytes), Ok(key_capacity)) = (u16::try_from(key.len()), u16::try_from(capacity))
        else {
            return Err(Malformed::damaged(12, "key capacity is out of range"));
        };
        let header = Self {
            key_bytes,
            key_capacity,
            value_bytes: entry.value_bytes,
            written_at_ns: entry.written_at_ns,
            id: entry.id,
            attributes: entry.attributes,
            value_crc,
            dedicated: entry.dedicated,
            dead: false,
        };
        if key.len() > capacity || header.record_bytes() != u64::from(entry.record_bytes) {
            return Err(Malformed::damaged(12, "the record does not have the room of its entry"));
        }
        Ok(header)
    }

    /// The entry of the record at `location`.
    pub(crate) fn entry(&self, location: Location) -> Result<Entry, Malformed> {
        let record_bytes = u32::try_from(self.record_bytes())
            .map_err(|_| Malformed::damaged(16, "the record is longer than 4 GiB"))?;
        Ok(Entry {
            id: self.id,
            location,
            record_bytes,
            value_bytes: self.value_bytes,
            dedicated: self.dedicated,
            written_at_ns: self.written_at_ns,
            attributes: self.attributes,
            supersedes: None,
        })
    }
}

/// The bytes header and key take, judged from the first [`HEADER_BYTES`] alone, before anything is
/// verified. `None` when no record starts here.
pub(crate) fn peek_bytes(start: &[u8]) -> Option<usize> {
    if start.len() < HEADER_BYTES || !start.starts_with(&PREAMBLE.magic) {
        return None;
    }
    let capacity = u16::from_le_bytes([start[12], start[13]]);
    Some(HEADER_BYTES + usize::from(capacity))
}

/// The length of the record that starts here, by fields that nobody has verified.
pub(crate) fn claimed_bytes(start: &[u8]) -> Option<u64> {
    let capacity = u16::from_le_bytes(start.get(12..14)?.try_into().ok()?);
    let value_bytes = u64::from_le_bytes(start.get(16..24)?.try_into().ok()?);
    let dedicated = u32::from_le_bytes(start.get(76..80)?.try_into().ok()?);
    if value_bytes > VALUE_BYTES_MAX || !capacity.is_multiple_of(8) || capacity == 0 {
        return None;
    }
    let inline_bytes = if dedicated == 0 { value_bytes } else { 0 };
    let bytes = HEADER_BYTES as u64 + u64::from(capacity) + inline_bytes;
    Some((bytes + 4 * block_count(value_bytes)).next_multiple_of(RECORD_ALIGNMENT))
}

/// The value CRC of a header whose other fields may have been cut short by a crash while it was
/// being rewritten: that field never changes, so it is right either way.
pub(crate) fn peek_value_crc(start: &[u8]) -> Option<u32> {
    let bytes = start.get(72..76)?;
    Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// The value CRC and the encoded block checksums (empty for values of one block) of a value.
pub(crate) fn checksum_value(value: &[u8], checksums: &mut Vec<u8>) -> u32 {
    checksums.clear();
    if value.len() as u64 <= BLOCK_BYTES {
        return crc32c(value);
    }
    for block in value.chunks(BLOCK_SIZE) {
        checksums.put_u32(crc32c(block));
    }
    crc32c(checksums)
}

#[cfg(test)]
mod tests {
    use super::super::attributes::Kind;
    use super::super::location::SegmentNumber;
    use super::*;

    fn header(key: &[u8], value: &[u8]) -> RecordHeader {
        RecordHeader {
            key_bytes: u16::try_from(key.len()).unwrap(),
            key_capacity: u16::try_from(key_capacity(key.len())).unwrap(),
            value_bytes: value.len() as u64,
            written_at_ns: 5,
            id: ValueId(6),
            attributes: Attributes::new_at_ns(Kind::File, 0o644, 7, 8, 9),
            value_crc: crc32c(value),
            dedicated: 0,
            dead: false,
        }
    }

    #[test]
    fn layout_is_pinned() {
        let mut bytes = Vec::new();
        header(b"a/b", b"xyz").encode(b"a/b", &mut bytes);
        assert_eq!(bytes.len(), 88);
        assert_eq!(bytes[..4], *b"LFR\x01");
        assert_eq!(bytes[8..24], [0, 0, 3, 0, 8, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[24..40], [5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[80..], *b"a/b\0\0\0\0\0");
        assert_eq!(crc32c(&bytes[8..]).to_le_bytes(), bytes[4..8]);
    }

    #[test]
    fn headers_round_trip() {
        let mut original = header(b"key", b"value");
        for (dedicated, dead) in [(0, false), (9, false), (0, true)] {
            original.dedicated = dedicated;
            original.dead = dead;
            let mut bytes = Vec::new();
            original.encode(b"key", &mut bytes);
            assert_eq!(RecordHeader::decode(&bytes), Ok((original, &b"key"[..])));
            assert_eq!(peek_bytes(&bytes), Some(bytes.len()));
            assert_eq!(peek_value_crc(&bytes), Some(original.value_crc));
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut bytes = Vec::new();
        header(b"key", b"value").encode(b"key", &mut bytes);
        for position in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[position / 8] ^= 1 << (position % 8);
            assert!(RecordHeader::decode(&damaged).is_err(), "bit {position}");
        }
        for length in 0..bytes.len() {
            assert!(RecordHeader::decode(&bytes[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn lengths_add_up() {
        let mut long = header(b"key", b"");
        long.value_bytes = BLOCK_BYTES + 1;
        assert_eq!(block_count(long.value_bytes), 2);
        assert_eq!(long.record_bytes(), 80 + 8 + BLOCK_BYTES + 1 + 8 + 7);
        long.dedicated = 9;
        assert_eq!(long.record_bytes(), 80 + 8 + 8);
        let location = Location { segment: SegmentNumber(1), shard: 0, offset: 0 };
        assert_eq!(long.entry(location).map(|entry| entry.record_bytes), Ok(96));
    }
}
