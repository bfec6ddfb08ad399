//! A keymap for who measures it: its keys are numbers.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::disk::Disk;
use crate::error::Result;
use crate::format::key_hash::{KeyHash, Salt};
use crate::format::location::{Location, SegmentNumber};
use crate::keymap::{self, Inserted, KeymapChange, Lookup};

const SALT: Salt = Salt([7; 16]);
const RECORD_BYTES: u32 = 1152;
/// Nothing has expired.
const LOWEST_LIVE: SegmentNumber = SegmentNumber(0);

/// The hash of the key that a number stands for.
#[derive(Clone, Copy, Debug)]
pub struct Hash(KeyHash);

impl Hash {
    /// That of this number.
    #[must_use]
    pub fn of(number: u64) -> Self {
        Self(KeyHash::new(SALT, &number.to_le_bytes()))
    }
}

/// The keys of one segment, made before the clock runs.
#[derive(Debug)]
pub struct Segment(Vec<KeymapChange>);

impl Segment {
    /// The segment of this number with the keys of these numbers.
    #[must_use]
    pub fn new(segment: u32, keys: Range<u64>) -> Self {
        let change = |number: u64| KeymapChange::Put {
            fingerprint: Hash::of(number).0.fingerprint(),
            location: Location {
                segment: SegmentNumber(segment),
                shard: 1,
                offset: (number - keys.start) * u64::from(RECORD_BYTES),
            },
            record_bytes: RECORD_BYTES,
            supersedes: None,
        };
        Self(keys.clone().map(change).collect())
    }
}

/// What a keymap takes on disk.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Bytes of its file.
    pub bytes: u64,
    /// How often it was written anew.
    pub generation: u64,
}

/// An open keymap. Any number of threads may look up.
#[derive(Debug)]
pub struct Keymap(keymap::Keymap);

impl Keymap {
    /// Makes one in a directory that has none.
    pub fn create(dir: &Path) -> Result<Self> {
        Ok(Self(keymap::Keymap::open(&Disk::new(), dir, [1; 16])?.0))
    }

    /// Makes room for so many keys at the next insertion.
    pub fn reserve(&self, keys: u64) {
        self.0.reserve(keys);
    }

    /// Inserts a segment; afterwards there are about `live_keys` keys.
    pub fn insert(&self, segment: &Segment, live_keys: u64) -> Result<()> {
        let never = AtomicBool::new(false);
        let inserted = self.0.insert(&segment.0, LOWEST_LIVE, live_keys, &never)?;
        assert_eq!(inserted, Inserted::All);
        Ok(())
    }

    /// Makes what was inserted durable.
    pub fn sync(&self) -> Result<()> {
        self.0.mark_complete(SegmentNumber(1))
    }

    /// What it takes on disk.
    pub fn taken(&self) -> Result<Taken> {
        let stats = self.0.stats()?;
        Ok(Taken { bytes: stats.bytes_on_disk, generation: stats.generation })
    }

    /// Whether a key may be there; none when its page is damaged.
    #[must_use]
    pub fn lookup(&self, hash: Hash) -> Option<bool> {
        match self.0.lookup(hash.0, LOWEST_LIVE) {
            Lookup::Found(candidates) => Some(candidates.iter().next().is_some()),
            Lookup::Damaged => None,
        }
    }
}
