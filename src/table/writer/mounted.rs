//! What only a mount asks of a value that is being written: it knows descriptors, which are closed and
//! go on, are synced again and again, and see their folder go.

use super::{Content, Parents, SPILL_BYTES_MIN, Writer};
use crate::error::{Error, Result};
use crate::format::entry::Entry;
use crate::format::record::BLOCK_BYTES;
use crate::table::Table;

impl Table {
    /// A new value that is refused when the folders above its name are not there, as file systems
    /// do.
    pub(crate) fn writer_in_folder(&self) -> Result<Writer> {
        self.new_writer(Parents::Require)
    }

    /// A writer that goes on with a stored file of length 0, so that `touch f; echo x > f` works:
    /// what it stores has the same identity and takes the place of the empty value. Until then the
    /// empty file stays what it is.
    pub(crate) fn reopen_empty(&self, entry: &Entry) -> Result<Writer> {
        let key = || format!("value {}", entry.id);
        if entry.value_bytes > 0 {
            return Err(Error::Exists { key: key() });
        }
        if self.is_expired(entry) {
            return Err(Error::NotFound { key: key() });
        }
        if self.is_sealed(entry) {
            return Err(Error::Sealed { key: key() });
        }
        let mut writer = self.new_writer(Parents::Require)?;
        writer.id = entry.id;
        writer.is_dirty = false;
        writer.stored = Some(*entry);
        Ok(writer)
    }
}

impl Writer {
    /// Whether anything changed since the value was last stored.
    pub(crate) fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// About how many bytes are written when the value is stored now: all of it from memory; of one
    /// in a file of its own its checksums alone.
    pub(crate) fn storing_bytes(&self) -> u64 {
        match &self.content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File(spill) => spill.bytes / (BLOCK_BYTES / 4),
        }
    }

    /// Length when the value was last stored; `None` before the first time.
    pub(crate) fn stored_len(&self) -> Option<u64> {
        self.stored.map(|entry| entry.value_bytes)
    }

    /// To be called before storing for the sake of an fsync, which may come again after every few
    /// bytes: from the second time on only what was added is written, not everything anew.
    pub(crate) fn expect_repetition(&mut self) -> Result<()> {
        let is_repeated = self.stored.is_some_and(|entry| entry.value_bytes > 0);
        if is_repeated && self.len() > SPILL_BYTES_MIN { self.spill() } else { Ok(()) }
    }

    /// Takes back what this writer stored, now named `key`, sealed or not: its file is still open,
    /// so nobody was told that it is final. The bytes stay readable and writable here.
    pub(crate) fn discard(&mut self, key: &[u8]) -> Result<()> {
        if self.stored.is_some() {
            self.table.remove_value(key, self.id)?;
            self.is_dirty = true;
        }
        Ok(())
    }
}
