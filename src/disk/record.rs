//! A record of everything that changed files, in the order it happened, for tests that ask what a
//! power cut could leave of it.

use std::io;
use std::path::PathBuf;

use parking_lot::Mutex;

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

/// Keeps every effect of what is done through a [`super::Disk`]. Operations that failed have none,
/// but for the bytes that a torn write left.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Locked over every change, so that the order is that of the changes.
    effects_io: Mutex<Vec<Effect>>,
}

impl Recorder {
    /// How many effects there were so far.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.effects_io.lock().len()
    }

    /// All effects so far.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        self.effects_io.lock().clone()
    }

    pub(super) fn change<T>(
        &self,
        act: impl FnOnce() -> io::Result<T>,
        effect: impl FnOnce(&T) -> io::Result<Effect>,
    ) -> io::Result<T> {
        let mut effects = self.effects_io.lock();
        let done = act()?;
        effects.push(effect(&done)?);
        Ok(done)
    }

    /// A sync makes durable what was there when it began.
    pub(super) fn sync(
        &self,
        act: impl FnOnce() -> io::Result<()>,
        effect: impl FnOnce(usize) -> io::Result<Effect>,
    ) -> io::Result<()> {
        let begun = self.seen();
        act()?;
        let effect = effect(begun)?;
        self.effects_io.lock().push(effect);
        Ok(())
    }
}
