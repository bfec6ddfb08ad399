//! The key log of an active segment: appending to it and reading it back after a crash.
//!
//! Appends are serialised, the write included: a record must never stand behind a hole, since the
//! first bad record ends the log when it is read back.
//!
//! A synced mark that is in the file is durable, or was never tried to be made so: the one of a sync
//! that failed is taken back, since it could be read again from memory though the drive has nothing
//! of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::cast;
use crate::disk::DiskFile;
use crate::error::{Error, Result};
use crate::format::location::SegmentNumber;
use crate::format::log_record::{
    self, BODY_BYTES_MAX, LOG_HEADER_BYTES, LogHeader, LogRecord, RECORD_HEADER_BYTES,
};

/// Bytes read at a time when a log is read back.
const REPLAY_CHUNK_BYTES: usize = 1 << 20;

/// A key log that takes records.
#[derive(Debug)]
pub(crate) struct KeyLog {
    file: Arc<DiskFile>,
    /// Length of the log; locked over the write of each append.
    append_io: Mutex<u64>,
    dirty: AtomicBool,
    /// What the last mark of which the sync succeeded claims.
    synced_bytes: AtomicU64,
}

impl KeyLog {
    /// Starts a log in an empty file.
    pub(crate) fn create(file: Arc<DiskFile>, header: &LogHeader) -> Result<Self> {
        file.write_all_at(&header.encode(), 0)?;
        Ok(Self::resume(file, LOG_HEADER_BYTES as u64))
    }

    /// Goes on behind the first `bytes` of the file.
    pub(crate) fn resume(file: Arc<DiskFile>, bytes: u64) -> Self {
        Self {
            file,
            append_io: Mutex::new(bytes),
            dirty: AtomicBool::new(true),
            synced_bytes: AtomicU64::new(LOG_HEADER_BYTES as u64),
        }
    }

    /// Appends encoded records.
    pub(crate) fn append(&self, records: &[u8]) -> Result<()> {
        let mut length = self.append_io.lock();
        self.append_at_end(&mut length, records)?;
        self.dirty.store(true, Ordering::Release);
        Ok(())
    }

    fn append_at_end(&self, length: &mut u64, records: &[u8]) -> Result<()> {
        if let Err(error) = self.file.write_all_at(records, *length) {
            // What was written in part must not stay: nothing could be read behind it. Should the
            // cut fail too, the next append overwrites it at the same place.
            if let Err(cut) = self.file.set_len(*length) {
                log::warn!("{cut}");
            }
            return Err(error);
        }
        *length += records.len() as u64;
        Ok(())
    }

    /// Length in bytes: everything appended before the call is within it.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        *self.append_io.lock()
    }

    /// Begins a sync: the length whose values are now to be made durable. What is appended from
    /// here on needs another sync, so the log counts as clean before the values are looked at.
    pub(crate) fn begin_sync(&self) -> u64 {
        let length = self.append_io.lock();
        self.dirty.store(false, Ordering::Release);
        *length
    }

    /// A sync that was begun has failed: all of it is still to be done.
    pub(crate) fn abort_sync(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    /// Whether anything was appended since the last sync.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    /// Whether nothing was ever appended. Such a log gets no mark either: a segment in which nothing
    /// was ever stored is known by the length of its files, and may be removed.
    pub(crate) fn is_blank(&self) -> bool {
        *self.append_io.lock() <= LOG_HEADER_BYTES as u64
    }

    /// Ends a sync: notes that the values of the first `log_bytes` are durable, and makes the log
    /// durable.
    pub(crate) fn end_sync(&self, log_bytes: u64) -> Result<()> {
        let mut mark = Vec::new();
        log_record::encode_synced(log_bytes, &mut mark);
        let at = {
            let mut length = self.append_io.lock();
            let at = *length;
            self.append_at_end(&mut length, &mark)?;
            at
        };
        match self.file.sync_data() {
            Ok(()) => self.synced_bytes.store(log_bytes, Ordering::Relaxed),
            Err(error) => {
                self.take_back_mark(at);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Lets the mark at this place claim no more than the one before it.
    fn take_back_mark(&self, at: u64) {
        let mut mark = Vec::new();
        log_record::encode_synced(self.synced_bytes.load(Ordering::Relaxed), &mut mark);
        if let Err(error) = self.file.write_all_at(&mark, at) {
            // Then the file system has stopped, and forgets what it has not written.
            log::debug!("{error}");
        }
    }
}

/// How reading a log back ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// Length of the good part.
    pub(crate) bytes: u64,
    /// Bytes behind it, which are cut off.
    pub(crate) cut_bytes: u64,
}

/// Reads the header of a log.
pub(crate) fn read_header(file: &DiskFile) -> Result<LogHeader> {
    let mut bytes = [0; LOG_HEADER_BYTES];
    let filled = file.read_at(&mut bytes, 0)?;
    LogHeader::decode(&bytes[..filled]).map_err(|malformed| malformed.in_file(file.path(), 0))
}

/// Hands every record up to the first bad one to `visit`, with the offset behind the record.
pub(crate) fn replay(
    file: &DiskFile,
    mut visit: impl FnMut(LogRecord<'_>, u64) -> Result<()>,
) -> Result<Replayed> {
    let length = file.len()?;
    let mut buffer: Vec<u8> = Vec::new();
    let mut start = LOG_HEADER_BYTES as u64;
    let mut wanted = REPLAY_CHUNK_BYTES;
    loop {
        let left = cast::to_usize(length.saturating_sub(start));
        buffer.resize(wanted.min(left), 0);
        let filled = file.read_at(&mut buffer, start)?;
        let mut at = 0;
        while let Ok((record, bytes)) = log_record::decode(&buffer[at..filled]) {
            at += bytes;
            visit(record, start + at as u64)?;
        }
        let rest = &buffer[at..filled];
        start += at as u64;
        // What is left is either the start of a record that goes on behind the buffer, or the end.
        let body_bytes = log_record::peek_body_bytes(rest).unwrap_or(0);
        let record_bytes = RECORD_HEADER_BYTES + body_bytes.min(BODY_BYTES_MAX);
        let goes_on = rest.len() < left - at && (rest.len() < record_bytes);
        if !goes_on {
            let cut_bytes = length.saturating_sub(start);
            return Ok(Replayed { bytes: start, cut_bytes });
        }
        wanted = REPLAY_CHUNK_BYTES.max(record_bytes);
    }
}

/// Cuts a log behind its good part and says so.
pub(crate) fn cut(file: &DiskFile, replayed: Replayed) -> Result<()> {
    if replayed.cut_bytes == 0 {
        return Ok(());
    }
    log::warn!(
        "{}: cut off {} bytes behind the last good record",
        file.path().display(),
        replayed.cut_bytes
    );
    file.set_len(replayed.bytes)?;
    // What is cut off must not come back behind records that are written in its place.
    file.sync_data()
}

/// Checks that a log belongs where it was found.
pub(crate) fn check_header(
    header: &LogHeader,
    table_id: [u8; 16],
    segment: SegmentNumber,
    file: &DiskFile,
) -> Result<()> {
    if header.table_id != table_id || header.segment != segment {
        let reason = "it belongs to another table or segment";
        return Err(Error::corrupt(file.path(), 8, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::format::entry::Mention;

    fn log_with(keys: usize, key_bytes: usize) -> (tempfile::TempDir, KeyLog) {
        let scratch = tempfile::tempdir().unwrap();
        let file = Arc::new(Disk::new().create_new(&scratch.path().join("1.keys")).unwrap());
        let header =
            LogHeader { table_id: [1; 16], segment: SegmentNumber(1), shards: 1, opened_at_ns: 0 };
        let log = KeyLog::create(file, &header).unwrap();
        for number in 0..keys {
            let mut record = Vec::new();
            let key = format!("{number:0>key_bytes$}");
            let mention = Mention::Removed { supersedes: None };
            log_record::encode_mention(key.as_bytes(), &mention, &mut record);
            log.append(&record).unwrap();
        }
        (scratch, log)
    }

    fn count(log: &KeyLog) -> (usize, Replayed) {
        let mut seen = 0;
        let replayed = replay(&log.file, |_, _| {
            seen += 1;
            Ok(())
        })
        .unwrap();
        (seen, replayed)
    }

    #[test]
    fn what_is_appended_during_a_sync_needs_another_one() {
        let (_scratch, log) = log_with(1, 8);
        let log_bytes = log.begin_sync();
        assert!(!log.is_dirty());
        log.append(&[]).unwrap();
        log.end_sync(log_bytes).unwrap();
        assert!(log.is_dirty(), "its value may have missed the sync of the shards");
        let log_bytes = log.begin_sync();
        log.end_sync(log_bytes).unwrap();
        assert!(!log.is_dirty(), "the mark itself needs none");
        log.begin_sync();
        log.abort_sync();
        assert!(log.is_dirty());
    }

    #[test]
    fn replay_crosses_buffers_and_ends_at_the_first_bad_record() {
        let (_scratch, log) = log_with(2000, 4000);
        let (seen, replayed) = count(&log);
        assert_eq!((seen, replayed.cut_bytes, replayed.bytes), (2000, 0, log.bytes()));
        // A flipped byte in record 1000 ends the log there.
        let record = (log.bytes() - LOG_HEADER_BYTES as u64) / 2000;
        log.file.write_all_at(b"?", LOG_HEADER_BYTES as u64 + 1000 * record + 50).unwrap();
        let (seen, replayed) = count(&log);
        assert_eq!((seen, replayed.cut_bytes), (1000, 1000 * record));
        cut(&log.file, replayed).unwrap();
        assert_eq!(count(&log), (1000, Replayed { cut_bytes: 0, ..replayed }));
    }

    #[test]
    fn a_torn_tail_of_every_length_is_cut() {
        let (_scratch, log) = log_with(3, 8);
        let record = (log.bytes() - LOG_HEADER_BYTES as u64) / 3;
        for torn in 1..record {
            log.file.set_len(LOG_HEADER_BYTES as u64 + 2 * record + torn).unwrap();
            let (seen, replayed) = count(&log);
            assert_eq!((seen, replayed.cut_bytes), (2, torn));
        }
    }

    #[test]
    fn a_huge_claimed_length_neither_hangs_nor_allocates() {
        let (_scratch, log) = log_with(1, 8);
        let end = log.bytes();
        log.file.write_all_at(&[0xff; 16], end).unwrap();
        assert_eq!(count(&log), (1, Replayed { bytes: end, cut_bytes: 16 }));
    }
}
