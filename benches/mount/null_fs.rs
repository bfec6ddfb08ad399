//! A file system that does nothing: what a mount can reach at most with this library and kernel.
//!
//! It is mounted with the same session options and answers the same requests with the same flags
//! as littfs, but remembers only names and lengths. Files read as zeros.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, Session, SessionACL, TimeOrNow, WriteFlags,
};

/// As long as littfs lets the kernel remember what never expires.
const VALID: Duration = Duration::from_secs(86_400);
const GENERATION: Generation = Generation(0);
const BYTES_MAX: u32 = 1 << 20;
const BACKGROUND_MAX: u16 = 128;
const WANTED: [InitFlags; 7] = [
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
];

static ZEROS: [u8; BYTES_MAX as usize] = [0; BYTES_MAX as usize];

/// Mounts it and serves until it is unmounted.
pub(crate) fn serve(mountpoint: &Path, threads: usize) -> io::Result<()> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("null".to_owned()),
        MountOption::CUSTOM("subtype=null".to_owned()),
        MountOption::NoSuid,
        MountOption::NoDev,
    ];
    config.acl = SessionACL::Owner;
    config.n_threads = Some(threads);
    config.clone_fd = true;
    Session::new(NullFs::default(), mountpoint, &config)?.run()
}

#[derive(Default)]
struct NullFs {
    next: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    names: HashMap<(u64, OsString), u64>,
    inodes: HashMap<u64, Inode>,
}

#[derive(Clone, Copy)]
struct Inode {
    is_folder: bool,
    bytes: u64,
}

impl NullFs {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, parent: INodeNo, name: &OsStr, is_folder: bool) -> FileAttr {
        let ino = self.next.fetch_add(1, Ordering::Relaxed) + 2;
        let inode = Inode { is_folder, bytes: 0 };
        let mut state = self.state();
        state.names.insert((parent.0, name.to_owned()), ino);
        state.inodes.insert(ino, inode);
        attr_of(ino, inode)
    }

    fn attr(&self, ino: u64) -> Option<FileAttr> {
        let top = Inode { is_folder: true, bytes: 0 };
        let found = if ino == 1 { Some(top) } else { self.state().inodes.get(&ino).copied() };
        found.map(|inode| attr_of(ino, inode))
    }
}

fn attr_of(ino: u64, inode: Inode) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino),
        size: inode.bytes,
        blocks: inode.bytes.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: if inode.is_folder { FileType::Directory } else { FileType::RegularFile },
        perm: if inode.is_folder { 0o755 } else { 0o644 },
        nlink: if inode.is_folder { 2 } else { 1 },
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for NullFs {
    fn init(&mut self, _asked: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // What the kernel does not offer, littfs goes without, too.
        for wanted in WANTED {
            config.add_capabilities(wanted).ok();
        }
        config.set_max_write(BYTES_MAX).ok();
        config.set_max_background(BACKGROUND_MAX).ok();
        Ok(())
    }

    fn lookup(&self, _asked: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let ino = self.state().names.get(&(parent.0, name.to_owned())).copied();
        if let Some(attr) = ino.and_then(|ino| self.attr(ino)) {
            reply.entry(&VALID, &attr, GENERATION);
        } else {
            let nothing = attr_of(0, Inode { is_folder: false, bytes: 0 });
            reply.entry_with_ttls(&Duration::ZERO, &VALID, &nothing, GENERATION);
        }
    }

    fn forget(&self, _asked: &Request, _ino: INodeNo, _lookups: u64) {}

    fn getattr(&self, _asked: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.attr(ino.0) {
            Some(attr) => reply.attr(&VALID, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        asked: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        _size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.getattr(asked, ino, fh, reply);
    }

    fn mkdir(
        &self,
        _asked: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        reply.entry(&VALID, &self.add(parent, name, true), GENERATION);
    }

    fn unlink(&self, _asked: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut state = self.state();
        if let Some(ino) = state.names.remove(&(parent.0, name.to_owned())) {
            state.inodes.remove(&ino);
        }
        drop(state);
        reply.ok();
    }

    fn create(
        &self,
        _asked: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let attr = self.add(parent, name, false);
        let handle = FileHandle(attr.ino.0);
        reply.created(&VALID, &attr, GENERATION, handle, FopenFlags::FOPEN_DIRECT_IO);
    }

    fn open(&self, _asked: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
        reply.opened(FileHandle(ino.0), flags);
    }

    fn read(
        &self,
        _asked: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let bytes = self.state().inodes.get(&ino.0).map_or(0, |inode| inode.bytes);
        let wanted = bytes.saturating_sub(offset).min(size.min(BYTES_MAX).into());
        reply.data(&ZEROS[..usize::try_from(wanted).unwrap_or(0)]);
    }

    fn write(
        &self,
        _asked: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if let Some(inode) = self.state().inodes.get_mut(&ino.0) {
            inode.bytes = inode.bytes.max(offset + data.len() as u64);
        }
        reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX));
    }

    fn flush(
        &self,
        _asked: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn release(
        &self,
        _asked: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn fsync(
        &self,
        _asked: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn opendir(&self, _asked: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn readdir(
        &self,
        _asked: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: u64,
        reply: ReplyDirectory,
    ) {
        reply.ok();
    }

    fn readdirplus(
        &self,
        _asked: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        reply.ok();
    }

    fn statfs(&self, _asked: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        reply.statfs(1 << 30, 1 << 30, 1 << 30, 0, 0, 4096, 255, 4096);
    }

    fn getxattr(
        &self,
        _asked: &Request,
        _ino: INodeNo,
        _name: &OsStr,
        _size: u32,
        reply: ReplyXattr,
    ) {
        reply.error(Errno::EOPNOTSUPP);
    }

    fn listxattr(&self, _asked: &Request, _ino: INodeNo, _size: u32, reply: ReplyXattr) {
        reply.error(Errno::EOPNOTSUPP);
    }
}
