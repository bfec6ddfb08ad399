//! A look at one directory: what it is, and the lock that keeps others out.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use super::membership::RootContent;
use crate::disk::{Disk, DiskFile, temporary_path};
use crate::error::{Error, Result};
use crate::format::root_file::{ROOT_FILE_BYTES_MAX, ROOT_FILE_NAME, RootFile};
use crate::operation::Operation;

/// The file in every root that an open database holds locked with flock(2).
pub const LOCK_FILE_NAME: &str = "littfs.lock";
/// The file in the first root that a mount in the background writes its log to.
pub const LOG_FILE_NAME: &str = "littfs.log";

/// Holds a root for this process until dropped.
#[derive(Debug)]
pub(super) enum Lock {
    /// flock(2) on `littfs.lock`.
    File(DiskFile),
    /// flock(2) on the directory itself, where no file can be made.
    Directory(File),
}

impl Drop for Lock {
    /// Gives the root back now. Closing the file would do so only when nobody else has it: a child
    /// that another thread forks has it until it executes its program.
    fn drop(&mut self) {
        let unlocked = match self {
            Self::File(file) => file.as_file().unlock(),
            Self::Directory(directory) => directory.unlock(),
        };
        if let Err(error) = unlocked {
            log::debug!("a root stays locked until its files are closed: {error}");
        }
    }
}

fn root_error(root: &Path, reason: impl Into<String>) -> Error {
    Error::Root { root: root.to_path_buf(), reason: reason.into() }
}

/// What is at `path`. A root is locked before its identity is read.
pub(super) fn examine(
    disk: &Disk,
    path: &Path,
    read_only: bool,
) -> Result<(RootContent, Option<Lock>)> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(root_error(path, "this is a file; a root must be a directory")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok((RootContent::Nothing, None));
        }
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(root_error(path, "a part of this path is a file, not a directory"));
        }
        Err(error) => {
            return Ok((RootContent::Unusable(format!("it cannot be read: {error}")), None));
        }
    }
    let names = match disk.list(path) {
        Ok(names) => names,
        Err(Error::Io { source, .. }) => {
            return Ok((RootContent::Unusable(format!("it cannot be read: {source}")), None));
        }
        Err(error) => return Err(error),
    };
    if !names.iter().any(|name| name == ROOT_FILE_NAME) {
        refuse_foreign(path, &names)?;
        return Ok((RootContent::Empty, None));
    }
    let lock = match lock(disk, path, read_only) {
        Ok(lock) => lock,
        // A broken drive lists its names from memory and refuses the rest.
        Err(error @ Error::Io { .. }) => {
            return Ok((RootContent::Unusable(error.to_string()), None));
        }
        Err(error) => return Err(error),
    };
    let found = match read_identity(disk, path) {
        Ok(file) => RootContent::Root(file),
        Err(error @ (Error::Io { .. } | Error::Corrupt { .. })) => {
            RootContent::Unusable(error.to_string())
        }
        Err(error) => return Err(error),
    };
    Ok((found, Some(lock)))
}

/// The identity of the root at `path`.
pub(super) fn read_identity(disk: &Disk, path: &Path) -> Result<RootFile> {
    let file = path.join(ROOT_FILE_NAME);
    RootFile::decode(&disk.read_small(&file, ROOT_FILE_BYTES_MAX)?, &file)
}

/// A directory with other people's files must not become a root by a slip of the keyboard.
fn refuse_foreign(path: &Path, names: &[std::ffi::OsString]) -> Result<()> {
    let temporary = temporary_path(Path::new(ROOT_FILE_NAME));
    let ours = ["lost+found", LOCK_FILE_NAME, LOG_FILE_NAME];
    let foreign = names
        .iter()
        .find(|name| !ours.iter().any(|our| *name == our) && *name != temporary.as_os_str());
    match foreign {
        None => Ok(()),
        Some(name) => Err(root_error(
            path,
            format!(
                "it holds other files ({}, ...) and no {ROOT_FILE_NAME}; \
                    a new root must be an empty directory",
                name.display()
            ),
        )),
    }
}

/// Takes the lock of the root at `path`, or says who may have it.
pub(super) fn lock(disk: &Disk, path: &Path, read_only: bool) -> Result<Lock> {
    let name = path.join(LOCK_FILE_NAME);
    let opened = match disk.open_or_create(&name) {
        Ok(file) => Ok(file),
        Err(Error::Io { source, .. }) if read_only && is_refusal(&source) => disk.open(&name),
        Err(Error::Io { source, .. }) if is_refusal(&source) => {
            let reason = format!(
                "it cannot be written to: {source}; mount the drive writable or put the permissions \
                    right (or mount with -o ro)"
            );
            return Err(root_error(path, reason));
        }
        Err(error) => return Err(error),
    };
    match opened {
        Ok(file) => {
            try_lock(path, file.as_file())?;
            Ok(Lock::File(file))
        }
        // A read-only medium that was never locked: nobody can write to it either.
        Err(_) if read_only => {
            let directory = File::open(path)
                .map_err(|source| Error::io(Operation::Open, path, None, source))?;
            try_lock(path, &directory)?;
            Ok(Lock::Directory(directory))
        }
        Err(error) => Err(error),
    }
}

fn is_refusal(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

fn try_lock(root: &Path, file: &File) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(root_error(
            root,
            "it is in use by another littfs; if it is mounted, \
                the mounted folder offers the same through ordinary files (ls, cp, cat), \
                and `littfs umount` ends the mount",
        )),
        Err(TryLockError::Error(source)) => Err(Error::io(Operation::Lock, root, None, source)),
    }
}
