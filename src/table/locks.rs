//! Locks on names, so that of two writers of one name the second sees what the first did.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::identity::TableIdentity;
use super::key;
use crate::format::key_hash::KeyHash;

/// Keys are locked in this many stripes.
const STRIPES: usize = 64;

/// A name that is locked for as long as this lives.
pub(super) type NameGuard<'a> = MutexGuard<'a, ()>;

/// The locks on names of one table. `folders` comes before the stripes, and those are taken in the
/// order of their index.
#[derive(Debug)]
pub(super) struct Locks {
    identity: Arc<TableIdentity>,
    /// Locked over a refresh of folder mentions.
    folders: Mutex<()>,
    stripes: [Mutex<()>; STRIPES],
    /// Whether any folder was ever seen: without folders, lookups can leave them out.
    has_folders: AtomicBool,
}

impl Locks {
    pub(super) fn new(identity: &Arc<TableIdentity>) -> Self {
        Self {
            identity: Arc::clone(identity),
            folders: Mutex::default(),
            stripes: [const { Mutex::new(()) }; STRIPES],
            has_folders: AtomicBool::new(false),
        }
    }

    /// Lets one at a time see to it that folders are mentioned.
    pub(super) fn lock_folders(&self) -> MutexGuard<'_, ()> {
        self.folders.lock()
    }

    /// Locks the name of a key, as a file and as a folder.
    pub(super) fn lock(&self, key: &[u8]) -> NameGuard<'_> {
        self.stripes[self.stripe(key)].lock()
    }

    /// Locks the name of a file's key, whose hash is that of its name.
    pub(super) fn lock_file(&self, hash: KeyHash) -> NameGuard<'_> {
        self.stripes[hash.part_of(STRIPES)].lock()
    }

    /// Locks the names of several keys.
    pub(super) fn lock_all<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k [u8]>,
    ) -> Vec<NameGuard<'_>> {
        let mut indices: Vec<usize> = keys.into_iter().map(|key| self.stripe(key)).collect();
        indices.sort_unstable();
        indices.dedup();
        indices.into_iter().map(|index| self.stripes[index].lock()).collect()
    }

    /// There is a folder in the table, or was.
    pub(super) fn note_folder(&self) {
        self.has_folders.store(true, Ordering::Release);
    }

    /// Whether there can be a folder of any name.
    pub(super) fn may_have_folders(&self) -> bool {
        self.has_folders.load(Ordering::Acquire)
    }

    fn stripe(&self, key: &[u8]) -> usize {
        self.identity.hash(key::name_key(key)).part_of(STRIPES)
    }
}
