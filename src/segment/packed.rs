//! A packed shard of an active segment: records back to back, appended by any number of threads.
//!
//! An append reserves its place with one atomic addition and writes there, so that writers of
//! different keys run side by side. A reservation whose write fails leaves a hole that no key
//! names.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::disk::DiskFile;
use crate::error::{Error, Result};
use crate::format::location::{RECORD_ALIGNMENT, SHARD_BYTES_MAX};
use crate::operation::Operation;

/// A packed shard that takes records.
#[derive(Debug)]
pub(crate) struct PackedShard {
    file: Result<Arc<DiskFile>, Absent>,
    tail: AtomicU64,
    dirty: AtomicBool,
}

/// A shard that is on a missing root, in a database that is open without it.
#[derive(Debug)]
struct Absent {
    table: String,
    name: String,
}

impl PackedShard {
    /// Appends behind whatever the file holds.
    pub(crate) fn new(file: Arc<DiskFile>) -> Result<Self> {
        let tail = file.len()?.next_multiple_of(RECORD_ALIGNMENT);
        let file = Ok(file);
        Ok(Self { file, tail: AtomicU64::new(tail), dirty: AtomicBool::new(true) })
    }

    /// Keeps clear of a record that the log mentions: its bytes may be lost, but the log must not be
    /// taken to speak of another record that is written in its place.
    pub(crate) fn keep_clear_of(&self, offset: u64, bytes: u64) {
        let end = offset.saturating_add(bytes).min(SHARD_BYTES_MAX);
        self.tail.fetch_max(end.next_multiple_of(RECORD_ALIGNMENT), Ordering::Relaxed);
    }

    /// Stands for a shard that is not there: everything asked of it is an error that names it.
    pub(crate) fn absent(table: &str, name: String) -> Self {
        let file = Err(Absent { table: table.to_owned(), name });
        Self { file, tail: AtomicU64::new(0), dirty: AtomicBool::new(false) }
    }

    pub(crate) fn file(&self) -> Result<&Arc<DiskFile>> {
        self.file.as_ref().map_err(|absent| Error::MissingFile {
            table: absent.table.clone(),
            name: absent.name.clone(),
        })
    }

    /// Writes a record, given in parts, and returns its offset.
    pub(crate) fn append(&self, parts: &[&[u8]]) -> Result<u64> {
        let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
        debug_assert!(length.is_multiple_of(RECORD_ALIGNMENT));
        let file = self.file()?;
        let offset = self.tail.fetch_add(length, Ordering::Relaxed);
        if offset + length > SHARD_BYTES_MAX {
            let full = io::Error::new(io::ErrorKind::FileTooLarge, "the shard is full");
            return Err(file.fail(Operation::Write, full));
        }
        match parts {
            [whole] => file.write_all_at(whole, offset)?,
            _ => file.write_parts_at(parts, offset)?,
        }
        self.dirty.store(true, Ordering::Release);
        Ok(offset)
    }

    /// Writes a record's header and key anew, in place.
    pub(crate) fn rewrite(&self, offset: u64, header_and_key: &[u8]) -> Result<()> {
        self.file()?.write_all_at(header_and_key, offset)?;
        self.dirty.store(true, Ordering::Release);
        Ok(())
    }

    /// It was not synced after all.
    pub(crate) fn note_unsynced(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    /// The file, if anything was written to it since this was asked last: the caller is to sync it.
    pub(crate) fn take_unsynced(&self) -> Option<Arc<DiskFile>> {
        let is_dirty = self.dirty.swap(false, Ordering::AcqRel);
        self.file.as_ref().ok().filter(|_| is_dirty).map(Arc::clone)
    }
}
