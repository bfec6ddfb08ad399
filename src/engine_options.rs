//! Limits and sizes of the engine.

use std::time::Duration;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Limits and sizes of an open database. None of them is kept in it, so they may differ each time.
///
/// The fields can be set, and more may come, so one starts from the defaults:
///
/// ```
/// let mut engine = littfs::EngineOptions::default();
/// engine.cache_bytes = 64 << 20;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineOptions {
    /// A segment is sealed when its shards have this many bytes together; 1 GiB, at most 16 GiB.
    pub segment_bytes_max: u64,
    /// A segment is sealed when it has this many keys; 262144. Bounds the memory of a memtable.
    pub segment_keys_max: u64,
    /// A value longer than this goes to a file of its own; 4 MiB.
    pub spill_bytes: u64,
    /// All values being written may hold this much memory together; beyond it they spill earlier;
    /// 256 MiB.
    pub pending_bytes_max: u64,
    /// How often what was stored is made safe from power cuts; every second.
    pub flush_interval: Duration,
    /// How long expired segments are kept after the clock has jumped; one hour. Zero = not at all.
    pub expiry_hold: Duration,
    /// Memory for cached index blocks; 16 MiB.
    pub cache_bytes: u64,
    /// Files of the database that are kept open; 512.
    pub descriptors_max: usize,
    /// Bytes kept free on every root's drive; 64 MiB.
    pub reserve_bytes: u64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            segment_bytes_max: GIB,
            segment_keys_max: 262_144,
            spill_bytes: 4 * MIB,
            pending_bytes_max: 256 * MIB,
            flush_interval: Duration::from_secs(1),
            expiry_hold: Duration::from_secs(60 * 60),
            cache_bytes: 16 * MIB,
            descriptors_max: 512,
            reserve_bytes: 64 * MIB,
        }
    }
}
