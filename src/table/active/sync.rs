//! Making what a segment holds durable.

use std::sync::Arc;

use super::ActiveSegment;
use crate::disk::DiskFile;
use crate::error::Result;

impl ActiveSegment {
    /// Notes a dedicated shard whose bytes and name are to be made durable by the next sync.
    pub(in crate::table) fn note_dedicated(&self, file: Arc<DiskFile>) {
        self.unsynced.note(file);
    }

    /// Makes everything logged before the call durable: values first, then the log.
    pub(in crate::table) fn sync(&self) -> Result<()> {
        let mut turn = self.unsynced.take_turn();
        if !self.log.is_dirty() || self.log.is_blank() {
            return Ok(());
        }
        let log_bytes = self.log.begin_sync();
        self.fill.note_sync();
        turn.sync_values(&self.shards)
            .and_then(|()| {
                let ended = self.log.end_sync(log_bytes);
                ended.inspect_err(|error| turn.note_failure(error))
            })
            .inspect_err(|_| self.log.abort_sync())
    }

    /// Makes all values, and the names of dedicated shards, durable.
    pub(in crate::table) fn sync_values(&self) -> Result<()> {
        self.unsynced.take_turn().sync_values(&self.shards)
    }
}
