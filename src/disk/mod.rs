//! The one place that opens, reads, writes, syncs, renames and unlinks files.
//!
//! Every error names the file and what was tried. Symbolic links, fifos and devices are refused
//! where a regular file is expected, so that a hostile database directory cannot make the daemon
//! block or read elsewhere. With the feature `testing`, tests make chosen operations fail through
//! `Faults`, and have what changes files written down by a `Recorder`.

mod confirm;
#[cfg_attr(
    not(feature = "testing"),
    allow(unreachable_pub, reason = "only tests are shown what was done")
)]
mod effect;
#[cfg(feature = "testing")]
mod faults;
#[cfg(feature = "testing")]
mod hooks;
#[cfg(not(feature = "testing"))]
mod no_hooks;
mod path;
#[cfg(feature = "testing")]
mod record;
pub(crate) mod window;

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::fcntl::{FallocateFlags, OFlag};

use self::confirm::still_answers;
#[cfg(not(feature = "testing"))]
use self::effect::{Effect, FileId};
#[cfg(feature = "testing")]
pub use self::effect::{Effect, FileId};
#[cfg(feature = "testing")]
pub use self::faults::{Fault, Faults};
#[cfg(feature = "testing")]
use self::hooks::Hooks;
#[cfg(not(feature = "testing"))]
use self::no_hooks::Hooks;
pub(crate) use self::path::DiskPath;
#[cfg(feature = "testing")]
pub use self::record::Recorder;
use crate::cast::to_usize;
use crate::error::{Error, Result};
pub(crate) use crate::operation::Operation;
use crate::root_id::RootId;

/// The way to the file system. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    hooks: Hooks,
    /// The root that everything on this way is in, if it is in one.
    root: Option<RootId>,
}

impl Disk {
    /// The real disk.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The real disk, with operations counted and failing as `faults` says.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn with_faults(faults: Arc<Faults>) -> Self {
        let hooks = Hooks { faults: Some(faults), recorder: None };
        Self { hooks, ..Self::default() }
    }

    /// This way to the disk, with what changes files written down from now on.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn recorded_by(self, recorder: Arc<Recorder>) -> Self {
        let hooks = Hooks { recorder: Some(recorder), ..self.hooks };
        Self { hooks, ..self }
    }

    /// This way to the disk, for what is in this root: whatever fails on it names the root.
    pub(crate) fn in_root(&self, root: RootId) -> Self {
        Self { root: Some(root), ..self.clone() }
    }

    fn fail(&self, operation: Operation, path: &Path, source: io::Error) -> Error {
        Error::io(operation, path, self.root, source)
    }

    fn step(&self, operation: Operation, path: &Path) -> Result<()> {
        self.hooks.before(operation, path).map_err(|source| self.fail(operation, path, source))
    }

    fn open_with(
        &self,
        options: &OpenOptions,
        operation: Operation,
        path: &Path,
        creates: bool,
    ) -> Result<DiskFile> {
        self.step(operation, path)?;
        let flags = OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let mut options = options.clone();
        // Modes stored within must not be undone by what the files themselves allow.
        options.custom_flags(flags.bits()).mode(0o600);
        let opened = if creates {
            self.hooks
                .change(|| options.open(path), |file| Ok(Effect::Create(path.into(), id_of(file)?)))
        } else {
            options.open(path)
        };
        let file = opened.map_err(|source| self.fail(operation, path, source))?;
        let metadata =
            file.metadata().map_err(|source| self.fail(Operation::Stat, path, source))?;
        if !metadata.is_file() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(self.fail(operation, path, source));
        }
        Ok(DiskFile { file, at: DiskPath::new(self, path) })
    }

    /// Opens an existing file for reading.
    pub fn open(&self, path: &Path) -> Result<DiskFile> {
        self.open_with(OpenOptions::new().read(true), Operation::Open, path, false)
    }

    /// Opens an existing file for reading and writing.
    pub fn open_writable(&self, path: &Path) -> Result<DiskFile> {
        self.open_with(OpenOptions::new().read(true).write(true), Operation::Open, path, false)
    }

    /// Creates a file that must not exist yet.
    pub fn create_new(&self, path: &Path) -> Result<DiskFile> {
        let mut options = OpenOptions::new();
        self.open_with(
            options.read(true).write(true).create_new(true),
            Operation::Create,
            path,
            true,
        )
    }

    /// Opens a file for reading and writing, creating it when it is missing.
    pub fn open_or_create(&self, path: &Path) -> Result<DiskFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        self.open_with(&options, Operation::Open, path, true)
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
        let mut content = vec![0; to_usize(length)];
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
        self.step(Operation::Rename, from)?;
        self.hooks
            .change(|| fs::rename(from, to), |()| Ok(Effect::Rename(from.into(), to.into())))
            .map_err(|source| self.fail(Operation::Rename, from, source))
    }

    /// Gives the file `from` a second name `to` in the same file system.
    pub fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        self.step(Operation::Link, to)?;
        self.hooks
            .change(|| fs::hard_link(from, to), |()| Ok(Effect::Link(from.into(), to.into())))
            .map_err(|source| self.fail(Operation::Link, to, source))
    }

    /// Removes a file.
    pub fn unlink(&self, path: &Path) -> Result<()> {
        self.step(Operation::Remove, path)?;
        self.hooks
            .change(|| fs::remove_file(path), |()| Ok(Effect::Remove(path.into())))
            .map_err(|source| self.fail(Operation::Remove, path, source))
    }

    /// Removes a directory and everything in it, never following symbolic links. A missing one is
    /// fine.
    pub fn remove_tree(&self, path: &Path) -> Result<()> {
        self.step(Operation::Remove, path)?;
        match self
            .hooks
            .change(|| fs::remove_dir_all(path), |()| Ok(Effect::RemoveTree(path.into())))
        {
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|source| self.fail(Operation::Remove, path, source)),
        }
    }

    /// Creates a directory and its missing parents. An existing one is fine.
    pub fn create_dir_all(&self, path: &Path) -> Result<()> {
        self.step(Operation::CreateFolder, path)?;
        self.hooks
            .change(|| fs::create_dir_all(path), |()| Ok(Effect::MakeDirs(path.into())))
            .map_err(|source| self.fail(Operation::CreateFolder, path, source))
    }

    /// Whether anything of this name exists, a dangling symbolic link included.
    pub fn exists(&self, path: &Path) -> Result<bool> {
        self.step(Operation::LookFor, path)?;
        match fs::symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(source) => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(false),
                _ => Err(self.fail(Operation::LookFor, path, source)),
            },
        }
    }

    /// The names in a directory, in no order. A missing directory has none.
    pub fn list(&self, path: &Path) -> Result<Vec<std::ffi::OsString>> {
        self.step(Operation::List, path)?;
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.fail(Operation::List, path, source)),
        };
        entries
            .map(|entry| {
                Ok(entry.map_err(|source| self.fail(Operation::List, path, source))?.file_name())
            })
            .collect()
    }

    /// Makes the names in a directory durable.
    pub fn sync_dir(&self, path: &Path) -> Result<()> {
        self.step(Operation::Sync, path)?;
        let act = || {
            let directory = File::open(path)?;
            directory.sync_all()?;
            still_answers(&directory)
        };
        self.hooks
            .sync(act, |begun| Ok(Effect::SyncDir(path.into(), begun)))
            .map_err(|source| self.fail(Operation::Sync, path, source))
    }

    /// Makes the name of `path` durable by syncing the directory it is in.
    pub fn sync_parent(&self, path: &Path) -> Result<()> {
        self.sync_dir(path.parent().unwrap_or(path))
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
            result = result.and(sync_or_panicked(file));
        }
        result
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..files.len().min(SYNCS_MAX)).map(|_| scope.spawn(work)).collect();
        let mut result = work();
        for other in others {
            result = result.and(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        result
    })
}

/// A panic says as little about what the drive holds as an error does.
fn sync_or_panicked(file: &DiskFile) -> Result<()> {
    catch_unwind(AssertUnwindSafe(|| file.sync_data())).unwrap_or_else(|_| {
        let source = io::Error::other("the thread that synced it panicked");
        Err(file.fail(Operation::Sync, source))
    })
}

fn id_of(file: &File) -> io::Result<FileId> {
    let metadata = file.metadata()?;
    Ok(FileId(metadata.dev(), metadata.ino()))
}

/// End of the name of every file that is not complete yet.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";

/// The name under which a file is written before it takes its place.
pub(crate) fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(TEMPORARY_SUFFIX);
    PathBuf::from(name)
}

/// An open regular file. All access is positional, so one handle serves any number of threads.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    at: DiskPath,
}

impl DiskFile {
    /// Where the file was when it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Where the file was when it was opened, with the way there.
    pub(crate) fn at(&self) -> &DiskPath {
        &self.at
    }

    /// The root it is in, if it is in one.
    #[must_use]
    pub fn root(&self) -> Option<RootId> {
        self.at.root()
    }

    /// The open file itself, for locks and mappings.
    #[must_use]
    pub fn as_file(&self) -> &File {
        &self.file
    }

    fn step(&self, operation: Operation) -> Result<()> {
        self.at.disk().step(operation, &self.at)
    }

    /// What to say of an operation on the file that failed.
    pub(crate) fn fail(&self, operation: Operation, source: io::Error) -> Error {
        self.at.disk().fail(operation, &self.at, source)
    }

    /// Length in bytes.
    pub fn len(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(|source| self.fail(Operation::Stat, source))?.len())
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.step(Operation::Read)?;
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.fail(Operation::Read, source)),
            }
        }
        Ok(filled)
    }

    /// Fills `buffer` from `offset`; a file that ends earlier is corrupt.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let count = self.read_at(buffer, offset)?;
        if count < buffer.len() {
            let reason = format!("it ends {} bytes early", buffer.len() - count);
            return Err(Error::corrupt(&self.at, offset + count as u64, reason));
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.step_write(&[bytes], offset)?;
        self.write_plainly(bytes, offset)
    }

    /// Writes all parts one behind the other at `offset`, in one call where the kernel takes it.
    pub fn write_parts_at(&self, parts: &[&[u8]], offset: u64) -> Result<()> {
        self.step_write(parts, offset)?;
        self.at
            .disk()
            .hooks
            .change(|| self.write_vectored(parts, offset), |()| self.written(parts, offset))
            .map_err(|source| self.fail(Operation::Write, source))
    }

    fn write_plainly(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.at
            .disk()
            .hooks
            .change(|| self.file.write_all_at(bytes, offset), |()| self.written(&[bytes], offset))
            .map_err(|source| self.fail(Operation::Write, source))
    }

    fn write_vectored(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let file_offset =
            i64::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
        let mut written = match nix::sys::uio::pwritev(self.file.as_fd(), &slices, file_offset) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
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
            self.file.write_all_at(rest, position)?;
            position += rest.len() as u64;
        }
        Ok(())
    }

    /// Asks whether a write may be made. One that is to be torn leaves its first half.
    fn step_write(&self, parts: &[&[u8]], offset: u64) -> Result<()> {
        let leave_half = || {
            let bytes = parts.concat();
            self.write_plainly(&bytes[..bytes.len() / 2], offset)
        };
        let fail = |source| self.fail(Operation::Write, source);
        self.at.disk().hooks.before_write(&self.at, leave_half, fail)
    }

    fn written(&self, parts: &[&[u8]], offset: u64) -> io::Result<Effect> {
        Ok(Effect::Write(id_of(&self.file)?, offset, parts.concat()))
    }

    /// Cuts or extends the file to `length` bytes.
    pub fn set_len(&self, length: u64) -> Result<()> {
        self.step(Operation::Resize)?;
        self.resize(|| self.file.set_len(length))
            .map_err(|source| self.fail(Operation::Resize, source))
    }

    /// Reserves disk space for the first `length` bytes and extends the file to them.
    /// Where the file system has no such call the file is only extended.
    pub fn allocate(&self, length: u64) -> Result<()> {
        self.step(Operation::Reserve)?;
        let size = i64::try_from(length).map_err(|_| {
            self.fail(Operation::Reserve, io::Error::from_raw_os_error(libc::EFBIG))
        })?;
        let allocate = || {
            nix::fcntl::fallocate(self.file.as_fd(), FallocateFlags::empty(), 0, size)?;
            Ok(())
        };
        match self.resize(allocate) {
            Err(source) if source.raw_os_error() == Some(libc::EOPNOTSUPP) => self.set_len(length),
            other => other.map_err(|source| self.fail(Operation::Reserve, source)),
        }
    }

    fn resize(&self, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let length = || self.file.metadata().map(|metadata| metadata.len());
        self.at.disk().hooks.change(act, |()| Ok(Effect::Resize(id_of(&self.file)?, length()?)))
    }

    /// Makes the bytes of the file, and the length needed to read them, durable.
    pub fn sync_data(&self) -> Result<()> {
        self.step(Operation::Sync)?;
        self.sync(|| self.file.sync_data())
    }

    /// Makes the bytes and all attributes of the file durable.
    pub fn sync_all(&self) -> Result<()> {
        self.step(Operation::Sync)?;
        self.sync(|| self.file.sync_all())
    }

    /// Has what is read from now on come from the drive. After a write to the drive has failed the
    /// system may keep bytes in memory that it takes for written: who reads and syncs those again is
    /// told that all is well. Bytes that were not tried to be written yet stay.
    pub(crate) fn forget_cached(&self) {
        if let Err(errno) = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed) {
            log::debug!("{}: it stays in memory: {errno}", self.at.display());
        }
    }

    fn sync(&self, act: impl FnOnce() -> io::Result<()>) -> Result<()> {
        let act = || {
            act()?;
            still_answers(&self.file)
        };
        self.at
            .disk()
            .hooks
            .sync(act, |begun| Ok(Effect::SyncFile(id_of(&self.file)?, begun)))
            .map_err(|source| self.fail(Operation::Sync, source))
    }
}
