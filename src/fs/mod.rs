//! What the mount does, in the words of the kernel, without knowing FUSE.
//!
//! Every function here is one operation as the kernel asks for it: inode numbers, names as bytes,
//! who asks; the answer is plain data or an [`Errno`]. `fuse/` translates, tests call directly.
//!
//! # States of a file
//!
//! *Pending* and everything up to the RELEASE of the last writing handle is an
//! [`open_file::OpenFile`]: it is in [`open_file::OpenNames`] under its name and in [`inodes`]
//! under its number, and both answer before the engine does. FLUSH (close) stores it; RELEASE
//! stores what was written since and leaves the file to the engine. *Settling* and *sealed* files
//! are the engine's; whether the grace or the time to live has passed is asked when an operation
//! arrives, so there are no timers here.
//!
//! # Invariants
//!
//! - A name is in `OpenNames` exactly while an `OpenFile` has it as its name.
//! - An inode is `Node::Open` from the creation (or reopening) of its file until the last writing
//!   handle is released.
//! - What `inodes` holds of a stored file is current: whoever changes it enters the change.
//! - The kernel is told nothing that outlives an expiry; what it was told and ceases to be true
//!   otherwise is taken back through [`Kernel`]. Values that are put, renamed or removed through the
//!   library beside a mount are the exception: see [`Db::refresh_mounts`].
//!
//! # Lock order
//!
//! 1. name locks (`name_locks`), two of them in the order of their stripes;
//! 2. the state of a folder handle;
//! 3. the state of open files, two of them in the order of their inode numbers;
//! 4. shards of `OpenNames`, `Inodes` and `Handles`: one at a time, never across a call of the
//!    engine, nothing is locked while one is held.
//!
//! The engine is called under 1, 2 and 3 and calls nothing back.
//!
//! # Not done here
//!
//! Permission checks (the kernel makes them, `default_permissions`, or lets only the owner in),
//! advisory locks (the kernel's own), and flushing at the end: who opened the database closes it.

mod attributes;
mod create;
mod directories;
mod errno;
mod failures;
mod handles;
mod ino;
mod inodes;
mod kernel;
mod keys;
mod listing;
mod lookup;
mod name_locks;
mod open_file;
mod positions;
mod read;
mod remove;
mod rename;
mod setattr;
#[cfg(test)]
mod tests;
mod tree;
mod watch;
mod write;
mod xattrs;

use std::sync::Arc;

use parking_lot::Mutex;

pub(crate) use self::attributes::{Answer, BLOCK_BYTES, Stat};
pub(crate) use self::create::Opened;
pub(crate) use self::errno::{Errno, Result};
pub(crate) use self::failures::Subject;
pub(crate) use self::ino::TOP_INO;
pub(crate) use self::kernel::{Kernel, KnownName};
pub(crate) use self::keys::NAME_BYTES_MAX;
pub(crate) use self::listing::DirEntry;
pub(crate) use self::lookup::LookupAnswer;
pub(crate) use self::setattr::{Changes, SetTime};
pub(crate) use self::xattrs::SetMode;

use self::handles::Handles;
use self::ino::{ino_of, is_table_folder, table_number};
use self::inodes::{Inodes, Known, Node};
use self::keys::split_key;
use self::name_locks::NameLocks;
use self::open_file::OpenNames;
use self::watch::TableWatch;
use crate::db::{Db, Space};
use crate::format::attributes::{Attributes, Kind};
use crate::format::record::KEY_BYTES_MAX;
use crate::table::{Table, TableSettings, Watcher};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// User.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
}

/// How a mount behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FsOptions {
    /// Every change is refused.
    pub(crate) read_only: bool,
    /// Who owns the top folder.
    pub(crate) owner: Caller,
    /// The permissions of the top folder.
    pub(crate) top_permissions: u32,
    /// Permissions that nothing new gets, whatever its maker asks for.
    pub(crate) umask: u32,
    /// What tables made by mkdir start with.
    pub(crate) table_settings: TableSettings,
}

/// A mounted database.
pub(crate) struct Fs {
    db: Db,
    kernel: Arc<dyn Kernel>,
    read_only: bool,
    umask: u32,
    table_settings: TableSettings,
    top: Mutex<Attributes>,
    inodes: Arc<Inodes>,
    /// Held for the database, which knows it only as long as it is there.
    _watch: Arc<dyn Watcher>,
    handles: Handles,
    names: OpenNames,
    name_locks: NameLocks,
}

/// A name in a folder of a table, and what is needed of that folder.
struct Child {
    table: Arc<Table>,
    /// The inode of the folder.
    parent: u64,
    /// The key of the name as a file.
    key: Vec<u8>,
    /// Attributes of the folder.
    folder: Attributes,
}

impl Child {
    fn name(&self) -> &[u8] {
        split_key(&self.key).1
    }

    /// The key of the name as a folder; ENAMETOOLONG for names that can only be files.
    fn folder_key(&self) -> Result<Vec<u8>> {
        if self.key.len() >= KEY_BYTES_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let mut key = Vec::with_capacity(self.key.len() + 1);
        key.extend_from_slice(&self.key);
        key.push(b'/');
        Ok(key)
    }

    fn ino(&self, entry: &crate::format::entry::Entry) -> u64 {
        ino_of(self.table.number(), entry.id)
    }
}

/// Where a name is.
enum Spot {
    /// In the top folder: the name of a table, if it could be one.
    Table(String),
    /// In a table.
    Child(Child),
}

/// A folder to list or to put names into.
enum Folder {
    Top,
    In { table: Arc<Table>, key: Box<[u8]>, attributes: Attributes },
}

impl Fs {
    pub(crate) fn new(db: Db, kernel: Arc<dyn Kernel>, options: FsOptions) -> Self {
        let now_ns = db.clock().now_ns();
        let owner = options.owner;
        let permissions = options.top_permissions;
        let top = Attributes::new_at_ns(Kind::Folder, permissions, owner.uid, owner.gid, now_ns);
        let inodes = Arc::new(Inodes::new());
        let watch: Arc<dyn Watcher> =
            Arc::new(TableWatch { kernel: Arc::clone(&kernel), inodes: Arc::clone(&inodes) });
        db.watch(&watch);
        Self {
            read_only: options.read_only || db.is_read_only(),
            umask: options.umask,
            table_settings: options.table_settings,
            kernel,
            top: Mutex::new(top),
            inodes,
            _watch: watch,
            handles: Handles::new(),
            names: OpenNames::new(),
            name_locks: NameLocks::new(),
            db,
        }
    }

    /// Space of the drives.
    pub(crate) fn space(&self) -> Result<Space> {
        Ok(self.db.space()?)
    }

    fn now_ns(&self) -> u64 {
        self.db.clock().now_ns()
    }

    fn writable(&self) -> Result<()> {
        if self.read_only { Err(Errno::EROFS) } else { Ok(()) }
    }

    /// The table that an inode is in.
    fn table_of(&self, ino: u64) -> Result<Arc<Table>> {
        table_number(ino).and_then(|number| self.db.table_by_number(number)).ok_or(Errno::ESTALE)
    }

    /// The folder with this inode number; ENOENT when it is gone.
    fn folder(&self, ino: u64) -> Result<Folder> {
        if ino == TOP_INO {
            return Ok(Folder::Top);
        }
        if is_table_folder(ino) {
            let table = self.table_of(ino).map_err(|_gone| Errno::ENOENT)?;
            let attributes = table.attributes();
            return Ok(Folder::In { table, key: Box::default(), attributes });
        }
        let (table, key, entry) = self.inodes.with(ino, |inode| match &inode.node {
            Node::Stored { key: Some(key), entry } => {
                Ok((Arc::clone(&inode.table), key.clone(), *entry))
            }
            Node::Stored { key: None, .. } => Err(Errno::ENOENT),
            Node::Open(_) => Err(Errno::ENOTDIR),
        })??;
        if entry.kind() != Kind::Folder {
            return Err(Errno::ENOTDIR);
        }
        // A folder lives on with what is put into it, so what is remembered may be too pessimistic.
        let entry = if table.is_expired(&entry) {
            let entry = table.entry(&key)?.ok_or(Errno::ENOENT)?;
            self.inodes.entry_changed(ino, &entry);
            entry
        } else {
            entry
        };
        Ok(Folder::In { table, key, attributes: entry.attributes })
    }

    /// Where a name is; ENAMETOOLONG for names that no key can have.
    fn spot(&self, parent: u64, name: &[u8]) -> Result<Spot> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        match self.folder(parent)? {
            Folder::Top => Ok(Spot::Table(String::from_utf8_lossy(name).into_owned())),
            Folder::In { table, key: folder_key, attributes } => {
                if folder_key.len() + name.len() > KEY_BYTES_MAX {
                    return Err(Errno::ENAMETOOLONG);
                }
                let mut key = Vec::with_capacity(folder_key.len() + name.len() + 1);
                key.extend_from_slice(&folder_key);
                key.extend_from_slice(name);
                Ok(Spot::Child(Child { table, parent, key, folder: attributes }))
            }
        }
    }

    /// As [`Fs::spot`] for changes, which the top folder refuses.
    fn child(&self, parent: u64, name: &[u8]) -> Result<Child> {
        match self.spot(parent, name)? {
            Spot::Table(_) => Err(Errno::EPERM),
            Spot::Child(child) => Ok(child),
        }
    }

    /// The inode number of the folder that holds a key.
    fn parent_ino(table: &Table, key: &[u8]) -> Result<u64> {
        let (folder, _) = split_key(key);
        if folder.is_empty() {
            return Ok(ino_of(table.number(), crate::format::location::ValueId(0)));
        }
        let entry = table.entry(folder)?.ok_or(Errno::ENOENT)?;
        Ok(ino_of(table.number(), entry.id))
    }

    /// Attributes of something new in a folder: a folder with the set-group-id bit hands down its
    /// group, and to folders the bit as well. The umask of the caller is in the permissions
    /// already, that of the mount is taken off here; of links nobody asks for permissions.
    fn new_attributes(
        &self,
        caller: Caller,
        folder: &Attributes,
        kind: Kind,
        permissions: u32,
    ) -> Attributes {
        let inherits = folder.permissions() & libc::S_ISGID != 0;
        let gid = if inherits { folder.gid } else { caller.gid };
        let handed_down = if inherits && kind == Kind::Folder { libc::S_ISGID } else { 0 };
        let permissions =
            if kind == Kind::Symlink { permissions } else { permissions & !self.umask };
        Attributes::new_at_ns(kind, permissions | handed_down, caller.uid, gid, self.now_ns())
    }
}
