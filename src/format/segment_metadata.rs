//! `N.metadata`: the state of a segment. 136 bytes, replaced as a whole.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic `LFM` and version 1 |
//! | 4 | 4 | CRC32C of bytes 8..136 |
//! | 8 | 16 | table id |
//! | 24 | 4 | segment |
//! | 28 | 1 | 1 when sealed, else 0 |
//! | 29 | 1 | packed shards |
//! | 30 | 2 | zero |
//! | 32 | 16 | salt of the key hash |
//! | 48 | 8 | opened at, ns since the epoch |
//! | 56 | 8 | sealed at, ns since the epoch; 0 while active |
//! | 64 | 8 | earliest stored-at of its values; 0 while active |
//! | 72 | 8 | latest stored-at of its values; 0 while active |
//! | 80 | 8 | highest value id; 0 while active |
//! | 88 | 8 | files and links; 0 while active |
//! | 96 | 8 | folders; 0 while active |
//! | 104 | 8 | removals; 0 while active |
//! | 112 | 8 | bytes of values; 0 while active |
//! | 120 | 8 | keys of earlier segments that it took the place of or removed; 0 while active |
//! | 128 | 8 | bytes of those; 0 while active |

use super::Malformed;
use super::bytes::{Fields, Put};
use super::key_hash::Salt;
use super::location::SegmentNumber;
use super::preamble::{PREAMBLE_BYTES, Preamble};

/// Bytes of the encoded metadata.
pub(crate) const SEGMENT_METADATA_BYTES: usize = 136;

/// No segment has more names, nor supersedes more: they were all in memory once.
const NAMES_MAX: u64 = u32::MAX as u64;
/// Nor more bytes of values: 2^56, more than any drive holds.
const VALUE_BYTES_MAX: u64 = 1 << 56;

const PREAMBLE: Preamble =
    Preamble { magic: *b"LFM", version: 1, foreign: "this is no segment metadata" };

/// What a segment holds; known once it is sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentSummary {
    pub(crate) sealed_at_ns: u64,
    pub(crate) first_written_at_ns: u64,
    pub(crate) last_written_at_ns: u64,
    pub(crate) value_id_max: u64,
    pub(crate) files: u64,
    pub(crate) folders: u64,
    pub(crate) removals: u64,
    pub(crate) value_bytes: u64,
    pub(crate) superseded_keys: u64,
    pub(crate) superseded_bytes: u64,
}

/// The state of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentMetadata {
    pub(crate) table_id: [u8; 16],
    pub(crate) segment: SegmentNumber,
    pub(crate) shards: u8,
    pub(crate) salt: Salt,
    pub(crate) opened_at_ns: u64,
    /// `None` while the segment is active.
    pub(crate) sealed: Option<SegmentSummary>,
}

impl SegmentMetadata {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_METADATA_BYTES);
        let start = PREAMBLE.begin(&mut out);
        out.extend_from_slice(&self.table_id);
        out.put_u32(self.segment.0);
        out.put_u8(u8::from(self.sealed.is_some()));
        out.put_u8(self.shards);
        out.put_u16(0);
        out.extend_from_slice(&self.salt.0);
        out.put_u64(self.opened_at_ns);
        let summary = self.sealed.unwrap_or_default();
        for field in [
            summary.sealed_at_ns,
            summary.first_written_at_ns,
            summary.last_written_at_ns,
            summary.value_id_max,
            summary.files,
            summary.folders,
            summary.removals,
            summary.value_bytes,
            summary.superseded_keys,
            summary.superseded_bytes,
        ] {
            out.put_u64(field);
        }
        Preamble::finish(start, &mut out);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(bytes);
        let claimed = PREAMBLE.take(&mut fields)?;
        if bytes.len() != SEGMENT_METADATA_BYTES {
            let reason = format!("{} bytes, {SEGMENT_METADATA_BYTES} expected", bytes.len());
            return Err(Malformed::damaged(bytes.len() as u64, reason));
        }
        Preamble::check(claimed, &bytes[PREAMBLE_BYTES..])?;
        let mut table_id = [0; 16];
        table_id.copy_from_slice(fields.take(16)?);
        let segment = SegmentNumber(fields.u32()?);
        let is_sealed = fields.u8()?;
        let shards = fields.u8()?;
        fields.zeros(2)?;
        if is_sealed > 1 || shards == 0 {
            return Err(Malformed::damaged(28, "state or shard count is out of range"));
        }
        let mut salt = [0; 16];
        salt.copy_from_slice(fields.take(16)?);
        let opened_at_ns = fields.u64()?;
        let summary = SegmentSummary {
            sealed_at_ns: fields.u64()?,
            first_written_at_ns: fields.u64()?,
            last_written_at_ns: fields.u64()?,
            value_id_max: fields.u64()?,
            files: fields.u64()?,
            folders: fields.u64()?,
            removals: fields.u64()?,
            value_bytes: fields.u64()?,
            superseded_keys: fields.u64()?,
            superseded_bytes: fields.u64()?,
        };
        let counts = [summary.files, summary.folders, summary.removals, summary.superseded_keys];
        let bytes = [summary.value_bytes, summary.superseded_bytes];
        if counts.iter().any(|count| *count > NAMES_MAX)
            || bytes.iter().any(|bytes| *bytes > VALUE_BYTES_MAX)
        {
            return Err(Malformed::damaged(88, "it counts more than a segment can hold"));
        }
        let sealed = (is_sealed == 1).then_some(summary);
        if sealed.is_none() && summary != SegmentSummary::default() {
            return Err(Malformed::damaged(56, "an active segment has no summary yet"));
        }
        Ok(Self { table_id, segment, shards, salt: Salt(salt), opened_at_ns, sealed })
    }
}

#[cfg(test)]
mod tests {
    use super::super::crc32c;
    use super::*;

    #[test]
    fn layout_is_pinned_and_damage_is_noticed() {
        let metadata = SegmentMetadata {
            table_id: [1; 16],
            segment: SegmentNumber(0x0203),
            shards: 4,
            salt: Salt([5; 16]),
            opened_at_ns: 6,
            sealed: Some(SegmentSummary { sealed_at_ns: 7, value_bytes: 8, ..Default::default() }),
        };
        let bytes = metadata.encode();
        assert_eq!(bytes.len(), SEGMENT_METADATA_BYTES);
        assert_eq!(bytes[..4], *b"LFM\x01");
        assert_eq!(bytes[24..32], [3, 2, 0, 0, 1, 4, 0, 0]);
        assert_eq!((bytes[48], bytes[56], bytes[112]), (6, 7, 8));
        assert_eq!(SegmentMetadata::decode(&bytes), Ok(metadata));
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 0x10;
            assert!(SegmentMetadata::decode(&damaged).is_err(), "byte {position}");
            assert!(SegmentMetadata::decode(&bytes[..position]).is_err(), "length {position}");
        }
        let active = SegmentMetadata { sealed: None, ..metadata };
        assert_eq!(SegmentMetadata::decode(&active.encode()), Ok(active));
    }

    /// Found by fuzzing: both were taken for good.
    #[test]
    fn version_0_and_a_summary_of_an_active_segment_are_refused() {
        let good = SegmentMetadata {
            table_id: [1; 16],
            segment: SegmentNumber(1),
            shards: 1,
            salt: Salt([5; 16]),
            opened_at_ns: 6,
            sealed: Some(SegmentSummary { files: 7, ..SegmentSummary::default() }),
        };
        let mut versionless = good.encode();
        versionless[3] = 0;
        assert!(SegmentMetadata::decode(&versionless).is_err());
        let mut active = good.encode();
        active[28] = 0;
        let crc = crc32c(&active[8..]);
        active[4..8].copy_from_slice(&crc.to_le_bytes());
        assert!(SegmentMetadata::decode(&active).is_err());
    }
}
