//! The view of one active segment's key log.
//!
//! Point operations touch a hash index only: stripes chosen by the hash of the key, each a lock, a
//! slab and a hash table. Order is made when somebody asks for it: keys that came since the last
//! walk wait, in the order of arrival, in the slabs, and the next walk takes them over into one
//! ordered map, or somebody with time to spare before there are too many. A key's bytes are shared
//! between both. So a store that is only written pays nothing for order, and one that is listed pays
//! once for each key.
//!
//! Invariants: a key that was put stays, removed or not, until the memtable is dropped. Whatever
//! was put before a walk began is in the walk. Lock order: the ordered view, then one stripe;
//! never two stripes. No lock is held between two calls.
//!
//! It does not know the key log, does not expire anything, and takes the hash of a key as given.

mod cursor;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

pub(crate) use self::cursor::MemtableCursor;
use self::stored::{BYTES_PER_KEY, NameStripe};
use crate::cast;
use crate::format::attributes::Kind;
use crate::format::entry::Mention;
use crate::format::key_hash::KeyHash;

/// Enough that some tens of threads seldom meet, few enough to cost little in an idle table.
const STRIPES: usize = 32;
/// So many keys are put in order within some 20 ms.
const WAITING_KEYS_MAX: usize = 1 << 16;
/// When this share of the ordered view (1 / share) or more is new, both are merged in one pass.
const BULK_SHARE: usize = 8;

/// Where a key of the ordered view is kept.
#[derive(Clone, Copy, Debug)]
struct SlotHandle {
    stripe: u32,
    slot: u32,
}

/// A hash index over the names of a segment, ordered on demand. For any number of threads.
#[derive(Debug)]
pub(crate) struct Memtable {
    stripes: Vec<Mutex<NameStripe>>,
    ordered: RwLock<BTreeMap<Arc<[u8]>, SlotHandle>>,
    keys: AtomicUsize,
    key_bytes: AtomicUsize,
}

impl Default for Memtable {
    fn default() -> Self {
        Self::new()
    }
}

impl Memtable {
    /// A memtable without keys.
    pub(crate) fn new() -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            ordered: RwLock::default(),
            keys: AtomicUsize::new(0),
            key_bytes: AtomicUsize::new(0),
        }
    }

    fn stripe(&self, hash: KeyHash) -> &Mutex<NameStripe> {
        &self.stripes[hash.part_of(STRIPES)]
    }

    /// What the segment says of a key. `hash` must be that of `key` under the table's salt.
    pub(crate) fn get(&self, hash: KeyHash, key: &[u8]) -> Option<Mention> {
        let stripe = self.stripe(hash).lock();
        stripe.mention(stripe.number_of(hash, key)?)
    }

    /// Says something of a key; answers what was said of it before.
    pub(crate) fn put(&self, hash: KeyHash, key: &[u8], mention: Mention) -> Option<Mention> {
        let mut stripe = self.stripe(hash).lock();
        let before = stripe.put(hash, key, &mention);
        if before.is_none() {
            // Counted under the lock: who sees the put return sees the key counted.
            self.keys.fetch_add(1, Ordering::Relaxed);
            self.key_bytes.fetch_add(key.len(), Ordering::Relaxed);
        }
        before
    }

    /// Changes what is said of a key; false if nothing is. Runs under the key's lock: `change` must
    /// be short and must not come back here.
    pub(crate) fn update(
        &self,
        hash: KeyHash,
        key: &[u8],
        change: impl FnOnce(&mut Mention),
    ) -> bool {
        let mut stripe = self.stripe(hash).lock();
        let Some(number) = stripe.number_of(hash, key) else { return false };
        let Some(mut mention) = stripe.mention(number) else { return false };
        change(&mut mention);
        stripe.set(number, &mention);
        true
    }

    /// If the folder is here, raises its times to `mtime_ns`, never lowers them, and answers true.
    pub(crate) fn touch_folder(&self, hash: KeyHash, key: &[u8], mtime_ns: i64) -> bool {
        let mut is_folder = false;
        self.update(hash, key, |mention| {
            if let Mention::Put(entry) = mention
                && entry.kind() == Kind::Folder
            {
                is_folder = true;
                let attributes = &mut entry.attributes;
                attributes.mtime_ns = attributes.mtime_ns.max(mtime_ns);
                attributes.ctime_ns = attributes.ctime_ns.max(mtime_ns);
            }
        });
        is_folder
    }

    /// How many keys something is said of, removed ones included.
    pub(crate) fn len(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    /// About how much memory this takes, without the ordered view (some 35 bytes a key more).
    pub(crate) fn bytes(&self) -> usize {
        self.len() * BYTES_PER_KEY + self.key_bytes.load(Ordering::Relaxed)
    }

    /// Takes the keys that came since the last time over into the ordered view when there are many:
    /// whoever lists next then does not wait for it, and sealing needs the order anyway.
    pub(crate) fn put_many_in_order(&self) {
        let waiting = self.len().saturating_sub(self.ordered.read().len());
        if waiting >= WAITING_KEYS_MAX {
            self.put_in_order();
        }
    }

    /// Takes the keys that came since the last time over into the ordered view.
    fn put_in_order(&self) {
        // A key is counted before its stripe is unlocked, so before it can get into the ordered
        // view: with equal counts, the view read first, no key that was put is missing in it.
        if self.ordered.read().len() == self.len() {
            return;
        }
        let mut ordered = self.ordered.write();
        let mut fresh: Vec<(Arc<[u8]>, SlotHandle)> = Vec::new();
        for (number, stripe) in (0_u32..).zip(&self.stripes) {
            stripe.lock().take_unordered(|key, slot| {
                // The hash table of a stripe counts its slots in 32 bits too.
                let slot = cast::to_u32(slot);
                fresh.push((Arc::clone(key), SlotHandle { stripe: number, slot }));
            });
        }
        if fresh.len() >= ordered.len() / BULK_SHARE {
            let mut fresh = BTreeMap::from_iter(fresh);
            ordered.append(&mut fresh);
        } else {
            ordered.extend(fresh);
        }
    }
}
