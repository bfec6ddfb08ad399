//! A segment that is not sealed yet: its shards, its key log and the memtable over them.
//!
//! It takes writes until its gate is closed; from then on it is only read, until the sealer has
//! turned it into a [`super::sealed::SealedSegment`].

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::usage::Usage;
use crate::config::Config;
use crate::disk::{DiskFile, DiskPath, sync_together};
use crate::error::{Error, Result};
use crate::format::attributes::Kind;
use crate::format::entry::{Entry, Mention};
use crate::format::key_hash::{KeyHash, Salt};
use crate::format::location::{Location, SegmentNumber};
use crate::format::log_record::{self, LogHeader};
use crate::format::record::RecordHeader;
use crate::format::segment_metadata::SegmentMetadata;
use crate::layout::segment_files::{SegmentDirs, keys_name, metadata_name, values_name};
use crate::names::Memtable;
use crate::operation::Operation;
use crate::root_id::RootId;
use crate::segment::key_log::KeyLog;
use crate::segment::packed::PackedShard;

/// Records up to this length are put together in one buffer; longer ones are written from where
/// their parts are.
const COPIED_BYTES_MAX: u64 = 32 * 1024;

/// A segment is closed when its memtable takes this much memory: with the longest keys that comes
/// before it has many.
const MEMTABLE_BYTES_MAX: usize = 128 << 20;

#[cfg(not(shuttle))]
thread_local! {
    /// What records and log records are put together in; as long as the longest copied so far.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
#[cfg(shuttle)]
shuttle::thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(Vec::new());
}

/// What is to be done to a record's header when the segment is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// Its name or attributes changed: write them.
    Rewrite,
    /// It was removed or taken the place of: mark it dead.
    Bury,
}

/// The bytes of a new record.
pub(crate) struct NewRecord<'a> {
    pub(crate) header: RecordHeader,
    pub(crate) key: &'a [u8],
    /// The value, unless it is in a dedicated shard.
    pub(crate) value: &'a [u8],
    /// The encoded block checksums, if the value has them.
    pub(crate) checksums: &'a [u8],
}

/// What happens to a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    pub(crate) hash: KeyHash,
    pub(crate) key: &'a [u8],
    pub(crate) mention: Mention,
    /// Bytes of the value in an earlier segment that goes away with it.
    pub(crate) superseded_bytes: u64,
}

impl<'a> Change<'a> {
    /// The name stands for this entry from now on.
    pub(crate) fn put(hash: KeyHash, key: &'a [u8], entry: Entry) -> Self {
        let superseded_bytes = entry.value_bytes;
        Self { hash, key, mention: Mention::Put(entry), superseded_bytes }
    }

    /// The name of this entry is taken away.
    pub(crate) fn remove(
        hash: KeyHash,
        key: &'a [u8],
        entry: &Entry,
        active: SegmentNumber,
    ) -> Self {
        let supersedes = entry.supersedes_in(active);
        let mention = Mention::Removed { supersedes };
        Self { hash, key, mention, superseded_bytes: entry.value_bytes }
    }
}

/// Running counts of an unsealed segment.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    files: AtomicU64,
    bytes: AtomicU64,
    superseded_keys: AtomicU64,
    superseded_bytes: AtomicU64,
}

/// What a sync failed of.
#[derive(Debug)]
struct NotSynced {
    path: PathBuf,
    root: Option<RootId>,
}

/// An unsealed segment.
#[derive(Debug)]
pub(crate) struct ActiveSegment {
    pub(crate) number: SegmentNumber,
    pub(crate) opened_at_ns: u64,
    /// When it began to take writes, ns since the epoch; later than its opening for a spare.
    pub(crate) in_use_since_ns: AtomicU64,
    /// Whether the segment after this one was asked for.
    pub(crate) successor_asked: AtomicBool,
    pub(crate) metadata: SegmentMetadata,
    /// Path of `N.metadata`.
    pub(crate) metadata_path: DiskPath,
    /// Path of `N.keys`.
    pub(crate) keys_path: DiskPath,
    pub(crate) shards: Vec<PackedShard>,
    pub(crate) log: KeyLog,
    pub(crate) memtable: Arc<Memtable>,
    /// Held for reading over each write; `true` once closed for writes.
    pub(crate) gate: RwLock<bool>,
    pub(crate) last_written_ns: AtomicU64,
    pub(crate) record_bytes: AtomicU64,
    /// Of them, those that the last sync began with.
    synced_bytes: AtomicU64,
    /// When there are so many record bytes, the room on the drives is looked at again.
    pub(crate) room_until: AtomicU64,
    pub(crate) next_dedicated: AtomicU32,
    pub(crate) unsettled: Mutex<HashMap<Location, Settlement>>,
    counts: Counts,
    unsynced_dedicated: Mutex<Vec<Arc<DiskFile>>>,
    /// Locked over a whole sync; what could not be synced, once one has failed.
    sync_io: Mutex<Option<NotSynced>>,
    /// Folders in which the names of dedicated shards are to be made durable by the next sync.
    unsynced_folders: Mutex<Vec<DiskPath>>,
}

impl ActiveSegment {
    /// Creates the files of a new segment: shard M in the root `shard_roots[M]`, keys and metadata
    /// in `keys_root`. The metadata comes last and durable, so that a segment exists exactly when
    /// its metadata does.
    pub(crate) fn create(
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
        Ok(Self::assemble(metadata, metadata_path, keys_path, shards, log))
    }

    /// An unsealed segment of these parts, with nothing in its memtable yet.
    pub(crate) fn assemble(
        metadata: SegmentMetadata,
        metadata_path: DiskPath,
        keys_path: DiskPath,
        shards: Vec<PackedShard>,
        log: KeyLog,
    ) -> Self {
        // Dedicated shards are numbered from the packed shard count upwards.
        let first_dedicated = u32::try_from(shards.len()).unwrap_or(u32::MAX);
        Self {
            number: metadata.segment,
            opened_at_ns: metadata.opened_at_ns,
            in_use_since_ns: AtomicU64::new(metadata.opened_at_ns),
            successor_asked: AtomicBool::new(false),
            metadata,
            metadata_path,
            keys_path,
            shards,
            log,
            memtable: Arc::new(Memtable::new()),
            gate: RwLock::new(false),
            last_written_ns: AtomicU64::new(0),
            record_bytes: AtomicU64::new(0),
            synced_bytes: AtomicU64::new(0),
            room_until: AtomicU64::new(0),
            next_dedicated: AtomicU32::new(first_dedicated),
            unsettled: Mutex::new(HashMap::new()),
            counts: Counts::default(),
            unsynced_dedicated: Mutex::new(Vec::new()),
            sync_io: Mutex::new(None),
            unsynced_folders: Mutex::default(),
        }
    }

    /// The roots of its packed shards, one for each shard.
    pub(crate) fn roots(&self) -> impl Iterator<Item = RootId> {
        self.shards.iter().filter_map(|shard| shard.file().ok()?.root())
    }

    pub(crate) fn salt(&self) -> Salt {
        self.metadata.salt
    }

    /// Writes a record into the shard that its key's hash chooses.
    pub(crate) fn append(&self, hash: KeyHash, record: &NewRecord<'_>) -> Result<Entry> {
        let shard = hash.part_of(self.shards.len());
        let record_bytes = record.header.record_bytes();
        let offset = BUFFER.with(|buffer| {
            let buffer = &mut *buffer.borrow_mut();
            buffer.clear();
            record.header.encode(record.key, buffer);
            let body_bytes = buffer.len() + record.value.len() + record.checksums.len();
            let padding = &[0; 8][..body_bytes.next_multiple_of(8) - body_bytes];
            if record_bytes <= COPIED_BYTES_MAX {
                buffer.extend_from_slice(record.value);
                buffer.extend_from_slice(record.checksums);
                buffer.extend_from_slice(padding);
                self.shards[shard].append(&[buffer])
            } else {
                self.shards[shard].append(&[buffer, record.value, record.checksums, padding])
            }
        })?;
        self.record_bytes.fetch_add(record_bytes, Ordering::Relaxed);
        // There are at most 255 packed shards.
        let shard = u8::try_from(shard).unwrap_or(u8::MAX);
        let location = Location { segment: self.number, shard, offset };
        record
            .header
            .entry(location)
            .map_err(|malformed| malformed.in_file(&self.keys_path, offset))
    }

    /// Logs what happened to one name, then shows it.
    pub(crate) fn mention(&self, change: &Change<'_>) -> Result<()> {
        BUFFER.with(|record| {
            let record = &mut *record.borrow_mut();
            record.clear();
            log_record::encode_mention(change.key, &change.mention, record);
            self.log.append(record)
        })?;
        self.show(change, false);
        Ok(())
    }

    /// Logs what happened to several names at once, then shows it.
    pub(crate) fn mention_all(&self, changes: &[Change<'_>]) -> Result<()> {
        let mut record = Vec::new();
        let pairs = changes.iter().map(|change| (change.key, &change.mention));
        log_record::encode_batch(pairs, &mut record);
        self.log.append(&record)?;
        // A name that is made comes before one that is taken away: whoever looks for a file while it is
        // renamed finds it under one name or under both.
        let kept: Vec<Location> =
            changes.iter().filter_map(|change| self.own_record(&change.mention)).collect();
        for change in changes.iter().rev() {
            self.show_keeping(change, true, &kept);
        }
        Ok(())
    }

    /// Puts a logged change into the memtable, and notes what becomes of the records concerned.
    /// Only within a batch can a record come under another name; its changes are shown in their order.
    pub(crate) fn show(&self, change: &Change<'_>, in_batch: bool) {
        self.show_keeping(change, in_batch, &[]);
    }

    /// The same for a part of a batch of which another part gives names to the records `kept`.
    fn show_keeping(&self, change: &Change<'_>, in_batch: bool, kept: &[Location]) {
        if let Mention::Put(entry) = &change.mention {
            self.last_written_ns.fetch_max(entry.written_at_ns, Ordering::AcqRel);
        }
        let previous = self.memtable.put(change.hash, change.key, change.mention);
        self.count(change, previous.as_ref());
        if let Some(earlier) = previous.as_ref().and_then(supersedes) {
            self.carry(change, earlier);
        }
        let before = previous.and_then(|mention| self.own_record(&mention));
        let now = self.own_record(&change.mention);
        if before.is_none() && (now.is_none() || !in_batch) {
            return;
        }
        let mut unsettled = self.unsettled.lock();
        if let Some(location) = before.filter(|location| Some(*location) != now) {
            let is_kept = kept.contains(&location);
            let settlement = if is_kept { Settlement::Rewrite } else { Settlement::Bury };
            unsettled.insert(location, settlement);
        }
        if let Some(location) = now
            && (before == now || unsettled.contains_key(&location))
        {
            unsettled.insert(location, Settlement::Rewrite);
        }
    }

    /// Has the header of a record written anew when the segment is sealed.
    pub(crate) fn have_rewritten(&self, location: Location) {
        self.unsettled.lock().entry(location).or_insert(Settlement::Rewrite);
    }

    /// What a name took the place of in an earlier segment it goes on taking the place of, whatever
    /// happens to the name in this one.
    fn carry(&self, change: &Change<'_>, earlier: Location) {
        self.memtable.update(change.hash, change.key, |mention| match mention {
            Mention::Put(Entry { supersedes, .. }) | Mention::Removed { supersedes } => {
                *supersedes = Some(earlier);
            }
        });
    }

    fn count(&self, change: &Change<'_>, previous: Option<&Mention>) {
        let counts = &self.counts;
        if let Some(Mention::Put(entry)) = previous.filter(|mention| is_value(mention)) {
            counts.files.fetch_sub(1, Ordering::Relaxed);
            counts.bytes.fetch_sub(entry.value_bytes, Ordering::Relaxed);
        }
        if let Mention::Put(entry) = &change.mention
            && is_value(&change.mention)
        {
            counts.files.fetch_add(1, Ordering::Relaxed);
            counts.bytes.fetch_add(entry.value_bytes, Ordering::Relaxed);
        }
        let is_folder = change.key.ends_with(b"/");
        let first =
            supersedes(&change.mention).is_some() && previous.and_then(supersedes).is_none();
        if first && !is_folder {
            counts.superseded_keys.fetch_add(1, Ordering::Relaxed);
            counts.superseded_bytes.fetch_add(change.superseded_bytes, Ordering::Relaxed);
        }
    }

    /// What it holds, and what of earlier segments it took the place of or removed.
    pub(crate) fn usage(&self) -> (Usage, Usage) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.counts;
        let put = Usage { keys: read(&counts.files), bytes: read(&counts.bytes), segments: 1 };
        let superseded = Usage {
            keys: read(&counts.superseded_keys),
            bytes: read(&counts.superseded_bytes),
            segments: 0,
        };
        (put, superseded)
    }

    fn own_record(&self, mention: &Mention) -> Option<Location> {
        match mention {
            Mention::Put(entry) if entry.location.segment == self.number => Some(entry.location),
            _ => None,
        }
    }

    /// The next free number for a dedicated shard.
    pub(crate) fn reserve_dedicated(&self) -> u32 {
        self.next_dedicated.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes a dedicated shard whose bytes and name are to be made durable by the next sync.
    pub(crate) fn note_dedicated(&self, file: Arc<DiskFile>) {
        // Whatever it is called meanwhile, it stays in its folder.
        let folder = file.at().folder();
        let mut folders = self.unsynced_folders.lock();
        if !folders.contains(&folder) {
            folders.push(folder);
        }
        drop(folders);
        self.unsynced_dedicated.lock().push(file);
    }

    /// Makes everything logged before the call durable: values first, then the log.
    pub(crate) fn sync(&self) -> Result<()> {
        let mut failed = self.sync_io.lock();
        if !self.log.is_dirty() || self.log.is_blank() {
            return Ok(());
        }
        let log_bytes = self.log.begin_sync();
        self.synced_bytes.store(self.record_bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        self.sync_files(&mut failed)
            .and_then(|()| {
                let ended = self.log.end_sync(log_bytes);
                ended.inspect_err(|error| note_failure(&mut failed, error))
            })
            .inspect_err(|_| self.log.abort_sync())
    }

    /// Makes all values, and the names of dedicated shards, durable.
    pub(crate) fn sync_values(&self) -> Result<()> {
        self.sync_files(&mut self.sync_io.lock())
    }

    /// What the drive holds after a failed sync is unknown, and the next one would say that all is
    /// well: the system tells of lost pages once. So a segment of which a sync failed never passes
    /// one again, whoever asks: the flusher or, at the same time, the sealer.
    fn sync_files(&self, failed: &mut Option<NotSynced>) -> Result<()> {
        if let Some(NotSynced { path, root }) = failed {
            let source = std::io::Error::other("an earlier sync of it has failed");
            return Err(Error::io(Operation::Sync, path, *root, source));
        }
        let dedicated = std::mem::take(&mut *self.unsynced_dedicated.lock());
        let unsynced = |shard: &PackedShard| shard.take_unsynced();
        let packed: Vec<_> = self.shards.iter().map(unsynced).collect();
        let folders = std::mem::take(&mut *self.unsynced_folders.lock());
        let files: Vec<_> = dedicated.iter().chain(packed.iter().flatten()).cloned().collect();
        let synced = sync_together(&files);
        drop(files);
        if let Err(error) = synced {
            if error.is_out_of_descriptors() {
                self.unsynced_dedicated.lock().extend(dedicated);
                for (shard, _) in self.shards.iter().zip(&packed).filter(|(_, file)| file.is_some())
                {
                    shard.note_unsynced();
                }
                self.unsynced_folders.lock().extend(folders);
            }
            note_failure(failed, &error);
            return Err(error);
        }
        // Their descriptors may be the last ones.
        drop((dedicated, packed));
        if let Err(error) = folders.iter().try_for_each(DiskPath::sync_dir) {
            // What could not even be opened was not synced, and can be when some are free again.
            self.unsynced_folders.lock().extend(folders);
            note_failure(failed, &error);
            return Err(error);
        }
        Ok(())
    }

    /// Bytes of records that no sync has begun with.
    pub(crate) fn unsynced_bytes(&self) -> u64 {
        let synced = self.synced_bytes.load(Ordering::Relaxed);
        self.record_bytes.load(Ordering::Relaxed).saturating_sub(synced)
    }

    /// Whether nothing was ever stored in it.
    pub(crate) fn is_blank(&self) -> Result<bool> {
        let is_unused = self.key_count() == 0
            && self.next_dedicated.load(Ordering::Acquire) as usize == self.shards.len();
        for shard in &self.shards {
            if !is_unused || shard.file().is_err() || !shard.file()?.is_empty()? {
                return Ok(false);
            }
        }
        Ok(is_unused)
    }

    /// Whether it has taken as much as it should.
    pub(crate) fn is_full(&self, config: &Config) -> bool {
        self.record_bytes.load(Ordering::Relaxed) >= config.segment_bytes_max
            || self.key_count() >= config.segment_keys_max
            || self.memtable.bytes() >= MEMTABLE_BYTES_MAX
    }

    /// How many names it mentions.
    pub(crate) fn key_count(&self) -> u64 {
        self.memtable.len() as u64
    }

    /// When a value was last stored in it, ns since the epoch; its opening when none was.
    pub(crate) fn last_written_ns(&self) -> u64 {
        self.last_written_ns.load(Ordering::Acquire).max(self.opened_at_ns)
    }
}

/// Notes what could not be synced. What could not even be opened says nothing about the drive.
fn note_failure(failed: &mut Option<NotSynced>, error: &Error) {
    if let Error::Io { path, root, .. } = error
        && !error.is_out_of_descriptors()
    {
        failed.get_or_insert_with(|| NotSynced { path: path.clone(), root: *root });
    }
}

/// The record in an earlier segment that a mention takes the place of or removes.
pub(crate) fn supersedes(mention: &Mention) -> Option<Location> {
    match mention {
        Mention::Put(entry) => entry.supersedes,
        Mention::Removed { supersedes } => *supersedes,
    }
}

/// Whether a mention shows a file or link, which count as keys; folders do not.
pub(crate) fn is_value(mention: &Mention) -> bool {
    matches!(mention, Mention::Put(entry) if entry.kind() != Kind::Folder)
}
