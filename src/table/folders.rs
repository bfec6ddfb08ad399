//! Folders: making them, and keeping them mentioned as long as something lives below them.
//!
//! A folder is a key that ends in `/`. Every segment that holds something below a folder mentions
//! the folder too, so that it lives as long as its newest entry and "is there such a folder" is
//! one lookup. The first write below a folder in a segment repeats the folder's entry there; every
//! further one only finds it and moves its modification time.

use super::active::{ActiveSegment, NameChange};
use super::draft::Draft;
use super::scan::Scan;
use super::{Table, key};
use crate::cast::saturate_signed_ns;
use crate::error::{Error, Result, printable};
use crate::format::attributes::{Attributes, Kind};
use crate::format::entry::{Entry, Mention};
use crate::format::key_hash::KeyHash;
use crate::format::location::ValueId;

/// What to do about folders that are missing above a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parents {
    /// Make them.
    Make,
    /// Refuse, as file systems do.
    Require,
}

impl Table {
    /// Makes a folder in a folder that exists. Its key ends in `/`.
    pub fn create_folder(&self, folder: &[u8], attributes: Attributes) -> Result<Entry> {
        self.health.check_writable()?;
        key::check_folder(folder)?;
        self.segments.ensure_room()?;
        let now_ns = self.context.clock.now_ns();
        let id = self.ids.take()?;
        self.segments.with_active(|active| {
            self.mention_parents(active, folder, now_ns, Parents::Require)?;
            let _stripe = self.locks.lock(folder);
            self.check_no_file(folder)?;
            if self.find_live(self.identity.hash(folder), folder)?.is_some() {
                return Err(Error::Exists { key: printable(folder) });
            }
            self.put_folder(active, folder, id, attributes, None)
        })
    }

    /// Removes an empty folder.
    pub fn remove_folder(&self, folder: &[u8]) -> Result<()> {
        self.health.check_writable()?;
        key::check_folder(folder)?;
        self.segments.with_active_alone(|active| {
            let hash = self.identity.hash(folder);
            let Some(entry) = self.find_live_entry(hash, folder)? else {
                return Err(Error::NotFound { key: printable(folder) });
            };
            if !self.folder_is_empty(folder)? {
                return Err(Error::FolderNotEmpty { key: printable(folder) });
            }
            active.mention(&NameChange::remove(hash, folder, &entry, active.number()))
        })?;
        self.touch_parent(folder);
        Ok(())
    }

    /// Whether nothing live is in the folder; the empty key is the table itself.
    pub fn folder_is_empty(&self, folder: &[u8]) -> Result<bool> {
        match self.list_folder(folder)?.next() {
            None => Ok(true),
            Some(entry) => entry.map(|_| false),
        }
    }

    /// Makes the folders anew that live names stand in and that are not there, which only damage
    /// leaves; how many.
    pub(crate) fn restore_folders(&self) -> Result<u64> {
        // In this order a folder stands directly in front of what is below it.
        let mut last_folder: Vec<u8> = Vec::new();
        let mut homeless: Vec<Vec<u8>> = Vec::new();
        for listed in self.scan(Scan::new())? {
            let (key, _) = listed?;
            let Some(parent) = key::parent(&key) else {
                last_folder = key;
                continue;
            };
            let is_known = last_folder.starts_with(parent)
                || homeless.last().is_some_and(|folder| folder.starts_with(parent))
                || self.find_live_entry(self.identity.hash(parent), parent)?.is_some();
            if !is_known {
                homeless.push(parent.to_vec());
            }
            if key.ends_with(b"/") {
                last_folder = key;
            } else {
                last_folder = parent.to_vec();
            }
        }
        let now_ns = self.context.clock.now_ns();
        for folder in &homeless {
            self.segments.with_active(|active| {
                self.mention_parents(active, &[folder, &b"x"[..]].concat(), now_ns, Parents::Make)
            })?;
        }
        Ok(homeless.len() as u64)
    }

    /// Sees to it that the folders above a key are mentioned in the active segment.
    pub(super) fn mention_parents(
        &self,
        active: &ActiveSegment,
        key: &[u8],
        now_ns: u64,
        parents: Parents,
    ) -> Result<()> {
        let now = saturate_signed_ns(now_ns);
        let Some(parent) = key::parent(key) else {
            self.lifetime.touch(now);
            return Ok(());
        };
        if active.memtable().touch_folder(self.identity.hash(parent), parent, now) {
            return Ok(());
        }
        let _one_at_a_time = self.locks.lock_folders();
        for folder in key::ancestors(parent) {
            let is_parent = folder.len() == parent.len();
            let hash = self.identity.hash(folder);
            let _stripe = self.locks.lock(folder);
            if is_mentioned(active, hash, folder) {
                continue;
            }
            match self.find_live_entry(hash, folder)? {
                Some(mut entry) => {
                    if is_parent {
                        entry.attributes.mtime_ns = entry.attributes.mtime_ns.max(now);
                        entry.attributes.ctime_ns = entry.attributes.ctime_ns.max(now);
                    }
                    self.put_folder(active, folder, entry.id, entry.attributes, Some(&entry))?;
                }
                None if parents == Parents::Require => {
                    return Err(Error::NotFound { key: printable(folder) });
                }
                None => {
                    self.check_no_file(folder)?;
                    let attributes = self.context.default_attributes(Kind::Folder);
                    self.put_folder(active, folder, self.ids.take()?, attributes, None)?;
                }
            }
        }
        Ok(())
    }

    /// Writes a mention of a folder into the active segment.
    pub(super) fn put_folder(
        &self,
        active: &ActiveSegment,
        folder: &[u8],
        id: ValueId,
        attributes: Attributes,
        earlier: Option<&Entry>,
    ) -> Result<Entry> {
        let hash = self.identity.hash(folder);
        let draft = Draft::empty(id, attributes, self.context.clock.now_ns());
        self.locks.note_folder();
        let mut entry = draft.append(active, hash, folder)?;
        entry.supersedes = earlier.and_then(|earlier| earlier.supersedes_in(active.number()));
        active.mention(&NameChange::put(hash, folder, entry))?;
        Ok(entry)
    }

    /// Moves the modification time of the folder a key is in, after an entry went away.
    pub(super) fn touch_parent(&self, key: &[u8]) {
        if let Some(active) = &self.segments.view().active {
            self.touch_parent_in(active, key, self.context.clock.now_ns());
        }
    }

    /// Moves the modification time of the folder a key is in, which this segment mentions.
    pub(super) fn touch_parent_in(&self, active: &ActiveSegment, key: &[u8], now_ns: u64) {
        let now = saturate_signed_ns(now_ns);
        match key::parent(key) {
            Some(parent) => {
                active.memtable().touch_folder(self.identity.hash(parent), parent, now);
            }
            None => self.lifetime.touch(now),
        }
    }

    /// Ends all use of the table if nothing live is in it; tells whether.
    pub(crate) fn abandon_if_empty(&self) -> Result<bool> {
        if self.segments.end_if_none(|| self.abandon()) {
            return Ok(true);
        }
        self.segments.with_active_alone(|_| {
            let is_empty = self.folder_is_empty(b"")?;
            if is_empty {
                self.abandon();
            }
            Ok(is_empty)
        })
    }
}

/// Whether the active segment itself says that the key stands for something.
pub(super) fn is_mentioned(active: &ActiveSegment, hash: KeyHash, key: &[u8]) -> bool {
    matches!(active.memtable().get(hash, key), Some(Mention::Put(_)))
}
