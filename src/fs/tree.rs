//! MKDIR, SYMLINK, LINK: names for other things than written files.

use std::sync::Arc;

use super::open_file::OpenFile;
use super::read::TARGET_BYTES_MAX;
use super::{Answer, Caller, Child, Errno, Fs, Node, Result, Spot};
use crate::format::attributes::Kind;

impl Fs {
    /// Makes a folder; in the top folder, a table. The inode is to be forgotten once more.
    pub(crate) fn mkdir(
        &self,
        caller: Caller,
        parent: u64,
        name: &[u8],
        mode: u32,
    ) -> Result<Answer> {
        self.writable()?;
        let child = match self.spot(parent, name)? {
            Spot::Table(name) => return self.make_table(caller, &name, mode),
            Spot::Child(child) => child,
        };
        let _held = self.name_locks.lock(parent, name);
        self.refuse_existing(&child)?;
        let attributes = self.new_attributes(caller, &child.folder, Kind::Folder, mode);
        let key = child.folder_key()?;
        let entry = child.table.create_folder(&key, attributes)?;
        self.name_locks.changed(parent);
        Ok(self.learn_entry(&child.table, &key, &entry))
    }

    fn make_table(&self, caller: Caller, name: &str, mode: u32) -> Result<Answer> {
        let top = *self.top.lock();
        let attributes = self.new_attributes(caller, &top, Kind::Folder, mode);
        let table = self.db.create_table_with(name, self.table_settings, attributes)?;
        self.touch_top();
        Ok(self.found_table(&table))
    }

    /// Makes a symbolic link. The inode is to be forgotten once more.
    pub(crate) fn symlink(
        &self,
        caller: Caller,
        parent: u64,
        name: &[u8],
        target: &[u8],
    ) -> Result<Answer> {
        self.writable()?;
        if target.len() > TARGET_BYTES_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let child = self.child(parent, name)?;
        let _held = self.name_locks.lock(parent, name);
        self.refuse_existing(&child)?;
        let attributes = self.new_attributes(caller, &child.folder, Kind::Symlink, 0o777);
        let entry = child.table.put_with(&child.key, target, attributes)?;
        self.name_locks.changed(parent);
        Ok(self.learn_entry(&child.table, &child.key, &entry))
    }

    /// A second name with the same bytes. The new inode is to be forgotten once more.
    pub(crate) fn link(&self, ino: u64, new_parent: u64, new_name: &[u8]) -> Result<Answer> {
        self.writable()?;
        let to = self.child(new_parent, new_name)?;
        let _held = self.name_locks.lock(new_parent, new_name);
        self.refuse_existing(&to)?;
        let node = self.inodes.with(ino, |inode| {
            (inode.table.number() == to.table.number()).then(|| inode.node.clone())
        })?;
        let node = match node.ok_or(Errno::EXDEV)? {
            Node::Open(file) => self.released_node(&file)?,
            stored @ Node::Stored { .. } => stored,
        };
        match node {
            // Unlinked before.
            Node::Stored { key: None, .. } | Node::Open(_) => Err(Errno::ENOENT),
            Node::Stored { key: Some(_), entry } if entry.kind() == Kind::Folder => {
                Err(Errno::EPERM)
            }
            Node::Stored { key: Some(key), .. } => self.link_stored(&key, &to),
        }
    }

    /// What an open file is once its writers have let go of it; EBUSY as long as they have not.
    fn released_node(&self, file: &Arc<OpenFile>) -> Result<Node> {
        let mut state = file.state();
        if state.name.is_some() && !file.is_released(&mut state) {
            return Err(Errno::EBUSY);
        }
        drop(state);
        self.inodes.with(file.ino(), |inode| inode.node.clone())
    }

    fn link_stored(&self, from: &[u8], to: &Child) -> Result<Answer> {
        let entry = to.table.link(from, &to.key)?;
        self.name_locks.changed(to.parent);
        Ok(self.learn_entry(&Arc::clone(&to.table), &to.key, &entry))
    }
}
