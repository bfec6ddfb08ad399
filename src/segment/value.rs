//! Reading records and values back, every byte verified.
//!
//! A short value is read with its header in one call. A range of a long value costs one read of
//! the blocks it touches, verified against their block checksums; blocks that this reader has
//! verified before are not read around again. A header that fails its checksum is read a second
//! time before it counts as damaged, since headers are rewritten in place while a segment is being
//! sealed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::cast;
use crate::disk::DiskFile;
use crate::error::{Error, Result};
use crate::format::crc32c;
use crate::format::entry::Entry;
use crate::format::record::{self, BLOCK_BYTES, BLOCK_SIZE, HEADER_BYTES, RecordHeader};

/// Block checksums held at a time by a reader: those of 64 MiB.
const CHECKSUM_WINDOW: u64 = 1024;
/// Values up to this length have their verified blocks remembered by a reader (128 KiB of bits).
const REMEMBERED_BYTES_MAX: u64 = 64 << 30;

/// A record's header, and the bytes that were read with it.
#[derive(Debug)]
pub(crate) struct RecordBytes {
    pub(crate) header: RecordHeader,
    /// From the start of the record, at least to the end of the key.
    bytes: Vec<u8>,
}

impl RecordBytes {
    /// What keeps the record from being that of an entry; `None` when it is.
    pub(crate) fn difference_from(&self, entry: &Entry) -> Option<String> {
        let header = &self.header;
        if header.id != entry.id {
            return Some(format!("value {} expected, {} found", entry.id, header.id));
        }
        let is_same =
            header.value_bytes == entry.value_bytes && header.dedicated == entry.dedicated;
        (!is_same).then(|| "length or place of the value differ from its entry".to_owned())
    }

    /// Reads the record at `offset`: `hint_bytes` of it at once, more when header and key need it.
    pub(crate) fn read(file: &DiskFile, offset: u64, hint_bytes: usize) -> Result<Self> {
        match Self::read_once(file, offset, hint_bytes) {
            Err(Error::Corrupt { .. }) => Self::read_once(file, offset, hint_bytes),
            other => other,
        }
    }

    fn read_once(file: &DiskFile, offset: u64, hint_bytes: usize) -> Result<Self> {
        let mut bytes = vec![0; hint_bytes.max(HEADER_BYTES)];
        let filled = file.read_at(&mut bytes, offset)?;
        bytes.truncate(filled);
        if let Some(wanted) = record::peek_bytes(&bytes)
            && wanted > bytes.len()
        {
            bytes.resize(wanted, 0);
            let filled = file.read_at(&mut bytes, offset)?;
            bytes.truncate(filled);
        }
        let header = match RecordHeader::decode(&bytes) {
            Ok((header, _)) => header,
            Err(malformed) => return Err(malformed.in_file(file.path(), offset)),
        };
        Ok(Self { header, bytes })
    }

    /// Reads the record of an entry whose header a crash has left half rewritten: what the entry does
    /// not tell is the same in both halves. The value still has its checksum; the key is left out.
    pub(crate) fn read_half_rewritten(file: &DiskFile, entry: &Entry) -> Result<Self> {
        let offset = entry.location.offset;
        let mut bytes = vec![0; HEADER_BYTES];
        file.read_exact_at(&mut bytes, offset)?;
        let header = RecordHeader::rebuilt(&bytes, &[], entry)
            .map_err(|malformed| malformed.in_file(file.path(), offset))?;
        bytes.resize(cast::to_usize(header.body_offset()), 0);
        Ok(Self { header, bytes })
    }

    /// The record's key.
    pub(crate) fn key(&self) -> &[u8] {
        let end = HEADER_BYTES + usize::from(self.header.key_bytes);
        self.bytes.get(HEADER_BYTES..end).unwrap_or_default()
    }

    /// The whole value, verified; what was not read with the header is read now.
    pub(crate) fn into_value(mut self, file: &Arc<DiskFile>, offset: u64) -> Result<Vec<u8>> {
        debug_assert_eq!(self.header.dedicated, 0, "the bytes are in another file");
        let start = cast::to_usize(self.header.body_offset());
        let length = cast::to_usize(self.header.value_bytes);
        if self.header.value_bytes > BLOCK_BYTES {
            let reader = ValueBytes::new(self.header, Arc::clone(file), offset, Arc::clone(file));
            reader.check_file_length()?;
            let mut value = vec![0; length];
            let filled = reader.read_at(0, &mut value)?;
            value.truncate(filled);
            return Ok(value);
        }
        if self.bytes.len() < start + length {
            let have = self.bytes.len();
            self.bytes.resize(start + length, 0);
            file.read_exact_at(&mut self.bytes[have..], offset + have as u64)?;
        }
        self.bytes.truncate(start + length);
        self.bytes.drain(..start);
        verify(&self.bytes, self.header.value_crc, file, offset + start as u64)?;
        Ok(self.bytes)
    }
}

fn verify(bytes: &[u8], expected: u32, file: &DiskFile, offset: u64) -> Result<()> {
    let found = crc32c(bytes);
    if found == expected {
        return Ok(());
    }
    let reason = format!("value checksum is {found:08x}, {expected:08x} expected");
    Err(Error::corrupt(file.path(), offset, reason))
}

/// The bytes of one value, in its record or in a dedicated shard.
#[derive(Debug)]
pub(crate) struct ValueBytes {
    header: RecordHeader,
    record_file: Arc<DiskFile>,
    record_offset: u64,
    data_file: Arc<DiskFile>,
    data_offset: u64,
    /// One bit for each block that was verified, unless the value is very long.
    verified: Vec<AtomicU64>,
    /// First block and checksums of the part of the checksums last used.
    window: Mutex<(u64, Vec<u32>)>,
}

impl ValueBytes {
    /// The value of the record at `record_offset` of `record_file`; `data_file` is the dedicated
    /// shard, or the same file again.
    pub(crate) fn new(
        header: RecordHeader,
        record_file: Arc<DiskFile>,
        record_offset: u64,
        data_file: Arc<DiskFile>,
    ) -> Self {
        let data_offset =
            if header.dedicated == 0 { record_offset + header.body_offset() } else { 0 };
        let remembered = header.value_bytes <= REMEMBERED_BYTES_MAX;
        let blocks = if remembered { header.value_bytes.div_ceil(BLOCK_BYTES) } else { 0 };
        let words = cast::to_usize(blocks.div_ceil(64));
        let verified = (0..words).map(|_| AtomicU64::new(0)).collect();
        let window = Mutex::new((0, Vec::new()));
        Self { header, record_file, record_offset, data_file, data_offset, verified, window }
    }

    pub(crate) fn header(&self) -> &RecordHeader {
        &self.header
    }

    /// Refuses a value that its file is too short for. To be asked before memory for all of it is
    /// taken: a length that is not true can be that of terabytes.
    pub(crate) fn check_file_length(&self) -> Result<()> {
        let file_bytes = self.data_file.len()?;
        if file_bytes.saturating_sub(self.data_offset) < self.header.value_bytes {
            let reason =
                format!("a value of {} bytes goes on behind the end", self.header.value_bytes);
            return Err(Error::corrupt(self.data_file.path(), file_bytes, reason));
        }
        Ok(())
    }

    /// Fills `buffer` from `offset` of the value; returns fewer bytes only at its end.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let length = self.header.value_bytes;
        if offset >= length || buffer.is_empty() {
            return Ok(0);
        }
        let end = length.min(offset.saturating_add(buffer.len() as u64));
        let wanted = cast::to_usize(end - offset);
        let first = offset / BLOCK_BYTES;
        let last = (end - 1) / BLOCK_BYTES;
        if (first..=last).all(|block| self.is_verified(block)) {
            self.data_file.read_exact_at(&mut buffer[..wanted], self.data_offset + offset)?;
            return Ok(wanted);
        }
        let aligned_start = first * BLOCK_BYTES;
        let aligned_end = length.min((last + 1) * BLOCK_BYTES);
        if aligned_start == offset && aligned_end == end {
            self.read_blocks(first, &mut buffer[..wanted])?;
        } else {
            let aligned_bytes = aligned_end - aligned_start;
            let mut blocks = vec![0; cast::to_usize(aligned_bytes)];
            self.read_blocks(first, &mut blocks)?;
            let skip = cast::to_usize(offset - aligned_start);
            buffer[..wanted].copy_from_slice(&blocks[skip..skip + wanted]);
        }
        Ok(wanted)
    }

    fn read_blocks(&self, first: u64, blocks: &mut [u8]) -> Result<()> {
        let start = first * BLOCK_BYTES;
        self.data_file.read_exact_at(blocks, self.data_offset + start)?;
        for (index, block) in (first..).zip(blocks.chunks(BLOCK_SIZE)) {
            if !self.is_verified(index) {
                let at = self.data_offset + index * BLOCK_BYTES;
                verify(block, self.checksum(index)?, &self.data_file, at)?;
                self.set_verified(index);
            }
        }
        Ok(())
    }

    fn is_verified(&self, block: u64) -> bool {
        let word = self.verified.get(cast::to_usize(block / 64));
        word.is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (block % 64)) != 0)
    }

    fn set_verified(&self, block: u64) {
        let word = self.verified.get(cast::to_usize(block / 64));
        if let Some(word) = word {
            word.fetch_or(1 << (block % 64), Ordering::Relaxed);
        }
    }

    /// The checksum of a block. A damaged one can only refuse good bytes, never pass bad ones, so
    /// the checksums are not verified as a whole here.
    fn checksum(&self, block: u64) -> Result<u32> {
        let count = record::block_count(self.header.value_bytes);
        if count == 0 {
            return Ok(self.header.value_crc);
        }
        let mut window = self.window.lock();
        let held = window.0..window.0 + window.1.len() as u64;
        if !held.contains(&block) {
            let first = block - block % CHECKSUM_WINDOW;
            let wanted = CHECKSUM_WINDOW.min(count - first);
            let mut encoded = vec![0; cast::to_usize(4 * wanted)];
            let offset = self.record_offset + self.header.checksums_offset() + 4 * first;
            self.record_file.read_exact_at(&mut encoded, offset)?;
            let checksums = encoded
                .chunks_exact(4)
                .map(|field| u32::from_le_bytes([field[0], field[1], field[2], field[3]]));
            *window = (first, checksums.collect());
        }
        let index = cast::to_usize(block - window.0);
        Ok(window.1[index])
    }

    /// Verifies the whole value and its checksums, whatever was verified before.
    pub(crate) fn verify_all(&self) -> Result<()> {
        let length = self.header.value_bytes;
        let count = record::block_count(length);
        if count > 0 {
            let mut encoded = vec![0; cast::to_usize(4 * count)];
            let offset = self.record_offset + self.header.checksums_offset();
            self.record_file.read_exact_at(&mut encoded, offset)?;
            verify(&encoded, self.header.value_crc, &self.record_file, offset)?;
        }
        let mut buffer = vec![0; 16 * BLOCK_SIZE];
        let mut start = 0;
        while start < length {
            let bytes = (length - start).min(buffer.len() as u64);
            let part = &mut buffer[..cast::to_usize(bytes)];
            self.data_file.read_exact_at(part, self.data_offset + start)?;
            for (index, block) in (start / BLOCK_BYTES..).zip(part.chunks(BLOCK_SIZE)) {
                let at = self.data_offset + index * BLOCK_BYTES;
                verify(block, self.checksum(index)?, &self.data_file, at)?;
            }
            start += bytes;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::format::attributes::{Attributes, Kind};
    use crate::format::location::ValueId;
    use proptest::prelude::*;

    fn store(value: &[u8], dedicated: u32) -> (tempfile::TempDir, Arc<DiskFile>, Arc<DiskFile>) {
        let scratch = tempfile::tempdir().unwrap();
        let create =
            |name: &str| Arc::new(Disk::new().create_new(&scratch.path().join(name)).unwrap());
        let (record_file, data_file) = (create("0-0.values"), create("0-9.values"));
        let mut checksums = Vec::new();
        let value_crc = record::checksum_value(value, &mut checksums);
        let header = RecordHeader {
            key_bytes: 3,
            key_capacity: 8,
            value_bytes: value.len() as u64,
            written_at_ns: 1,
            id: ValueId(1),
            attributes: Attributes::new_at_ns(Kind::File, 0o644, 0, 0, 1),
            value_crc,
            dedicated,
            dead: false,
        };
        let mut bytes = Vec::new();
        header.encode(b"key", &mut bytes);
        if dedicated == 0 {
            bytes.extend_from_slice(value);
        } else {
            data_file.write_all_at(value, 0).unwrap();
        }
        bytes.extend_from_slice(&checksums);
        record_file.write_all_at(&bytes, 64).unwrap();
        (scratch, record_file, data_file)
    }

    fn reader(record: &Arc<DiskFile>, data: &Arc<DiskFile>) -> ValueBytes {
        let header = RecordBytes::read(record, 64, 80).unwrap().header;
        let data = if header.dedicated == 0 { record } else { data };
        ValueBytes::new(header, Arc::clone(record), 64, Arc::clone(data))
    }

    fn sample(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index * 7 + index / 251) as u8).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn ranges_are_the_bytes_that_were_written(
            length in prop_oneof![0..200_usize, 0..300_000_usize],
            dedicated in prop_oneof![Just(0_u32), Just(9)],
            ranges in proptest::collection::vec((0..320_000_u64, 0..200_000_usize), 1..8),
        ) {
            let value = sample(length);
            let (_scratch, record, data) = store(&value, dedicated);
            let reader = reader(&record, &data);
            for (offset, count) in ranges {
                let mut buffer = vec![0; count];
                let filled = reader.read_at(offset, &mut buffer).unwrap();
                let start = value.len().min(offset as usize);
                let end = value.len().min(start + count);
                prop_assert_eq!(&buffer[..filled], &value[start..end]);
            }
            reader.verify_all().unwrap();
        }
    }

    #[test]
    fn damage_is_refused_where_it_is_and_only_there() {
        for (length, dedicated) in [(1000, 0), (200_000, 0), (200_000, 9)] {
            let value = sample(length);
            let (_scratch, record, data) = store(&value, dedicated);
            let file = if dedicated == 0 { &record } else { &data };
            let start = if dedicated == 0 { 64 + 88 } else { 0 };
            let position = length - 1;
            file.write_all_at(&[!value[position]], start + position as u64).unwrap();
            let reader = reader(&record, &data);
            let mut byte = [0];
            let refused = reader.read_at(position as u64, &mut byte).unwrap_err().to_string();
            assert!(refused.contains(file.path().to_str().unwrap()), "{refused}");
            assert!(reader.verify_all().is_err());
            if length > 65_536 {
                assert_eq!(reader.read_at(0, &mut byte).unwrap(), 1);
            }
        }
    }

    #[test]
    fn whole_values_come_with_their_header() {
        for length in [0, 1, 5000, 65_536, 65_537] {
            let value = sample(length);
            let (_scratch, record, _) = store(&value, 0);
            for hint in [0, 80, 4096, 1 << 20] {
                let bytes = RecordBytes::read(&record, 64, hint).unwrap();
                assert_eq!(bytes.key(), b"key");
                assert_eq!(bytes.into_value(&record, 64).unwrap(), value, "{length} {hint}");
            }
        }
    }

    #[test]
    fn reading_where_no_record_is_names_the_place() {
        let (_scratch, record, _) = store(b"value", 0);
        for offset in [0, 72, 1 << 20] {
            let error = RecordBytes::read(&record, offset, 4096).unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        }
    }
}
