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
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyBmap, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs,
    ReplyWrite, ReplyXattr, Request as Asked, TimeOrNow, WriteFlags,
};

use super::convert::{
    GENERATION, attr, caller, dot_attr, empty, entry, file_attr, file_type, nanoseconds, nothing,
    open_flags, space, xattr,
};
use super::counts::{Request, RequestCounts};
use super::ended::Ended;
use super::negotiate::{WRITE_BYTES_MAX, negotiate};
use crate::cast;
use crate::fs::{self, Changes, DirEntry, Fs, LookupAnswer, SetMode, SetTime, Subject};

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

    /// Counts a request that is answered without `fs`, or cannot fail.
    fn count(&self, request: Request) {
        self.counts.count(request);
    }

    /// Counts a request, has `fs` do what it asks for, and logs a failure that its reply hides.
    fn ask<T>(
        &self,
        request: Request,
        subject: Subject<'_>,
        operate: impl FnOnce(&Fs) -> fs::Result<T>,
    ) -> Result<T, fuser::Errno> {
        self.count(request);
        operate(&self.fs).map_err(|errno| {
            self.fs.log_failure(request.name(), subject, &errno);
            (&errno).into()
        })
    }
}

/// A name in a folder, as the subject of a request.
fn named(folder: INodeNo, name: &OsStr) -> Subject<'_> {
    Subject::Name(folder.0, name.as_bytes())
}

impl Filesystem for Translator {
    fn init(&mut self, _asked: &Asked, config: &mut KernelConfig) -> io::Result<()> {
        negotiate(config);
        Ok(())
    }

    fn destroy(&mut self) {
        self.fs.finish_all();
        self.ended.set();
    }

    fn lookup(&self, _asked: &Asked, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let answer = self
            .ask(Request::Lookup, named(parent, name), |fs| fs.lookup(parent.0, name.as_bytes()));
        match answer {
            Ok(LookupAnswer::Found(found)) => entry(reply, Ok(found)),
            Ok(LookupAnswer::Absent(valid)) => {
                reply.entry_with_ttls(&Duration::ZERO, &valid, &nothing(), GENERATION);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn forget(&self, _asked: &Asked, ino: INodeNo, lookups: u64) {
        self.count(Request::Forget);
        self.fs.forget(ino.0, lookups);
    }

    fn getattr(&self, _asked: &Asked, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        attr(reply, self.ask(Request::GetAttr, Subject::Inode(ino.0), |fs| fs.getattr(ino.0)));
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
        let mtime = mtime.map(|mtime| match mtime {
            TimeOrNow::Now => SetTime::Now,
            TimeOrNow::SpecificTime(at) => SetTime::At(nanoseconds(at)),
        });
        let handle = fh.map(|fh| fh.0);
        let changes = Changes { size, mode, uid, gid, mtime, atime: atime.is_some(), handle };
        let answer = self.ask(Request::SetAttr, Subject::Inode(ino.0), |fs| {
            fs.setattr(caller(asked), ino.0, &changes)
        });
        attr(reply, answer);
    }

    fn readlink(&self, _asked: &Asked, ino: INodeNo, reply: ReplyData) {
        match self.ask(Request::ReadLink, Subject::Inode(ino.0), |fs| fs.readlink(ino.0)) {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno),
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
        let answer = self.ask(Request::Mknod, named(parent, name), |fs| {
            fs.mknod(caller(asked), parent.0, name.as_bytes(), mode)
        });
        entry(reply, answer);
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
        let answer = self.ask(Request::Mkdir, named(parent, name), |fs| {
            fs.mkdir(caller(asked), parent.0, name.as_bytes(), mode)
        });
        entry(reply, answer);
    }

    fn unlink(&self, _asked: &Asked, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let answer = self
            .ask(Request::Unlink, named(parent, name), |fs| fs.unlink(parent.0, name.as_bytes()));
        empty(reply, answer);
    }

    fn rmdir(&self, _asked: &Asked, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let answer =
            self.ask(Request::Rmdir, named(parent, name), |fs| fs.rmdir(parent.0, name.as_bytes()));
        empty(reply, answer);
    }

    fn symlink(
        &self,
        asked: &Asked,
        parent: INodeNo,
        link_name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let target = target.as_os_str().as_bytes();
        let answer = self.ask(Request::Symlink, named(parent, link_name), |fs| {
            fs.symlink(caller(asked), parent.0, link_name.as_bytes(), target)
        });
        entry(reply, answer);
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
        let from = (parent.0, name.as_bytes());
        let to = (newparent.0, newname.as_bytes());
        let answer =
            self.ask(Request::Rename, named(parent, name), |fs| fs.rename(from, to, flags.bits()));
        empty(reply, answer);
    }

    fn link(
        &self,
        _asked: &Asked,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        let answer = self.ask(Request::Link, named(newparent, newname), |fs| {
            fs.link(ino.0, newparent.0, newname.as_bytes())
        });
        entry(reply, answer);
    }

    fn open(&self, _asked: &Asked, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.ask(Request::Open, Subject::Inode(ino.0), |fs| fs.open(ino.0, flags.0)) {
            Ok(opened) => reply.opened(FileHandle(opened.handle), open_flags(&opened)),
            Err(errno) => reply.error(errno),
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
        let answer = self.ask(Request::Create, named(parent, name), |fs| {
            fs.create(caller(asked), parent.0, name.as_bytes(), mode, flags)
        });
        match answer {
            Ok((found, opened)) => reply.created(
                &found.valid(),
                &file_attr(&found.stat),
                GENERATION,
                FileHandle(opened.handle),
                open_flags(&opened),
            ),
            Err(errno) => reply.error(errno),
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
        let size = size.min(WRITE_BYTES_MAX) as usize;
        BUFFER.with_borrow_mut(|buffer| {
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            let answer = self.ask(Request::Read, Subject::Handle(fh.0), |fs| {
                fs.read(fh.0, offset, &mut buffer[..size])
            });
            match answer {
                Ok(length) => reply.data(&buffer[..length]),
                Err(errno) => reply.error(errno),
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
        let drops = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        let written = self.ask(Request::Write, Subject::Handle(fh.0), |fs| {
            if drops {
                fs.write_drops_set_ids(fh.0)?;
            }
            fs.write(fh.0, offset, data, flags.0)
        });
        match written {
            Ok(()) => reply.written(cast::to_u32(data.len())),
            Err(errno) => reply.error(errno),
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
        empty(reply, self.ask(Request::Flush, Subject::Handle(fh.0), |fs| fs.flush(fh.0)));
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
        empty(reply, self.ask(Request::Fsync, Subject::Handle(fh.0), |fs| fs.fsync(fh.0)));
    }

    fn opendir(&self, _asked: &Asked, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.ask(Request::OpenDir, Subject::Inode(ino.0), |fs| fs.opendir(ino.0)) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
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
        let listed = self.ask(Request::ReadDir, Subject::Handle(fh.0), |fs| {
            fs.readdir(fh.0, offset, false, &mut |item: &DirEntry<'_>| {
                let name = OsStr::from_bytes(item.name);
                reply.add(INodeNo(item.ino), item.offset, file_type(item.kind), name)
            })
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
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
        let listed = self.ask(Request::ReadDirPlus, Subject::Handle(fh.0), |fs| {
            fs.readdir(fh.0, offset, true, &mut |item: &DirEntry<'_>| {
                let name = OsStr::from_bytes(item.name);
                let (valid, attr) = match &item.found {
                    Some(found) => (found.valid(), file_attr(&found.stat)),
                    // The kernel takes no more than number and type of "." and "..", and asks again for
                    // tables that cannot be opened, since nothing it is told of them holds.
                    None => (Duration::ZERO, dot_attr(item)),
                };
                reply.add(INodeNo(item.ino), item.offset, name, &valid, &attr, GENERATION)
            })
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
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
        empty(reply, self.ask(Request::FsyncDir, Subject::Handle(fh.0), |fs| fs.fsyncdir(fh.0)));
    }

    fn statfs(&self, _asked: &Asked, _ino: INodeNo, reply: ReplyStatfs) {
        space(reply, self.ask(Request::StatFs, Subject::Mount, Fs::space));
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
        let set = self.ask(Request::SetXattr, Subject::Inode(ino.0), |fs| {
            let mode = SetMode::from_flags(flags)?;
            fs.setxattr(caller(asked), ino.0, name.as_bytes(), value, mode)
        });
        empty(reply, set);
    }

    fn getxattr(&self, _asked: &Asked, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let value = self.ask(Request::GetXattr, Subject::Inode(ino.0), |fs| {
            fs.getxattr(ino.0, name.as_bytes())
        });
        xattr(reply, size, value.as_deref().map_err(|errno| *errno));
    }

    fn listxattr(&self, _asked: &Asked, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let names = self.ask(Request::ListXattr, Subject::Inode(ino.0), |fs| fs.listxattr(ino.0));
        xattr(reply, size, names);
    }

    fn removexattr(&self, _asked: &Asked, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let answer = self.ask(Request::RemoveXattr, Subject::Inode(ino.0), |fs| {
            fs.removexattr(ino.0, name.as_bytes())
        });
        empty(reply, answer);
    }

    fn access(&self, asked: &Asked, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        let answer = self.ask(Request::Access, Subject::Inode(ino.0), |fs| {
            fs.access(caller(asked), ino.0, mask.bits())
        });
        empty(reply, answer);
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
        let answer = self.ask(Request::Fallocate, Subject::Handle(fh.0), |fs| {
            fs.fallocate(fh.0, offset, length, mode)
        });
        empty(reply, answer);
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
