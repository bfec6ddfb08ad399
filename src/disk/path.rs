//! A path together with the way to it.

use std::ffi::OsString;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use super::{Disk, DiskFile, temporary_path};
use crate::error::Result;
use crate::root_id::RootId;

/// The path of a file or folder, and the way to it: what is done through it and fails names the root
/// that it is in. It is a [`Path`] to whoever only looks at it.
#[derive(Clone, Debug)]
pub(crate) struct DiskPath {
    disk: Disk,
    path: PathBuf,
}

/// Two ways to one place are equal.
impl PartialEq for DiskPath {
    fn eq(&self, other: &Self) -> bool {
        self.root() == other.root() && self.path == other.path
    }
}

impl Eq for DiskPath {}

impl Deref for DiskPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl DiskPath {
    pub(crate) fn new(disk: &Disk, path: impl Into<PathBuf>) -> Self {
        Self { disk: disk.clone(), path: path.into() }
    }

    /// The way to what is below it, for whoever goes it by plain paths.
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The root it is in; `None` for what is in no root, or was reached before roots were known.
    pub(crate) fn root(&self) -> Option<RootId> {
        self.disk.root
    }

    /// What is called `name` in this folder.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> Self {
        Self { disk: self.disk.clone(), path: self.path.join(name) }
    }

    /// What is called `name` in the same folder.
    pub(crate) fn with_file_name(&self, name: impl AsRef<std::ffi::OsStr>) -> Self {
        Self { disk: self.disk.clone(), path: self.path.with_file_name(name) }
    }

    /// The folder it is in, its own for the top one.
    pub(crate) fn folder(&self) -> Self {
        let path = self.path.parent().unwrap_or(&self.path).to_path_buf();
        Self { disk: self.disk.clone(), path }
    }

    /// The name under which the file is written before it takes its place.
    pub(crate) fn temporary(&self) -> Self {
        Self { disk: self.disk.clone(), path: temporary_path(&self.path) }
    }

    /// As [`Disk::open`].
    pub(crate) fn open(&self) -> Result<DiskFile> {
        self.disk.open(&self.path)
    }

    /// As [`Disk::open_writable`].
    pub(crate) fn open_writable(&self) -> Result<DiskFile> {
        self.disk.open_writable(&self.path)
    }

    /// As [`Disk::create_new`].
    pub(crate) fn create_new(&self) -> Result<DiskFile> {
        self.disk.create_new(&self.path)
    }

    /// As [`Disk::read_small`].
    pub(crate) fn read_small(&self, bytes_max: u64) -> Result<Vec<u8>> {
        self.disk.read_small(&self.path, bytes_max)
    }

    /// As [`Disk::write_atomically`].
    pub(crate) fn write_atomically(&self, content: &[u8]) -> Result<()> {
        self.disk.write_atomically(&self.path, content)
    }

    /// As [`Disk::rename`].
    pub(crate) fn rename(&self, to: &Self) -> Result<()> {
        self.disk.rename(&self.path, &to.path)
    }

    /// As [`Disk::hard_link`].
    pub(crate) fn hard_link(&self, to: &Self) -> Result<()> {
        self.disk.hard_link(&self.path, &to.path)
    }

    /// As [`Disk::unlink`].
    pub(crate) fn unlink(&self) -> Result<()> {
        self.disk.unlink(&self.path)
    }

    /// As [`Disk::remove_tree`].
    pub(crate) fn remove_tree(&self) -> Result<()> {
        self.disk.remove_tree(&self.path)
    }

    /// As [`Disk::create_dir_all`].
    pub(crate) fn create_dir_all(&self) -> Result<()> {
        self.disk.create_dir_all(&self.path)
    }

    /// As [`Disk::exists`].
    pub(crate) fn exists(&self) -> Result<bool> {
        self.disk.exists(&self.path)
    }

    /// As [`Disk::list`].
    pub(crate) fn list(&self) -> Result<Vec<OsString>> {
        self.disk.list(&self.path)
    }

    /// As [`Disk::sync_dir`].
    pub(crate) fn sync_dir(&self) -> Result<()> {
        self.disk.sync_dir(&self.path)
    }

    /// As [`Disk::sync_parent`].
    pub(crate) fn sync_parent(&self) -> Result<()> {
        self.disk.sync_parent(&self.path)
    }
}
