//! One request of the kernel after the other: from the words of `fuser` to those of `fs`, and back.
//!
//! No request is left to the library's defaults: most of those say "not implemented", which makes
//! the kernel stop sending that kind of request for the whole mount. It is said here only where
//! that is the wish: the kernel then serves LSEEK, `COPY_FILE_RANGE`, POLL and BMAP itself, as for
//! any file without holes, and locks stay with the kernel.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, FopenFlags, INodeNo,
    InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyBmap, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs,
    ReplyWrite, ReplyXattr, Request as Asked, TimeOrNow, WriteFlags,
};

use super::convert::{
    GENERATION, attr, caller, dot_attr, empty, entry, file_attr, file_type, nanoseconds, nothing,
    open_flags, xattr,
};
use super::counts::{Request, RequestCounts};
use super::ended::Ended;
use crate::cast;
use crate::fs::{BLOCK_BYTES, Changes, Fs, Item, Lookup, NAME_BYTES_MAX, SetMode, SetTime};

/// Largest WRITE and READ.
const WRITE_BYTES_MAX: u32 = 1 << 20;
/// Requests that nobody waits for (readahead, RELEASE) which the kernel keeps under way.
const BACKGROUND_MAX: u16 = 128;

/// Asked for when the kernel offers it.
const WANTED: [InitFlags; 8] = [
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
    // Who takes set-user-id away when an owner or bytes change. The kernel would ask for the
    // attributes before each change of an owner.
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
];

thread_local! {
    /// What READ replies are made in; as long as the longest so far.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(super) struct Translator {
    fs: Fs,
    counts: Arc<RequestCounts>,
    ended: Arc<Ended>,
}

impl Translator {
    pub(super) fn new(fs: Fs, counts: Arc<RequestCounts>, ended: Arc<Ended>) -> Self {
        Self { fs, counts, ended }
    }

    fn count(&self, request: Request) {
        self.counts.count(request);
    }
}

impl Filesystem for Translator {
    fn init(&mut self, _asked: &Asked, config: &mut KernelConfig) -> io::Result<()> {
        for wanted in WANTED {
            if config.add_capabilities(wanted).is_err() {
                log::debug!("the kernel does not offer {wanted:?}");
            }
        }
        let limits = [
            config.set_max_write(WRITE_BYTES_MAX).err().map(|_nearest| "write size"),
            config.set_max_background(BACKGROUND_MAX).err().map(|_nearest| "background requests"),
        ];
        for limit in limits.into_iter().flatten() {
            log::debug!("the limit of the {limit} stays as it is");
        }
        Ok(())
    }

    fn destroy(&mut self) {
        self.fs.finish_all();
        self.ended.set();
    }

    fn lookup(&self, _asked: &Asked, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.count(Request::Lookup);
        match self.fs.lookup(parent.0, name.as_bytes()) {
            Ok(Lookup::Found(found)) => entry(reply, Ok(found)),
            Ok(Lookup::Absent(valid)) => {
                reply.entry_with_ttls(&Duration::ZERO, &valid, &nothing(), GENERATION);
            }
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn forget(&self, _asked: &Asked, ino: INodeNo, lookups: u64) {
        self.count(Request::Forget);
        self.fs.forget(ino.0, lookups);
    }

    fn getattr(&self, _asked: &Asked, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        self.count(Request::GetAttr);
        attr(reply, self.fs.getattr(ino.0));
    }

    fn setattr(
        &self,
        asked: &Asked,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.count(Request::SetAttr);
        let mtime = mtime.map(|mtime| match mtime {
            TimeOrNow::Now => SetTime::Now,
            TimeOrNow::SpecificTime(at) => SetTime::At(nanoseconds(at)),
        });
        let handle = fh.map(|fh| fh.0);
        let changes = Changes { size, mode, uid, gid, mtime, atime: atime.is_some(), handle };
        attr(reply, self.fs.setattr(caller(asked), ino.0, &changes));
    }

    fn readlink(&self, _asked: &Asked, ino: INodeNo, reply: ReplyData) {
        self.count(Request::ReadLink);
        match self.fs.readlink(ino.0) {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn mknod(
        &self,
        asked: &Asked,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        self.count(Request::Mknod);
        entry(reply, self.fs.mknod(caller(asked), parent.0, name.as_bytes(), mode));
    }

    fn mkdir(
        &self,
        asked: &Asked,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        self.count(Request::Mkdir);
        entry(reply, self.fs.mkdir(caller(asked), parent.0, name.as_bytes(), mode));
    }

    fn unlink(&self, _asked: &Asked, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.count(Request::Unlink);
        empty(reply, self.fs.unlink(parent.0, name.as_bytes()));
    }

    fn rmdir(&self, _asked: &Asked, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.count(Request::Rmdir);
        empty(reply, self.fs.rmdir(parent.0, name.as_bytes()));
    }

    fn symlink(
        &self,
        asked: &Asked,
        parent: INodeNo,
        link_name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        self.count(Request::Symlink);
        let target = target.as_os_str().as_bytes();
        entry(reply, self.fs.symlink(caller(asked), parent.0, link_name.as_bytes(), target));
    }

    fn rename(
        &self,
        _asked: &Asked,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.count(Request::Rename);
        let from = (parent.0, name.as_bytes());
        let to = (newparent.0, newname.as_bytes());
        empty(reply, self.fs.rename(from, to, flags.bits()));
    }

    fn link(
        &self,
        _asked: &Asked,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        self.count(Request::Link);
        entry(reply, self.fs.link(ino.0, newparent.0, newname.as_bytes()));
    }

    fn open(&self, _asked: &Asked, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.count(Request::Open);
        match self.fs.open(ino.0, flags.0) {
            Ok(opened) => reply.opened(FileHandle(opened.handle), open_flags(&opened)),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn create(
        &self,
        asked: &Asked,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        self.count(Request::Create);
        match self.fs.create(caller(asked), parent.0, name.as_bytes(), mode, flags) {
            Ok((found, opened)) => reply.created(
                &found.valid(),
                &file_attr(&found.stat),
                GENERATION,
                FileHandle(opened.handle),
                open_flags(&opened),
            ),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn read(
        &self,
        _asked: &Asked,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.count(Request::Read);
        let size = size.min(WRITE_BYTES_MAX) as usize;
        BUFFER.with_borrow_mut(|buffer| {
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            match self.fs.read(fh.0, offset, &mut buffer[..size]) {
                Ok(length) => reply.data(&buffer[..length]),
                Err(errno) => reply.error(errno.into()),
            }
        });
    }

    fn write(
        &self,
        _asked: &Asked,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.count(Request::Write);
        let drops = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        let dropped = if drops { self.fs.write_drops_set_ids(fh.0) } else { Ok(()) };
        match dropped.and_then(|()| self.fs.write(fh.0, offset, data, flags.0)) {
            Ok(()) => reply.written(cast::to_u32(data.len())),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn flush(
        &self,
        _asked: &Asked,
        _ino: INodeNo,
        fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        self.count(Request::Flush);
        empty(reply, self.fs.flush(fh.0));
    }

    fn release(
        &self,
        _asked: &Asked,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.count(Request::Release);
        self.fs.release(fh.0);
        reply.ok();
    }

    fn fsync(
        &self,
        _asked: &Asked,
        _ino: INodeNo,
        fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.count(Request::Fsync);
        empty(reply, self.fs.fsync(fh.0));
    }

    fn opendir(&self, _asked: &Asked, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.count(Request::OpenDir);
        match self.fs.opendir(ino.0) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn readdir(
        &self,
        _asked: &Asked,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        self.count(Request::ReadDir);
        let listed = self.fs.readdir(fh.0, offset, false, &mut |item: &Item<'_>| {
            let name = OsStr::from_bytes(item.name);
            reply.add(INodeNo(item.ino), item.offset, file_type(item.kind), name)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn readdirplus(
        &self,
        _asked: &Asked,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        self.count(Request::ReadDirPlus);
        let listed = self.fs.readdir(fh.0, offset, true, &mut |item: &Item<'_>| {
            let name = OsStr::from_bytes(item.name);
            let (valid, attr) = match &item.found {
                Some(found) => (found.valid(), file_attr(&found.stat)),
                // The kernel takes no more than number and type of "." and "..", and asks again for
                // tables that cannot be opened, since nothing it is told of them holds.
                None => (Duration::ZERO, dot_attr(item)),
            };
            reply.add(INodeNo(item.ino), item.offset, name, &valid, &attr, GENERATION)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn releasedir(
        &self,
        _asked: &Asked,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.count(Request::ReleaseDir);
        self.fs.releasedir(fh.0);
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _asked: &Asked,
        _ino: INodeNo,
        fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.count(Request::FsyncDir);
        empty(reply, self.fs.fsyncdir(fh.0));
    }

    fn statfs(&self, _asked: &Asked, _ino: INodeNo, reply: ReplyStatfs) {
        self.count(Request::StatFs);
        let block = u64::from(BLOCK_BYTES);
        let name_bytes_max = cast::to_u32(NAME_BYTES_MAX);
        match self.fs.space() {
            Ok(space) => reply.statfs(
                space.total / block,
                space.free / block,
                space.available / block,
                0,
                0,
                BLOCK_BYTES,
                name_bytes_max,
                BLOCK_BYTES,
            ),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn setxattr(
        &self,
        asked: &Asked,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        self.count(Request::SetXattr);
        let set = SetMode::from_flags(flags)
            .and_then(|mode| self.fs.setxattr(caller(asked), ino.0, name.as_bytes(), value, mode));
        empty(reply, set);
    }

    fn getxattr(&self, _asked: &Asked, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.count(Request::GetXattr);
        let value = self.fs.getxattr(ino.0, name.as_bytes());
        xattr(reply, size, value.as_deref().map_err(|errno| *errno));
    }

    fn listxattr(&self, _asked: &Asked, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.count(Request::ListXattr);
        xattr(reply, size, self.fs.listxattr(ino.0));
    }

    fn removexattr(&self, _asked: &Asked, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.count(Request::RemoveXattr);
        empty(reply, self.fs.removexattr(ino.0, name.as_bytes()));
    }

    fn access(&self, asked: &Asked, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        self.count(Request::Access);
        empty(reply, self.fs.access(caller(asked), ino.0, mask.bits()));
    }

    fn getlk(
        &self,
        _asked: &Asked,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        _start: u64,
        _end: u64,
        _typ: i32,
        _pid: u32,
        reply: ReplyLock,
    ) {
        self.count(Request::GetLk);
        reply.error(fuser::Errno::ENOSYS);
    }

    fn setlk(
        &self,
        _asked: &Asked,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        _start: u64,
        _end: u64,
        _typ: i32,
        _pid: u32,
        _sleep: bool,
        reply: ReplyEmpty,
    ) {
        self.count(Request::SetLk);
        reply.error(fuser::Errno::ENOSYS);
    }

    fn bmap(&self, _asked: &Asked, _ino: INodeNo, _blocksize: u32, _idx: u64, reply: ReplyBmap) {
        self.count(Request::Bmap);
        reply.error(fuser::Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        _asked: &Asked,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        self.count(Request::Ioctl);
        reply.error(fuser::Errno::ENOTTY);
    }

    fn poll(
        &self,
        _asked: &Asked,
        _ino: INodeNo,
        _fh: FileHandle,
        _ph: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        self.count(Request::Poll);
        reply.error(fuser::Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        _asked: &Asked,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.count(Request::Fallocate);
        empty(reply, self.fs.fallocate(fh.0, offset, length, mode));
    }

    fn lseek(
        &self,
        _asked: &Asked,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        self.count(Request::Lseek);
        reply.error(fuser::Errno::ENOSYS);
    }

    fn copy_file_range(
        &self,
        _asked: &Asked,
        _ino_in: INodeNo,
        _fh_in: FileHandle,
        _offset_in: u64,
        _ino_out: INodeNo,
        _fh_out: FileHandle,
        _offset_out: u64,
        _len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        self.count(Request::CopyFileRange);
        reply.error(fuser::Errno::ENOSYS);
    }
}
