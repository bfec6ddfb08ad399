//! Finding the newest mention of a key.
//!
//! Memtables first, then sealed segments that are not in the keymap yet, then the keymap: one page
//! of it, and one read of the record it points to. A page of the keymap that is damaged hides
//! nothing: the runs are searched instead, until the keymap has been made anew.

use std::sync::Arc;

use super::Table;
use super::sealed::SealedSegment;
use super::view::View;
use crate::disk::DiskFile;
use crate::error::{Error, Result, printable};
use crate::format::entry::{Entry, Mention};
use crate::format::key_hash::KeyHash;
use crate::format::location::Location;
use crate::format::sort_key::sort_key;
use crate::keymap::{Keymap, Lookup};
use crate::layout::segment_files::values_name;
use crate::segment::descriptors::FileKey;
use crate::segment::value::RecordBytes;

/// Records up to this length are read whole with their header; of longer ones only the start.
const WHOLE_RECORD_BYTES_MAX: usize = 64 * 1024 + 4096;
/// What is read of a longer record to see its header and key.
const RECORD_START_BYTES: usize = 512;

/// What was found of a key.
#[derive(Debug)]
pub(super) enum Found {
    /// In a memtable or a run: the record itself was not read.
    Entry(Entry),
    /// Through the keymap: the record was read on the way.
    Record(Entry, RecordBytes, Arc<DiskFile>),
}

impl Found {
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
        super::key::check(key)?;
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
    pub(super) fn find_live(&self, hash: KeyHash, key: &[u8]) -> Result<Option<Found>> {
        let found = self.find(hash, key)?;
        Ok(found.filter(|found| !self.is_expired(found.entry())))
    }

    /// The newest mention of the key unless it is a removal. It may have expired.
    fn find(&self, hash: KeyHash, key: &[u8]) -> Result<Option<Found>> {
        let mut view = self.view.load();
        loop {
            let found = self.find_in_view(&view, hash, key)?;
            // The keymap may have been emptied meanwhile, to be made anew. Before that the view was
            // told to search the runs instead.
            let now = self.view.load();
            if found.is_some() || now.unindexed.len() <= view.unindexed.len() {
                return Ok(found);
            }
            view = now;
        }
    }

    fn find_in_view(&self, view: &View, hash: KeyHash, key: &[u8]) -> Result<Option<Found>> {
        for segment in view.unsealed() {
            match segment.memtable.get(hash, key) {
                Some(Mention::Put(entry)) => return Ok(Some(Found::Entry(entry))),
                Some(Mention::Removed { .. }) => return Ok(None),
                None => {}
            }
        }
        if !view.unindexed.is_empty()
            && let Some(mention) = self.find_in_runs(view.unindexed.iter(), key)?
        {
            return Ok(found_entry(mention));
        }
        match &self.keymap {
            Some(keymap) if !view.sealed.is_empty() => self.find_in_keymap(keymap, view, hash, key),
            _ => Ok(None),
        }
    }

    fn find_in_keymap(
        &self,
        keymap: &Keymap,
        view: &View,
        hash: KeyHash,
        key: &[u8],
    ) -> Result<Option<Found>> {
        match keymap.lookup(hash, self.lowest_live()) {
            Lookup::Damaged => {
                self.note_damaged_keymap();
                let mention = self.find_in_runs(view.sealed.values().rev(), key)?;
                Ok(mention.and_then(found_entry))
            }
            Lookup::Found(candidates) => {
                for candidate in candidates.iter() {
                    let hint = record_hint(candidate.record_bytes_max as usize);
                    let Some((record, file)) = self.read_record(candidate.location, hint)? else {
                        continue;
                    };
                    if record.key() == key && !record.header.dead {
                        let entry = entry_of(&record, candidate.location, &file)?;
                        return Ok(Some(Found::Record(entry, record, file)));
                    }
                    // Two keys may have one fingerprint; but a record that the keymap never meant
                    // must not make the key look absent.
                    if self.identity.hash(record.key()).fingerprint() != hash.fingerprint() {
                        let found = printable(record.key());
                        let reason = format!("the record is that of {found:?}");
                        return Err(Error::corrupt(file.path(), candidate.location.offset, reason));
                    }
                }
                Ok(None)
            }
        }
    }

    fn find_in_runs<'a>(
        &self,
        newest_first: impl Iterator<Item = &'a Arc<SealedSegment>>,
        key: &[u8],
    ) -> Result<Option<Mention>> {
        let sort_key = sort_key(key);
        for segment in newest_first {
            if let Some(mention) = segment.run(&self.run_files)?.get(&sort_key)? {
                return Ok(Some(mention));
            }
        }
        Ok(None)
    }

    /// Reads the record at a location; `None` when its segment has been dropped meanwhile.
    fn read_record(
        &self,
        location: Location,
        hint_bytes: usize,
    ) -> Result<Option<(RecordBytes, Arc<DiskFile>)>> {
        let file = match self.shard_file(location.segment, u32::from(location.shard)) {
            Err(Error::MissingFile { .. }) if location.segment < self.lowest_live() => {
                return Ok(None);
            }
            other => other?,
        };
        let record = RecordBytes::read(&file, location.offset, hint_bytes)?;
        Ok(Some((record, file)))
    }

    /// The record of an entry, read whole when it is short.
    pub(super) fn record_of(&self, entry: &Entry) -> Result<(RecordBytes, Arc<DiskFile>)> {
        let hint = record_hint(entry.record_bytes as usize);
        let read = match self.read_record(entry.location, hint) {
            Err(damage @ Error::Corrupt { .. }) => {
                self.read_unsettled(entry).map(Some).ok_or(damage)?
            }
            other => other?,
        };
        match read {
            Some((record, file)) => match difference(&record, entry) {
                None => Ok((record, file)),
                Some(reason) => Err(Error::corrupt(file.path(), entry.location.offset, reason)),
            },
            None => Err(Error::NotFound { key: format!("value {}", entry.id) }),
        }
    }

    /// The record of an entry in a segment that is not sealed yet, although its header is damaged: a
    /// power cut while headers were being rewritten leaves such. Sealing writes it anew.
    fn read_unsettled(&self, entry: &Entry) -> Option<(RecordBytes, Arc<DiskFile>)> {
        let view = self.view.load();
        let segment = view.unsealed().find(|segment| segment.number == entry.location.segment)?;
        let shard = segment.shards.get(usize::from(entry.location.shard))?;
        let file = Arc::clone(shard.file().ok()?);
        let record = RecordBytes::read_half_rewritten(&file, entry).ok()?;
        segment.have_rewritten(entry.location);
        Some((record, file))
    }

    /// The open file of a shard, packed or dedicated.
    pub(super) fn shard_file(
        &self,
        segment: crate::format::location::SegmentNumber,
        shard: u32,
    ) -> Result<Arc<DiskFile>> {
        let view = self.view.load();
        if let Some(unsealed) = view.unsealed().find(|unsealed| unsealed.number == segment)
            && let Some(packed) = usize::try_from(shard).ok().and_then(|i| unsealed.shards.get(i))
        {
            return packed.file().map(Arc::clone);
        }
        let key = FileKey { table: self.identity.number, segment, file: shard };
        self.context.descriptors.get(key, || self.dirs.open(&values_name(segment, shard)))
    }
}

/// What keeps a record from being that of an entry.
pub(super) fn difference(record: &RecordBytes, entry: &Entry) -> Option<String> {
    let header = &record.header;
    if header.id != entry.id {
        return Some(format!("value {} expected, {} found", entry.id, header.id));
    }
    let is_same = header.value_bytes == entry.value_bytes && header.dedicated == entry.dedicated;
    (!is_same).then(|| "length or place of the value differ from its entry".to_owned())
}

fn found_entry(mention: Mention) -> Option<Found> {
    match mention {
        Mention::Put(entry) => Some(Found::Entry(entry)),
        Mention::Removed { .. } => None,
    }
}

fn record_hint(record_bytes: usize) -> usize {
    if record_bytes <= WHOLE_RECORD_BYTES_MAX { record_bytes } else { RECORD_START_BYTES }
}

fn entry_of(record: &RecordBytes, location: Location, file: &DiskFile) -> Result<Entry> {
    record
        .header
        .entry(location)
        .map_err(|malformed| malformed.in_file(file.path(), location.offset))
}
