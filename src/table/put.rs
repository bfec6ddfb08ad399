//! The way of a write.
//!
//! Within the gate of the active segment: the folders above the key are mentioned in this segment,
//! the key's stripe is locked, the key is seen to be free, the record goes to the shard that the
//! key's hash chooses, the mention to the key log, then into the memtable. Until the log has it
//! nothing refers to the record; from then on it survives a kill of the process.
//!
//! A drive that has no room, or fails to write, closes the segment; the next one is placed on other
//! drives and the write is made again there, once.

use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;

use super::active::{ActiveSegment, Change, NewRecord};
use super::folders::Parents;
use super::health::Health;
use super::{STRIPES, Table, key};
use crate::error::{Error, Result, printable};
use crate::format::attributes::{Attributes, Kind};
use crate::format::entry::Entry;
use crate::format::key_hash::KeyHash;
use crate::format::location::ValueId;
use crate::format::log_record::{BODY_BYTES_MAX, mention_bytes_max};
use crate::format::record::{RecordHeader, checksum_value, key_capacity};

/// After so many bytes of records a flush begins at once, whatever the interval: drives write while
/// more comes, and whoever waits for a flush never waits for much.
const UNSYNCED_BYTES_MAX: u64 = 32 << 20;

/// A value about to be stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft<'a> {
    pub(super) id: ValueId,
    pub(super) attributes: Attributes,
    pub(super) written_at_ns: u64,
    pub(super) value_bytes: u64,
    pub(super) value_crc: u32,
    /// The bytes, unless they are in a dedicated shard.
    pub(super) inline: &'a [u8],
    /// The encoded block checksums, if the value has them.
    pub(super) checksums: &'a [u8],
    /// The dedicated shard of the active segment with the bytes, or 0.
    pub(super) dedicated: u32,
}

impl Draft<'_> {
    /// The header of the record under this key.
    pub(super) fn header(&self, key: &[u8]) -> RecordHeader {
        // Keys are checked to have at most 4095 bytes before they get here.
        let key_bytes = u16::try_from(key.len()).unwrap_or(u16::MAX);
        RecordHeader {
            key_bytes,
            key_capacity: u16::try_from(key_capacity(key.len())).unwrap_or(u16::MAX),
            value_bytes: self.value_bytes,
            written_at_ns: self.written_at_ns,
            id: self.id,
            attributes: self.attributes,
            value_crc: self.value_crc,
            dedicated: self.dedicated,
            dead: false,
        }
    }

    /// Writes the record under this key into the segment.
    pub(super) fn append(
        &self,
        active: &ActiveSegment,
        hash: KeyHash,
        key: &[u8],
    ) -> Result<Entry> {
        let header = self.header(key);
        let record = NewRecord { header, key, value: self.inline, checksums: self.checksums };
        active.append(hash, &record)
    }
}

impl Table {
    /// Stores a value under a key that is free. Folders above it that are missing are made.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put_with(key, value, self.default_attributes(Kind::File)).map(drop)
    }

    /// Stores a value or, when the attributes say so, a symbolic link, whose value is its target.
    pub fn put_with(&self, key: &[u8], value: &[u8], attributes: Attributes) -> Result<Entry> {
        self.health.check_writable()?;
        key::check_file(key)?;
        if value.len() as u64 > self.context.config.spill_bytes {
            let mut writer = self.new_writer(Parents::Make)?;
            writer.write_at(0, value)?;
            return writer.store(key, attributes);
        }
        self.ensure_room()?;
        let hash = self.identity.hash(key);
        let mut checksums = Vec::new();
        let value_crc = checksum_value(value, &mut checksums);
        let draft = Draft {
            id: self.new_value_id()?,
            attributes,
            written_at_ns: self.context.clock.now_ns(),
            value_bytes: value.len() as u64,
            value_crc,
            inline: value,
            checksums: &checksums,
            dedicated: 0,
        };
        self.with_active(|active| {
            self.mention_parents(active, key, draft.written_at_ns, Parents::Make)?;
            let _stripe = self.lock_file_stripe(hash);
            self.check_free(hash, key)?;
            let entry = draft.append(active, hash, key)?;
            active.mention(&Change::put(hash, key, entry))?;
            Ok(entry)
        })
    }

    /// Stores several values, all of them or none. Each must fit a packed shard, and together they
    /// must fit one log record (64 MiB of keys and entries).
    pub fn put_batch(&self, pairs: &[(&[u8], &[u8])]) -> Result<()> {
        self.health.check_writable()?;
        self.check_batch(pairs)?;
        self.ensure_room()?;
        let attributes = self.default_attributes(Kind::File);
        let now_ns = self.context.clock.now_ns();
        let hashes: Vec<KeyHash> = pairs.iter().map(|(key, _)| self.identity.hash(key)).collect();
        self.with_active(|active| {
            for (key, _) in pairs {
                self.mention_parents(active, key, now_ns, Parents::Make)?;
            }
            let keys: Vec<&[u8]> = pairs.iter().map(|(key, _)| *key).collect();
            let _stripes = self.lock_stripes(&keys);
            for (hash, (key, _)) in hashes.iter().zip(pairs) {
                self.check_free(*hash, key)?;
            }
            let mut changes = Vec::with_capacity(pairs.len());
            let mut checksums = Vec::new();
            for (&hash, &(key, value)) in hashes.iter().zip(pairs) {
                let value_crc = checksum_value(value, &mut checksums);
                let draft = Draft {
                    id: self.new_value_id()?,
                    attributes,
                    written_at_ns: now_ns,
                    value_bytes: value.len() as u64,
                    value_crc,
                    inline: value,
                    checksums: &checksums,
                    dedicated: 0,
                };
                changes.push(Change::put(hash, key, draft.append(active, hash, key)?));
            }
            active.mention_all(&changes)
        })
    }

    fn check_batch(&self, pairs: &[(&[u8], &[u8])]) -> Result<()> {
        let mut keys = std::collections::HashSet::with_capacity(pairs.len());
        let mut log_bytes = 0;
        for (key, value) in pairs {
            key::check_file(key)?;
            if !keys.insert(*key) {
                return Err(Error::Exists { key: printable(key) });
            }
            if value.len() as u64 > self.context.config.spill_bytes {
                return Err(Error::ValueTooLong { max: self.context.config.spill_bytes });
            }
            log_bytes += mention_bytes_max(key.len());
        }
        if log_bytes > BODY_BYTES_MAX {
            let allowed = "a batch may have 64 MiB of keys and entries; split it";
            let value = format!("{} keys", pairs.len());
            return Err(Error::InvalidSetting { setting: "batch", value, allowed });
        }
        Ok(())
    }

    /// Runs a write against the active segment, opening one when there is none.
    pub(super) fn with_active<T>(
        &self,
        mut write: impl FnMut(&ActiveSegment) -> Result<T>,
    ) -> Result<T> {
        let mut tried_again = false;
        loop {
            let view = self.view.load();
            let Some(active) = &view.active else {
                self.open_segment()?;
                continue;
            };
            let gate = active.gate.read();
            if *gate {
                drop(gate);
                // Whoever closed it holds the lock until the view has a new state.
                drop(self.change.lock());
                continue;
            }
            self.health.check_open()?;
            let result = write(active);
            drop(gate);
            self.signals.note_write();
            if active.unsynced_bytes() >= UNSYNCED_BYTES_MAX {
                self.signals.hurry_flush();
            }
            match result {
                Err(error) if !tried_again && Health::is_drive_failure(&error) => {
                    tried_again = true;
                    log::warn!("table {}: {error}; writing elsewhere", self.identity.name);
                    self.health.blame_drive(&error);
                    self.discard_spare();
                    self.rotate(active);
                }
                result => {
                    self.ask_for_spare(active);
                    if self.is_full(active) {
                        self.rotate(active);
                    }
                    return result;
                }
            }
        }
    }

    /// Refuses a key that stands for something live, as a file or as a folder.
    pub(super) fn check_free(&self, hash: KeyHash, key: &[u8]) -> Result<()> {
        if self.find_live(hash, key)?.is_some() {
            return Err(Error::Exists { key: printable(key) });
        }
        self.check_no_folder(key)
    }

    /// Refuses a key whose name is that of a folder.
    pub(super) fn check_no_folder(&self, key: &[u8]) -> Result<()> {
        if self.has_folders.load(Ordering::Acquire) {
            let folder = key::folder_key(key);
            if self.find_live(self.identity.hash(&folder), &folder)?.is_some() {
                return Err(Error::IsFolder { key: printable(key) });
            }
        }
        Ok(())
    }

    /// Attributes of what the embedding program stores.
    pub(super) fn default_attributes(&self, kind: Kind) -> Attributes {
        let permissions = if kind == Kind::Folder { 0o755 } else { 0o644 };
        let (uid, gid) = self.context.owner;
        Attributes::new(kind, permissions, uid, gid, self.context.clock.now_ns())
    }

    /// Locks the name of a key, as a file and as a folder.
    pub(super) fn lock_stripe(&self, key: &[u8]) -> MutexGuard<'_, ()> {
        self.stripes[self.stripe(key)].lock()
    }

    /// The same for the key of a file, whose hash is that of its name.
    pub(super) fn lock_file_stripe(&self, hash: KeyHash) -> MutexGuard<'_, ()> {
        self.stripes[hash.part_of(STRIPES)].lock()
    }

    /// Locks the names of several keys.
    pub(super) fn lock_stripes(&self, keys: &[&[u8]]) -> Vec<MutexGuard<'_, ()>> {
        let mut indices: Vec<usize> = keys.iter().map(|key| self.stripe(key)).collect();
        indices.sort_unstable();
        indices.dedup();
        indices.into_iter().map(|index| self.stripes[index].lock()).collect()
    }

    fn stripe(&self, key: &[u8]) -> usize {
        self.identity.hash(key::name_key(key)).part_of(STRIPES)
    }
}
