//! A mention in 80 bytes, and the slab and hash table that keep a stripe's mentions.
//!
//! A plain `Mention` takes 104 bytes; the difference is worth it a million times over.

use std::sync::Arc;

use crate::format::attributes::Attributes;
use crate::format::entry::{Entry, Mention};
use crate::format::key_hash::KeyHash;
use crate::format::location::{Location, ValueId};

const IS_REMOVED: u16 = 1;
const HAS_SUPERSEDED: u16 = 2;

/// A mention without its padding.
#[derive(Clone, Copy, Debug, Default)]
struct Stored {
    id: u64,
    place: u64,
    superseded_place: u64,
    value_bytes: u64,
    written_at_ns: u64,
    mtime_ns: i64,
    ctime_ns: i64,
    record_bytes: u32,
    dedicated: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    flags: u16,
    shard: u8,
    superseded_shard: u8,
}

const _: () = assert!(size_of::<Stored>() == 80);

impl Stored {
    fn new(mention: &Mention) -> Self {
        let (mut stored, supersedes) = match mention {
            Mention::Put(entry) => (Self::of_entry(entry), entry.supersedes),
            Mention::Removed { supersedes } => {
                (Self { flags: IS_REMOVED, ..Self::default() }, *supersedes)
            }
        };
        if let Some(location) = supersedes {
            stored.flags |= HAS_SUPERSEDED;
            stored.superseded_place = location.packed();
            stored.superseded_shard = location.shard;
        }
        stored
    }

    fn of_entry(entry: &Entry) -> Self {
        Self {
            id: entry.id.0,
            place: entry.location.packed(),
            superseded_place: 0,
            value_bytes: entry.value_bytes,
            written_at_ns: entry.written_at_ns,
            mtime_ns: entry.attributes.mtime_ns,
            ctime_ns: entry.attributes.ctime_ns,
            record_bytes: entry.record_bytes,
            dedicated: entry.dedicated,
            mode: entry.attributes.mode,
            uid: entry.attributes.uid,
            gid: entry.attributes.gid,
            flags: 0,
            shard: entry.location.shard,
            superseded_shard: 0,
        }
    }

    fn mention(&self) -> Mention {
        let supersedes = (self.flags & HAS_SUPERSEDED != 0)
            .then(|| Location::from_packed(self.superseded_place, self.superseded_shard));
        if self.flags & IS_REMOVED != 0 {
            return Mention::Removed { supersedes };
        }
        Mention::Put(Entry {
            id: ValueId(self.id),
            location: Location::from_packed(self.place, self.shard),
            record_bytes: self.record_bytes,
            value_bytes: self.value_bytes,
            dedicated: self.dedicated,
            written_at_ns: self.written_at_ns,
            attributes: Attributes {
                mtime_ns: self.mtime_ns,
                ctime_ns: self.ctime_ns,
                mode: self.mode,
                uid: self.uid,
                gid: self.gid,
            },
            supersedes,
        })
    }
}

/// A key and what is said of it.
#[derive(Debug)]
struct NameSlot {
    sort_key: Arc<[u8]>,
    stored: Stored,
}

/// Slots are allocated this many at a time, so that growing copies nothing.
const CHUNK_SLOTS: usize = 64;
/// The smallest hash table.
const TABLE_BUCKETS_MIN: usize = 16;
/// Bytes of a key beside its own: slot, counts of the shared key and its allocation, hash table.
pub(super) const BYTES_PER_KEY: usize = size_of::<NameSlot>() + 16 + 8 + 16;

/// The keys of one stripe: slots in the order of arrival, and an open-addressed hash table of them.
/// A key that was put once stays, so neither needs deletion.
#[derive(Debug, Default)]
pub(super) struct NameStripe {
    chunks: Vec<Vec<NameSlot>>,
    slots: usize,
    /// How many slots, from the front, the ordered view knows.
    pub(super) ordered: usize,
    /// Low half of the hash << 32 | slot + 1; 0 is free. A power of two long, at most 3/4 full.
    table: Vec<u64>,
}

/// Whether `key` with `/` as 0x00 is `sort_key`.
fn is_same_key(sort_key: &[u8], key: &[u8]) -> bool {
    sort_key.len() == key.len()
        && sort_key
            .iter()
            .zip(key)
            .all(|(&held, &byte)| held == if byte == b'/' { 0 } else { byte })
}

impl NameStripe {
    fn slot(&self, number: usize) -> Option<&NameSlot> {
        self.chunks.get(number / CHUNK_SLOTS)?.get(number % CHUNK_SLOTS)
    }

    fn slot_mut(&mut self, number: usize) -> Option<&mut NameSlot> {
        self.chunks.get_mut(number / CHUNK_SLOTS)?.get_mut(number % CHUNK_SLOTS)
    }

    /// Where the table has the key, or the free bucket where it belongs.
    fn find(&self, hash: KeyHash, key: &[u8]) -> Result<usize, usize> {
        let tag = tag(hash);
        let mask = self.table.len() - 1;
        let mut bucket = bucket_of(tag, mask);
        loop {
            let (held_tag, number) = parts(self.table[bucket]);
            if number == 0 {
                return Err(bucket);
            }
            if held_tag == tag
                && let Some(slot) = self.slot(number - 1)
                && is_same_key(&slot.sort_key, key)
            {
                return Ok(number - 1);
            }
            bucket = (bucket + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let buckets = (self.table.len() * 2).max(TABLE_BUCKETS_MIN);
        let old = std::mem::replace(&mut self.table, vec![0; buckets]);
        for held in old.into_iter().filter(|&held| held != 0) {
            let mut bucket = bucket_of(parts(held).0, buckets - 1);
            while self.table[bucket] != 0 {
                bucket = (bucket + 1) & (buckets - 1);
            }
            self.table[bucket] = held;
        }
    }

    /// The slot of a key.
    pub(super) fn number_of(&self, hash: KeyHash, key: &[u8]) -> Option<usize> {
        if self.table.is_empty() { None } else { self.find(hash, key).ok() }
    }

    /// What slot `number` says.
    pub(super) fn mention(&self, number: usize) -> Option<Mention> {
        Some(self.slot(number)?.stored.mention())
    }

    /// Replaces what slot `number` says.
    pub(super) fn set(&mut self, number: usize, mention: &Mention) {
        if let Some(slot) = self.slot_mut(number) {
            slot.stored = Stored::new(mention);
        }
    }

    /// Says `mention` of a key; what was said before.
    pub(super) fn put(&mut self, hash: KeyHash, key: &[u8], mention: &Mention) -> Option<Mention> {
        if (self.slots + 1) * 4 > self.table.len() * 3 {
            self.grow();
        }
        let bucket = match self.find(hash, key) {
            Ok(number) => {
                let before = self.mention(number);
                self.set(number, mention);
                return before;
            }
            Err(bucket) => bucket,
        };
        let sort_key =
            key.iter().map(|&byte| if byte == b'/' { 0 } else { byte }).collect::<Arc<[u8]>>();
        if self.slots.is_multiple_of(CHUNK_SLOTS) {
            self.chunks.push(Vec::with_capacity(CHUNK_SLOTS));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(NameSlot { sort_key, stored: Stored::new(mention) });
        }
        self.slots += 1;
        self.table[bucket] = (u64::from(tag(hash)) << 32) | self.slots as u64;
        None
    }

    /// Hands out the keys that the ordered view does not know yet, with their slots.
    pub(super) fn take_unordered(&mut self, mut take: impl FnMut(&Arc<[u8]>, usize)) {
        for number in self.ordered..self.slots {
            if let Some(slot) = self.slot(number) {
                take(&slot.sort_key, number);
            }
        }
        self.ordered = self.slots;
    }
}

/// The half of the hash that finds the key within a stripe; the other end of it chose the stripe.
fn tag(hash: KeyHash) -> u32 {
    (hash.spread() & 0xffff_ffff) as u32
}

fn bucket_of(tag: u32, mask: usize) -> usize {
    tag as usize & mask
}

fn parts(held: u64) -> (u32, usize) {
    ((held >> 32) as u32, (held & 0xffff_ffff) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::location::SegmentNumber;

    #[test]
    fn mentions_survive_storing() {
        let location = Location { segment: SegmentNumber(9), shard: 200, offset: 80 };
        let entry = Entry {
            id: ValueId::MAX,
            location,
            record_bytes: u32::MAX,
            value_bytes: u64::MAX,
            dedicated: 7,
            written_at_ns: 5,
            attributes: Attributes { mtime_ns: -1, ctime_ns: 3, mode: 0o100_600, uid: 1, gid: 2 },
            supersedes: Some(Location { segment: SegmentNumber(1), shard: 3, offset: 16 }),
        };
        let plain = Entry { supersedes: None, ..entry };
        for mention in [
            Mention::Put(entry),
            Mention::Put(plain),
            Mention::Removed { supersedes: None },
            Mention::Removed { supersedes: Some(location) },
        ] {
            assert_eq!(Stored::new(&mention).mention(), mention);
        }
    }
}
