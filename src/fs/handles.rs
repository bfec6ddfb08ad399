//! Open handles: what the numbers in OPEN and OPENDIR replies stand for.
//!
//! Bounded by the descriptors that programs may have open.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::errno::{Errno, Result};
use super::listing::FolderHandle;
use super::open_file::OpenFile;
use crate::table::ValueReader;

const SHARDS: usize = 16;

/// What a handle gives access to.
pub(super) enum Handle {
    /// A file, for writing and for reading what was written.
    Write(Arc<OpenFile>),
    /// A file that somebody writes, for reading.
    ReadOpen(Arc<OpenFile>),
    /// A stored file. The reader was opened with the handle, so that neither expiry nor unlink
    /// cut it off.
    Read {
        /// The inode that was opened.
        ino: u64,
        /// Its bytes. Boxed: readers are large, and every other handle would be as well.
        reader: Box<ValueReader>,
    },
    /// A folder.
    Folder(FolderHandle),
}

/// All open handles, sharded by number.
pub(super) struct Handles {
    next: AtomicU64,
    shards: Vec<Mutex<HashMap<u64, Arc<Handle>>>>,
}

impl Handles {
    pub(super) fn new() -> Self {
        Self {
            next: AtomicU64::new(1),
            shards: (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect(),
        }
    }

    fn shard(&self, number: u64) -> &Mutex<HashMap<u64, Arc<Handle>>> {
        #[expect(clippy::cast_possible_truncation, reason = "only the low bits choose the shard")]
        let index = number as usize % SHARDS;
        &self.shards[index]
    }

    pub(super) fn insert(&self, handle: Handle) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.shard(number).lock().insert(number, Arc::new(handle));
        number
    }

    pub(super) fn get(&self, number: u64) -> Result<Arc<Handle>> {
        self.shard(number).lock().get(&number).cloned().ok_or(Errno::EBADF)
    }

    pub(super) fn remove(&self, number: u64) -> Option<Arc<Handle>> {
        self.shard(number).lock().remove(&number)
    }

    /// Takes out all handles.
    pub(super) fn drain(&self) -> Vec<Arc<Handle>> {
        self.shards
            .iter()
            .flat_map(|shard| std::mem::take(&mut *shard.lock()).into_values())
            .collect()
    }
}
