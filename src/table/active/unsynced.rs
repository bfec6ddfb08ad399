//! What of a segment's files is to be made durable by its next sync.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::disk::{DiskFile, DiskPath, sync_together};
use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::root_id::RootId;
use crate::segment::packed::PackedShard;

/// What the next sync of a segment has to do beside its packed shards and its log.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    dedicated: Mutex<Vec<Arc<DiskFile>>>,
    /// Folders with names of dedicated shards.
    folders: Mutex<Vec<DiskPath>>,
    /// Locked over a whole sync.
    failure_io: Mutex<SyncFailure>,
}

/// What could not be synced, once a sync has failed. What the drive holds is unknown then, and the
/// next sync would say that all is well: the system tells of lost pages once. So a segment of which a
/// sync failed never passes one again, whoever asks: the flusher or, at the same time, the sealer.
#[derive(Debug, Default)]
struct SyncFailure(Option<(PathBuf, Option<RootId>)>);

impl SyncFailure {
    /// What could not even be opened says nothing about the drive.
    fn note(&mut self, error: &Error) {
        if let Error::Io { path, root, .. } = error
            && !error.is_out_of_descriptors()
        {
            self.0.get_or_insert_with(|| (path.clone(), *root));
        }
    }

    fn check(&self) -> Result<()> {
        let Some((path, root)) = &self.0 else { return Ok(()) };
        let source = std::io::Error::other("an earlier sync of it has failed");
        Err(Error::io(Operation::Sync, path, *root, source))
    }
}

impl Unsynced {
    /// Notes a dedicated shard whose bytes and name are to be made durable.
    pub(super) fn note(&self, file: Arc<DiskFile>) {
        // Whatever it is called meanwhile, it stays in its folder.
        let folder = file.at().folder();
        let mut folders = self.folders.lock();
        if !folders.contains(&folder) {
            folders.push(folder);
        }
        drop(folders);
        self.dedicated.lock().push(file);
    }

    /// Waits until nobody else syncs the segment.
    pub(super) fn take_turn(&self) -> SyncTurn<'_> {
        SyncTurn { unsynced: self, failure_io: self.failure_io.lock() }
    }
}

/// The one sync of a segment that is under way.
#[derive(Debug)]
pub(super) struct SyncTurn<'a> {
    unsynced: &'a Unsynced,
    failure_io: MutexGuard<'a, SyncFailure>,
}

impl SyncTurn<'_> {
    /// A sync of the segment has failed.
    pub(super) fn note_failure(&mut self, error: &Error) {
        self.failure_io.note(error);
    }

    /// Makes the packed shards, and the bytes and names of what was noted, durable.
    pub(super) fn sync_values(&mut self, shards: &[PackedShard]) -> Result<()> {
        self.failure_io.check()?;
        let dedicated = std::mem::take(&mut *self.unsynced.dedicated.lock());
        let packed: Vec<_> = shards.iter().map(PackedShard::take_unsynced).collect();
        let folders = std::mem::take(&mut *self.unsynced.folders.lock());
        let files: Vec<_> = dedicated.iter().chain(packed.iter().flatten()).cloned().collect();
        let synced = sync_together(&files);
        drop(files);
        if let Err(error) = synced {
            if error.is_out_of_descriptors() {
                self.unsynced.dedicated.lock().extend(dedicated);
                for (shard, _) in shards.iter().zip(&packed).filter(|(_, file)| file.is_some()) {
                    shard.note_unsynced();
                }
                self.unsynced.folders.lock().extend(folders);
            }
            self.note_failure(&error);
            return Err(error);
        }
        // Their descriptors may be the last ones.
        drop((dedicated, packed));
        if let Err(error) = folders.iter().try_for_each(DiskPath::sync_dir) {
            // What could not even be opened was not synced, and can be when some are free again.
            self.unsynced.folders.lock().extend(folders);
            self.note_failure(&error);
            return Err(error);
        }
        Ok(())
    }
}
