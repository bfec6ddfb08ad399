//! Reading values.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use super::Table;
use super::find::KeyHit;
use crate::cast::to_usize;
use crate::disk::DiskFile;
use crate::error::{Error, Result};
use crate::format::entry::Entry;
use crate::segment::value::{RecordBytes, ValueBytes};

/// A stored value, open for reading. It goes on reading after the value has expired or its name
/// was removed. Every byte it returns was verified against its checksum.
///
/// It reads at any offset, from any number of threads, by [`ValueReader::read_at`]; and from front
/// to end as [`Read`], which [`Seek`] moves. A failure in there is an [`io::Error`] with the
/// [`Error`] inside.
///
/// ```
/// # let scratch = tempfile::tempdir()?;
/// # let options = littfs::OpenOptions::new([scratch.path()]).create(true);
/// # let db = littfs::Db::open(options)?;
/// use std::io::{Read, Seek, SeekFrom};
///
/// let table = db.create_table("frames", littfs::TableSettings::default())?;
/// table.put(b"cam1/0001.jpg", b"header, pixels")?;
/// let mut value = table.reader(b"cam1/0001.jpg")?.expect("it was just stored");
/// value.seek(SeekFrom::Start(8))?;
/// let mut rest = String::new();
/// value.read_to_string(&mut rest)?;
/// assert_eq!(rest, "pixels");
/// assert!(table.reader(b"cam1/0002.jpg")?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ValueReader {
    value: ValueBytes,
    /// Where [`Read`] goes on.
    position: u64,
}

impl ValueReader {
    /// Length of the value in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.value.header().value_bytes
    }

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` from `offset`; returns how many bytes that were, fewer only at the end.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.value.read_at(offset, buffer)
    }
}

impl Read for ValueReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.read_at(self.position, buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for ValueReader {
    /// As with files, behind the end is a place too: there is nothing to read there.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.len().checked_add_signed(by),
        };
        self.position = target.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "there is nothing in front of a value")
        })?;
        Ok(self.position)
    }
}

impl Table {
    /// The value of a key, as a whole; see [`Table::reader`] for a large one.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.health.check_open()?;
        super::key::check_file(key)?;
        let Some(found) = self.find_live(self.identity.hash(key), key)? else {
            return Ok(None);
        };
        let (entry, record, file) = self.with_record(found)?;
        self.whole_value(&entry, record, file).map(Some)
    }

    /// The value of an entry.
    pub(super) fn value_of(&self, entry: &Entry) -> Result<Vec<u8>> {
        self.health.check_open()?;
        let (record, file) = self.segments.record_of(entry)?;
        self.whole_value(entry, record, file)
    }

    fn whole_value(
        &self,
        entry: &Entry,
        record: RecordBytes,
        file: Arc<DiskFile>,
    ) -> Result<Vec<u8>> {
        if entry.dedicated == 0 {
            return record.into_value(&file, entry.location.offset);
        }
        let reader = self.reader_of(entry, &record, file)?;
        reader.value.check_file_length()?;
        let mut value = vec![0; whole(entry.value_bytes)?];
        reader.read_at(0, &mut value)?;
        Ok(value)
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
        let reader = self.reader_of(&entry, &record, file)?;
        let mut range = vec![0; length.min(to_usize(left))];
        reader.read_at(offset, &mut range)?;
        Ok(Some(range))
    }

    /// Opens the value of a key for reading.
    pub fn reader(&self, key: &[u8]) -> Result<Option<ValueReader>> {
        self.health.check_open()?;
        super::key::check_file(key)?;
        let Some(found) = self.find_live(self.identity.hash(key), key)? else {
            return Ok(None);
        };
        let (entry, record, file) = self.with_record(found)?;
        self.reader_of(&entry, &record, file).map(Some)
    }

    /// Opens the value of an entry for reading, such as one that an iterator gave.
    pub fn open_value(&self, entry: &Entry) -> Result<ValueReader> {
        self.health.check_open()?;
        let (record, file) = self.segments.record_of(entry)?;
        self.reader_of(entry, &record, file)
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

    fn reader_of(
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
        let value = ValueBytes::new(header, file, entry.location.offset, data);
        Ok(ValueReader { value, position: 0 })
    }
}

/// A length that fits the address space.
fn whole(bytes: u64) -> Result<usize> {
    usize::try_from(bytes).map_err(|_| Error::ValueTooLong { max: usize::MAX as u64 })
}
