//! The one place that opens, reads, writes, syncs, renames and unlinks files.
//!
//! Every error names the file and what was tried. Symbolic links, fifos and devices are refused
//! where a regular file is expected, so that a hostile database directory cannot make the daemon
//! block or read elsewhere. Tests and the fault campaigns make chosen operations fail through
//! [`Faults`]; in normal use there are none and the hook is one null check.

// By its path, since the benches take this file in by its own.
#[path = "disk/window.rs"]
pub(crate) mod window;

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use nix::fcntl::{FallocateFlags, OFlag};

use crate::error::{Error, Result};

/// A kind of disk operation, for counting and for faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Opening or creating a file.
    Open,
    /// Reading from a file or a directory.
    Read,
    /// Writing to a file, or reserving or cutting its space.
    Write,
    /// Syncing a file or a directory.
    Sync,
    /// Renaming or linking a file.
    Rename,
    /// Unlinking a file or removing a directory.
    Unlink,
}

/// Counts operations and makes the n-th of them fail. Shared by everything opened through one
/// [`Disk`].
#[derive(Debug, Default)]
pub struct Faults {
    seen: AtomicU64,
    reads: AtomicU64,
    /// 1-based number of the operation to fail; 0 fails none.
    fail_at: AtomicU64,
    errno: AtomicU64,
}

impl Faults {
    /// Makes the `nth` operation from now on (1-based) fail with `errno`, once.
    pub fn fail_nth(&self, nth: u64, errno: i32) {
        self.errno.store(u64::from(errno.unsigned_abs()), Ordering::SeqCst);
        self.fail_at.store(self.seen.load(Ordering::SeqCst) + nth, Ordering::SeqCst);
    }

    /// How many operations were seen so far.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    /// How many of them were reads.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    fn step(&self, operation: Operation) -> io::Result<()> {
        let number = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        if operation == Operation::Read {
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
        if number == self.fail_at.load(Ordering::SeqCst) {
            let errno = i32::try_from(self.errno.load(Ordering::SeqCst)).unwrap_or(libc::EIO);
            return Err(io::Error::from_raw_os_error(errno));
        }
        Ok(())
    }
}

/// The way to the file system. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    faults: Option<Arc<Faults>>,
}

impl Disk {
    /// The real disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The real disk, with operations counted and failing as `faults` says.
    #[must_use]
    pub fn with_faults(faults: Arc<Faults>) -> Self {
        Self { faults: Some(faults) }
    }

    fn step(&self, operation: Operation, action: &'static str, path: &Path) -> Result<()> {
        match &self.faults {
            None => Ok(()),
            Some(faults) => {
                faults.step(operation).map_err(|source| Error::io(action, path, source))
            }
        }
    }

    fn open_with(
        &self,
        options: &OpenOptions,
        action: &'static str,
        path: &Path,
    ) -> Result<DiskFile> {
        self.step(Operation::Open, action, path)?;
        let flags = OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = options
            .clone()
            .custom_flags(flags.bits())
            // Modes stored within must not be undone by what the files themselves allow.
            .mode(0o600)
            .open(path)
            .map_err(|source| Error::io(action, path, source))?;
        let metadata = file.metadata().map_err(|source| Error::io("stat", path, source))?;
        if !metadata.is_file() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(Error::io(action, path, source));
        }
        Ok(DiskFile { file, path: path.to_path_buf(), disk: self.clone() })
    }

    /// Opens an existing file for reading.
    pub fn open(&self, path: &Path) -> Result<DiskFile> {
        self.open_with(OpenOptions::new().read(true), "open", path)
    }

    /// Opens an existing file for reading and writing.
    pub fn open_writable(&self, path: &Path) -> Result<DiskFile> {
        self.open_with(OpenOptions::new().read(true).write(true), "open", path)
    }

    /// Creates a file that must not exist yet.
    pub fn create_new(&self, path: &Path) -> Result<DiskFile> {
        self.open_with(OpenOptions::new().read(true).write(true).create_new(true), "create", path)
    }

    /// Opens a file for reading and writing, creating it when it is missing.
    pub fn open_or_create(&self, path: &Path) -> Result<DiskFile> {
        self.open_with(
            OpenOptions::new().read(true).write(true).create(true).truncate(false),
            "open",
            path,
        )
    }

    /// The whole content of a small file; refuses files longer than `bytes_max`.
    pub fn read_small(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
        let file = self.open(path)?;
        let length = file.len()?;
        if length > bytes_max {
            return Err(Error::corrupt(
                path,
                0,
                format!("it has {length} bytes, at most {bytes_max} expected"),
            ));
        }
        let mut content = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut content, 0)?;
        Ok(content)
    }

    /// Replaces `path` by a file with this content: whole or not at all, also in a power cut.
    /// Writes `path` with `.tmp` appended, syncs it, renames it and syncs the directory.
    pub fn write_atomically(&self, path: &Path, content: &[u8]) -> Result<()> {
        let temporary = temporary_path(path);
        match self.unlink(&temporary) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        let file = self.create_new(&temporary)?;
        file.write_all_at(content, 0)?;
        file.sync_all()?;
        drop(file);
        self.rename(&temporary, path)?;
        self.sync_parent(path)
    }

    /// Renames `from` to `to`, replacing it.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.step(Operation::Rename, "rename", from)?;
        fs::rename(from, to).map_err(|source| Error::io("rename", from, source))
    }

    /// Gives the file `from` a second name `to` in the same file system.
    pub fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        self.step(Operation::Rename, "link", to)?;
        fs::hard_link(from, to).map_err(|source| Error::io("link", to, source))
    }

    /// Removes a file.
    pub fn unlink(&self, path: &Path) -> Result<()> {
        self.step(Operation::Unlink, "remove", path)?;
        fs::remove_file(path).map_err(|source| Error::io("remove", path, source))
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, path: &Path) -> Result<()> {
        self.step(Operation::Unlink, "remove", path)?;
        fs::remove_dir(path).map_err(|source| Error::io("remove", path, source))
    }

    /// Removes a directory and everything in it, never following symbolic links. A missing one is
    /// fine.
    pub fn remove_tree(&self, path: &Path) -> Result<()> {
        self.step(Operation::Unlink, "remove", path)?;
        match fs::remove_dir_all(path) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|source| Error::io("remove", path, source)),
        }
    }

    /// Creates a directory and its missing parents. An existing one is fine.
    pub fn create_dir_all(&self, path: &Path) -> Result<()> {
        self.step(Operation::Open, "create", path)?;
        fs::create_dir_all(path).map_err(|source| Error::io("create", path, source))
    }

    /// Whether anything of this name exists, a dangling symbolic link included.
    pub fn exists(&self, path: &Path) -> Result<bool> {
        self.step(Operation::Read, "look for", path)?;
        match fs::symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(source) => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(false),
                _ => Err(Error::io("look for", path, source)),
            },
        }
    }

    /// The names in a directory, in no order. A missing directory has none.
    pub fn list(&self, path: &Path) -> Result<Vec<std::ffi::OsString>> {
        self.step(Operation::Read, "list", path)?;
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(Error::io("list", path, source)),
        };
        entries
            .map(|entry| Ok(entry.map_err(|source| Error::io("list", path, source))?.file_name()))
            .collect()
    }

    /// Makes the names in a directory durable.
    pub fn sync_dir(&self, path: &Path) -> Result<()> {
        self.step(Operation::Sync, "sync", path)?;
        File::open(path)
            .and_then(|directory| directory.sync_all())
            .map_err(|source| Error::io("sync", path, source))
    }

    /// Makes the name of `path` durable by syncing the directory it is in.
    pub fn sync_parent(&self, path: &Path) -> Result<()> {
        self.sync_dir(path.parent().unwrap_or(Path::new(".")))
    }
}

/// Files that are synced at the same time.
const SYNCS_MAX: usize = 8;

/// Makes the bytes of several files durable, side by side: drives work at the same time, and file
/// systems with a journal commit it once for several callers instead of once for each.
pub(crate) fn sync_together(files: &[Arc<DiskFile>]) -> Result<()> {
    if let [] | [_] = files {
        return files.iter().try_for_each(|file| file.sync_data());
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut result = Ok(());
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            result = result.and(file.sync_data());
        }
        result
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..files.len().min(SYNCS_MAX)).map(|_| scope.spawn(work)).collect();
        let mut result = work();
        for other in others {
            let joined = other.join().unwrap_or_else(|_| {
                let source = io::Error::other("the thread that synced it panicked");
                Err(Error::io("sync", Path::new("a value file"), source))
            });
            result = result.and(joined);
        }
        result
    })
}

/// The name under which a file is written before it takes its place.
pub(crate) fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".tmp");
    PathBuf::from(name)
}

/// An open regular file. All access is positional, so one handle serves any number of threads.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    path: PathBuf,
    disk: Disk,
}

impl DiskFile {
    /// Where the file was when it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file itself, for locks and mappings.
    #[must_use]
    pub fn as_file(&self) -> &File {
        &self.file
    }

    fn step(&self, operation: Operation, action: &'static str) -> Result<()> {
        self.disk.step(operation, action, &self.path)
    }

    fn fail(&self, action: &'static str, source: io::Error) -> Error {
        Error::io(action, &self.path, source)
    }

    /// Length in bytes.
    pub fn len(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(|source| self.fail("stat", source))?.len())
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.step(Operation::Read, "read")?;
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.fail("read", source)),
            }
        }
        Ok(filled)
    }

    /// Fills `buffer` from `offset`; a file that ends earlier is corrupt.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let count = self.read_at(buffer, offset)?;
        if count < buffer.len() {
            let reason = format!("it ends {} bytes early", buffer.len() - count);
            return Err(Error::corrupt(&self.path, offset + count as u64, reason));
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.step(Operation::Write, "write")?;
        self.file.write_all_at(bytes, offset).map_err(|source| self.fail("write", source))
    }

    /// Writes all parts one behind the other at `offset`, in one call where the kernel takes it.
    pub fn write_parts_at(&self, parts: &[&[u8]], offset: u64) -> Result<()> {
        self.step(Operation::Write, "write")?;
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let file_offset = i64::try_from(offset)
            .map_err(|_| self.fail("write", io::Error::from_raw_os_error(libc::EFBIG)))?;
        let mut written = match nix::sys::uio::pwritev(self.file.as_fd(), &slices, file_offset) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(errno) => return Err(self.fail("write", errno.into())),
        };
        if written == total {
            return Ok(());
        }
        // A short write: finish what is left part by part; a full disk answers ENOSPC here.
        let mut position = offset + written as u64;
        for part in parts {
            let done = written.min(part.len());
            written -= done;
            let rest = &part[done..];
            self.file.write_all_at(rest, position).map_err(|source| self.fail("write", source))?;
            position += rest.len() as u64;
        }
        Ok(())
    }

    /// Cuts or extends the file to `length` bytes.
    pub fn set_len(&self, length: u64) -> Result<()> {
        self.step(Operation::Write, "resize")?;
        self.file.set_len(length).map_err(|source| self.fail("resize", source))
    }

    /// Reserves disk space for the first `length` bytes and extends the file to them.
    /// Where the file system has no such call the file is only extended.
    pub fn allocate(&self, length: u64) -> Result<()> {
        self.step(Operation::Write, "reserve space for")?;
        let size = i64::try_from(length).map_err(|_| {
            self.fail("reserve space for", io::Error::from_raw_os_error(libc::EFBIG))
        })?;
        match nix::fcntl::fallocate(self.file.as_fd(), FallocateFlags::empty(), 0, size) {
            Ok(()) => Ok(()),
            Err(nix::errno::Errno::EOPNOTSUPP) => self.set_len(length),
            Err(errno) => Err(self.fail("reserve space for", errno.into())),
        }
    }

    /// Makes the bytes of the file, and the length needed to read them, durable.
    pub fn sync_data(&self) -> Result<()> {
        self.step(Operation::Sync, "sync")?;
        self.file.sync_data().map_err(|source| self.fail("sync", source))
    }

    /// Makes the bytes and all attributes of the file durable.
    pub fn sync_all(&self) -> Result<()> {
        self.step(Operation::Sync, "sync")?;
        self.file.sync_all().map_err(|source| self.fail("sync", source))
    }
}
