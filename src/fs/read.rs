//! READ and READLINK.

use std::sync::Arc;

use super::create::open_value;
use super::handles::Handle;
use super::open_file::{Body, OpenFile};
use super::{Errno, Fs, Node, Result};
use crate::cast;
use crate::format::attributes::Kind;
use crate::table::ValueReader;

/// Longest target of a symbolic link, in bytes, as the kernel has it.
pub(super) const TARGET_BYTES_MAX: usize = 4095;

impl Fs {
    /// Reads into `buffer`; short only at the end of what there is.
    pub(crate) fn read(&self, handle: u64, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let handle = self.handles.get(handle)?;
        match &*handle {
            Handle::Read { ino, reader } if reader.is_empty() => {
                self.read_once_empty(*ino, offset, buffer)
            }
            Handle::Read { reader, .. } => Ok(reader.read_at(offset, buffer)?),
            Handle::Write(file) | Handle::ReadOpen(file) => {
                match read_open(file, offset, buffer)? {
                    Some(length) => Ok(length),
                    None => self.read_once_empty(file.ino(), offset, buffer),
                }
            }
            Handle::Folder(_) => Err(Errno::EISDIR),
        }
    }

    /// Reads through a handle on a file that was empty when it was opened or closed, and may have
    /// been written since: that is seen by those who had it open as well.
    fn read_once_empty(&self, ino: u64, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let (table, node) =
            self.inodes.with(ino, |inode| (Arc::clone(&inode.table), inode.node.clone()))?;
        match node {
            Node::Open(file) => Ok(read_open(&file, offset, buffer)?.unwrap_or(0)),
            Node::Stored { entry, .. } if entry.value_bytes == 0 => Ok(0),
            Node::Stored { key, entry } => match open_value(&table, key.as_deref(), &entry) {
                Ok(reader) => Ok(reader.read_at(offset, buffer)?),
                // Expired since; the handle is left with what it was opened on.
                Err(_gone) if table.is_expired(&entry) => Ok(0),
                Err(errno) => Err(errno),
            },
        }
    }

    /// The target of a symbolic link.
    pub(crate) fn readlink(&self, ino: u64) -> Result<Vec<u8>> {
        let (table, key, entry) = self.inodes.with(ino, |inode| match &inode.node {
            Node::Stored { key, entry } if entry.kind() == Kind::Symlink => {
                Ok((Arc::clone(&inode.table), key.clone(), *entry))
            }
            _ => Err(Errno::EINVAL),
        })??;
        if table.is_expired(&entry) {
            return Err(Errno::ESTALE);
        }
        read_all(&open_value(&table, key.as_deref(), &entry)?)
    }
}

/// Reads from a file that is or was open for writing; None when it was stored empty.
fn read_open(file: &OpenFile, offset: u64, buffer: &mut [u8]) -> Result<Option<usize>> {
    let state = file.state();
    let reader = match &state.body {
        Body::Writing(writer) => return Ok(Some(writer.read_at(offset, buffer)?)),
        Body::Stored(reader) if reader.is_empty() => return Ok(None),
        Body::Stored(reader) => Arc::clone(reader),
        Body::Gone => return Err(Errno::EIO),
    };
    // The bytes are fixed: other readers need not wait.
    drop(state);
    Ok(Some(reader.read_at(offset, buffer)?))
}

fn read_all(reader: &ValueReader) -> Result<Vec<u8>> {
    let length = cast::to_usize(reader.len());
    if length > TARGET_BYTES_MAX {
        return Err(Errno::EIO);
    }
    let mut target = vec![0; length];
    let read = reader.read_at(0, &mut target)?;
    target.truncate(read);
    Ok(target)
}
