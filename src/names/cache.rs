//! A cache of verified blocks and filter pages, bounded by bytes, shared by all runs.
//!
//! Several shards, each a lock and a ring with a second chance: what was used since the hand came
//! by last stays for another round, which comes close to least-recently-used without moving
//! anything on a hit. A miss loads outside of the lock, so two threads may load the same block.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::cast;
use crate::format::run_block::RunBlock;
use crate::format::run_bloom::BloomPage;

/// How many bytes a cache should have when nobody says otherwise.
pub(crate) const CACHE_BYTES_DEFAULT: usize = 16 << 20;

const SHARDS: usize = 16;
/// What a cached thing takes beside its bytes, about.
const OVERHEAD_BYTES: usize = 160;

/// The number of a run in the cache; never used again within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CacheOwner(u64);

/// What is cached.
#[derive(Clone, Debug)]
pub(crate) enum Cached {
    /// A block of entries or of the index.
    Block(Arc<RunBlock>),
    /// A page of a bloom filter.
    Bloom(Arc<BloomPage>),
}

impl Cached {
    fn bytes(&self) -> usize {
        OVERHEAD_BYTES
            + match self {
                Self::Block(block) => block.len(),
                Self::Bloom(page) => page.len(),
            }
    }
}

type CacheKey = (CacheOwner, u64);

#[derive(Debug)]
struct CacheEntry {
    cached: Cached,
    was_used: bool,
}

#[derive(Debug, Default)]
struct CacheShard {
    held: HashMap<CacheKey, CacheEntry>,
    ring: VecDeque<CacheKey>,
    bytes: usize,
}

impl CacheShard {
    /// Makes room until at most `bytes_max` are held. Ends: each turn of the ring takes one thing
    /// out or takes one chance away.
    fn shrink_to(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some(place) = self.ring.pop_front() else { return };
            match self.held.get_mut(&place) {
                Some(held) if held.was_used => {
                    held.was_used = false;
                    self.ring.push_back(place);
                }
                _ => {
                    if let Some(held) = self.held.remove(&place) {
                        self.bytes -= held.cached.bytes();
                    }
                }
            }
        }
    }
}

/// The cache. Share it in an `Arc` between all tables.
#[derive(Debug)]
pub(crate) struct BlockCache {
    shards: Vec<Mutex<CacheShard>>,
    shard_bytes_max: usize,
    owners: AtomicU64,
}

impl BlockCache {
    /// A cache that holds about `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shard_bytes_max: bytes_max / SHARDS,
            owners: AtomicU64::new(0),
        }
    }

    /// A number for a newly opened run.
    pub(crate) fn new_owner(&self) -> CacheOwner {
        CacheOwner(self.owners.fetch_add(1, Ordering::Relaxed))
    }

    fn shard(&self, (owner, position): CacheKey) -> &Mutex<CacheShard> {
        // Fibonacci hashing; the top four bits choose one of 16 shards.
        let mixed = (position ^ owner.0.rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &self.shards[cast::to_usize(mixed >> 60) % SHARDS]
    }

    /// What is cached for a position in a run.
    pub(crate) fn get(&self, owner: CacheOwner, position: u64) -> Option<Cached> {
        let place = (owner, position);
        let mut shard = self.shard(place).lock();
        let held = shard.held.get_mut(&place)?;
        held.was_used = true;
        Some(held.cached.clone())
    }

    /// Keeps something for a position in a run.
    pub(crate) fn insert(&self, owner: CacheOwner, position: u64, cached: Cached) {
        let place = (owner, position);
        let bytes = cached.bytes();
        let mut shard = self.shard(place).lock();
        if bytes > self.shard_bytes_max || shard.held.contains_key(&place) {
            return;
        }
        let room = self.shard_bytes_max - bytes;
        shard.shrink_to(room);
        shard.bytes += bytes;
        shard.ring.push_back(place);
        shard.held.insert(place, CacheEntry { cached, was_used: false });
    }

    /// Bytes held now.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes).sum()
    }
}

impl Default for BlockCache {
    fn default() -> Self {
        Self::new(CACHE_BYTES_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::key_hash::{KeyHash, Salt};
    use crate::format::run_bloom;

    fn page() -> Cached {
        let hash = KeyHash::new(Salt([0; 16]), b"x");
        let (_, bytes) = run_bloom::encode(1, [hash].iter());
        Cached::Bloom(Arc::new(BloomPage::decode(bytes, 0).unwrap()))
    }

    #[test]
    fn stays_within_its_bytes_and_keeps_what_is_used() {
        let cache = BlockCache::new(SHARDS * 10 * page().bytes());
        let (owner, other) = (cache.new_owner(), cache.new_owner());
        cache.insert(owner, 7, page());
        for position in 100..10_000 {
            cache.insert(owner, position, page());
            assert!(cache.get(owner, 7).is_some(), "in use all the time");
        }
        assert!(cache.bytes() <= SHARDS * 10 * page().bytes());
        assert!(cache.get(owner, 100).is_none());
        assert!(cache.get(other, 7).is_none());
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let cache = BlockCache::new(SHARDS);
        let owner = cache.new_owner();
        cache.insert(owner, 1, page());
        assert!(cache.get(owner, 1).is_none());
        assert_eq!(cache.bytes(), 0);
    }
}
