//! Reading values.

use std::sync::Arc;

use super::Table;
use super::find::KeyHit;
use crate::disk::DiskFile;
use crate::error::{Error, Result};
use crate::format::entry::Entry;
use crate::segment::value::{RecordBytes, ValueBytes};

/// A stored value, open for reading. It goes on reading after the value has expired or its name
/// was removed. Every byte it returns was verified against its checksum.
#[derive(Debug)]
pub struct ValueReader(ValueBytes);

impl ValueReader {
    /// Length of the value in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.header().value_bytes
    }

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` from `offset`; returns how many bytes that were, fewer only at the end.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.0.read_at(offset, buffer)
    }
}

impl Table {
    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.health.check_open()?;
        super::key::check_file(key)?;
        let Some(found) = self.find_live(self.identity.hash(key), key)? else {
            return Ok(None);
        };
        let (entry, record, file) = self.with_record(found)?;
        if entry.dedicated == 0 {
            return record.into_value(&file, entry.location.offset).map(Some);
        }
        let reader = self.reader(&entry, &record, file)?;
        reader.0.check_file_length()?;
        let mut value = vec![0; whole(entry.value_bytes)?];
        reader.read_at(0, &mut value)?;
        Ok(Some(value))
    }

    /// Up to `length` bytes of the value of a key from `offset`; fewer at its end.
    pub fn get_range(&self, key: &[u8], offset: u64, length: usize) -> Result<Option<Vec<u8>>> {
        self.health.check_open()?;
        super::key::check_file(key)?;
        let Some(found) = self.find_live(self.identity.hash(key), key)? else {
            return Ok(None);
        };
        let (entry, record, file) = self.with_record(found)?;
        let left = entry.value_bytes.saturating_sub(offset);
        let reader = self.reader(&entry, &record, file)?;
        let mut range = vec![0; length.min(usize::try_from(left).unwrap_or(usize::MAX))];
        reader.read_at(offset, &mut range)?;
        Ok(Some(range))
    }

    /// Opens a stored value for reading.
    pub fn open_value(&self, entry: &Entry) -> Result<ValueReader> {
        self.health.check_open()?;
        let (record, file) = self.segments.record_of(entry)?;
        self.reader(entry, &record, file)
    }

    fn with_record(&self, hit: KeyHit) -> Result<(Entry, RecordBytes, Arc<DiskFile>)> {
        match hit {
            KeyHit::Record(entry, record, file) => Ok((entry, record, file)),
            KeyHit::Entry(entry) => {
                let (record, file) = self.segments.record_of(&entry)?;
                Ok((entry, record, file))
            }
        }
    }

    fn reader(
        &self,
        entry: &Entry,
        record: &RecordBytes,
        file: Arc<DiskFile>,
    ) -> Result<ValueReader> {
        let header = record.header;
        let data = if header.dedicated == 0 {
            Arc::clone(&file)
        } else {
            self.segments.shard_file(entry.location.segment, header.dedicated)?
        };
        Ok(ValueReader(ValueBytes::new(header, file, entry.location.offset, data)))
    }
}

/// A length that fits the address space.
fn whole(bytes: u64) -> Result<usize> {
    usize::try_from(bytes).map_err(|_| Error::ValueTooLong { max: usize::MAX as u64 })
}
