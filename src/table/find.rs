//! Finding the newest mention of a key.
//!
//! Memtables first, then sealed segments that are not in the keymap yet, then the keymap: one page
//! of it, and one read of the record it points to. A page of the keymap that is damaged hides
//! nothing: the runs are searched instead, until the keymap has been made anew.

use std::sync::Arc;

use super::view::View;
use super::{Table, key};
use crate::disk::DiskFile;
use crate::error::{Error, Result, printable};
use crate::format::entry::{Entry, Mention};
use crate::format::key_hash::KeyHash;
use crate::format::location::Location;
use crate::keymap::{Candidate, Candidates, Lookup};
use crate::segment::value::RecordBytes;

/// What was found of a key.
#[derive(Debug)]
pub(super) enum KeyHit {
    /// In a memtable or a run: the record itself was not read.
    Entry(Entry),
    /// Through the keymap: the record was read on the way.
    Record(Entry, RecordBytes, Arc<DiskFile>),
}

impl KeyHit {
    pub(super) fn entry(&self) -> &Entry {
        match self {
            Self::Entry(entry) | Self::Record(entry, ..) => entry,
        }
    }
}

impl Table {
    /// The live entry of a key. `a` finds a file or link, `a/` a folder.
    pub fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.health.check_open()?;
        key::check(key)?;
        self.find_live_entry(self.identity.hash(key), key)
    }

    /// Whether there is a live value or folder of this key.
    pub fn exists(&self, key: &[u8]) -> Result<bool> {
        Ok(self.entry(key)?.is_some())
    }

    pub(super) fn find_live_entry(&self, hash: KeyHash, key: &[u8]) -> Result<Option<Entry>> {
        Ok(self.find_live(hash, key)?.map(|found| *found.entry()))
    }

    /// The newest mention of the key, if it is a live one.
    pub(super) fn find_live(&self, hash: KeyHash, key: &[u8]) -> Result<Option<KeyHit>> {
        let found = self.find(hash, key)?;
        Ok(found.filter(|found| !self.is_expired(found.entry())))
    }

    /// The newest mention of the key unless it is a removal. It may have expired.
    fn find(&self, hash: KeyHash, key: &[u8]) -> Result<Option<KeyHit>> {
        let mut view = self.segments.view();
        loop {
            let found = self.find_in_view(&view, hash, key)?;
            // The keymap may have been emptied meanwhile, to be made anew. Before that the view was
            // told to search the runs instead.
            let now = self.segments.view();
            if found.is_some() || now.unindexed.len() <= view.unindexed.len() {
                return Ok(found);
            }
            view = now;
        }
    }

    fn find_in_view(&self, view: &View, hash: KeyHash, key: &[u8]) -> Result<Option<KeyHit>> {
        for segment in view.unsealed() {
            match segment.memtable().get(hash, key) {
                Some(Mention::Put(entry)) => return Ok(Some(KeyHit::Entry(entry))),
                Some(Mention::Removed { .. }) => return Ok(None),
                None => {}
            }
        }
        if !view.unindexed.is_empty()
            && let Some(mention) = self.index.find_in_runs(view.unindexed.iter(), key)?
        {
            return Ok(found_entry(mention));
        }
        if view.sealed.is_empty() {
            return Ok(None);
        }
        match self.index.lookup(hash, self.segments.lowest_live()) {
            None => Ok(None),
            Some(Lookup::Damaged) => {
                let mention = self.index.find_in_runs(view.sealed.values().rev(), key)?;
                Ok(mention.and_then(found_entry))
            }
            Some(Lookup::Found(candidates)) => self.find_among(&candidates, hash, key),
        }
    }

    /// The record of the key, where the keymap says that it may be.
    fn find_among(
        &self,
        candidates: &Candidates,
        hash: KeyHash,
        key: &[u8],
    ) -> Result<Option<KeyHit>> {
        for candidate in candidates.iter() {
            let Candidate { location, record_bytes_max } = candidate;
            let Some((record, file)) = self.segments.read_record(location, record_bytes_max)?
            else {
                continue;
            };
            if record.key() == key && !record.header.dead {
                let entry = entry_of(&record, location, &file)?;
                return Ok(Some(KeyHit::Record(entry, record, file)));
            }
            // Two keys may have one fingerprint; but a record that the keymap never meant must not
            // make the key look absent.
            if self.identity.hash(record.key()).fingerprint() != hash.fingerprint() {
                let found = printable(record.key());
                let reason = format!("the record is that of {found:?}");
                return Err(Error::corrupt(file.path(), location.offset, reason));
            }
        }
        Ok(None)
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
        if self.locks.may_have_folders() {
            let folder = key::folder_key(key);
            if self.find_live(self.identity.hash(&folder), &folder)?.is_some() {
                return Err(Error::IsFolder { key: printable(key) });
            }
        }
        Ok(())
    }

    /// Refuses a folder whose name is that of a file.
    pub(super) fn check_no_file(&self, folder: &[u8]) -> Result<()> {
        let file = key::name_key(folder);
        if self.find_live(self.identity.hash(file), file)?.is_some() {
            return Err(Error::NotFolder { key: printable(file) });
        }
        Ok(())
    }
}

fn found_entry(mention: Mention) -> Option<KeyHit> {
    match mention {
        Mention::Put(entry) => Some(KeyHit::Entry(entry)),
        Mention::Removed { .. } => None,
    }
}

fn entry_of(record: &RecordBytes, location: Location, file: &DiskFile) -> Result<Entry> {
    record
        .header
        .entry(location)
        .map_err(|malformed| malformed.in_file(file.path(), location.offset))
}
