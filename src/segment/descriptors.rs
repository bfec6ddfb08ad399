//! A bounded cache of open files, shared by all tables of a database.
//!
//! A descriptor that is evicted stays open as long as somebody still reads through it. The cache
//! is striped, so that readers of different files do not meet; within a stripe the file that was
//! used longest ago goes first.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::DiskFile;
use crate::error::Result;
use crate::format::location::SegmentNumber;

const STRIPES: usize = 16;

/// The `file` of a [`FileKey`] that stands for the run of a segment.
pub(crate) const RUN_FILE: u32 = u32::MAX;

/// A file of a segment of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileKey {
    pub(crate) table: u16,
    pub(crate) segment: SegmentNumber,
    /// Number of the shard, or [`RUN_FILE`].
    pub(crate) file: u32,
}

impl FileKey {
    fn stripe(self) -> usize {
        let mixed = (u64::from(self.segment.0) << 32 | u64::from(self.file))
            .wrapping_add(u64::from(self.table) << 48)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 60) as usize % STRIPES
    }
}

#[derive(Debug)]
struct CachedFile {
    file: Arc<DiskFile>,
    used_at: u64,
}

#[derive(Debug, Default)]
struct FileStripe {
    slots: HashMap<FileKey, CachedFile>,
    clock: u64,
}

/// The cache.
#[derive(Debug)]
pub(crate) struct Descriptors {
    stripes: [Mutex<FileStripe>; STRIPES],
    slots_max: usize,
}

impl Descriptors {
    /// A cache of about `descriptors_max` open files.
    pub(crate) fn new(descriptors_max: usize) -> Self {
        let slots_max = (descriptors_max / STRIPES).max(1);
        Self { stripes: std::array::from_fn(|_| Mutex::default()), slots_max }
    }

    /// The open file of `key`, opened with `open` when it is not in the cache.
    pub(crate) fn get(
        &self,
        key: FileKey,
        open: impl FnOnce() -> Result<DiskFile>,
    ) -> Result<Arc<DiskFile>> {
        let stripe = &self.stripes[key.stripe()];
        if let Some(file) = lookup(&mut stripe.lock(), key) {
            return Ok(file);
        }
        // Opened without the lock: a slow drive must not hold up readers of other files.
        let file = Arc::new(open()?);
        self.insert(key, Arc::clone(&file));
        Ok(file)
    }

    /// Offers an open file to later readers.
    pub(crate) fn insert(&self, key: FileKey, file: Arc<DiskFile>) {
        let mut stripe = self.stripes[key.stripe()].lock();
        stripe.clock += 1;
        let used_at = stripe.clock;
        stripe.slots.insert(key, CachedFile { file, used_at });
        if stripe.slots.len() > self.slots_max {
            let oldest = stripe.slots.iter().min_by_key(|(_, slot)| slot.used_at);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                stripe.slots.remove(&oldest);
            }
        }
    }

    /// Forgets the files of a table that `matches` picks, so that unlinked ones free their space.
    pub(crate) fn forget(&self, table: u16, matches: impl Fn(SegmentNumber) -> bool) {
        for stripe in &self.stripes {
            stripe.lock().slots.retain(|key, _| key.table != table || !matches(key.segment));
        }
    }
}

fn lookup(stripe: &mut FileStripe, key: FileKey) -> Option<Arc<DiskFile>> {
    stripe.clock += 1;
    let now = stripe.clock;
    let slot = stripe.slots.get_mut(&key)?;
    slot.used_at = now;
    Some(Arc::clone(&slot.file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;

    #[test]
    fn open_files_stay_bounded_and_the_hot_one_stays_open() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        std::fs::write(&path, b"x").unwrap();
        let cache = Descriptors::new(32);
        let key = |segment| FileKey { table: 1, segment: SegmentNumber(segment), file: 0 };
        let opens = std::cell::Cell::new(0);
        let open = || {
            opens.set(opens.get() + 1);
            Disk::new().open(&path)
        };
        for segment in 1..1000 {
            cache.get(key(segment), open).unwrap();
            cache.get(key(1), open).unwrap();
        }
        assert_eq!(opens.get(), 999, "the hot file is opened once");
        let open_now: usize = cache.stripes.iter().map(|stripe| stripe.lock().slots.len()).sum();
        assert!(open_now <= 32, "{open_now}");
        cache.forget(1, |_| true);
        cache.get(key(1), open).unwrap();
        assert_eq!(opens.get(), 1000);
    }
}
