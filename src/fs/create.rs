//! CREATE, MKNOD and OPEN: how handles on files come to be.

use std::sync::Arc;

use super::handles::Handle;
use super::open_file::{Closed, Name, OpenFile};
use super::{Answer, Caller, Child, Errno, Fs, LookupAnswer, Node, Result, split_key};
use crate::error::Error;
use crate::format::attributes::Kind;
use crate::format::entry::Entry;
use crate::table::{Table, ValueReader};

/// How often a name may come and go under a creation.
const CREATE_ATTEMPTS: u32 = 8;

/// A new handle, and what the kernel may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// The number of the handle.
    pub(crate) handle: u64,
    /// The bytes may still change: every read and write is to come here.
    pub(crate) direct_io: bool,
    /// Pages cached earlier are still good.
    pub(crate) keep_cache: bool,
    /// Closing needs no FLUSH.
    pub(crate) no_flush: bool,
}

impl Opened {
    fn for_writing(handle: u64) -> Self {
        Self { handle, direct_io: true, keep_cache: false, no_flush: false }
    }

    fn while_written(handle: u64) -> Self {
        Self { handle, direct_io: true, keep_cache: false, no_flush: true }
    }

    fn stored(handle: u64, keep_cache: bool) -> Self {
        Self { handle, direct_io: false, keep_cache, no_flush: true }
    }
}

/// Whether open flags ask for more than reading.
fn wants_to_write(flags: i32) -> bool {
    flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0
}

impl Fs {
    /// Creates a file and opens it for writing. A file that is there already is opened, unless
    /// `O_EXCL` forbids it. The inode is to be forgotten once more.
    pub(crate) fn create(
        &self,
        caller: Caller,
        parent: u64,
        name: &[u8],
        mode: u32,
        flags: i32,
    ) -> Result<(Answer, Opened)> {
        self.writable()?;
        // A name that is there can be gone before it is opened; then it is free after all.
        for _ in 0..CREATE_ATTEMPTS {
            match self.try_create(caller, parent, name, mode, flags) {
                Err(errno) if errno == Errno::ESTALE => {}
                done => return done,
            }
        }
        Err(Errno::ESTALE)
    }

    fn try_create(
        &self,
        caller: Caller,
        parent: u64,
        name: &[u8],
        mode: u32,
        flags: i32,
    ) -> Result<(Answer, Opened)> {
        let child = self.child(parent, name)?;
        let held = self.name_locks.lock(parent, name);
        if self.names.get(parent, name).is_some() || Self::stored(&child)?.is_some() {
            drop(held);
            if flags & libc::O_EXCL != 0 {
                return Err(Errno::EEXIST);
            }
            return self.open_existing(parent, name, flags);
        }
        let attributes = self.new_attributes(caller, &child.folder, Kind::File, mode);
        let writer = child.table.writer_in_folder()?;
        let place = Name { parent, key: child.key.into_boxed_slice() };
        let file = Arc::new(OpenFile::new(child.table, writer, place, attributes, None));
        self.names.insert(parent, name, &file);
        self.inodes.learn_open(&file);
        let found = Self::found_open(&file);
        self.inodes.update(file.ino(), |inode| inode.handles += 1);
        let handle = self.handles.insert(Handle::Write(file));
        Ok((found, Opened::for_writing(handle)))
    }

    fn open_existing(&self, parent: u64, name: &[u8], flags: i32) -> Result<(Answer, Opened)> {
        let LookupAnswer::Found(found) = self.lookup(parent, name)? else {
            return Err(Errno::ESTALE);
        };
        match self.open(found.stat.ino, flags) {
            Ok(opened) => Ok((found, opened)),
            Err(errno) => {
                self.forget(found.stat.ino, 1);
                Err(errno)
            }
        }
    }

    /// Makes an empty file, closed; other types are refused. The inode is to be forgotten once
    /// more.
    pub(crate) fn mknod(
        &self,
        caller: Caller,
        parent: u64,
        name: &[u8],
        mode: u32,
    ) -> Result<Answer> {
        self.writable()?;
        if !matches!(mode & libc::S_IFMT, 0 | libc::S_IFREG) {
            return Err(Errno::EPERM);
        }
        let child = self.child(parent, name)?;
        let _held = self.name_locks.lock(parent, name);
        self.refuse_existing(&child)?;
        let attributes = self.new_attributes(caller, &child.folder, Kind::File, mode);
        let entry = child.table.writer_in_folder()?.store(&child.key, attributes)?;
        self.name_locks.changed(parent);
        Ok(self.learn_entry(&child.table, &child.key, &entry))
    }

    /// EEXIST when the name stands for anything. The name lock is held.
    pub(super) fn refuse_existing(&self, child: &Child) -> Result<()> {
        let taken = self.names.get(child.parent, child.name()).is_some();
        if taken || Self::stored(child)?.is_some() { Err(Errno::EEXIST) } else { Ok(()) }
    }

    /// Opens a file.
    pub(crate) fn open(&self, ino: u64, flags: i32) -> Result<Opened> {
        let mut openable = self.openable(ino)?;
        if let Openable::Open(file) = &openable {
            if let Some(opened) = self.open_open(file, flags)? {
                return Ok(opened);
            }
            // Its last writing handle was released in between.
            openable = self.openable(ino)?;
        }
        let Openable::Stored { table, key, entry } = openable else { return Err(Errno::ESTALE) };
        match entry.kind() {
            Kind::File => {}
            Kind::Folder => return Err(Errno::EISDIR),
            Kind::Symlink => return Err(Errno::EINVAL),
        }
        if table.is_expired(&entry) {
            // The kernel answers ESTALE by looking the name up again, and then finds it gone.
            return Err(Errno::ESTALE);
        }
        if wants_to_write(flags) {
            self.writable()?;
            return self.reopen(ino, &table, key.as_deref(), &entry);
        }
        let reader = Box::new(open_value(&table, key.as_deref(), &entry)?);
        let mut keep_cache = true;
        self.inodes.update(ino, |inode| {
            inode.handles += 1;
            keep_cache = !std::mem::take(&mut inode.stale_pages);
        });
        Ok(Opened::stored(self.handles.insert(Handle::Read { ino, reader }), keep_cache))
    }

    fn openable(&self, ino: u64) -> Result<Openable> {
        if ino == super::TOP_INO || super::is_table_folder(ino) {
            return Err(Errno::EISDIR);
        }
        self.inodes.with(ino, |inode| match &inode.node {
            Node::Open(file) => Openable::Open(Arc::clone(file)),
            Node::Stored { key, entry } => Openable::Stored {
                table: Arc::clone(&inode.table),
                key: key.clone(),
                entry: *entry,
            },
        })
    }

    /// Opens a file that has a writer; None when it has none any more.
    fn open_open(&self, file: &Arc<OpenFile>, flags: i32) -> Result<Option<Opened>> {
        let mut state = file.state();
        if state.writers == 0 {
            return Ok(None);
        }
        if !wants_to_write(flags) {
            state.readers += 1;
            drop(state);
            self.inodes.update(file.ino(), |inode| inode.handles += 1);
            let handle = self.handles.insert(Handle::ReadOpen(Arc::clone(file)));
            return Ok(Some(Opened::while_written(handle)));
        }
        self.writable()?;
        if file.is_released(&mut state) {
            return Ok(None);
        }
        // Empty, and closed as far as can be told. On a drive that stalls RELEASE can be late, and
        // `touch f; echo x > f` must not fail for that: the writer simply goes on.
        if state.closed != Closed::Last || state.len() != 0 {
            return Err(Errno::EBUSY);
        }
        state.writers += 1;
        drop(state);
        self.inodes.update(file.ino(), |inode| inode.handles += 1);
        let handle = self.handles.insert(Handle::Write(Arc::clone(file)));
        Ok(Some(Opened::for_writing(handle)))
    }

    /// Opens a settling file for writing, which only an empty one allows.
    fn reopen(
        &self,
        ino: u64,
        table: &Arc<Table>,
        key: Option<&[u8]>,
        entry: &Entry,
    ) -> Result<Opened> {
        let key = key.ok_or(Errno::EPERM)?;
        if entry.value_bytes != 0 || table.is_sealed(entry) {
            return Err(Errno::EPERM);
        }
        let parent = Self::parent_ino(table, key)?;
        let name = split_key(key).1;
        let held = self.name_locks.lock(parent, name);
        // Somebody may have been faster, with this file or with its name.
        let (key, entry) = match self.openable(ino)? {
            Openable::Open(file) => {
                drop(held);
                return self.open_open(&file, libc::O_WRONLY)?.ok_or(Errno::ESTALE);
            }
            Openable::Stored { key: Some(now), entry, .. } if *now == *key => (now, entry),
            Openable::Stored { .. } => return Err(Errno::ESTALE),
        };
        let writer = table.reopen_empty(&entry).map_err(|error| match error {
            Error::Exists { .. } => Errno::EPERM,
            error => error.into(),
        })?;
        let name = Name { parent, key };
        let component = name.component().to_vec();
        let file = OpenFile::new(Arc::clone(table), writer, name, entry.attributes, Some(entry));
        let file = Arc::new(file);
        // Before anybody can find it.
        let mut state = file.state();
        self.names.insert(parent, &component, &file);
        self.inodes.update(ino, |inode| {
            // Who has the empty file open reads what is written now.
            state.readers = inode.handles;
            inode.node = Node::Open(Arc::clone(&file));
            inode.handles += 1;
        });
        drop(state);
        Ok(Opened::for_writing(self.handles.insert(Handle::Write(file))))
    }
}

enum Openable {
    Open(Arc<OpenFile>),
    Stored { table: Arc<Table>, key: Option<Box<[u8]>>, entry: Entry },
}

/// Opens a stored value. The engine may have moved the record since the entry was read; then what
/// it says now counts.
pub(super) fn open_value(table: &Table, key: Option<&[u8]>, entry: &Entry) -> Result<ValueReader> {
    match table.open_value(entry) {
        Ok(reader) => Ok(reader),
        Err(error @ (Error::NotFound { .. } | Error::MissingFile { .. })) => {
            let current = match key {
                Some(key) => table.entry(key)?.filter(|current| current.id == entry.id),
                None => None,
            };
            match current {
                Some(current) if current != *entry => Ok(table.open_value(&current)?),
                Some(_) => Err(error.into()),
                // Renamed, replaced, removed or expired since it was looked up, and its bytes are
                // there no more: the kernel looks the name up again.
                None => Err(Errno::ESTALE),
            }
        }
        Err(error) => Err(error.into()),
    }
}
