//! The way of a write.
//!
//! Within the gate of the active segment: the folders above the key are mentioned in this segment,
//! the key's stripe is locked, the key is seen to be free, the record goes to the shard that the
//! key's hash chooses, the mention to the key log, then into the memtable. Until the log has it
//! nothing refers to the record; from then on it survives a kill of the process.

use super::active::NameChange;
use super::draft::Draft;
use super::folders::Parents;
use super::{Table, key};
use crate::error::{Error, Result, printable};
use crate::format::attributes::{Attributes, Kind};
use crate::format::entry::Entry;
use crate::format::key_hash::KeyHash;
use crate::format::log_record::{BODY_BYTES_MAX, mention_bytes_max};

impl Table {
    /// Stores a value under a key that is free. Folders above it that are missing are made.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put_with(key, value, self.context.default_attributes(Kind::File)).map(drop)
    }

    /// Stores a value or, when the attributes say so, a symbolic link, whose value is its target.
    pub fn put_with(&self, key: &[u8], value: &[u8], attributes: Attributes) -> Result<Entry> {
        self.health.check_writable()?;
        key::check_file(key)?;
        if value.len() as u64 > self.context.engine.spill_bytes {
            let mut writer = self.writer()?;
            writer.write_at(0, value)?;
            return writer.store(key, attributes);
        }
        self.segments.ensure_room()?;
        let hash = self.identity.hash(key);
        let now_ns = self.context.clock.now_ns();
        let draft = Draft::empty(self.ids.take()?, attributes, now_ns).with_value(value);
        self.segments.with_active(|active| {
            self.mention_parents(active, key, now_ns, Parents::Make)?;
            let _stripe = self.locks.lock_file(hash);
            self.check_free(hash, key)?;
            let entry = draft.append(active, hash, key)?;
            active.mention(&NameChange::put(hash, key, entry))?;
            Ok(entry)
        })
    }

    /// Stores several values, all of them or none. Each may have as many bytes as stay out of files
    /// of their own, 4 MiB unless the database was opened otherwise; what is longer is for
    /// [`Table::put`]. The keys, and 100 bytes beside each, may have 64 MiB together: more than half a
    /// million short ones. A key that is given twice is [`Error::Exists`], too.
    pub fn put_batch(&self, pairs: &[(&[u8], &[u8])]) -> Result<()> {
        self.health.check_writable()?;
        self.check_batch(pairs)?;
        self.segments.ensure_room()?;
        let attributes = self.context.default_attributes(Kind::File);
        let now_ns = self.context.clock.now_ns();
        let hashes: Vec<KeyHash> = pairs.iter().map(|(key, _)| self.identity.hash(key)).collect();
        self.segments.with_active(|active| {
            for (key, _) in pairs {
                self.mention_parents(active, key, now_ns, Parents::Make)?;
            }
            let _stripes = self.locks.lock_all(pairs.iter().map(|(key, _)| *key));
            for (hash, (key, _)) in hashes.iter().zip(pairs) {
                self.check_free(*hash, key)?;
            }
            let mut changes = Vec::with_capacity(pairs.len());
            for (&hash, &(key, value)) in hashes.iter().zip(pairs) {
                let draft = Draft::empty(self.ids.take()?, attributes, now_ns).with_value(value);
                changes.push(NameChange::put(hash, key, draft.append(active, hash, key)?));
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
            if value.len() as u64 > self.context.engine.spill_bytes {
                return Err(Error::BatchValueTooLong {
                    key: printable(key),
                    bytes: value.len() as u64,
                    max: self.context.engine.spill_bytes,
                });
            }
            log_bytes += mention_bytes_max(key.len());
        }
        if log_bytes > BODY_BYTES_MAX {
            let (bytes, max) = (log_bytes as u64, BODY_BYTES_MAX as u64);
            return Err(Error::BatchTooLarge { keys: pairs.len(), bytes, max });
        }
        Ok(())
    }
}
