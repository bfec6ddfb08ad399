//! UNLINK and RMDIR.

use std::sync::Arc;

use super::open_file::{Body, OpenFile, OpenState};
use super::{Child, Errno, Fs, Result, Spot, ino_of};
use crate::cast;
use crate::error::Error;
use crate::format::attributes::{Attributes, Kind};
use crate::format::location::ValueId;

impl Fs {
    /// Removes a pending or settling file or link. What is open goes on living for its handles.
    pub(crate) fn unlink(&self, parent: u64, name: &[u8]) -> Result<()> {
        self.writable()?;
        let child = self.child(parent, name)?;
        let _held = self.name_locks.lock(parent, name);
        if let Some(file) = self.names.get(parent, name) {
            let mut state = file.state();
            if state.stored.is_some() {
                take_back(&child, &mut state)?;
            }
            self.detach(&file, &mut state);
            // In case its last handle was released just before.
            self.inodes.removed(file.ino());
        } else {
            let Some((key, entry)) = Self::stored(&child)? else { return Err(Errno::ENOENT) };
            if entry.kind() == Kind::Folder {
                return Err(Errno::EISDIR);
            }
            child.table.remove(&key)?;
            self.inodes.removed(child.ino(&entry));
        }
        self.name_locks.changed(parent);
        Ok(())
    }

    /// Takes the name of an open file away; its bytes go with the last handle.
    pub(super) fn detach(&self, file: &Arc<OpenFile>, state: &mut OpenState) {
        if let Some(name) = state.name.take() {
            self.names.remove(&name, file);
        }
    }

    /// Removes an empty folder, or a table with nothing live in it.
    pub(crate) fn rmdir(&self, parent: u64, name: &[u8]) -> Result<()> {
        self.writable()?;
        let child = match self.spot(parent, name)? {
            Spot::Table(name) => return self.remove_table(&name),
            Spot::Child(child) => child,
        };
        let _held = self.name_locks.lock(parent, name);
        if self.names.get(parent, name).is_some() {
            return Err(Errno::ENOTDIR);
        }
        let Some((key, entry)) = Self::stored(&child)? else { return Err(Errno::ENOENT) };
        if entry.kind() != Kind::Folder {
            return Err(Errno::ENOTDIR);
        }
        let ino = ino_of(child.table.number(), entry.id);
        if self.names.any_in(ino) {
            return Err(Errno::ENOTEMPTY);
        }
        child.table.remove_folder(&key)?;
        self.inodes.removed(ino);
        self.name_locks.changed(parent);
        Ok(())
    }

    fn remove_table(&self, name: &str) -> Result<()> {
        let number = match self.db.table(name) {
            Ok(table) => table.number(),
            Err(Error::InvalidTableName { .. }) => return Err(Errno::ENOENT),
            Err(error) => return Err(error.into()),
        };
        if self.names.any_in_table(number) {
            return Err(Errno::ENOTEMPTY);
        }
        self.db.remove_table(name)?;
        self.touch_top();
        self.name_locks.changed(ino_of(number, ValueId(0)));
        Ok(())
    }

    /// A table came or went.
    pub(super) fn touch_top(&self) {
        let now_ns = cast::saturate_signed_ns(self.now_ns());
        let mut top = self.top.lock();
        *top = Attributes { mtime_ns: now_ns, ctime_ns: now_ns, ..*top };
        drop(top);
        self.name_locks.changed(super::TOP_INO);
    }
}

/// Takes the stored form of an open file away. Its grace can have passed since some duplicate was
/// closed; to everybody it is pending all the same.
pub(super) fn take_back(child: &Child, state: &mut OpenState) -> Result<()> {
    match child.table.remove(&child.key) {
        Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
        Err(error @ Error::Sealed { .. }) => match &mut state.body {
            Body::Writing(writer) => Ok(writer.discard(&child.key)?),
            Body::Stored(_) | Body::Gone => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}
