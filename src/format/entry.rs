//! An entry: everything that is known of a name without touching a value file.
//!
//! The key log stores it in the fixed form below; runs store the same facts as varints
//! (`run_block.rs`).
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | value id, 1..2^48 |
//! | 8 | 8 | record location: segment << 32 | offset / 8 |
//! | 16 | 8 | superseded record location, same form |
//! | 24 | 1 | shard of the record |
//! | 25 | 1 | shard of the superseded record |
//! | 26 | 1 | 1 when there is a superseded record, else 0 |
//! | 27 | 1 | zero |
//! | 28 | 4 | bytes of the record, padding included |
//! | 32 | 8 | bytes of the value |
//! | 40 | 4 | dedicated shard that holds the value, or 0 for none |
//! | 44 | 4 | zero |
//! | 48 | 8 | when the value was stored, ns since the epoch |
//! | 56 | 32 | attributes |

use std::time::SystemTime;

use super::Malformed;
use super::attributes::{ATTRIBUTES_BYTES, Attributes, Kind};
use super::bytes::{Fields, Put};
use super::location::{Location, SegmentNumber, ValueId};
use crate::clock;

/// Bytes of an encoded entry.
pub(crate) const ENTRY_BYTES: usize = 56 + ATTRIBUTES_BYTES;

/// What is known of a stored file, folder or symbolic link without reading its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The identity of the value.
    pub(crate) id: ValueId,
    /// Where its record stands.
    pub(crate) location: Location,
    /// Length of that record in its packed shard, padding included.
    pub(crate) record_bytes: u32,
    /// Length of the value.
    pub(crate) value_bytes: u64,
    /// The dedicated shard (of the record's segment) with the bytes; 0 when the record has them.
    pub(crate) dedicated: u32,
    /// When the value was stored, ns since the Unix epoch. Its time to live counts from here.
    pub(crate) written_at_ns: u64,
    /// Times, mode and owner.
    pub(crate) attributes: Attributes,
    /// The record that this one takes the place of, if there was one in an earlier segment: an
    /// earlier mention of the same folder, or the same file before its attributes were put right.
    pub(crate) supersedes: Option<Location>,
}

impl Entry {
    /// What the key of this entry names.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.attributes.kind()
    }

    /// The identity of the value, stable over renames.
    #[must_use]
    pub fn id(&self) -> ValueId {
        self.id
    }

    /// Length of the value in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.value_bytes
    }

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.value_bytes == 0
    }

    /// When the value was stored. Its time to live counts from here.
    #[must_use]
    pub fn written_at(&self) -> SystemTime {
        clock::time_of(self.written_at_ns)
    }

    /// Times, mode and owner.
    #[must_use]
    pub fn attributes(&self) -> Attributes {
        self.attributes
    }

    /// What a mention in `segment` supersedes that takes the place of this entry.
    pub(crate) fn supersedes_in(&self, segment: SegmentNumber) -> Option<Location> {
        let is_own = self.location.segment == segment;
        if is_own { self.supersedes } else { Some(self.location) }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.id.0);
        out.put_u64(self.location.packed());
        encode_superseded(self.supersedes, self.location.shard, out);
        out.put_u32(self.record_bytes);
        out.put_u64(self.value_bytes);
        out.put_u32(self.dedicated);
        out.put_u32(0);
        out.put_u64(self.written_at_ns);
        self.attributes.encode(out);
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let start = fields.at() as u64;
        let id = ValueId(fields.u64()?);
        if id.0 == 0 || id > ValueId::MAX {
            return Err(Malformed::damaged(start, format!("value id {id} is out of range")));
        }
        let place = fields.u64()?;
        let superseded_place = fields.u64()?;
        let shard = fields.u8()?;
        let superseded_shard = fields.u8()?;
        let supersedes = match fields.u8()? {
            0 if superseded_place == 0 && superseded_shard == 0 => None,
            1 => Some(Location::from_packed(superseded_place, superseded_shard)),
            _ => return Err(Malformed::damaged(start + 26, "superseded record is malformed")),
        };
        fields.zeros(1)?;
        let record_bytes = fields.u32()?;
        let value_bytes = fields.u64()?;
        let dedicated = fields.u32()?;
        fields.zeros(4)?;
        Ok(Self {
            id,
            location: Location::from_packed(place, shard),
            record_bytes,
            value_bytes,
            dedicated,
            written_at_ns: fields.u64()?,
            attributes: Attributes::decode(fields)?,
            supersedes,
        })
    }
}

fn encode_superseded(supersedes: Option<Location>, shard: u8, out: &mut Vec<u8>) {
    out.put_u64(supersedes.map_or(0, |location| location.packed()));
    out.put_u8(shard);
    out.put_u8(supersedes.map_or(0, |location| location.shard));
    out.put_u8(u8::from(supersedes.is_some()));
    out.put_u8(0);
}

/// What a segment says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mention {
    /// The name stands for this.
    Put(Entry),
    /// The name was taken away; what earlier segments say of it counts no more.
    Removed {
        /// The record that was removed, when it is in an earlier segment.
        supersedes: Option<Location>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(supersedes: Option<Location>) -> Entry {
        Entry {
            id: ValueId(0x1234),
            location: Location { segment: SegmentNumber(7), shard: 3, offset: 4096 },
            record_bytes: 1152,
            value_bytes: 1024,
            dedicated: 0,
            written_at_ns: 99,
            attributes: Attributes::new_at_ns(Kind::File, 0o640, 1, 2, 88),
            supersedes,
        }
    }

    #[test]
    fn layout_is_pinned() {
        let mut bytes = Vec::new();
        sample(None).encode(&mut bytes);
        assert_eq!(bytes.len(), ENTRY_BYTES);
        assert_eq!(bytes[..8], [0x34, 0x12, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[8..16], [0, 2, 0, 0, 7, 0, 0, 0]);
        assert_eq!(bytes[24..32], [3, 0, 0, 0, 0x80, 4, 0, 0]);
        assert_eq!(bytes[48..56], [99, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn entries_round_trip_and_short_input_is_refused() {
        let earlier = Location { segment: SegmentNumber(6), shard: 9, offset: 80 };
        for entry in [sample(None), sample(Some(earlier))] {
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            assert_eq!(Entry::decode(&mut Fields::new(&bytes)), Ok(entry));
            for length in 0..bytes.len() {
                assert!(Entry::decode(&mut Fields::new(&bytes[..length])).is_err());
            }
        }
    }
}
