//! What an operation did to the files, in words that a simulation of a drive can follow.

use std::path::PathBuf;

/// A file, whatever its names: device and inode number. A file that is created may get the numbers
/// of one that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64, pub u64);

/// One thing that changed the files, or made changes durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The file was created under this name, empty, unless it had this name already.
    Create(PathBuf, FileId),
    /// Bytes were written at an offset.
    Write(FileId, u64, Vec<u8>),
    /// The file was cut or extended to this length.
    Resize(FileId, u64),
    /// A file was renamed, or a directory with all that is in it.
    Rename(PathBuf, PathBuf),
    /// The file of the first name got the second one as well.
    Link(PathBuf, PathBuf),
    /// The file of this name was removed, or the empty directory.
    Remove(PathBuf),
    /// A directory was removed with all that is in it.
    RemoveTree(PathBuf),
    /// A directory was created, and those above it that were missing.
    MakeDirs(PathBuf),
    /// What was done to the file before the effect of this number is durable.
    SyncFile(FileId, usize),
    /// What was done to the names in a directory before the effect of this number is durable.
    SyncDir(PathBuf, usize),
}
