//! The payload of a key in a block of entries: a mention, as differences to the block's base.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | bits 0..2: 1 put, 2 removed; the other bits below |
//! | | 2: mode, owner and group are those of the put before (of the base at a restart point) |
//! | | 3: the modification time is the written-at time |
//! | | 4: the change time is the modification time |
//! | | 5: a dedicated shard follows |
//! | | 6: a superseded location follows |
//! | | 7: the record is in another segment than the run |
//! | zigzag | value id - base value id |
//! | 1 | shard of the record |
//! | varint | segment of the record, with bit 7 |
//! | varint | offset of the record / 8 |
//! | varint | bytes of the record, padding included |
//! | varint | bytes of the value |
//! | varint | dedicated shard, with bit 5 |
//! | zigzag | written-at - base written-at |
//! | zigzag | modification time - written-at, without bit 3 |
//! | zigzag | change time - modification time, without bit 4 |
//! | varint x 3 | mode, owner, group, without bit 2 |
//! | varint, 1, varint | superseded segment, shard, offset / 8, with bit 6 |
//!
//! A removed name has the first byte and the superseded location only. Differences wrap around,
//! so every 64-bit value can be stored. A typical file takes about 20 bytes.

use super::Malformed;
use super::attributes::{Attributes, check_mode};
use super::bytes::{Fields, Put};
use super::entry::{Entry, Mention};
use super::location::{Location, RECORD_ALIGNMENT, SegmentNumber, ValueId};

const KIND_MASK: u8 = 0b11;
const KIND_PUT: u8 = 1;
const KIND_REMOVED: u8 = 2;
const SAME_OWNER: u8 = 1 << 2;
const MTIME_IS_WRITTEN: u8 = 1 << 3;
const CTIME_IS_MTIME: u8 = 1 << 4;
const HAS_DEDICATED: u8 = 1 << 5;
const HAS_SUPERSEDED: u8 = 1 << 6;
const OTHER_SEGMENT: u8 = 1 << 7;

/// Mode, owner and group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Owner {
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Owner {
    fn of(attributes: &Attributes) -> Self {
        Self { mode: attributes.mode, uid: attributes.uid, gid: attributes.gid }
    }
}

/// What the entries of one block are differences to: the first put of the block, or zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Base {
    id: u64,
    written_at_ns: u64,
    owner: Owner,
}

impl Base {
    fn of(entry: &Entry) -> Self {
        Self {
            id: entry.id.0,
            written_at_ns: entry.written_at_ns,
            owner: Owner::of(&entry.attributes),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.id);
        out.put_u64(self.written_at_ns);
        out.put_u32(self.owner.mode);
        out.put_u32(self.owner.uid);
        out.put_u32(self.owner.gid);
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            id: fields.u64()?,
            written_at_ns: fields.u64()?,
            owner: Owner { mode: fields.u32()?, uid: fields.u32()?, gid: fields.u32()? },
        })
    }
}

/// Encodes the mentions of one block after the other.
#[derive(Debug)]
pub(crate) struct MentionEncoder {
    segment: SegmentNumber,
    base: Option<Base>,
    owner: Owner,
}

impl MentionEncoder {
    /// An encoder for a run of `segment`.
    pub(crate) fn new(segment: SegmentNumber) -> Self {
        Self { segment, base: None, owner: Owner::default() }
    }

    /// Ends a block: its base, for the header.
    pub(crate) fn end_block(&mut self) -> Base {
        self.base.take().unwrap_or_default()
    }

    pub(crate) fn encode(&mut self, is_restart: bool, mention: &Mention, out: &mut Vec<u8>) {
        match mention {
            Mention::Put(entry) => self.encode_put(is_restart, entry, out),
            Mention::Removed { supersedes } => {
                if is_restart {
                    self.owner = self.base.unwrap_or_default().owner;
                }
                let flags = if supersedes.is_some() { HAS_SUPERSEDED } else { 0 };
                out.put_u8(KIND_REMOVED | flags);
                encode_superseded(*supersedes, out);
            }
        }
    }

    fn encode_put(&mut self, is_restart: bool, entry: &Entry, out: &mut Vec<u8>) {
        let is_first_put = self.base.is_none();
        let base = *self.base.get_or_insert_with(|| Base::of(entry));
        if is_restart || is_first_put {
            self.owner = base.owner;
        }
        let attributes = &entry.attributes;
        let owner = Owner::of(attributes);
        let written_ns = entry.written_at_ns.cast_signed();
        let flag = |condition: bool, flag: u8| if condition { flag } else { 0 };
        let flags = KIND_PUT
            | flag(owner == self.owner, SAME_OWNER)
            | flag(attributes.mtime_ns == written_ns, MTIME_IS_WRITTEN)
            | flag(attributes.ctime_ns == attributes.mtime_ns, CTIME_IS_MTIME)
            | flag(entry.dedicated != 0, HAS_DEDICATED)
            | flag(entry.supersedes.is_some(), HAS_SUPERSEDED)
            | flag(entry.location.segment != self.segment, OTHER_SEGMENT);
        out.put_u8(flags);
        out.put_zigzag(entry.id.0.wrapping_sub(base.id).cast_signed());
        out.put_u8(entry.location.shard);
        if flags & OTHER_SEGMENT != 0 {
            out.put_varint(u64::from(entry.location.segment.0));
        }
        out.put_varint(entry.location.offset / RECORD_ALIGNMENT);
        out.put_varint(u64::from(entry.record_bytes));
        out.put_varint(entry.value_bytes);
        if flags & HAS_DEDICATED != 0 {
            out.put_varint(u64::from(entry.dedicated));
        }
        out.put_zigzag(entry.written_at_ns.wrapping_sub(base.written_at_ns).cast_signed());
        if flags & MTIME_IS_WRITTEN == 0 {
            out.put_zigzag(attributes.mtime_ns.wrapping_sub(written_ns));
        }
        if flags & CTIME_IS_MTIME == 0 {
            out.put_zigzag(attributes.ctime_ns.wrapping_sub(attributes.mtime_ns));
        }
        if flags & SAME_OWNER == 0 {
            out.put_varint(u64::from(owner.mode));
            out.put_varint(u64::from(owner.uid));
            out.put_varint(u64::from(owner.gid));
            self.owner = owner;
        }
        encode_superseded(entry.supersedes, out);
    }
}

fn encode_superseded(supersedes: Option<Location>, out: &mut Vec<u8>) {
    if let Some(location) = supersedes {
        out.put_varint(u64::from(location.segment.0));
        out.put_u8(location.shard);
        out.put_varint(location.offset / RECORD_ALIGNMENT);
    }
}

/// Decodes the mentions of one block, from a restart point on.
#[derive(Debug)]
pub(crate) struct MentionDecoder {
    segment: SegmentNumber,
    base: Base,
    owner: Owner,
}

impl MentionDecoder {
    /// A decoder for a block with this base in a run of `segment`.
    pub(crate) fn new(segment: SegmentNumber, base: &Base) -> Self {
        Self { segment, base: *base, owner: base.owner }
    }

    /// Takes the next mention.
    pub(crate) fn decode(
        &mut self,
        is_restart: bool,
        fields: &mut Fields<'_>,
    ) -> Result<Mention, Malformed> {
        if is_restart {
            self.owner = self.base.owner;
        }
        let start = fields.at() as u64;
        let flags = fields.u8()?;
        match flags & KIND_MASK {
            KIND_PUT => Ok(Mention::Put(self.decode_put(flags, fields)?)),
            KIND_REMOVED if flags & !(KIND_MASK | HAS_SUPERSEDED) == 0 => {
                Ok(Mention::Removed { supersedes: decode_superseded(flags, fields)? })
            }
            _ => Err(Malformed::damaged(start, format!("an entry cannot begin with {flags:#x}"))),
        }
    }

    fn decode_put(&mut self, flags: u8, fields: &mut Fields<'_>) -> Result<Entry, Malformed> {
        let start = fields.at() as u64;
        let id = ValueId(self.base.id.wrapping_add(fields.zigzag()?.cast_unsigned()));
        if id.0 == 0 || id > ValueId::MAX {
            return Err(Malformed::damaged(start, format!("value id {id} is out of range")));
        }
        let shard = fields.u8()?;
        let segment = if flags & OTHER_SEGMENT == 0 {
            self.segment
        } else {
            SegmentNumber(varint_u32(fields)?)
        };
        let location = Location { segment, shard, offset: offset(fields)? };
        let record_bytes = varint_u32(fields)?;
        let value_bytes = fields.varint()?;
        let dedicated = if flags & HAS_DEDICATED == 0 { 0 } else { varint_u32(fields)? };
        let written_at_ns = self.base.written_at_ns.wrapping_add(fields.zigzag()?.cast_unsigned());
        let mut mtime_ns = written_at_ns.cast_signed();
        if flags & MTIME_IS_WRITTEN == 0 {
            mtime_ns = mtime_ns.wrapping_add(fields.zigzag()?);
        }
        let mut ctime_ns = mtime_ns;
        if flags & CTIME_IS_MTIME == 0 {
            ctime_ns = ctime_ns.wrapping_add(fields.zigzag()?);
        }
        let owner_at = fields.at() as u64;
        if flags & SAME_OWNER == 0 {
            self.owner = Owner {
                mode: varint_u32(fields)?,
                uid: varint_u32(fields)?,
                gid: varint_u32(fields)?,
            };
        }
        let Owner { mode, uid, gid } = self.owner;
        check_mode(mode, owner_at)?;
        Ok(Entry {
            id,
            location,
            record_bytes,
            value_bytes,
            dedicated,
            written_at_ns,
            attributes: Attributes { mtime_ns, ctime_ns, mode, uid, gid },
            supersedes: decode_superseded(flags, fields)?,
        })
    }
}

fn decode_superseded(flags: u8, fields: &mut Fields<'_>) -> Result<Option<Location>, Malformed> {
    if flags & HAS_SUPERSEDED == 0 {
        return Ok(None);
    }
    let segment = SegmentNumber(varint_u32(fields)?);
    let shard = fields.u8()?;
    Ok(Some(Location { segment, shard, offset: offset(fields)? }))
}

fn offset(fields: &mut Fields<'_>) -> Result<u64, Malformed> {
    Ok(u64::from(varint_u32(fields)?) * RECORD_ALIGNMENT)
}

fn varint_u32(fields: &mut Fields<'_>) -> Result<u32, Malformed> {
    let start = fields.at() as u64;
    u32::try_from(fields.varint()?)
        .map_err(|_| Malformed::damaged(start, "a number does not fit in 32 bits"))
}

#[cfg(test)]
mod tests {
    use super::super::attributes::Kind;
    use super::*;

    fn entry(id: u64) -> Entry {
        Entry {
            id: ValueId(id),
            location: Location { segment: SegmentNumber(7), shard: 3, offset: 4096 },
            record_bytes: 1152,
            value_bytes: 1024,
            dedicated: 0,
            written_at_ns: 99,
            attributes: Attributes::new_at_ns(Kind::File, 0o640, 1, 2, 99),
            supersedes: None,
        }
    }

    fn round_trip(mentions: &[Mention]) -> Vec<u8> {
        let mut encoder = MentionEncoder::new(SegmentNumber(7));
        let mut bytes = Vec::new();
        for (number, mention) in mentions.iter().enumerate() {
            encoder.encode(number.is_multiple_of(2), mention, &mut bytes);
        }
        let base = encoder.end_block();
        let mut decoder = MentionDecoder::new(SegmentNumber(7), &base);
        let mut fields = Fields::new(&bytes);
        for (number, mention) in mentions.iter().enumerate() {
            let found = decoder.decode(number.is_multiple_of(2), &mut fields);
            assert_eq!(found.as_ref(), Ok(mention));
        }
        assert_eq!(fields.left(), 0);
        for length in 0..bytes.len() {
            let mut decoder = MentionDecoder::new(SegmentNumber(7), &base);
            let mut fields = Fields::new(&bytes[..length]);
            let all = (0..mentions.len())
                .all(|number| decoder.decode(number.is_multiple_of(2), &mut fields).is_ok());
            assert!(!all, "cut to {length} bytes");
        }
        bytes
    }

    #[test]
    fn layout_is_pinned() {
        let first = entry(0x1234);
        let mut second = entry(0x1236);
        second.location = Location { segment: SegmentNumber(5), shard: 255, offset: 8 };
        second.dedicated = 9;
        second.written_at_ns = 100;
        second.attributes.mtime_ns = 90;
        second.attributes.mode = 0o040_755;
        second.supersedes = Some(Location { segment: SegmentNumber(4), shard: 1, offset: 16 });
        let removed = Mention::Removed { supersedes: None };
        let bytes = round_trip(&[Mention::Put(first), Mention::Put(second), removed]);
        let golden = [
            &[0b0001_1101, 0, 3, 0x80, 4, 0x80, 9, 0x80, 8, 0][..],
            &[0b1110_0001, 4, 255, 5, 1, 0x80, 9, 0x80, 8, 9, 2, 19, 18],
            &[0xed, 0x83, 1, 1, 2, 4, 1, 2],
            &[2],
        ];
        assert_eq!(bytes, golden.concat());
    }

    #[test]
    fn extreme_values_round_trip() {
        let mut least = entry(1);
        least.written_at_ns = 0;
        least.attributes.mtime_ns = i64::MIN;
        least.attributes.ctime_ns = i64::MAX;
        let mut most = entry(ValueId::MAX.0);
        most.written_at_ns = u64::MAX;
        most.value_bytes = u64::MAX;
        most.record_bytes = u32::MAX;
        most.dedicated = u32::MAX;
        most.location.offset = (1 << 35) - 8;
        most.location.segment = SegmentNumber(u32::MAX);
        most.attributes.uid = u32::MAX;
        most.supersedes = Some(most.location);
        let removed = Mention::Removed { supersedes: Some(most.location) };
        round_trip(&[removed, Mention::Put(least), removed, Mention::Put(most)]);
        round_trip(&[removed, Mention::Put(most), Mention::Put(most), Mention::Put(least)]);
        round_trip(&[removed, removed, removed, Mention::Put(least), Mention::Put(most)]);
    }

    #[test]
    fn nonsense_is_refused() {
        let decode = |bytes: &[u8]| {
            MentionDecoder::new(SegmentNumber(1), &Base::default())
                .decode(true, &mut Fields::new(bytes))
        };
        assert!(decode(&[0]).is_err());
        assert!(decode(&[3]).is_err());
        assert!(decode(&[KIND_REMOVED | SAME_OWNER]).is_err());
        // Value id 0, and a mode that is no file's.
        assert!(decode(&[KIND_PUT | SAME_OWNER, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(decode(&[KIND_PUT | SAME_OWNER, 2, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
