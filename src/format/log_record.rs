//! The key log: what happened to names in the active segment, in order.
//!
//! File header, 48 bytes:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic `LFL` and version 1 |
//! | 4 | 4 | CRC32C of bytes 8..48 |
//! | 8 | 16 | table id |
//! | 24 | 4 | segment |
//! | 28 | 1 | packed shards |
//! | 29 | 3 | zero |
//! | 32 | 8 | when the segment was opened, ns since the epoch |
//! | 40 | 8 | zero |
//!
//! Then records, back to back:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | CRC32C of bytes 4 .. 12 + body length |
//! | 4 | 4 | body length |
//! | 8 | 1 | kind: 1 put, 2 remove, 3 folder, 4 synced mark, 5 batch |
//! | 9 | 3 | zero |
//! | 12 | | body |
//!
//! Bodies: *put* and *folder* are an entry (`entry.rs`) and the key; *remove* is the superseded
//! record's location (8), its shard (1), 1 or 0 for whether there is one (1), six zeros, and the
//! key; a *synced mark* is the length (8) of the log whose values were durable when it was
//! written; a *batch* is records without CRC, each its body length (4), kind (1), zeros (3) and
//! body, and counts whole or not at all.

use super::Malformed;
use super::bytes::{Fields, Put};
use super::entry::{ENTRY_BYTES, Entry, Mention};
use super::location::{Location, SegmentNumber};
use super::preamble::{PREAMBLE_BYTES, Preamble, check_crc, put_crc};
use super::record::KEY_BYTES_MAX;
use crate::cast;

/// Bytes of the file header.
pub(crate) const LOG_HEADER_BYTES: usize = 48;
/// Bytes of a record before its body.
pub(crate) const RECORD_HEADER_BYTES: usize = 12;
/// The longest body; it bounds what a damaged length can make a reader allocate.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 20;
/// The first bytes of a key log, by which it is told from a run.
pub(crate) const LOG_MAGIC: [u8; 3] = *b"LFL";

const PREAMBLE: Preamble = Preamble { magic: LOG_MAGIC, version: 1, foreign: "this is no key log" };
const KIND_PUT: u8 = 1;
const KIND_REMOVE: u8 = 2;
const KIND_FOLDER: u8 = 3;
const KIND_SYNCED: u8 = 4;
const KIND_BATCH: u8 = 5;
const PART_HEADER_BYTES: usize = 8;

/// The header of a key log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogHeader {
    pub(crate) table_id: [u8; 16],
    pub(crate) segment: SegmentNumber,
    pub(crate) shards: u8,
    pub(crate) opened_at_ns: u64,
}

impl LogHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LOG_HEADER_BYTES);
        let start = PREAMBLE.begin(&mut out);
        out.extend_from_slice(&self.table_id);
        out.put_u32(self.segment.0);
        out.put_u8(self.shards);
        out.put_zeros(3);
        out.put_u64(self.opened_at_ns);
        out.put_u64(0);
        Preamble::finish(start, &mut out);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(bytes);
        let claimed = PREAMBLE.take(&mut fields)?;
        let Some(covered) = bytes.get(PREAMBLE_BYTES..LOG_HEADER_BYTES) else {
            return Err(Malformed::damaged(4, "the header of the key log is cut short"));
        };
        Preamble::check(claimed, covered)?;
        let mut table_id = [0; 16];
        table_id.copy_from_slice(fields.take(16)?);
        let segment = SegmentNumber(fields.u32()?);
        let shards = fields.u8()?;
        fields.zeros(3)?;
        if shards == 0 {
            return Err(Malformed::damaged(28, "a segment has at least one shard"));
        }
        let opened_at_ns = fields.u64()?;
        fields.zeros(8)?;
        Ok(Self { table_id, segment, shards, opened_at_ns })
    }
}

/// One record of a key log, its keys borrowed from the buffer it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogRecord<'a> {
    /// What happened to one name.
    Mention(&'a [u8], Mention),
    /// The values of the first this many bytes of the log are durable.
    Synced(u64),
    /// What happened to several names at once.
    Batch(Vec<(&'a [u8], Mention)>),
}

/// Appends the record for one name.
pub(crate) fn encode_mention(key: &[u8], mention: &Mention, out: &mut Vec<u8>) {
    let start = begin(mention_kind(mention), out);
    encode_body(key, mention, out);
    finish(start, out);
}

/// Appends a batch.
pub(crate) fn encode_batch<'a>(
    mentions: impl Iterator<Item = (&'a [u8], &'a Mention)>,
    out: &mut Vec<u8>,
) {
    let start = begin(KIND_BATCH, out);
    for (key, mention) in mentions {
        let part = out.len();
        out.put_u32(0);
        out.put_u8(mention_kind(mention));
        out.put_zeros(3);
        encode_body(key, mention, out);
        put_length(part, out.len() - part - PART_HEADER_BYTES, out);
    }
    finish(start, out);
}

/// Appends a synced mark.
pub(crate) fn encode_synced(log_bytes: u64, out: &mut Vec<u8>) {
    let start = begin(KIND_SYNCED, out);
    out.put_u64(log_bytes);
    finish(start, out);
}

fn mention_kind(mention: &Mention) -> u8 {
    match mention {
        Mention::Put(entry) if entry.kind() == super::attributes::Kind::Folder => KIND_FOLDER,
        Mention::Put(_) => KIND_PUT,
        Mention::Removed { .. } => KIND_REMOVE,
    }
}

fn begin(kind: u8, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.put_u64(0);
    out.put_u8(kind);
    out.put_zeros(3);
    start
}

fn finish(start: usize, out: &mut [u8]) {
    let body_bytes = out.len() - start - RECORD_HEADER_BYTES;
    put_length(start + 4, body_bytes, out);
    put_crc(out, start);
}

fn put_length(at: usize, length: usize, out: &mut [u8]) {
    // Bodies are bounded by BODY_BYTES_MAX before they are encoded; a longer one fails to decode.
    let length = cast::to_u32(length);
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

fn encode_body(key: &[u8], mention: &Mention, out: &mut Vec<u8>) {
    match mention {
        Mention::Put(entry) => entry.encode(out),
        Mention::Removed { supersedes } => {
            out.put_u64(supersedes.map_or(0, |location| location.packed()));
            out.put_u8(supersedes.map_or(0, |location| location.shard));
            out.put_u8(u8::from(supersedes.is_some()));
            out.put_zeros(6);
        }
    }
    out.extend_from_slice(key);
}

/// The most bytes the record of one name can take, for bounding batches.
pub(crate) fn mention_bytes_max(key_bytes: usize) -> usize {
    RECORD_HEADER_BYTES + ENTRY_BYTES + key_bytes
}

/// The body length the record starting at `bytes` claims, when that much of it is there.
pub(crate) fn peek_body_bytes(bytes: &[u8]) -> Option<usize> {
    let field = bytes.get(4..8)?;
    usize::try_from(u32::from_le_bytes([field[0], field[1], field[2], field[3]])).ok()
}

/// Decodes the record at the start of `bytes`; returns it with its length in bytes.
pub(crate) fn decode(bytes: &[u8]) -> Result<(LogRecord<'_>, usize), Malformed> {
    let mut fields = Fields::new(bytes);
    let claimed = fields.u32()?;
    let body_bytes = fields.u32()? as usize;
    let end = RECORD_HEADER_BYTES + body_bytes.min(BODY_BYTES_MAX + 1);
    if body_bytes > BODY_BYTES_MAX || bytes.len() < end {
        return Err(Malformed::damaged(4, format!("body length {body_bytes} is beyond the end")));
    }
    check_crc(0, "the log record", claimed, &bytes[4..end])?;
    let kind = fields.u8()?;
    fields.zeros(3)?;
    let body = &bytes[RECORD_HEADER_BYTES..end];
    let record = match kind {
        KIND_SYNCED => LogRecord::Synced(decode_synced(body)?),
        KIND_BATCH => LogRecord::Batch(decode_batch(body)?),
        _ => {
            let (key, mention) = decode_body(kind, body)?;
            LogRecord::Mention(key, mention)
        }
    };
    Ok((record, end))
}

fn decode_synced(body: &[u8]) -> Result<u64, Malformed> {
    let mut fields = Fields::new(body);
    let log_bytes = fields.u64()?;
    if fields.left() > 0 {
        return Err(Malformed::damaged(4, "a synced mark has 8 bytes"));
    }
    Ok(log_bytes)
}

fn decode_batch(body: &[u8]) -> Result<Vec<(&[u8], Mention)>, Malformed> {
    let mut fields = Fields::new(body);
    let mut mentions = Vec::new();
    while fields.left() > 0 {
        let length = fields.u32()? as usize;
        let kind = fields.u8()?;
        fields.zeros(3)?;
        mentions.push(decode_body(kind, fields.take(length)?)?);
    }
    Ok(mentions)
}

fn decode_body(kind: u8, body: &[u8]) -> Result<(&[u8], Mention), Malformed> {
    let mut fields = Fields::new(body);
    let mention = match kind {
        KIND_PUT | KIND_FOLDER => Mention::Put(Entry::decode(&mut fields)?),
        KIND_REMOVE => {
            let place = fields.u64()?;
            let shard = fields.u8()?;
            let present = fields.u8()?;
            fields.zeros(6)?;
            let supersedes = match present {
                0 if place == 0 && shard == 0 => None,
                1 => Some(Location::from_packed(place, shard)),
                _ => return Err(Malformed::damaged(9, "superseded record is malformed")),
            };
            Mention::Removed { supersedes }
        }
        _ => return Err(Malformed::damaged(8, format!("record kind {kind} is unknown"))),
    };
    if mention_kind(&mention) != kind {
        return Err(Malformed::damaged(8, "record kind and file type contradict each other"));
    }
    let key = fields.take(fields.left())?;
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Malformed::damaged(fields.at() as u64, "key length is out of range"));
    }
    Ok((key, mention))
}

#[cfg(test)]
mod tests {
    use super::super::attributes::{Attributes, Kind};
    use super::super::location::ValueId;
    use super::*;

    fn put(kind: Kind) -> Mention {
        Mention::Put(Entry {
            id: ValueId(1),
            location: Location { segment: SegmentNumber(1), shard: 2, offset: 8 },
            record_bytes: 88,
            value_bytes: 0,
            dedicated: 0,
            written_at_ns: 3,
            attributes: Attributes::new_at_ns(kind, 0o644, 0, 0, 3),
            supersedes: None,
        })
    }

    #[test]
    fn layout_is_pinned() {
        let mut bytes = Vec::new();
        encode_synced(0x1122, &mut bytes);
        assert_eq!(bytes[4..], [8, 0, 0, 0, 4, 0, 0, 0, 0x22, 0x11, 0, 0, 0, 0, 0, 0]);
        let removed = Mention::Removed {
            supersedes: Some(Location { segment: SegmentNumber(2), shard: 3, offset: 16 }),
        };
        bytes.clear();
        encode_mention(b"k", &removed, &mut bytes);
        assert_eq!(bytes[4..12], [17, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(bytes[12..], [2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, b'k']);
    }

    #[test]
    fn header_round_trips_and_refuses_damage() {
        let header = LogHeader {
            table_id: [7; 16],
            segment: SegmentNumber(9),
            shards: 3,
            opened_at_ns: 1 << 60,
        };
        let bytes = header.encode();
        assert_eq!(bytes.len(), LOG_HEADER_BYTES);
        assert_eq!(LogHeader::decode(&bytes), Ok(header));
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 0x40;
            assert!(LogHeader::decode(&damaged).is_err(), "byte {position}");
        }
    }

    #[test]
    fn records_round_trip_and_every_flipped_byte_is_noticed() {
        let removed = Mention::Removed { supersedes: None };
        let mut bytes = Vec::new();
        encode_mention(b"file", &put(Kind::File), &mut bytes);
        let first = bytes.len();
        let folder = put(Kind::Folder);
        encode_batch([(&b"a/"[..], &folder), (&b"b"[..], &removed)].into_iter(), &mut bytes);
        let (record, length) = decode(&bytes).unwrap();
        assert_eq!(record, LogRecord::Mention(b"file", put(Kind::File)));
        assert_eq!(length, first);
        let (record, length) = decode(&bytes[first..]).unwrap();
        assert_eq!(record, LogRecord::Batch(vec![(&b"a/"[..], folder), (&b"b"[..], removed)]));
        assert_eq!(first + length, bytes.len());
        for position in 0..first {
            let mut damaged = bytes[..first].to_vec();
            damaged[position] ^= 1;
            assert!(decode(&damaged).is_err(), "byte {position}");
        }
    }

    /// Found by fuzzing: all of them were taken for good.
    #[test]
    fn version_0_and_stray_bytes_are_refused() {
        let header =
            LogHeader { table_id: [1; 16], segment: SegmentNumber(1), shards: 1, opened_at_ns: 2 };
        let mut versionless = header.encode();
        versionless[3] = 0;
        assert!(LogHeader::decode(&versionless).is_err());
        for stray in [12, 19, 20] {
            let mut bytes = Vec::new();
            encode_mention(b"key", &Mention::Removed { supersedes: None }, &mut bytes);
            assert!(decode(&bytes).is_ok());
            bytes[stray] = 1;
            finish(0, &mut bytes);
            assert!(decode(&bytes).is_err(), "byte {stray}");
        }
        let mut mark = Vec::new();
        encode_synced(48, &mut mark);
        assert!(decode(&mark).is_ok());
        mark.push(0);
        finish(0, &mut mark);
        assert!(decode(&mark).is_err(), "bytes behind a synced mark");
    }
}
