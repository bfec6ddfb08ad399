//! Files that are open for writing: pending ones, and those whose RELEASE is still on its way.
//!
//! Such a file lives here from CREATE (or from the open of an empty one) until its last writing
//! handle is released, whether or not it was stored in between, and everything that names it comes
//! here first: name, length and bytes are those of the writer. After the last release the engine
//! alone knows it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::attributes::Stat;
use super::errno::Errno;
use super::ino::{ino_of, table_number};
use super::keys::split_key;
use crate::format::attributes::Attributes;
use crate::format::entry::Entry;
use crate::sync::Condvar;
use crate::table::{Table, ValueReader, Writer};

const SHARDS: usize = 64;
/// How long the RELEASE is waited for that the kernel sends behind the last close. It is under way
/// before the close returns, so it comes at once, or some duplicate of the descriptor is open.
const RELEASE_PATIENCE: Duration = Duration::from_millis(100);

/// A file that somebody has, or just had, open for writing.
pub(super) struct OpenFile {
    table: Arc<Table>,
    ino: u64,
    state: Mutex<OpenState>,
    /// Told when the last writing handle is released.
    released: Condvar,
}

/// What changes about an open file.
pub(super) struct OpenState {
    /// Where it is named; None once it was unlinked or replaced.
    pub(super) name: Option<Name>,
    /// Its last writer is done, and the name is with the engine. Whoever found the file before
    /// that and looks at it now must not take it for an unlinked one.
    pub(super) handed_over: bool,
    /// Its bytes.
    pub(super) body: Body,
    /// Times, mode and owner as they are or will be stored.
    pub(super) attributes: Attributes,
    /// Somebody set the mtime; writes leave it alone from then on.
    pub(super) mtime_is_set: bool,
    /// What the engine has of it.
    pub(super) stored: Option<Entry>,
    /// The attributes are newer than the stored ones and could not be changed there.
    pub(super) attributes_unstored: bool,
    /// Whether descriptors were closed.
    pub(super) closed: Closed,
    /// Bytes that were written so far by storing it again.
    pub(super) repeated_bytes: u64,
    /// Why bytes were not taken that somebody wrote: the file would lack them, so it is not stored.
    pub(super) refused: Option<Errno>,
    /// Handles open for writing.
    pub(super) writers: u32,
    /// Handles that read through this file.
    pub(super) readers: u32,
}

/// Whether descriptors of an open file, its duplicates among them, were closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// Not one.
    Never,
    /// Nothing was written since: that may have been the last one.
    Last,
    /// And something was written since.
    Earlier,
}

/// Where an open file is named.
pub(super) struct Name {
    /// The inode of its folder.
    pub(super) parent: u64,
    /// Its key.
    pub(super) key: Box<[u8]>,
}

impl Name {
    /// The last component.
    pub(super) fn component(&self) -> &[u8] {
        split_key(&self.key).1
    }
}

/// Where the bytes of an open file are.
pub(super) enum Body {
    /// Still with the writer.
    Writing(Writer),
    /// Stored for good, and some handle still reads through this file.
    Stored(Arc<ValueReader>),
    /// Nobody reads them through this file any more.
    Gone,
}

impl OpenFile {
    pub(super) fn new(
        table: Arc<Table>,
        writer: Writer,
        name: Name,
        attributes: Attributes,
        stored: Option<Entry>,
    ) -> Self {
        let ino = ino_of(table.number(), writer.id());
        let state = OpenState {
            name: Some(name),
            handed_over: false,
            body: Body::Writing(writer),
            attributes,
            mtime_is_set: false,
            stored,
            attributes_unstored: false,
            closed: Closed::Never,
            repeated_bytes: 0,
            refused: None,
            writers: 1,
            readers: 0,
        };
        Self { table, ino, state: Mutex::new(state), released: Condvar::new() }
    }

    pub(super) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    pub(super) fn ino(&self) -> u64 {
        self.ino
    }

    /// Held over the I/O of the writer: whoever asks for the length waits for a write under way.
    pub(super) fn state(&self) -> MutexGuard<'_, OpenState> {
        self.state.lock()
    }

    /// The state as long as somebody has the file open for writing. From the last release on, which
    /// holds this lock to its end, the file is that which was stored: whoever finds it here by then
    /// must look there.
    pub(super) fn while_written(&self) -> Option<MutexGuard<'_, OpenState>> {
        let state = self.state();
        (state.writers > 0).then_some(state)
    }

    /// A writing handle was released. True when it was the last one; whoever waits for that goes
    /// on when the state is unlocked.
    pub(super) fn writer_released(&self, state: &mut OpenState) -> bool {
        state.writers -= 1;
        if state.writers == 0 {
            self.released.notify_all();
        }
        state.writers == 0
    }

    /// Whether nobody has it open for writing any more. A close cannot be told from the close of a
    /// duplicate until RELEASE comes or does not come.
    pub(super) fn is_released(&self, state: &mut MutexGuard<'_, OpenState>) -> bool {
        let deadline = Instant::now() + RELEASE_PATIENCE;
        while state.writers > 0 && state.closed == Closed::Last {
            if self.released.wait_until(state, deadline).timed_out() {
                break;
            }
        }
        state.writers == 0
    }
}

impl OpenState {
    pub(super) fn stat(&self, ino: u64) -> Stat {
        let links = u32::from(self.name.is_some() || self.handed_over);
        Stat { ino, size: self.len(), links, attributes: self.attributes }
    }

    pub(super) fn len(&self) -> u64 {
        match &self.body {
            Body::Writing(writer) => writer.len(),
            Body::Stored(reader) => reader.len(),
            Body::Gone => self.stored.map_or(0, |entry| entry.value_bytes),
        }
    }

    /// Bytes were changed at `now`.
    pub(super) fn touch(&mut self, now_ns: i64) {
        if self.closed == Closed::Last {
            self.closed = Closed::Earlier;
        }
        if !self.mtime_is_set {
            self.attributes.mtime_ns = now_ns;
        }
        self.attributes.ctime_ns = now_ns;
    }
}

/// The names of open files by folder, in byte order.
pub(super) struct OpenNames {
    shards: Vec<Mutex<HashMap<u64, FolderNames>>>,
}

type FolderNames = BTreeMap<Box<[u8]>, Arc<OpenFile>>;

impl OpenNames {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect() }
    }

    fn shard(&self, parent: u64) -> &Mutex<HashMap<u64, FolderNames>> {
        #[expect(clippy::cast_possible_truncation, reason = "only the low bits choose the shard")]
        let index = (parent ^ (parent >> 48)) as usize % SHARDS;
        &self.shards[index]
    }

    pub(super) fn get(&self, parent: u64, name: &[u8]) -> Option<Arc<OpenFile>> {
        self.shard(parent).lock().get(&parent)?.get(name).cloned()
    }

    pub(super) fn insert(&self, parent: u64, name: &[u8], file: &Arc<OpenFile>) {
        let mut shard = self.shard(parent).lock();
        shard.entry(parent).or_default().insert(name.into(), Arc::clone(file));
    }

    /// Takes a name away if it stands for this file.
    pub(super) fn remove(&self, name: &Name, file: &Arc<OpenFile>) {
        let mut shard = self.shard(name.parent).lock();
        let Some(folder) = shard.get_mut(&name.parent) else { return };
        if folder.get(name.component()).is_some_and(|other| Arc::ptr_eq(other, file)) {
            folder.remove(name.component());
            if folder.is_empty() {
                shard.remove(&name.parent);
            }
        }
    }

    /// Whether any file directly in the folder is open for writing.
    pub(super) fn any_in(&self, parent: u64) -> bool {
        self.shard(parent).lock().contains_key(&parent)
    }

    /// Whether any file anywhere in the table is open for writing.
    pub(super) fn any_in_table(&self, number: u16) -> bool {
        self.shards
            .iter()
            .any(|shard| shard.lock().keys().any(|&parent| table_number(parent) == Some(number)))
    }

    /// Adds the names in a folder that are at or above `from`.
    pub(super) fn names_from(&self, parent: u64, from: &[u8], names: &mut BTreeSet<Box<[u8]>>) {
        let shard = self.shard(parent).lock();
        let Some(folder) = shard.get(&parent) else { return };
        let at_or_above = (Bound::Included(from), Bound::Unbounded);
        names.extend(folder.range::<[u8], _>(at_or_above).map(|(name, _)| name.clone()));
    }

    /// Forgets all names.
    pub(super) fn clear(&self) {
        for shard in &self.shards {
            shard.lock().clear();
        }
    }
}
