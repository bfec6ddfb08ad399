//! The inodes that the kernel knows.
//!
//! An inode is here from the first reply that names it until the kernel has forgotten as many
//! lookups as it was given; so this map is bounded by the kernel's own caches, never by the number
//! of keys. What stands here of a stored file is what the engine would say: every change of a name
//! or of attributes comes through this mount and is entered here by whoever made it. That is why a
//! lookup of an inode already known takes nothing over: what it read may be older.
//!
//! A walk over a large tree makes the kernel know very many inodes for a while. So they are kept
//! one by one, with only their numbers in the tables of the map; tables shrink again, and the
//! memory goes back to the system.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::errno::{Errno, Result};
use super::ino::{ino_of, table_number};
use super::kernel::KnownName;
use super::keys::split_key;
use super::open_file::OpenFile;
use crate::format::entry::Entry;
use crate::format::location::ValueId;
use crate::memory;
use crate::table::Table;

const SHARDS: usize = 64;
/// Tables with room for fewer inodes are not worth shrinking.
const ROOM_MIN: usize = 256;
/// When there were as many and most are forgotten, their memory goes back to the system.
const MANY: usize = SHARDS * ROOM_MIN;

/// What an inode stands for.
#[derive(Clone)]
pub(super) enum Node {
    /// A stored file, link or folder. Without a key its name was taken away.
    Stored {
        /// The key, with a final `/` for folders.
        key: Option<Box<[u8]>>,
        /// What the engine says of it.
        entry: Entry,
    },
    /// A file that somebody has open for writing.
    Open(Arc<OpenFile>),
}

/// One inode.
pub(super) struct Inode {
    /// The table it is in.
    pub(super) table: Arc<Table>,
    /// What it stands for.
    pub(super) node: Node,
    /// Lookups the kernel has not forgotten yet.
    lookups: u64,
    /// Open handles: while there are any, expiry does not hide the attributes.
    pub(super) handles: u32,
    /// The kernel may hold pages from before the bytes were fixed; the next open drops them.
    pub(super) stale_pages: bool,
}

type InodeShard = HashMap<u64, Box<Inode>>;

/// The map, sharded by inode number.
pub(super) struct Inodes {
    shards: Vec<Mutex<InodeShard>>,
    count: AtomicUsize,
    /// The most inodes there were since memory was last given back.
    most: AtomicUsize,
}

impl Inodes {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect(),
            count: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        }
    }

    /// One more inode.
    fn note_new(&self) {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(count, Ordering::Relaxed);
    }

    /// One inode less. No shard is locked.
    fn note_gone(&self) {
        let count = self.count.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
        let most = self.most.load(Ordering::Relaxed);
        if most >= MANY && count < most / 8 {
            let exchange =
                self.most.compare_exchange(most, count, Ordering::Relaxed, Ordering::Relaxed);
            if exchange.is_ok() {
                memory::give_back();
            }
        }
    }

    fn shard(&self, ino: u64) -> &Mutex<InodeShard> {
        #[expect(clippy::cast_possible_truncation, reason = "only the low bits choose the shard")]
        let index = ino as usize % SHARDS;
        &self.shards[index]
    }

    /// Counts one lookup of a stored entry; returns what the inode stands for.
    pub(super) fn learn_entry(
        &self,
        ino: u64,
        table: &Arc<Table>,
        key: &[u8],
        entry: &Entry,
    ) -> Known {
        let mut shard = self.shard(ino).lock();
        let inode = shard.entry(ino).or_insert_with(|| {
            self.note_new();
            Inode::new(table, Node::Stored { key: Some(key.into()), entry: *entry })
        });
        inode.lookups += 1;
        inode.known()
    }

    /// Counts one lookup of a file that is open for writing.
    pub(super) fn learn_open(&self, file: &Arc<OpenFile>) {
        let mut shard = self.shard(file.ino()).lock();
        let inode = shard.entry(file.ino()).or_insert_with(|| {
            self.note_new();
            Inode::new(file.table(), Node::Open(Arc::clone(file)))
        });
        inode.lookups += 1;
    }

    /// What a known inode stands for, without counting a lookup.
    pub(super) fn peek(&self, ino: u64) -> Option<Known> {
        self.shard(ino).lock().get(&ino).map(|inode| inode.known())
    }

    /// Looks at or changes one inode. ESTALE when the kernel names one that it has forgotten.
    pub(super) fn with<T>(&self, ino: u64, look: impl FnOnce(&mut Inode) -> T) -> Result<T> {
        self.shard(ino).lock().get_mut(&ino).map(|inode| look(inode)).ok_or(Errno::ESTALE)
    }

    /// As [`Inodes::with`], for those who do not mind that the kernel does not know the inode.
    pub(super) fn update(&self, ino: u64, change: impl FnOnce(&mut Inode)) {
        if let Some(inode) = self.shard(ino).lock().get_mut(&ino) {
            change(inode);
        }
    }

    /// Takes back lookups; the last one drops the inode.
    pub(super) fn forget(&self, ino: u64, lookups: u64) {
        let mut shard = self.shard(ino).lock();
        let Some(inode) = shard.get_mut(&ino) else { return };
        inode.lookups = inode.lookups.saturating_sub(lookups);
        if inode.lookups > 0 {
            return;
        }
        shard.remove(&ino);
        if shard.capacity() > ROOM_MIN && shard.len() < shard.capacity() / 8 {
            let room = 2 * shard.len();
            shard.shrink_to(room);
        }
        drop(shard);
        self.note_gone();
    }

    /// A stored file, link or folder has a new entry, under the key it had.
    pub(super) fn entry_changed(&self, ino: u64, changed: &Entry) {
        self.update(ino, |inode| {
            if let Node::Stored { entry, .. } = &mut inode.node {
                *entry = *changed;
            }
        });
    }

    /// A stored file, link or folder has a new key.
    pub(super) fn renamed(&self, ino: u64, to: &[u8], changed: &Entry) {
        self.update(ino, |inode| {
            if let Node::Stored { key, entry } = &mut inode.node {
                *key = Some(to.into());
                *entry = *changed;
            }
        });
    }

    /// The name of a stored file, link or folder is gone.
    pub(super) fn removed(&self, ino: u64) {
        self.update(ino, |inode| {
            if let Node::Stored { key, .. } = &mut inode.node {
                *key = None;
            }
        });
    }

    /// The names and inodes of a table that the kernel may have cached.
    pub(super) fn known_names(&self, number: u16) -> Vec<KnownName> {
        let mut keys = Vec::new();
        let mut folders = HashMap::from([(Vec::new(), ino_of(number, ValueId(0)))]);
        for shard in &self.shards {
            for (&ino, inode) in shard.lock().iter() {
                if table_number(ino) != Some(number) {
                    continue;
                }
                // Files that are open for writing do not expire, and their handles are at work.
                if let Node::Stored { key: Some(key), .. } = &inode.node {
                    if key.ends_with(b"/") {
                        folders.insert(key.to_vec(), ino);
                    }
                    keys.push((key.to_vec(), ino));
                }
            }
        }
        keys.into_iter()
            .filter_map(|(key, ino)| {
                let (folder, name) = split_key(&key);
                let parent = *folders.get(folder)?;
                Some(KnownName { parent, name: name.to_vec(), ino })
            })
            .collect()
    }

    /// How many inodes are held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}

/// An inode as it stood when it was asked for.
pub(super) enum Known {
    /// A stored file, link or folder, and whether it still has a name.
    Stored(Entry, bool),
    /// A file that somebody has open for writing.
    Open(Arc<OpenFile>),
}

impl Inode {
    fn new(table: &Arc<Table>, node: Node) -> Box<Self> {
        let table = Arc::clone(table);
        Box::new(Self { table, node, lookups: 0, handles: 0, stale_pages: false })
    }

    /// A handle was released. The kernel may have forgotten the inode and learnt it anew since the
    /// handle was opened.
    pub(super) fn close(&mut self) {
        self.handles = self.handles.saturating_sub(1);
    }

    fn known(&self) -> Known {
        match &self.node {
            Node::Stored { key, entry } => Known::Stored(*entry, key.is_some()),
            Node::Open(file) => Known::Open(Arc::clone(file)),
        }
    }
}
