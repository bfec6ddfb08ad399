//! How full a segment is, and what follows from that for those who write to it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes of the records of a segment, and what was done at which count of them.
#[derive(Debug)]
pub(super) struct Fill {
    record_bytes: AtomicU64,
    /// Of them, those that the last sync began with.
    synced_bytes: AtomicU64,
    /// When there are so many, the room on the drives is looked at again.
    room_until_bytes: AtomicU64,
    /// Whether the segment after this one was asked for.
    successor_asked: AtomicBool,
    /// When it began to take writes, ns since the epoch; later than its opening for a spare.
    in_use_since_ns: AtomicU64,
}

impl Fill {
    pub(super) fn new(in_use_since_ns: u64) -> Self {
        Self {
            record_bytes: AtomicU64::new(0),
            synced_bytes: AtomicU64::new(0),
            room_until_bytes: AtomicU64::new(0),
            successor_asked: AtomicBool::new(false),
            in_use_since_ns: AtomicU64::new(in_use_since_ns),
        }
    }

    pub(super) fn record_bytes(&self) -> u64 {
        self.record_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, record_bytes: u64) {
        self.record_bytes.fetch_add(record_bytes, Ordering::Relaxed);
    }

    /// A sync begins with what is there now.
    pub(super) fn note_sync(&self) {
        self.synced_bytes.store(self.record_bytes(), Ordering::Relaxed);
    }

    /// Bytes that no sync has begun with.
    pub(super) fn unsynced_bytes(&self) -> u64 {
        self.record_bytes().saturating_sub(self.synced_bytes.load(Ordering::Relaxed))
    }

    /// Whether as much was written as there was known to be room for.
    pub(super) fn has_used_its_room(&self) -> bool {
        self.record_bytes() >= self.room_until_bytes.load(Ordering::Relaxed)
    }

    /// There is room for so many bytes more.
    pub(super) fn note_room(&self, bytes: u64) {
        let until = self.record_bytes().saturating_add(bytes);
        self.room_until_bytes.store(until, Ordering::Relaxed);
    }

    /// Asks for the segment after this one; whether this is the first time.
    pub(super) fn ask_for_successor(&self) -> bool {
        !self.successor_asked.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_successor_asked(&self) -> bool {
        self.successor_asked.load(Ordering::Relaxed)
    }

    pub(super) fn begin_use(&self, now_ns: u64) {
        self.in_use_since_ns.store(now_ns, Ordering::Release);
    }

    pub(super) fn in_use_since_ns(&self) -> u64 {
        self.in_use_since_ns.load(Ordering::Acquire)
    }
}
