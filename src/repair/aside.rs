//! Replacing files without destroying any.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, temporary_path};
use crate::error::{Error, Result};
use crate::layout::REPLACED_PREFIX;

/// Where replaced files of each root are kept.
pub(super) struct Aside {
    disk: Disk,
    /// The folder in each root that has one by now.
    folders: BTreeMap<PathBuf, PathBuf>,
}

impl Aside {
    pub(super) fn new(disk: &Disk) -> Self {
        Self { disk: disk.clone(), folders: BTreeMap::new() }
    }

    /// The folders that were made.
    pub(super) fn folders(self) -> Vec<PathBuf> {
        self.folders.into_values().collect()
    }

    /// Writes this content in the place of what is there; where that is kept now.
    pub(super) fn replace(
        &mut self,
        root: &Path,
        path: &Path,
        content: &[u8],
    ) -> Result<Option<PathBuf>> {
        let kept = self.keep(root, path)?;
        self.disk.write_atomically(path, content)?;
        Ok(kept)
    }

    /// Puts a finished and synced temporary file in its place; where the one before is kept now.
    pub(super) fn install(&mut self, root: &Path, path: &Path) -> Result<Option<PathBuf>> {
        let kept = self.keep(root, path)?;
        self.disk.rename(&temporary_path(path), path)?;
        self.disk.sync_parent(path)?;
        Ok(kept)
    }

    /// Moves a file or a folder out of the way.
    pub(super) fn remove(&mut self, root: &Path, path: &Path) -> Result<PathBuf> {
        let to = self.place(root, path)?;
        self.disk.rename(path, &to)?;
        self.disk.sync_parent(&to)?;
        self.disk.sync_parent(path)?;
        Ok(to)
    }

    /// Gives a file a second name, under which it stays.
    fn keep(&mut self, root: &Path, path: &Path) -> Result<Option<PathBuf>> {
        if !self.disk.exists(path)? {
            return Ok(None);
        }
        let to = self.place(root, path)?;
        self.disk.hard_link(path, &to)?;
        self.disk.sync_parent(&to)?;
        Ok(Some(to))
    }

    /// A free name for what is at `path`.
    fn place(&mut self, root: &Path, path: &Path) -> Result<PathBuf> {
        let folder = self.folder(root)?;
        let relative = path.strip_prefix(root).map_err(|_| Error::Root {
            root: root.to_path_buf(),
            reason: format!("{} is not in it", path.display()),
        })?;
        let wanted = folder.join(relative);
        let mut free = wanted.clone();
        let mut number = 1;
        while self.disk.exists(&free)? {
            let mut name = wanted.as_os_str().to_os_string();
            name.push(format!(".{number}"));
            free = PathBuf::from(name);
            number += 1;
        }
        if let Some(parent) = free.parent() {
            self.disk.create_dir_all(parent)?;
            for made in parent.ancestors().take_while(|made| made.starts_with(&folder)) {
                self.disk.sync_parent(made)?;
            }
        }
        Ok(free)
    }

    fn folder(&mut self, root: &Path) -> Result<PathBuf> {
        if let Some(folder) = self.folders.get(root) {
            return Ok(folder.clone());
        }
        let mut number = 1;
        let folder = loop {
            let folder = root.join(format!("{REPLACED_PREFIX}{number}"));
            if !self.disk.exists(&folder)? {
                break folder;
            }
            number += 1;
        };
        self.folders.insert(root.to_path_buf(), folder.clone());
        Ok(folder)
    }
}
