//! Steps as system calls.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, Mode, OFlags, RawDir, RenameFlags, Timespec, Timestamps,
    XattrFlags,
};

use super::answers::{Answer, Bytes, Kind, Look, Result};
use super::model::Survivor;
use super::steps::{SLOTS, Step};
use crate::program::wait_until;

/// What every symbolic link points to: nothing, below nothing.
pub(super) const LINK_TARGET: &str = "nowhere/to be found";
/// Units of `utimensat`.
const NANOS: i64 = 1_000_000_000;

/// The two folders that a sequence works in, and its open handles.
pub(super) struct Real {
    base: PathBuf,
    /// Behind the name of each table, so that every run has tables of its own.
    run: u32,
    slots: [Option<File>; SLOTS],
}

fn number(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().expect("an error of the system"))
}

fn from_io<T>(result: io::Result<T>) -> Result<T> {
    result.map_err(|error| number(&error))
}

fn from_rustix<T>(result: rustix::io::Result<T>) -> Result<T> {
    result.map_err(|errno| Errno::from_raw(errno.raw_os_error()))
}

fn done<T>(result: Result<T>) -> Answer {
    result.map(|_| Answer::Done).into()
}

impl Real {
    pub(super) fn new(base: &Path, run: u32) -> Self {
        Self { base: base.to_path_buf(), run, slots: Default::default() }
    }

    /// Where a name of the model is.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        let (table, rest) = path.split_at(1);
        self.base.join(format!("{table}{}{rest}", self.run))
    }

    /// Closes all handles at once, and none with care.
    pub(super) fn drop_handles(&mut self) {
        self.slots = Default::default();
    }

    pub(super) fn apply(&mut self, step: &Step) -> Answer {
        match *step {
            Step::Open { slot, path, how } => self.open(slot, path, how),
            Step::Duplicate { slot, of } => match &self.slots[of] {
                None => Answer::Nothing,
                Some(file) => {
                    let duplicate = file.try_clone();
                    from_io(duplicate.map(|file| self.slots[slot] = Some(file)))
                        .map(|()| Answer::Done)
                        .into()
                }
            },
            Step::Close(slot) => match self.slots[slot].take() {
                None => Answer::Nothing,
                Some(file) => done(nix::unistd::close(file)),
            },
            Step::Write { slot, .. }
            | Step::WriteAt { slot, .. }
            | Step::WriteMapped { slot, .. }
            | Step::ReadAt { slot, .. }
            | Step::Seek { slot, .. }
            | Step::SetLength { slot, .. }
            | Step::Allocate { slot, .. }
            | Step::Sync { slot, .. }
            | Step::StatHandle(slot)
            | Step::ChmodHandle { slot, .. } => match &mut self.slots[slot] {
                None => Answer::Nothing,
                Some(file) => by_handle(file, step).into(),
            },
            _ => self.by_path(step).into(),
        }
    }

    fn open(&mut self, slot: usize, path: &str, how: &str) -> Answer {
        let has = |word: &str| how.split(' ').any(|found| found == word);
        let mut flags = match (has("r"), has("w"), has("rw")) {
            (true, ..) => OFlags::RDONLY,
            (_, true, _) => OFlags::WRONLY,
            _ => OFlags::RDWR,
        } | OFlags::CLOEXEC;
        for (word, flag) in [
            ("create", OFlags::CREATE),
            ("excl", OFlags::EXCL),
            ("trunc", OFlags::TRUNC),
            ("append", OFlags::APPEND),
        ] {
            flags.set(flag, has(word));
        }
        let mode = Mode::from_raw_mode(0o600);
        match from_rustix(rustix::fs::openat(CWD, self.at(path), flags, mode)) {
            Err(errno) => Answer::Refused(errno),
            Ok(file) => {
                let file = File::from(file);
                // The model knows handles of files only.
                if !file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
                    self.slots[slot] = Some(file);
                }
                Answer::Done
            }
        }
    }

    fn by_path(&self, step: &Step) -> Result<Answer> {
        match *step {
            Step::Stat(path) => {
                let metadata = from_io(fs::symlink_metadata(self.at(path)))?;
                return Ok(Answer::Look(look(&metadata)));
            }
            Step::Read(path) => return read(&self.at(path)),
            Step::List(path) => return list(&self.at(path)),
            Step::SyncFolder(path) => {
                let folder = from_io(File::open(self.at(path)))?;
                from_io(folder.sync_all())?;
            }
            Step::Truncate { path, bytes } => {
                nix::unistd::truncate(&self.at(path), i64::try_from(bytes).expect("short"))?;
            }
            Step::Unlink(path) => nix::unistd::unlink(&self.at(path))?,
            Step::MakeFolder(path) => from_rustix(rustix::fs::mkdir(self.at(path), Mode::RWXU))?,
            Step::RemoveFolder(path) => from_io(fs::remove_dir(self.at(path)))?,
            Step::Rename { from, to, how } => {
                let flags = match how {
                    "noreplace" => RenameFlags::NOREPLACE,
                    "exchange" => RenameFlags::EXCHANGE,
                    "whiteout" => RenameFlags::WHITEOUT,
                    _ => RenameFlags::empty(),
                };
                let (from, to) = (self.at(from), self.at(to));
                from_rustix(rustix::fs::renameat_with(CWD, from, CWD, to, flags))?;
            }
            Step::Link { from, to } => from_io(fs::hard_link(self.at(from), self.at(to)))?,
            Step::MakeLink(path) => {
                from_io(std::os::unix::fs::symlink(LINK_TARGET, self.at(path)))?;
            }
            Step::ReadLink(path) => {
                let target = from_io(fs::read_link(self.at(path)))?;
                return Ok(Answer::Text(target.to_str().expect("text").to_owned()));
            }
            Step::Chmod { path, mode } => {
                from_io(fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode)))?;
            }
            Step::Chown { path, uid, gid } => {
                from_io(std::os::unix::fs::lchown(self.at(path), Some(uid), Some(gid)))?;
            }
            Step::SetTime { path, nanos } => {
                let time =
                    Timespec { tv_sec: nanos.div_euclid(NANOS), tv_nsec: nanos.rem_euclid(NANOS) };
                let times = Timestamps { last_access: time, last_modification: time };
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                from_rustix(rustix::fs::utimensat(CWD, self.at(path), &times, flags))?;
            }
            Step::IsSealed(path) => return Ok(Answer::Text(self.attribute(path, "sealed")?)),
            Step::Expires(path) => {
                let text = self.attribute(path, "expires")?;
                let is_never = text == "never";
                return Ok(Answer::Text(if is_never { text } else { "later".to_owned() }));
            }
            Step::Space => {
                let space = from_rustix(rustix::fs::statvfs(self.at("t")))?;
                assert!(space.f_blocks > 0 && space.f_bavail <= space.f_bfree);
            }
            Step::Grace { table, is_long } => {
                self.set(table, "grace", if is_long { "1h" } else { "0" });
            }
            Step::Ttl { table, is_long } => {
                self.set(table, "ttl", if is_long { "30d" } else { "none" });
            }
            _ => return Ok(Answer::Nothing),
        }
        Ok(Answer::Done)
    }

    /// Sets an attribute of a table.
    pub(super) fn set(&self, table: &str, name: &str, value: &str) {
        let name = format!("user.littfs.{name}");
        let set = rustix::fs::setxattr(self.at(table), name, value.as_bytes(), XattrFlags::empty());
        set.expect("a setting is changed");
    }

    fn attribute(&self, path: &str, name: &str) -> Result<String> {
        let mut value = [0; 100];
        let name = format!("user.littfs.{name}");
        let bytes = from_rustix(rustix::fs::getxattr(self.at(path), name, &mut value[..]))?;
        Ok(String::from_utf8(value[..bytes].to_vec()).expect("text"))
    }

    /// A file after a kill.
    pub(super) fn survivor(&self, path: &str) -> Option<Survivor> {
        let path = self.at(path);
        let look = look(&fs::symlink_metadata(&path).ok()?);
        Some(Survivor { bytes: fs::read(path).expect("it can be read"), look })
    }

    /// Waits until the closed file of this name is sealed. The last close of a file is told behind
    /// the back of whoever closes.
    pub(super) fn await_sealed(&self, path: &str) {
        wait_until(&format!("{path} is not sealed"), || {
            self.attribute(path, "sealed").is_ok_and(|sealed| sealed == "true")
        });
    }
}

fn by_handle(file: &mut File, step: &Step) -> Result<Answer> {
    match *step {
        Step::Write { bytes, fill, .. } => {
            from_io(file.write_all(&vec![fill; bytes]))?;
        }
        Step::WriteAt { at, bytes, fill, .. } => {
            from_io(file.write_all_at(&vec![fill; bytes], at as u64))?;
        }
        Step::WriteMapped { at, bytes, fill, .. } => return write_mapped(file, at, bytes, fill),
        Step::ReadAt { at, bytes, .. } => {
            let mut buffer = vec![0; bytes];
            let mut read = 0;
            while read < bytes {
                match from_io(file.read_at(&mut buffer[read..], (at + read) as u64))? {
                    0 => break,
                    count => read += count,
                }
            }
            buffer.truncate(read);
            return Ok(Answer::Bytes(Bytes(buffer)));
        }
        Step::Seek { whence, at, .. } => {
            let at = at as u64;
            let position = match whence {
                "set" => from_io(file.seek(SeekFrom::Start(at))),
                "end" => from_io(file.seek(SeekFrom::End(at.cast_signed()))),
                "data" => from_rustix(rustix::fs::seek(&*file, rustix::fs::SeekFrom::Data(at))),
                _ => from_rustix(rustix::fs::seek(&*file, rustix::fs::SeekFrom::Hole(at))),
            };
            return Ok(Answer::Number(position?));
        }
        Step::SetLength { bytes, .. } => from_io(file.set_len(bytes as u64))?,
        Step::Allocate { mode, at, bytes, .. } => {
            let flags = match mode {
                "keep" => FallocateFlags::KEEP_SIZE,
                "punch" => FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE,
                _ => FallocateFlags::empty(),
            };
            from_rustix(rustix::fs::fallocate(file.as_fd(), flags, at as u64, bytes as u64))?;
        }
        Step::Sync { data: true, .. } => from_io(file.sync_data())?,
        Step::Sync { data: false, .. } => from_io(file.sync_all())?,
        Step::StatHandle(_) => return Ok(Answer::Look(look(&from_io(file.metadata())?))),
        Step::ChmodHandle { mode, .. } => {
            from_io(file.set_permissions(fs::Permissions::from_mode(mode)))?;
        }
        _ => return Ok(Answer::Nothing),
    }
    Ok(Answer::Done)
}

/// Writes through a mapping, where the handle allows one and the file is long enough.
fn write_mapped(of: &File, at: usize, bytes: usize, fill: u8) -> Result<Answer> {
    let flags = from_rustix(rustix::fs::fcntl_getfl(of))?;
    let is_long = from_io(of.metadata())?.len() >= (at + bytes) as u64;
    if !is_long || flags & OFlags::RWMODE != OFlags::RDWR {
        return Ok(Answer::Nothing);
    }
    #[expect(unsafe_code, reason = "a mapping is what is tested")]
    // SAFETY: this process has one thread that knows the file, and it does nothing else meanwhile.
    let mut map = from_io(unsafe { memmap2::MmapMut::map_mut(of) })?;
    map[at..at + bytes].fill(fill);
    from_io(map.flush())?;
    Ok(Answer::Done)
}

fn read(path: &Path) -> Result<Answer> {
    let mut file = from_io(File::open(path))?;
    let mut bytes = Vec::new();
    from_io(file.read_to_end(&mut bytes))?;
    Ok(Answer::Bytes(Bytes(bytes)))
}

fn look(metadata: &fs::Metadata) -> Look {
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => Kind::Folder,
        kind if kind.is_symlink() => Kind::Link,
        _ => Kind::File,
    };
    Look {
        kind,
        bytes: Some(metadata.len()),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        links: Some(metadata.nlink()),
        mtime: Some(metadata.mtime() * NANOS + metadata.mtime_nsec()),
        identity: metadata.ino(),
    }
}

/// Lists in small pages, goes back to the middle and lists the rest again.
fn list(path: &Path) -> Result<Answer> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = from_rustix(rustix::fs::openat(CWD, path, flags, Mode::empty()))?;
    let (mut names, cookies) = page_through(&folder)?;
    let middle = names.len() / 2;
    if let Some(cookie) = cookies.get(middle) {
        from_rustix(rustix::fs::seek(&folder, rustix::fs::SeekFrom::Start(*cookie)))?;
        let (again, _) = page_through(&folder)?;
        assert_eq!(names[middle + 1..], again, "the rest of {} again", path.display());
    }
    names.retain(|(name, _)| name != "." && name != "..");
    Ok(Answer::Names(names))
}

type Listed = (Vec<(String, Kind)>, Vec<u64>);

fn page_through(folder: &std::os::fd::OwnedFd) -> Result<Listed> {
    let mut page = [MaybeUninit::uninit(); 600];
    let mut entries = RawDir::new(folder, &mut page);
    let (mut names, mut cookies) = (Vec::new(), Vec::new());
    while let Some(entry) = entries.next() {
        let entry = from_rustix(entry)?;
        let kind = match entry.file_type() {
            rustix::fs::FileType::Directory => Kind::Folder,
            rustix::fs::FileType::Symlink => Kind::Link,
            _ => Kind::File,
        };
        names.push((entry.file_name().to_str().expect("text").to_owned(), kind));
        cookies.push(entry.next_entry_cookie());
    }
    Ok((names, cookies))
}
