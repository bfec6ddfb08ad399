//! WRITE, FLUSH, RELEASE, FSYNC, FALLOCATE: the life of an open file.
//!
//! FLUSH comes with every close of a descriptor, duplicates included, and is the last request
//! whose error reaches the program: it stores the file. Storing again writes all of a small file
//! anew, so a script that appends through very many duplicates would write the square of its output:
//! once storing a file again has written more than its own length and some, it is stored again only
//! when its length has doubled, and what is left is stored at RELEASE. Until then everybody sees the
//! writer's bytes.

use std::sync::Arc;

use super::create::open_value;
use super::failures::in_table;
use super::handles::Handle;
use super::inodes::Inode;
use super::keys::split_key;
use super::open_file::{Body, Closed, OpenFile, OpenState};
use super::{Errno, Fs, Node, Result};
use crate::cast;
use crate::error::Error;
use crate::format::attributes::{Attributes, Kind};
use crate::format::entry::Entry;
use crate::table::{Table, Writer};

/// So much may be written by storing a file again and again, beside its own length.
const REPEATED_BYTES_FREE: u64 = 1 << 20;

impl Fs {
    /// Writes at an offset, or at the end for handles opened with `O_APPEND`.
    pub(crate) fn write(&self, handle: u64, offset: u64, bytes: &[u8], flags: i32) -> Result<()> {
        let handle = self.handles.get(handle)?;
        let Handle::Write(file) = &*handle else { return Err(Errno::EBADF) };
        let mut state = file.state();
        let Body::Writing(writer) = &mut state.body else { return Err(Errno::EBADF) };
        let offset = if flags & libc::O_APPEND == 0 { offset } else { writer.len() };
        if let Err(error) = writer.write_at(offset, bytes) {
            let errno = Errno::from(error);
            if [Errno::ENOSPC, Errno::EIO].contains(&errno) {
                state.refused = Some(errno.clone());
            }
            return Err(errno);
        }
        state.touch(cast::saturate_signed_ns(self.now_ns()));
        Ok(())
    }

    /// Makes room up to an offset. `FALLOC_FL_KEEP_SIZE` is granted and does nothing.
    pub(crate) fn fallocate(&self, handle: u64, offset: u64, bytes: u64, mode: i32) -> Result<()> {
        if mode & !libc::FALLOC_FL_KEEP_SIZE != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let handle = self.handles.get(handle)?;
        let Handle::Write(file) = &*handle else { return Err(Errno::EPERM) };
        let end = offset.checked_add(bytes).ok_or(Errno::EFBIG)?;
        let mut state = file.state();
        let Body::Writing(writer) = &mut state.body else { return Err(Errno::EPERM) };
        if mode == 0 && end > writer.len() {
            writer.truncate(end)?;
            state.touch(cast::saturate_signed_ns(self.now_ns()));
            self.drop_set_ids(file, &mut state)?;
        }
        Ok(())
    }

    /// A descriptor of the handle was closed.
    pub(crate) fn flush(&self, handle: u64) -> Result<()> {
        let handle = self.handles.get(handle)?;
        let Handle::Write(file) = &*handle else { return Ok(()) };
        let mut state = file.state();
        state.closed = Closed::Last;
        let Body::Writing(writer) = &state.body else { return Ok(()) };
        if let Some(errno) = &state.refused {
            return Err(errno.clone());
        }
        let worth_it = match writer.stored_len() {
            None => state.stored.is_none() || writer.is_dirty(),
            Some(stored_len) => {
                let repeated_bytes = state.repeated_bytes.saturating_add(writer.storing_bytes());
                let is_cheap = repeated_bytes <= writer.len().saturating_add(REPEATED_BYTES_FREE);
                writer.is_dirty() && (is_cheap || writer.len() >= stored_len.saturating_mul(2))
            }
        };
        if worth_it { self.store(file, &mut state) } else { Ok(()) }
    }

    /// Makes what was written durable.
    pub(crate) fn fsync(&self, handle: u64) -> Result<()> {
        let handle = self.handles.get(handle)?;
        match &*handle {
            Handle::Write(file) => {
                let mut state = file.state();
                // Durable means that a power cut leaves the file, so it is stored although it
                // stays pending.
                if let Body::Writing(writer) = &mut state.body
                    && (writer.is_dirty() || writer.stored_len().is_none())
                {
                    writer.expect_repetition()?;
                    self.store(file, &mut state)?;
                }
                drop(state);
                // One sync of the table serves all that wait for it.
                Ok(file.table().flush()?)
            }
            Handle::ReadOpen(file) => Ok(file.table().flush()?),
            Handle::Read { ino, .. } => Ok(self.table_of(*ino)?.flush()?),
            Handle::Folder(folder) => self.fsync_folder(folder.ino()),
        }
    }

    /// The last descriptor of a handle is gone.
    pub(crate) fn release(&self, handle: u64) {
        let Some(handle) = self.handles.remove(handle) else { return };
        match &*handle {
            Handle::Read { ino, .. } => self.inodes.update(*ino, Inode::close),
            Handle::ReadOpen(file) => {
                let mut state = file.state();
                state.readers -= 1;
                if state.readers == 0 && state.writers == 0 {
                    state.body = Body::Gone;
                }
                drop(state);
                self.inodes.update(file.ino(), Inode::close);
            }
            Handle::Write(file) => self.release_writer(file),
            Handle::Folder(_) => {}
        }
    }

    fn release_writer(&self, file: &Arc<OpenFile>) {
        let mut state = file.state();
        if file.writer_released(&mut state) {
            self.finish(file, &mut state);
        }
        drop(state);
        self.inodes.update(file.ino(), Inode::close);
    }

    /// Stores what is left of a file and hands it over to the engine.
    fn finish(&self, file: &Arc<OpenFile>, state: &mut OpenState) {
        let Some(name) = &state.name else {
            // Unlinked: the bytes live as long as somebody reads them.
            if state.readers == 0 {
                state.body = Body::Gone;
            }
            return;
        };
        let key = name.key.clone();
        let parent = name.parent;
        let left = match &state.body {
            Body::Writing(writer) => {
                state.stored.is_none() || writer.is_dirty() || state.attributes_unstored
            }
            Body::Stored(_) | Body::Gone => false,
        };
        let failed = if left { self.store(file, state).err() } else { None };
        if let Some(errno) = failed {
            let lost = if state.stored.is_some() { "the end of " } else { "" };
            let place = in_table(&key, file.table().name());
            let reason = errno.to_log().unwrap_or_else(|| format!("{errno:?}"));
            log::error!("could not store {lost}{place}: {reason}");
        }
        let name = state.name.take();
        state.handed_over = state.stored.is_some();
        if let Some(stored) = state.stored {
            if state.readers == 0 {
                state.body = Body::Gone;
            } else {
                match open_value(file.table(), Some(&key), &stored) {
                    Ok(reader) => state.body = Body::Stored(Arc::new(reader)),
                    // Mostly it has expired since: who has it open reads on what the writer had.
                    Err(errno) => {
                        if let Some(reason) = errno.to_log() {
                            let place = in_table(&key, file.table().name());
                            log::error!("could not open {place} again: {reason}");
                        }
                    }
                }
            }
            // Readers of the same file go on showing it under its name.
            self.inodes.update(file.ino(), |inode| {
                inode.node = Node::Stored { key: Some(key.clone()), entry: stored };
                inode.stale_pages = true;
            });
        } else if state.readers == 0 {
            state.body = Body::Gone;
        }
        if let Some(name) = name {
            self.names.remove(&name, file);
            if state.stored.is_none() {
                self.kernel.forget_name(name.parent, name.component());
            }
        }
        self.name_locks.changed(parent);
    }

    /// Stores the bytes so far under the name of the file.
    pub(super) fn store(&self, file: &OpenFile, state: &mut OpenState) -> Result<()> {
        let Some(name) = &state.name else { return Ok(()) };
        let Body::Writing(writer) = &mut state.body else { return Ok(()) };
        if let Some(errno) = &state.refused {
            return Err(errno.clone());
        }
        if writer.stored_len().is_some() {
            state.repeated_bytes = state.repeated_bytes.saturating_add(writer.storing_bytes());
        }
        let entry = store_value(file.table(), writer, &name.key, state.attributes)?;
        state.stored = Some(entry);
        state.attributes_unstored = false;
        self.name_locks.changed(name.parent);
        Ok(())
    }

    /// The session has ended: stores what was acknowledged by a close and not stored yet. Files
    /// that nobody closed are dropped with their handles, as if the machine had stopped.
    pub(crate) fn finish_all(&self) {
        for handle in self.handles.drain() {
            let Handle::Write(file) = &*handle else { continue };
            let mut state = file.state();
            // To whoever closed a descriptor it was said that what was written is safe.
            if state.closed != Closed::Never && state.writers > 0 {
                state.writers = 0;
                self.finish(file, &mut state);
            }
        }
        self.names.clear();
    }
}

/// Stores a value. Its folder can have expired while it was being written; a file must not be lost
/// for that, so the folders are made again.
fn store_value(
    table: &Table,
    writer: &mut Writer,
    key: &[u8],
    attributes: Attributes,
) -> Result<Entry> {
    match writer.store(key, attributes) {
        Ok(entry) => Ok(entry),
        Err(Error::NotFound { .. }) => {
            make_folders(table, split_key(key).0, &attributes)?;
            Ok(writer.store(key, attributes)?)
        }
        Err(error) => Err(error.into()),
    }
}

fn make_folders(table: &Table, folder: &[u8], of: &Attributes) -> Result<()> {
    let ends = folder.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1);
    for end in ends {
        let now_ns = cast::saturate_unsigned_ns(of.ctime_ns);
        let attributes = Attributes::new_at_ns(Kind::Folder, 0o755, of.uid, of.gid, now_ns);
        match table.create_folder(&folder[..end], attributes) {
            Ok(_) | Err(Error::Exists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
