//! SETATTR: chmod, chown, utimens, truncate.

use std::sync::Arc;

use parking_lot::MutexGuard;

use super::handles::Handle;
use super::inodes::Inode;
use super::open_file::{Body, OpenFile, OpenState};
use super::{Answer, Caller, Errno, Fs, Node, Result, TOP_INO, is_table_folder};
use crate::cast;
use crate::error::Error;
use crate::format::attributes::{Attributes, Kind};

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetTime {
    /// The time of the operation.
    Now,
    /// Nanoseconds since the epoch.
    At(i64),
}

/// What to change.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changes {
    /// The length.
    pub(crate) size: Option<u64>,
    /// The permission bits (file type bits are ignored).
    pub(crate) mode: Option<u32>,
    /// The owner.
    pub(crate) uid: Option<u32>,
    /// The group.
    pub(crate) gid: Option<u32>,
    /// The modification time.
    pub(crate) mtime: Option<SetTime>,
    /// The access time, which is not kept: it always equals the modification time.
    pub(crate) atime: bool,
    /// The handle the change comes through.
    pub(crate) handle: Option<u64>,
}

impl Changes {
    fn touches_attributes(&self) -> bool {
        self.mode.is_some()
            || self.uid.is_some()
            || self.gid.is_some()
            || self.mtime.is_some()
            || self.atime
    }

    fn apply(&self, attributes: &mut Attributes, now_ns: i64) {
        if self.uid.is_some() || self.gid.is_some() {
            drop_set_ids(attributes);
        }
        if let Some(mode) = self.mode {
            attributes.set_permissions(mode);
        }
        attributes.uid = self.uid.unwrap_or(attributes.uid);
        attributes.gid = self.gid.unwrap_or(attributes.gid);
        match self.mtime {
            None => {}
            Some(SetTime::Now) => attributes.mtime_ns = now_ns,
            Some(SetTime::At(at_ns)) => attributes.mtime_ns = at_ns,
        }
        attributes.ctime_ns = now_ns;
    }
}

/// Takes set-user-id away, and set-group-id from what its group may execute (without that it is no
/// right); whether there was any. Folders only hand down their group by it.
fn drop_set_ids(attributes: &mut Attributes) -> bool {
    const SET_USER_ID: u32 = 0o4000;
    const SET_GROUP_ID: u32 = 0o2000;
    const GROUP_EXECUTES: u32 = SET_GROUP_ID | 0o010;
    let before = attributes.permissions();
    let mut permissions = before;
    if attributes.kind() == Kind::File {
        permissions &= !SET_USER_ID;
        if permissions & GROUP_EXECUTES == GROUP_EXECUTES {
            permissions &= !SET_GROUP_ID;
        }
    }
    attributes.set_permissions(permissions);
    permissions != before
}

impl Fs {
    /// Changes attributes or length; returns what they are then.
    pub(crate) fn setattr(&self, caller: Caller, ino: u64, changes: &Changes) -> Result<Answer> {
        self.writable()?;
        // The kernel checks this only when it checks permissions at all, and a file must not be
        // given away in either case.
        if changes.uid.is_some_and(|uid| caller.uid != 0 && uid != caller.uid) {
            return Err(Errno::EPERM);
        }
        if ino == TOP_INO {
            return Err(Errno::EPERM);
        }
        if is_table_folder(ino) {
            return self.setattr_table(ino, changes);
        }
        let node = self.inodes.with(ino, |inode| inode.node.clone())?;
        match node {
            Node::Open(file) => self.setattr_open(&file, changes),
            Node::Stored { .. } => self.setattr_stored(ino, changes),
        }
    }

    fn setattr_table(&self, ino: u64, changes: &Changes) -> Result<Answer> {
        if changes.size.is_some() {
            return Err(Errno::EISDIR);
        }
        let table = self.table_of(ino)?;
        let mut attributes = table.attributes();
        changes.apply(&mut attributes, cast::saturate_signed_ns(self.now_ns()));
        table.set_attributes(attributes)?;
        Ok(self.found_table(&table))
    }

    fn setattr_stored(&self, ino: u64, changes: &Changes) -> Result<Answer> {
        let (table, key, entry) = self.inodes.with(ino, |inode| match &inode.node {
            Node::Stored { key, entry } => Ok((Arc::clone(&inode.table), key.clone(), *entry)),
            // Opened for writing a moment ago.
            Node::Open(_) => Err(Errno::EBUSY),
        })??;
        if let Some(size) = changes.size {
            match entry.kind() {
                Kind::Folder => return Err(Errno::EISDIR),
                // To the length it has: nothing happens, whatever its state.
                Kind::File if size == entry.value_bytes => {}
                Kind::File | Kind::Symlink => return Err(Errno::EPERM),
            }
        }
        if !changes.touches_attributes() {
            return Ok(self.found_entry(&table, &entry, key.is_some()));
        }
        let now_ns = cast::saturate_signed_ns(self.now_ns());
        let Some(key) = key else {
            // Only handles still see it.
            let mut entry = entry;
            changes.apply(&mut entry.attributes, now_ns);
            self.inodes.entry_changed(ino, &entry);
            return Ok(self.found_entry(&table, &entry, false));
        };
        let current = match entry.kind() {
            Kind::Folder => table.entry(&key)?.ok_or(Errno::ENOENT)?,
            Kind::File | Kind::Symlink if table.is_sealed(&entry) => return Err(Errno::EPERM),
            Kind::File | Kind::Symlink => entry,
        };
        let mut attributes = current.attributes;
        changes.apply(&mut attributes, now_ns);
        let entry = table.change_attributes(&key, attributes)?;
        self.inodes.entry_changed(ino, &entry);
        Ok(self.found_entry(&table, &entry, true))
    }

    fn setattr_open(&self, file: &Arc<OpenFile>, changes: &Changes) -> Result<Answer> {
        let mut state = file.state();
        if state.writers == 0 {
            // Released while this waited. If its name was gone by then it has no other place.
            drop(state);
            let is_stored = |inode: &mut Inode| matches!(inode.node, Node::Stored { .. });
            if self.inodes.with(file.ino(), is_stored)? {
                return self.setattr_stored(file.ino(), changes);
            }
            state = file.state();
        }
        if let Some(size) = changes.size {
            self.truncate_open(file, &mut state, size, changes.handle)?;
        }
        if changes.touches_attributes() {
            let mut attributes = state.attributes;
            changes.apply(&mut attributes, cast::saturate_signed_ns(self.now_ns()));
            store_attributes(file, &mut state, attributes)?;
            state.mtime_is_set |= changes.mtime.is_some();
        }
        drop(state);
        Ok(Self::found_open(file))
    }

    /// By a handle that writes, any length goes; by path only the length that it has.
    fn truncate_open(
        &self,
        file: &Arc<OpenFile>,
        state: &mut MutexGuard<'_, OpenState>,
        size: u64,
        handle: Option<u64>,
    ) -> Result<()> {
        if size == state.len() {
            return Ok(());
        }
        let by_writer = handle.is_some_and(|handle| {
            self.handles.get(handle).is_ok_and(
                |handle| matches!(&*handle, Handle::Write(written) if Arc::ptr_eq(written, file)),
            )
        });
        if !by_writer {
            let released = file.is_released(state);
            return Err(if released { Errno::EPERM } else { Errno::EBUSY });
        }
        let Body::Writing(writer) = &mut state.body else { return Err(Errno::EPERM) };
        writer.truncate(size)?;
        state.touch(cast::saturate_signed_ns(self.now_ns()));
        self.drop_set_ids(file, state)
    }

    /// A write is to come from somebody who may not keep set-user-id and set-group-id.
    pub(crate) fn write_drops_set_ids(&self, handle: u64) -> Result<()> {
        match &*self.handles.get(handle)? {
            Handle::Write(file) => self.drop_set_ids(file, &mut file.state()),
            _ => Ok(()),
        }
    }

    /// Takes set-user-id and set-group-id from a file whose bytes change. At a change of the length
    /// the kernel does not tell who might keep them: nobody does.
    pub(super) fn drop_set_ids(&self, file: &OpenFile, state: &mut OpenState) -> Result<()> {
        let mut attributes = state.attributes;
        if drop_set_ids(&mut attributes) {
            store_attributes(file, state, attributes)?;
            self.kernel.forget_stat(file.ino());
        }
        Ok(())
    }
}

/// Takes new attributes over, and into the engine when the file is stored already: a daemon that
/// dies now must not forget a chmod that came behind the close.
fn store_attributes(file: &OpenFile, state: &mut OpenState, attributes: Attributes) -> Result<()> {
    if let (Some(_), Some(name)) = (&state.stored, &state.name) {
        match file.table().change_attributes(&name.key, attributes) {
            Ok(entry) => {
                state.stored = Some(entry);
                state.attributes_unstored = false;
            }
            // The grace passed since some duplicate was closed; the writer stores them.
            Err(Error::Sealed { .. }) => state.attributes_unstored = true,
            Err(error) => return Err(error.into()),
        }
    }
    state.attributes = attributes;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_ids_are_dropped_where_they_are_a_right() {
        let dropped = |kind, permissions| {
            let mut attributes = Attributes::new_at_ns(kind, permissions, 0, 0, 0);
            (drop_set_ids(&mut attributes), attributes.permissions())
        };
        assert_eq!(dropped(Kind::File, 0o6755), (true, 0o755));
        assert_eq!(dropped(Kind::File, 0o6745), (true, 0o2745));
        assert_eq!(dropped(Kind::File, 0o2745), (false, 0o2745));
        assert_eq!(dropped(Kind::File, 0o1777), (false, 0o1777));
        assert_eq!(dropped(Kind::Folder, 0o6755), (false, 0o6755));
    }
}
