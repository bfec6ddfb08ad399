//! RENAME.
//!
//! A stored file is renamed by the engine, atomically. A file that was never stored only changes
//! the name under which it will be; when there is something to replace it is stored first, so that
//! at no moment the name stands for nothing.

use std::sync::Arc;

use parking_lot::MutexGuard;

use super::open_file::{Body, Name, OpenFile, OpenState};
use super::remove::take_back;
use super::{Child, Errno, Fs, Result};
use crate::error::Error;
use crate::format::attributes::Kind;
use crate::format::entry::Entry;

impl Fs {
    /// Renames within a table. `flags` as of renameat2; only `RENAME_NOREPLACE` is known.
    pub(crate) fn rename(
        &self,
        (parent, name): (u64, &[u8]),
        (new_parent, new_name): (u64, &[u8]),
        flags: u32,
    ) -> Result<()> {
        self.writable()?;
        if flags & !libc::RENAME_NOREPLACE != 0 {
            return Err(Errno::EINVAL);
        }
        let from = self.child(parent, name)?;
        let to = self.child(new_parent, new_name)?;
        if from.table.number() != to.table.number() {
            return Err(Errno::EXDEV);
        }
        let _held = self.name_locks.lock_two((parent, name), (new_parent, new_name));
        let replace = flags & libc::RENAME_NOREPLACE == 0;
        if from.key == to.key {
            return if replace { Ok(()) } else { Err(Errno::EEXIST) };
        }
        let source = self.end_at(&from)?.ok_or(Errno::ENOENT)?;
        let target = self.end_at(&to)?;
        if target.is_some() && !replace {
            return Err(Errno::EEXIST);
        }
        match (&source, &target) {
            (End::Folder(_), Some(End::File(_) | End::Open(_))) => return Err(Errno::ENOTDIR),
            (End::File(_) | End::Open(_), Some(End::Folder(_))) => return Err(Errno::EISDIR),
            (End::Folder(folder), _) => {
                let replaced = match &target {
                    Some(End::Folder(entry)) => Some(entry),
                    _ => None,
                };
                self.rename_folder(&from, &to, folder, replaced)?;
            }
            (End::File(entry), _) => {
                self.rename_stored(&from, &to, entry, target.as_ref())?;
            }
            (End::Open(file), _) => self.rename_open(&from, &to, file, target.as_ref())?,
        }
        self.name_locks.changed(parent);
        self.name_locks.changed(new_parent);
        Ok(())
    }

    /// What a name stands for. The name lock is held.
    fn end_at(&self, child: &Child) -> Result<Option<End>> {
        if let Some(file) = self.names.get(child.parent, child.name()) {
            return Ok(Some(End::Open(file)));
        }
        Ok(Self::stored(child)?.map(|(_, entry)| match entry.kind() {
            Kind::Folder => End::Folder(entry),
            Kind::File | Kind::Symlink => End::File(entry),
        }))
    }

    fn rename_folder(
        &self,
        from: &Child,
        to: &Child,
        folder: &Entry,
        replaced: Option<&Entry>,
    ) -> Result<()> {
        let (from_key, to_key) = (from.folder_key()?, to.folder_key()?);
        if self.names.any_in(from.ino(folder)) || !from.table.folder_is_empty(&from_key)? {
            return Err(Errno::EPERM);
        }
        if let Some(replaced) = replaced {
            if self.names.any_in(to.ino(replaced)) {
                return Err(Errno::ENOTEMPTY);
            }
            to.table.remove_folder(&to_key)?;
            self.inodes.removed(to.ino(replaced));
        }
        let entry = from.table.rename(&from_key, &to_key, false).map_err(|error| match error {
            Error::FolderNotEmpty { .. } => Errno::EPERM,
            error => error.into(),
        })?;
        self.inodes.renamed(from.ino(folder), &to_key, &entry);
        Ok(())
    }

    fn rename_stored(
        &self,
        from: &Child,
        to: &Child,
        source: &Entry,
        target: Option<&End>,
    ) -> Result<()> {
        // A target that is still being written must not be stored while it is being replaced.
        let mut target_state = target.and_then(End::open).map(|file| (file, file.state()));
        if let Some((_, state)) = &mut target_state {
            if from.table.is_sealed(source) {
                return Err(Errno::EPERM);
            }
            make_way(to, state)?;
        }
        let entry = from.table.rename(&from.key, &to.key, true)?;
        self.inodes.renamed(from.ino(source), &to.key, &entry);
        self.replaced(to, target, target_state);
        Ok(())
    }

    fn rename_open(
        &self,
        from: &Child,
        to: &Child,
        file: &Arc<OpenFile>,
        target: Option<&End>,
    ) -> Result<()> {
        let target_open = target.and_then(End::open);
        let (mut state, mut target_state) = lock_both(file, target_open);
        let mut target_is_stored = match (target, &target_state) {
            (Some(End::Open(_)), Some(target_state)) => target_state.stored.is_some(),
            (target, _) => target.is_some(),
        };
        if state.name.is_none() {
            // Its last handle was released between the look at the names and the lock.
            drop((state, target_state));
            let entry = from.table.entry(&from.key)?.ok_or(Errno::ENOENT)?;
            return self.rename_stored(from, to, &entry, target);
        }
        // Before anything is stored: a refusal changes nothing.
        if matches!(target, Some(End::File(entry)) if to.table.is_sealed(entry)) {
            return Err(Errno::EPERM);
        }
        if target_is_stored && state.stored.is_none() {
            self.store(file, &mut state)?;
        }
        if let Some(target_state) = &mut target_state
            && make_way(to, target_state)?
        {
            target_is_stored = false;
        }
        if state.stored.is_some() {
            let entry = match from.table.rename(&from.key, &to.key, true) {
                // The grace passed since some duplicate was closed; the file is pending all the
                // same, and its writer can store it elsewhere.
                Err(error @ Error::Sealed { .. }) => {
                    store_elsewhere(from, to, &mut state, target_is_stored, error)?
                }
                renamed => renamed?,
            };
            state.stored = Some(entry);
        }
        self.replaced(to, target, target_open.zip(target_state));
        if let Some(old) = state.name.take() {
            self.names.insert(to.parent, to.name(), file);
            self.names.remove(&old, file);
        }
        state.name = Some(Name { parent: to.parent, key: to.key.clone().into_boxed_slice() });
        Ok(())
    }

    /// The target of a rename has lost its name.
    fn replaced(
        &self,
        to: &Child,
        target: Option<&End>,
        open: Option<(&Arc<OpenFile>, MutexGuard<'_, OpenState>)>,
    ) {
        match (target, open) {
            (_, Some((file, mut state))) => {
                self.detach(file, &mut state);
                // In case its last handle was released just before.
                self.inodes.removed(file.ino());
            }
            (Some(End::File(entry)), None) => self.inodes.removed(to.ino(entry)),
            _ => {}
        }
    }
}

/// One end of a rename.
enum End {
    Folder(Entry),
    File(Entry),
    Open(Arc<OpenFile>),
}

impl End {
    fn open(&self) -> Option<&Arc<OpenFile>> {
        match self {
            Self::Open(file) => Some(file),
            Self::Folder(_) | Self::File(_) => None,
        }
    }
}

/// Both states, in the order of the inode numbers.
fn lock_both<'a>(
    file: &'a OpenFile,
    other: Option<&'a Arc<OpenFile>>,
) -> (MutexGuard<'a, OpenState>, Option<MutexGuard<'a, OpenState>>) {
    match other {
        Some(other) if other.ino() < file.ino() => {
            let other = other.state();
            (file.state(), Some(other))
        }
        other => {
            let state = file.state();
            (state, other.map(|other| other.state()))
        }
    }
}

/// Takes the stored form of an open target away if the engine would keep it, for its grace can
/// have passed since some duplicate was closed. Tells whether it did.
fn make_way(to: &Child, target: &mut OpenState) -> Result<bool> {
    let is_kept = target.stored.is_some_and(|stored| to.table.is_sealed(&stored));
    if is_kept {
        take_back(to, target)?;
        // Should the rename fail, its last close stores it again.
        target.stored = None;
    }
    Ok(is_kept)
}

fn store_elsewhere(
    from: &Child,
    to: &Child,
    state: &mut OpenState,
    target_is_stored: bool,
    sealed: Error,
) -> Result<Entry> {
    let attributes = state.attributes;
    let Body::Writing(writer) = &mut state.body else { return Err(sealed.into()) };
    if target_is_stored {
        to.table.remove(&to.key)?;
    }
    let entry = writer.store(&to.key, attributes)?;
    // For a moment the file has both names, never none.
    writer.discard(&from.key)?;
    Ok(entry)
}
