//! LOOKUP, FORGET, GETATTR: what stands where.

use std::sync::Arc;
use std::time::Duration;

use super::attributes::{VALID_BUSY_FOLDER, VALID_MAX, entry_valid, unstored_valid};
use super::open_file::{OpenFile, OpenState};
use super::{
    Answer, Caller, Child, Errno, Fs, Known, Node, Result, Spot, Stat, TOP_INO, ino_of,
    is_table_folder,
};
use crate::error::Error;
use crate::format::attributes::Kind;
use crate::format::entry::Entry;
use crate::format::location::ValueId;
use crate::table::Table;

/// The answer to a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookupAnswer {
    /// The name stands for this; the lookup is counted.
    Found(Answer),
    /// There is no such name, for as long as this mount does not make it.
    Absent(Duration),
}

impl Fs {
    /// What a name stands for. A found inode is to be forgotten once more.
    pub(crate) fn lookup(&self, parent: u64, name: &[u8]) -> Result<LookupAnswer> {
        let child = match self.spot(parent, name)? {
            Spot::Table(name) => {
                return match self.db.table(&name) {
                    Ok(table) => Ok(LookupAnswer::Found(self.found_table(&table))),
                    Err(Error::NoSuchTable { .. } | Error::InvalidTableName { .. }) => {
                        Ok(LookupAnswer::Absent(VALID_MAX))
                    }
                    Err(error) => Err(error.into()),
                };
            }
            Spot::Child(child) => child,
        };
        if let Some(file) = self.names.get(parent, name)
            && let Some(found) = self.learn_open(&file)
        {
            return Ok(LookupAnswer::Found(found));
        }
        match Self::stored(&child)? {
            Some((key, entry)) => {
                Ok(LookupAnswer::Found(self.learn_entry(&child.table, &key, &entry)))
            }
            None => Ok(LookupAnswer::Absent(VALID_MAX)),
        }
    }

    /// The stored file, link or folder of a name, with the key it has.
    pub(super) fn stored(child: &Child) -> Result<Option<(Vec<u8>, Entry)>> {
        if let Some(entry) = child.table.entry(&child.key)? {
            return Ok(Some((child.key.clone(), entry)));
        }
        let Ok(folder_key) = child.folder_key() else { return Ok(None) };
        Ok(child.table.entry(&folder_key)?.map(|entry| (folder_key, entry)))
    }

    /// Takes back lookups.
    pub(crate) fn forget(&self, ino: u64, lookups: u64) {
        self.inodes.forget(ino, lookups);
    }

    /// Attributes of an inode.
    pub(crate) fn getattr(&self, ino: u64) -> Result<Answer> {
        if ino == TOP_INO {
            let stat = Stat::of_folder(ino, *self.top.lock());
            return Ok(Answer { stat, name_valid: VALID_MAX, stat_valid: VALID_MAX });
        }
        if is_table_folder(ino) {
            let table = self.table_of(ino)?;
            return Ok(self.found_table(&table));
        }
        let (table, known, key, handles) = self.inodes.with(ino, |inode| {
            let (known, key) = match &inode.node {
                Node::Stored { key, entry } => {
                    let is_folder = entry.kind() == Kind::Folder;
                    let folder_key = key.as_ref().filter(|_| is_folder).cloned();
                    (Known::Stored(*entry, key.is_some()), folder_key)
                }
                Node::Open(file) => (Known::Open(Arc::clone(file)), None),
            };
            (Arc::clone(&inode.table), known, key, inode.handles)
        })?;
        match (known, key) {
            (Known::Open(file), _) => Ok(Self::found_open(&file)),
            // The mtime of a folder moves with what comes and goes in it.
            (Known::Stored(..), Some(folder_key)) => {
                let entry = table.entry(&folder_key)?.ok_or(Errno::ENOENT)?;
                self.inodes.entry_changed(ino, &entry);
                Ok(self.found_entry(&table, &entry, true))
            }
            (Known::Stored(entry, is_named), None) => {
                if is_named && handles == 0 && table.is_expired(&entry) {
                    return Err(Errno::ENOENT);
                }
                Ok(self.found_entry(&table, &entry, is_named))
            }
        }
    }

    /// access(2), which the kernel asks only when it does not check permissions itself. Whether a
    /// caller belongs to other groups is not known here; the benefit of the doubt is theirs.
    pub(crate) fn access(&self, caller: Caller, ino: u64, mask: i32) -> Result<()> {
        let mask = mask.unsigned_abs() & 0o7;
        let attributes = self.getattr(ino)?.stat.attributes;
        if mask & libc::W_OK.unsigned_abs() != 0 {
            self.writable()?;
        }
        let permissions = attributes.permissions();
        let granted = if caller.uid == 0 {
            let may_run = attributes.kind() == Kind::Folder || permissions & 0o111 != 0;
            if may_run { 0o7 } else { 0o6 }
        } else if caller.uid == attributes.uid {
            permissions >> 6
        } else {
            permissions >> 3 | permissions
        };
        if mask & !granted == 0 { Ok(()) } else { Err(Errno::EACCES) }
    }

    pub(super) fn found_table(&self, table: &Table) -> Answer {
        let ino = ino_of(table.number(), ValueId(0));
        let stat = Stat::of_folder(ino, table.attributes());
        Answer { stat, name_valid: VALID_MAX, stat_valid: self.folder_stat_valid(ino) }
    }

    pub(super) fn found_entry(&self, table: &Table, entry: &Entry, is_named: bool) -> Answer {
        let ino = ino_of(table.number(), entry.id);
        let valid = entry_valid(table, entry, self.now_ns());
        let stat_valid = match entry.kind() {
            Kind::Folder => valid.min(self.folder_stat_valid(ino)),
            Kind::File | Kind::Symlink => valid,
        };
        let stat = Stat::of_entry(ino, entry, u32::from(is_named));
        Answer { stat, name_valid: valid, stat_valid }
    }

    /// The kernel sees every write to an open file itself, and asks again for the times after one;
    /// so attributes hold for long even while the file is being written.
    pub(super) fn found_open(file: &OpenFile) -> Answer {
        Self::found_as(file, &file.state())
    }

    /// What [`Fs::found_open`] answers, for callers who have the state locked.
    pub(super) fn found_as(file: &OpenFile, state: &OpenState) -> Answer {
        let valid = unstored_valid(file.table());
        Answer { stat: state.stat(file.ino()), name_valid: valid, stat_valid: valid }
    }

    /// Counts a lookup of a file that is open for writing; `None`, and nothing is counted, when it is
    /// no more. Its state is locked: a release in between would leave an inode that stands for a file
    /// nobody can open.
    pub(super) fn learn_open(&self, file: &Arc<OpenFile>) -> Option<Answer> {
        let state = file.while_written()?;
        self.inodes.learn_open(file);
        Some(Self::found_as(file, &state))
    }

    /// Counts a lookup of a stored file, link or folder.
    pub(super) fn learn_entry(&self, table: &Arc<Table>, key: &[u8], entry: &Entry) -> Answer {
        let ino = ino_of(table.number(), entry.id);
        match self.inodes.learn_entry(ino, table, key, entry) {
            Known::Open(file) => Self::found_open(&file),
            Known::Stored(known, is_named) => {
                // Of folders the engine knows more than was remembered.
                let entry = if entry.kind() == Kind::Folder { *entry } else { known };
                self.found_entry(table, &entry, is_named)
            }
        }
    }

    fn folder_stat_valid(&self, ino: u64) -> Duration {
        if self.names.any_in(ino) { VALID_BUSY_FOLDER } else { VALID_MAX }
    }
}
