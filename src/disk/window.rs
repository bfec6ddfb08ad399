//! Reads a file from front to back in large pieces, and lends any part of it.

use super::DiskFile;
use crate::cast::to_usize;
use crate::error::Result;

const READ_BYTES: usize = 1 << 20;
/// Bytes that are checksummed in search of something good behind damage, before giving up: bytes
/// made up to look good everywhere must not keep anybody busy for ever.
pub(crate) const SEARCH_BYTES_MAX: u64 = 1 << 30;

/// A part of a file in memory.
pub(crate) struct Window<'f> {
    file: &'f DiskFile,
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'f> Window<'f> {
    /// A window on the bytes before `end`.
    pub(crate) fn new(file: &'f DiskFile, end: u64) -> Self {
        Self { file, end, start: 0, bytes: Vec::new() }
    }

    /// The bytes from `at` on: `count` of them, fewer only at the end.
    pub(crate) fn slice(&mut self, at: u64, count: usize) -> Result<&[u8]> {
        let left = to_usize(self.end.saturating_sub(at));
        let count = count.min(left);
        let held = self.start + self.bytes.len() as u64;
        if at < self.start || at + count as u64 > held {
            self.bytes.resize(left.min(READ_BYTES.max(count)), 0);
            self.start = at;
            let filled = self.file.read_at(&mut self.bytes, at)?;
            self.bytes.truncate(filled);
        }
        let from = to_usize(at - self.start).min(self.bytes.len());
        let to = from.saturating_add(count).min(self.bytes.len());
        Ok(&self.bytes[from..to])
    }
}
