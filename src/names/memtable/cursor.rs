//! An ordered walk over a memtable, in batches, with no lock held between them.
//!
//! A walk sees every key that was put before it was sought, once, in order; of keys that come
//! later it may see some. What it says of a key was true at some time since its batch was taken.

use std::ops::Bound;
use std::sync::Arc;

use super::{Memtable, SlotHandle};
use crate::format::entry::Mention;
use crate::names::Direction;

const BATCH_KEYS_MIN: usize = 8;
const BATCH_KEYS_MAX: usize = 64;

/// A walk in one direction. Stands on a key, or behind the last one.
#[derive(Debug)]
pub(crate) struct MemtableCursor {
    memtable: Arc<Memtable>,
    direction: Direction,
    batch: Vec<(Arc<[u8]>, Mention)>,
    at: usize,
    /// Grows while the walk goes on: a seek is often followed by another one.
    batch_keys: usize,
}

impl MemtableCursor {
    /// A walk that stands nowhere until it is sought.
    pub(crate) fn new(memtable: Arc<Memtable>, direction: Direction) -> Self {
        Self { memtable, direction, batch: Vec::new(), at: 0, batch_keys: BATCH_KEYS_MIN }
    }

    /// Goes to the first key at or behind `bound` in the direction of the walk.
    pub(crate) fn seek(&mut self, bound: Bound<&[u8]>) {
        self.memtable.put_in_order();
        self.batch_keys = BATCH_KEYS_MIN;
        self.fill(bound);
    }

    /// Goes on to the first key at or behind `bound`, which must not lie in front of where the walk
    /// stands. Keys that came since the walk was sought need not be seen.
    pub(crate) fn skip_to(&mut self, bound: Bound<&[u8]>) {
        let rest = self.batch.get(self.at..).unwrap_or_default();
        let passed = rest.iter().position(|(key, _)| self.direction.reaches(key, bound));
        if let Some(passed) = passed {
            self.at += passed;
        } else {
            self.batch_keys = BATCH_KEYS_MIN;
            self.fill(bound);
        }
    }

    /// Where the walk stands.
    pub(crate) fn current(&self) -> Option<(&[u8], &Mention)> {
        self.batch.get(self.at).map(|(key, mention)| (&**key, mention))
    }

    /// Goes to the next key.
    pub(crate) fn advance(&mut self) {
        self.at += 1;
        if self.at >= self.batch.len()
            && let Some((last, _)) = self.batch.last()
        {
            let last = Arc::clone(last);
            self.batch_keys = (self.batch_keys * 2).min(BATCH_KEYS_MAX);
            self.fill(Bound::Excluded(&last));
        }
    }

    fn fill(&mut self, bound: Bound<&[u8]>) {
        self.at = 0;
        self.batch.clear();
        let mut taken: Vec<(Arc<[u8]>, SlotHandle)> = Vec::with_capacity(self.batch_keys);
        {
            let ordered = self.memtable.ordered.read();
            let copy = |(key, handle): (&Arc<[u8]>, &SlotHandle)| (Arc::clone(key), *handle);
            let count = self.batch_keys;
            match self.direction {
                Direction::Forward => taken.extend(
                    ordered.range::<[u8], _>((bound, Bound::Unbounded)).take(count).map(copy),
                ),
                Direction::Backward => taken.extend(
                    ordered.range::<[u8], _>((Bound::Unbounded, bound)).rev().take(count).map(copy),
                ),
            }
        }
        for (key, handle) in taken {
            let stripe = self.memtable.stripes[handle.stripe as usize].lock();
            if let Some(mention) = stripe.mention(handle.slot as usize) {
                self.batch.push((key, mention));
            }
        }
    }
}

impl Iterator for MemtableCursor {
    type Item = (Arc<[u8]>, Mention);

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.batch.get(self.at).cloned();
        if item.is_some() {
            self.advance();
        }
        item
    }
}

impl Memtable {
    /// All sort keys in order with what is said of them, for writing a run. Once nothing is put
    /// any more this is the whole truth of the segment.
    pub(crate) fn in_order(self: &Arc<Self>) -> MemtableCursor {
        let mut cursor = MemtableCursor::new(Arc::clone(self), Direction::Forward);
        cursor.seek(Bound::Unbounded);
        cursor
    }
}
