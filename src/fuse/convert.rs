//! Plain data of `fs` in the forms of the library, and back.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    FileAttr, FileType, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyEmpty, ReplyEntry,
    ReplyStatfs, ReplyXattr, Request,
};

use crate::cast;
use crate::db::Space;
use crate::format::attributes::{Attributes, Kind};
use crate::fs::{Answer, BLOCK_BYTES, Caller, DirEntry, Errno, NAME_BYTES_MAX, Opened, Stat};

/// Value ids are never used twice, so inode numbers need no generations.
pub(super) const GENERATION: Generation = Generation(0);

/// Why a mount could not be made, in the words of whoever refused it.
pub(super) fn cannot_serve(error: &io::Error) -> String {
    let words = error.to_string();
    let words = words.trim();
    if error.kind() == io::ErrorKind::NotFound {
        format!("{words}; is fusermount3 installed (package fuse3)?")
    } else {
        words.to_owned()
    }
}

impl From<&Errno> for fuser::Errno {
    fn from(errno: &Errno) -> Self {
        Self::from_i32(errno.number())
    }
}

pub(super) fn caller(asked: &Request) -> Caller {
    Caller { uid: asked.uid(), gid: asked.gid() }
}

pub(super) fn time(ns: i64) -> SystemTime {
    let distance = Duration::from_nanos(ns.unsigned_abs());
    if ns < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

/// The reverse for times that the kernel sets. The library reads times before the epoch as if
/// their nanoseconds, too, counted backwards; they count forwards from the second.
pub(super) fn nanoseconds(time: SystemTime) -> i64 {
    let signed = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i128::from(since.as_secs()) * 1_000_000_000 + i128::from(since.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            i128::from(before.subsec_nanos()) - i128::from(before.as_secs()) * 1_000_000_000
        }
    };
    cast::saturate_i64(signed)
}

pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Folder => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
    }
}

pub(super) fn file_attr(stat: &Stat) -> FileAttr {
    let attributes = &stat.attributes;
    let mtime = time(attributes.mtime_ns);
    FileAttr {
        ino: INodeNo(stat.ino),
        size: stat.size,
        blocks: stat.blocks(),
        atime: mtime,
        mtime,
        ctime: time(attributes.ctime_ns),
        crtime: mtime,
        kind: file_type(attributes.kind()),
        perm: cast::to_u16(attributes.permissions()),
        nlink: stat.links,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: 0,
        blksize: stat.block_bytes(),
        flags: 0,
    }
}

/// A name that is not there, in the form that lets the kernel remember it.
pub(super) fn nothing() -> FileAttr {
    let attributes = Attributes::new_at_ns(Kind::File, 0, 0, 0, 0);
    file_attr(&Stat { ino: 0, size: 0, links: 0, attributes })
}

pub(super) fn open_flags(opened: &Opened) -> FopenFlags {
    let mut flags = FopenFlags::empty();
    flags.set(FopenFlags::FOPEN_DIRECT_IO, opened.direct_io);
    flags.set(FopenFlags::FOPEN_KEEP_CACHE, opened.keep_cache);
    flags.set(FopenFlags::FOPEN_NOFLUSH, opened.no_flush);
    flags
}

pub(super) fn entry(reply: ReplyEntry, found: Result<Answer, fuser::Errno>) {
    match found {
        Ok(found) => reply.entry_with_ttls(
            &found.stat_valid,
            &found.name_valid,
            &file_attr(&found.stat),
            GENERATION,
        ),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn attr(reply: ReplyAttr, found: Result<Answer, fuser::Errno>) {
    match found {
        Ok(found) => reply.attr(&found.stat_valid, &file_attr(&found.stat)),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn empty(reply: ReplyEmpty, done: Result<(), fuser::Errno>) {
    match done {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn space(reply: ReplyStatfs, space: Result<Space, fuser::Errno>) {
    let block = u64::from(BLOCK_BYTES);
    match space {
        Ok(space) => reply.statfs(
            space.total / block,
            space.free / block,
            space.available / block,
            0,
            0,
            BLOCK_BYTES,
            cast::to_u32(NAME_BYTES_MAX),
            BLOCK_BYTES,
        ),
        Err(errno) => reply.error(errno),
    }
}

/// Sizes are probed with a size of 0.
pub(super) fn xattr(reply: ReplyXattr, size: u32, value: Result<&[u8], fuser::Errno>) {
    let value = match value {
        Ok(value) => value,
        Err(errno) => return reply.error(errno),
    };
    match u32::try_from(value.len()) {
        Ok(length) if size == 0 => reply.size(length),
        Ok(length) if length <= size => reply.data(value),
        _ => reply.error(fuser::Errno::ERANGE),
    }
}

pub(super) fn dot_attr(item: &DirEntry<'_>) -> FileAttr {
    let attributes = Attributes::new_at_ns(item.kind, 0, 0, 0, 0);
    file_attr(&Stat { ino: item.ino, size: 0, links: 1, attributes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_there_and_back() {
        for ns in [0, 1, 1_700_000_000_123_456_789, i64::MAX] {
            assert_eq!(nanoseconds(time(ns)), ns);
        }
        // 0.5 s before the epoch is second -1, nanosecond 500000000, which the library hands over
        // as 1.5 s before the epoch.
        let handed_over = UNIX_EPOCH - Duration::new(1, 500_000_000);
        assert_eq!(nanoseconds(handed_over), -500_000_000);
        assert_eq!(time(-500_000_000), UNIX_EPOCH - Duration::from_millis(500));
        assert_eq!(nanoseconds(UNIX_EPOCH + Duration::from_secs(1 << 40)), i64::MAX);
    }

    #[test]
    fn open_flags_say_what_the_kernel_may_do() {
        let opened = Opened { handle: 1, direct_io: false, keep_cache: true, no_flush: true };
        let expected = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
        assert_eq!(open_flags(&opened), expected);
    }
}
