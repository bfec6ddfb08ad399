//! A segment that is not sealed yet: its shards, its key log and the memtable over them.
//!
//! It takes writes until its gate is closed; from then on it is only read, until the sealer has
//! turned it into a [`super::sealed::SealedSegment`].

mod append;
mod buffer;
mod change;
mod counts;
mod fill;
mod mentions;
mod settle;
mod settlement;
mod sync;
mod unsynced;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use self::counts::SegmentCounts;
use self::fill::Fill;
use self::settlement::Settlements;
use self::unsynced::Unsynced;
use super::usage::Usage;
use crate::cast::{to_u32, to_usize};
use crate::disk::{DiskFile, DiskPath};
use crate::engine_options::EngineOptions;
use crate::error::Result;
use crate::format::entry::Entry;
use crate::format::location::SegmentNumber;
use crate::format::log_record::LogHeader;
use crate::format::segment_metadata::SegmentMetadata;
use crate::layout::segment_files::{SegmentDirs, keys_name, metadata_name, values_name};
use crate::names::Memtable;
use crate::root_id::RootId;
use crate::segment::key_log::KeyLog;
use crate::segment::packed::PackedShard;
use crate::segment::value::RecordBytes;

pub(super) use self::append::NewRecord;
pub(super) use self::change::NameChange;

/// A segment is closed when its memtable takes this much memory: with the longest keys that comes
/// before it has many.
const MEMTABLE_BYTES_MAX: usize = 128 << 20;

/// The gate of a segment, passed by a write for as long as this lives.
pub(super) type Passage<'a> = RwLockReadGuard<'a, bool>;
/// The gate of a segment, kept from all others for as long as this lives.
pub(super) type SolePassage<'a> = RwLockWriteGuard<'a, bool>;

/// An unsealed segment.
#[derive(Debug)]
pub(super) struct ActiveSegment {
    metadata: SegmentMetadata,
    /// Path of `N.metadata`.
    metadata_path: DiskPath,
    /// Path of `N.keys`.
    keys_path: DiskPath,
    shards: Vec<PackedShard>,
    log: KeyLog,
    memtable: Arc<Memtable>,
    /// Held for reading over each write; `true` once closed for writes.
    gate: RwLock<bool>,
    fill: Fill,
    counts: SegmentCounts,
    last_written_ns: AtomicU64,
    next_dedicated: AtomicU32,
    unsettled: Settlements,
    unsynced: Unsynced,
}

/// The files of a segment that is taken up again.
#[derive(Debug)]
pub(super) struct SegmentParts {
    pub(super) metadata: SegmentMetadata,
    pub(super) metadata_path: DiskPath,
    pub(super) keys_path: DiskPath,
    pub(super) shards: Vec<PackedShard>,
    pub(super) log: KeyLog,
}

impl ActiveSegment {
    /// Creates the files of a new segment: shard M in the root `shard_roots[M]`, keys and metadata
    /// in `keys_root`. The metadata comes last and durable, so that a segment exists exactly when
    /// its metadata does.
    pub(super) fn create(
        dirs: &SegmentDirs,
        metadata: SegmentMetadata,
        keys_root: RootId,
        shard_roots: &[RootId],
    ) -> Result<Self> {
        let number = metadata.segment;
        let mut shards = Vec::with_capacity(shard_roots.len());
        for (shard, root) in (0..).zip(shard_roots) {
            let file = dirs.dir(*root)?.join(values_name(number, shard)).create_new()?;
            shards.push(PackedShard::new(Arc::new(file))?);
        }
        let keys_path = dirs.dir(keys_root)?.join(keys_name(number));
        let file = Arc::new(keys_path.create_new()?);
        let header = LogHeader {
            table_id: metadata.table_id,
            segment: number,
            shards: metadata.shards,
            opened_at_ns: metadata.opened_at_ns,
        };
        let log = KeyLog::create(Arc::clone(&file), &header)?;
        file.sync_all()?;
        let roots: BTreeSet<RootId> = shard_roots.iter().copied().chain([keys_root]).collect();
        roots.into_iter().try_for_each(|root| dirs.dir(root)?.sync_dir())?;
        let metadata_path = keys_path.with_file_name(metadata_name(number));
        metadata_path.write_atomically(&metadata.encode())?;
        Ok(Self::assemble(SegmentParts { metadata, metadata_path, keys_path, shards, log }))
    }

    /// An unsealed segment of these parts, with nothing in its memtable yet.
    pub(super) fn assemble(parts: SegmentParts) -> Self {
        let SegmentParts { metadata, metadata_path, keys_path, shards, log } = parts;
        Self {
            // Dedicated shards are numbered from the packed shard count upwards.
            next_dedicated: AtomicU32::new(to_u32(shards.len())),
            fill: Fill::new(metadata.opened_at_ns),
            metadata,
            metadata_path,
            keys_path,
            shards,
            log,
            memtable: Arc::new(Memtable::new()),
            gate: RwLock::new(false),
            counts: SegmentCounts::default(),
            last_written_ns: AtomicU64::new(0),
            unsettled: Settlements::default(),
            unsynced: Unsynced::default(),
        }
    }

    pub(super) fn number(&self) -> SegmentNumber {
        self.metadata.segment
    }

    /// The names in it.
    pub(super) fn memtable(&self) -> &Arc<Memtable> {
        &self.memtable
    }

    /// How many names it mentions.
    pub(super) fn key_count(&self) -> u64 {
        self.memtable.len() as u64
    }

    /// When a value was last stored in it, ns since the epoch; its opening when none was.
    pub(super) fn last_written_ns(&self) -> u64 {
        self.last_written_ns.load(Ordering::Acquire).max(self.metadata.opened_at_ns)
    }

    /// What it holds, and what of earlier segments it took the place of or removed.
    pub(super) fn usage(&self) -> (Usage, Usage) {
        self.counts.usage()
    }

    /// Whether the record of an entry is in it.
    pub(super) fn holds(&self, entry: &Entry) -> bool {
        entry.location.segment == self.number()
    }

    /// Lets a write pass; `None` once the segment is closed.
    pub(super) fn enter(&self) -> Option<Passage<'_>> {
        Some(self.gate.read()).filter(|is_closed| !**is_closed)
    }

    /// Lets one write pass that has the segment for itself; `None` once it is closed.
    pub(super) fn enter_alone(&self) -> Option<SolePassage<'_>> {
        Some(self.gate.write()).filter(|is_closed| !**is_closed)
    }

    /// Ends all writing, once those that have begun are done.
    pub(super) fn close(&self) {
        *self.gate.write() = true;
    }

    /// Returns when every write has ended that has begun.
    pub(super) fn wait_for_writes(&self) {
        drop(self.gate.write());
    }

    /// It takes writes from now on.
    pub(super) fn begin_use(&self, now_ns: u64) {
        self.fill.begin_use(now_ns);
    }

    /// Since when it takes writes, ns since the epoch.
    pub(super) fn in_use_since_ns(&self) -> u64 {
        self.fill.in_use_since_ns()
    }

    /// Whether it has taken as much as it should.
    pub(super) fn is_full(&self, engine: &EngineOptions) -> bool {
        self.fill.record_bytes() >= engine.segment_bytes_max
            || self.key_count() >= engine.segment_keys_max
            || self.memtable.bytes() >= MEMTABLE_BYTES_MAX
    }

    /// Asks for the segment after this one when half of this one is full; whether for the first time.
    pub(super) fn ask_for_successor(&self, engine: &EngineOptions) -> bool {
        let is_half_full = self.key_count() >= engine.segment_keys_max / 2
            || self.fill.record_bytes() >= engine.segment_bytes_max / 2;
        is_half_full && self.fill.ask_for_successor()
    }

    /// Whether the segment after this one was asked for.
    pub(super) fn is_successor_asked(&self) -> bool {
        self.fill.is_successor_asked()
    }

    /// Bytes of records that no sync has begun with.
    pub(super) fn unsynced_bytes(&self) -> u64 {
        self.fill.unsynced_bytes()
    }

    /// Whether as much was written as there was known to be room for.
    pub(super) fn has_used_its_room(&self) -> bool {
        self.fill.has_used_its_room()
    }

    /// There is room for so many bytes more.
    pub(super) fn note_room(&self, bytes: u64) {
        self.fill.note_room(bytes);
    }

    /// The roots of its packed shards, one for each shard.
    pub(super) fn roots(&self) -> impl Iterator<Item = RootId> {
        self.shards.iter().filter_map(|shard| shard.file().ok()?.root())
    }

    /// The next free number for a dedicated shard.
    pub(super) fn reserve_dedicated(&self) -> u32 {
        self.next_dedicated.fetch_add(1, Ordering::Relaxed)
    }

    /// A dedicated shard of this number is on disk.
    pub(super) fn note_number(&self, dedicated: u32) {
        self.next_dedicated.fetch_max(dedicated.saturating_add(1), Ordering::AcqRel);
    }

    /// The open file of a packed shard; `None` for a number that is none of a packed shard.
    pub(super) fn packed_file(&self, shard: u32) -> Option<Result<&Arc<DiskFile>>> {
        self.shards.get(to_usize(shard)).map(PackedShard::file)
    }

    fn shard(&self, number: u8) -> Option<&PackedShard> {
        self.shards.get(usize::from(number))
    }

    /// Keeps clear of the record of an entry that its log mentions.
    pub(super) fn keep_clear_of(&self, entry: &Entry) {
        if self.holds(entry)
            && let Some(shard) = self.shard(entry.location.shard)
        {
            shard.keep_clear_of(entry.location.offset, u64::from(entry.record_bytes));
        }
    }

    /// The record of an entry although its header is damaged: a power cut while headers were being
    /// rewritten leaves such. Sealing writes it anew.
    pub(super) fn read_half_rewritten(
        &self,
        entry: &Entry,
    ) -> Option<(RecordBytes, Arc<DiskFile>)> {
        let file = Arc::clone(self.shard(entry.location.shard)?.file().ok()?);
        let record = RecordBytes::read_half_rewritten(&file, entry).ok()?;
        self.unsettled.rewrite(entry.location);
        Some((record, file))
    }

    /// Whether nothing was ever stored in it.
    pub(super) fn is_blank(&self) -> Result<bool> {
        let is_unused = self.key_count() == 0
            && to_usize(self.next_dedicated.load(Ordering::Acquire)) == self.shards.len();
        for shard in &self.shards {
            if !is_unused || shard.file().is_err() || !shard.file()?.is_empty()? {
                return Ok(false);
            }
        }
        Ok(is_unused)
    }

    /// The file that says that the segment exists.
    pub(super) fn metadata_path(&self) -> &DiskPath {
        &self.metadata_path
    }

    /// The other files it was made with.
    pub(super) fn other_paths(&self) -> impl Iterator<Item = &DiskPath> {
        let shards = self.shards.iter().filter_map(|shard| shard.file().ok());
        std::iter::once(&self.keys_path).chain(shards.map(|file| file.at()))
    }
}
