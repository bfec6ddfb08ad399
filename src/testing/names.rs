//! A memtable and a run for who measures them. Entries are made up from numbers.

use std::hint::black_box;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::Result;
use crate::format::attributes::{Attributes, Kind};
use crate::format::entry::{Entry, Mention};
use crate::format::key_hash::{KeyHash, Salt};
use crate::format::location::{Location, SegmentNumber, ValueId};
use crate::format::sort_key::sort_key;
use crate::names::run::PathSource;
use crate::names::{self, BlockCache, Choice, Direction, FolderListing, Keys, Layer, RunWriter};

const SALT: Salt = Salt([5; 16]);
const TABLE_ID: [u8; 16] = [1; 16];
const SEGMENT: SegmentNumber = SegmentNumber(3);
const RECORD_BYTES: u32 = 1152;
/// When the first value was written, ns since the epoch.
const FIRST_WRITTEN_AT_NS: u64 = 1_790_000_000_000_000_000;

/// A key with its hash, made before the clock runs.
#[derive(Clone, Debug)]
pub struct Key {
    hash: KeyHash,
    key: Vec<u8>,
}

impl Key {
    /// This key.
    #[must_use]
    pub fn new(key: Vec<u8>) -> Self {
        Self { hash: KeyHash::new(SALT, &key), key }
    }
}

fn mention(number: u64) -> Mention {
    let written_at_ns = FIRST_WRITTEN_AT_NS + number * 2000;
    let shard = u8::from(number & 1 != 0) + 2 * u8::from(number & 2 != 0);
    Mention::Put(Entry {
        id: ValueId(number + 1),
        location: Location { segment: SEGMENT, shard, offset: number * u64::from(RECORD_BYTES) },
        record_bytes: RECORD_BYTES,
        value_bytes: 1024,
        dedicated: 0,
        written_at_ns,
        attributes: Attributes::new_at_ns(Kind::File, 0o644, 1000, 1000, written_at_ns),
        supersedes: None,
    })
}

/// The names of an active segment.
#[derive(Debug, Default)]
pub struct Memtable(Arc<names::Memtable>);

impl Memtable {
    /// One without names.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a key, with an entry that the number makes.
    pub fn put(&self, key: &Key, number: u64) {
        self.0.put(key.hash, &key.key, mention(number));
    }

    /// Looks a key up; whether it is there.
    #[must_use]
    pub fn get(&self, key: &Key) -> bool {
        black_box(self.0.get(key.hash, &key.key)).is_some()
    }

    /// Looks up what has the hash of this key and is not there.
    #[must_use]
    pub fn get_absent(&self, key: &Key) -> bool {
        black_box(self.0.get(key.hash, b"absent")).is_some()
    }

    /// Walks to the first name, for which all are put in order.
    pub fn put_in_order(&self) {
        black_box(self.0.in_order().next());
    }

    /// The memory that it says it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Writes all names to a run, and syncs it.
    pub fn write_run(&self, path: &Path) -> Result<()> {
        let mut writer = RunWriter::create(&Disk::new(), path, TABLE_ID, SEGMENT, SALT)?;
        for (sort_key, mention) in self.0.in_order() {
            writer.push(&sort_key, &mention)?;
        }
        writer.finish()?;
        Ok(())
    }
}

/// An open run.
#[derive(Debug)]
pub struct Run(Arc<names::Run>);

impl Run {
    /// Opens what [`Memtable::write_run`] wrote, with a block cache of its own.
    pub fn open(path: &Path) -> Result<Self> {
        let files = PathSource { disk: Disk::new(), path: path.to_path_buf() };
        let cache = Arc::new(BlockCache::default());
        Ok(Self(Arc::new(names::Run::open(Box::new(files), cache, TABLE_ID, SEGMENT)?)))
    }

    /// Reads it from one end to the other; how many names there were.
    pub fn scan(&self) -> Result<u64> {
        let mut scan = self.0.scan_all()?;
        let mut seen = 0;
        while let Some((key, mention)) = scan.next()? {
            black_box((key, &mention));
            seen += 1;
        }
        Ok(seen)
    }

    /// Looks a key up; whether it is there.
    pub fn get(&self, key: &Key) -> Result<bool> {
        Ok(self.0.get(&sort_key(&key.key))?.is_some())
    }

    fn layers(&self) -> [Layer; 1] {
        [Layer::Run(Arc::clone(&self.0))]
    }

    /// Walks over all keys backwards; how many there were.
    pub fn walk_backward(&self) -> Result<u64> {
        let layers = self.layers();
        let keys = Keys::new(&layers, b"", Bound::Unbounded, Direction::Backward, take)?;
        let mut seen = 0;
        for key in keys {
            black_box(key?);
            seen += 1;
        }
        Ok(seen)
    }

    /// Lists a folder, whose name ends in `/`; how many names there were.
    pub fn list(&self, folder: &[u8]) -> Result<u64> {
        let (layers, hash) = (self.layers(), KeyHash::new(SALT, folder));
        let direction = Direction::Forward;
        let mut listing =
            FolderListing::new(&layers, folder, hash, direction, Bound::Unbounded, take)?;
        let mut seen = 0;
        while listing.next()?.is_some() {
            seen += 1;
        }
        Ok(seen)
    }
}

fn take(_: &Mention, _: usize) -> Choice {
    Choice::Take
}
