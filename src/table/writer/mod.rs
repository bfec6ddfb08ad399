//! A value while it is written: any order, any length, in bounded memory.
//!
//! The bytes gather in memory. Past a threshold, or when all pending values together hold too
//! much, they move to a file of their own and stream from then on; when the value is stored that
//! file becomes a dedicated shard of the active segment by a rename. Storing may be repeated: what
//! this writer stored before is then superseded, so that a file can be closed through one
//! descriptor and go on growing through another. Bytes that were stored stay as they are until
//! then: a file of its own only grows behind them, and is copied before they are written over.

#[cfg(any(test, feature = "mount"))]
#[cfg_attr(
    not(feature = "mount"),
    expect(dead_code, reason = "the tests of the engine alone use a part of it")
)]
mod mounted;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::active::{ActiveSegment, NameChange};
use super::draft::Draft;
use super::folders::Parents;
use super::{Table, key};
use crate::cast::to_usize;
use crate::disk::{DiskFile, DiskPath};
use crate::error::{Error, Result, printable};
use crate::format::attributes::{Attributes, Kind};
use crate::format::entry::Entry;
use crate::format::location::{SegmentNumber, ValueId};
use crate::format::record::VALUE_BYTES_MAX;
use crate::layout::segment_files::{spill_name, values_name};
use crate::root_id::RootId;
use crate::segment::checksums::BlockChecksums;

/// Shorter values stay in memory even when all pending values together hold too much: a file would
/// cost more.
const SPILL_BYTES_MIN: u64 = 4096;
/// Read and written at a time when a value is copied.
const COPY_BYTES: usize = 1 << 20;

/// A value being written, in any order and of any length; see [`Table::writer`].
///
/// It takes bytes at any offset by [`Writer::write_at`], and at its end as [`Write`]. However they
/// come, nothing is stored before [`Writer::finish`] or [`Writer::store`]: until then no key stands
/// for it, and when it is dropped nothing is left of it. [`Write::flush`] does nothing.
///
/// ```
/// # let scratch = tempfile::tempdir()?;
/// # let options = littfs::OpenOptions::new([scratch.path()]).create(true);
/// # let db = littfs::Db::open(options)?;
/// use std::io::Write;
///
/// let table = db.create_table("logs", littfs::TableSettings::default())?;
/// let mut writer = table.writer()?;
/// writeln!(writer, "first line")?;
/// std::io::copy(&mut &b"and more"[..], &mut writer)?;
/// writer.flush()?;
/// assert!(!table.exists(b"2026/11/host.log")?, "a flush stores nothing");
/// writer.finish(b"2026/11/host.log")?;
/// assert_eq!(table.get(b"2026/11/host.log")?.as_deref(), Some(&b"first line\nand more"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Writer {
    table: Arc<Table>,
    id: ValueId,
    content: Content,
    parents: Parents,
    is_dirty: bool,
    /// As last stored.
    stored: Option<Entry>,
}

#[derive(Debug)]
enum Content {
    Memory(Vec<u8>),
    File(Box<SpillFile>),
}

/// A value in a file of its own.
#[derive(Debug)]
struct SpillFile {
    file: Arc<DiskFile>,
    path: DiskPath,
    bytes: u64,
    root: RootId,
    /// How much may be written before the room on the drive is looked at again.
    room: u64,
    checksums: BlockChecksums,
    /// The segment and number it has as a dedicated shard, once stored.
    dedicated: Option<(SegmentNumber, u32)>,
    /// What was stored refers to so many bytes from the start on: they change no more.
    stored_bytes: u64,
}

impl Table {
    /// A new value. It has an identity at once, and a name when it is stored. Folders above that
    /// name that are missing are made then, as [`Table::put`] does.
    pub fn writer(&self) -> Result<Writer> {
        self.new_writer(Parents::Make)
    }

    fn new_writer(&self, parents: Parents) -> Result<Writer> {
        self.health.check_writable()?;
        Ok(Writer {
            table: self.shared()?,
            id: self.ids.take()?,
            content: Content::Memory(Vec::new()),
            parents,
            is_dirty: true,
            stored: None,
        })
    }
}

impl Writer {
    /// The identity of the value.
    #[must_use]
    pub fn id(&self) -> ValueId {
        self.id
    }

    /// Length so far, in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File(spill) => spill.bytes,
        }
    }

    /// Whether nothing was written so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes at an offset; a gap behind the end so far reads as zeros.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        self.make_room(end)?;
        self.is_dirty = true;
        match &mut self.content {
            Content::Memory(content) => {
                // Within the spill threshold, which fits memory.
                let start = to_usize(offset);
                let stop = start.saturating_add(bytes.len());
                if start == content.len() {
                    content.extend_from_slice(bytes);
                } else {
                    if content.len() < stop {
                        content.resize(stop, 0);
                    }
                    content[start..stop].copy_from_slice(bytes);
                }
            }
            Content::File(spill) => {
                if offset < spill.stored_bytes {
                    spill.go_on_in_copy(&self.table, self.id)?;
                }
                let length = bytes.len() as u64;
                if length > spill.room {
                    spill.room = self.table.segments.room_to_grow(spill.root)?.max(length);
                }
                spill.file.write_all_at(bytes, offset)?;
                spill.room -= length;
                spill.checksums.write(offset, bytes);
                spill.bytes = spill.bytes.max(end);
            }
        }
        Ok(())
    }

    /// Cuts the value, or extends it with zeros.
    pub fn truncate(&mut self, length: u64) -> Result<()> {
        if length == self.len() {
            return Ok(());
        }
        self.make_room(length)?;
        self.is_dirty = true;
        match &mut self.content {
            Content::Memory(content) => {
                let before = content.len() as u64;
                content.resize(to_usize(length), 0);
                if length < before {
                    self.table.context.pending_bytes.fetch_sub(before - length, Ordering::Relaxed);
                }
            }
            Content::File(spill) => {
                if length < spill.stored_bytes {
                    spill.go_on_in_copy(&self.table, self.id)?;
                }
                spill.file.set_len(length)?;
                spill.checksums.truncate(length);
                spill.bytes = length;
            }
        }
        Ok(())
    }

    /// Fills `buffer` from `offset`; returns how many bytes that were, fewer only at the end.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        match &self.content {
            Content::Memory(content) => {
                let start = to_usize(offset).min(content.len());
                let count = buffer.len().min(content.len() - start);
                buffer[..count].copy_from_slice(&content[start..start + count]);
                Ok(count)
            }
            Content::File(spill) => {
                let left = to_usize(spill.bytes.saturating_sub(offset));
                let count = buffer.len().min(left);
                spill.file.read_at(&mut buffer[..count], offset)
            }
        }
    }

    /// Accounts for growth up to `end`, and moves the value to a file when that is too much.
    fn make_room(&mut self, end: u64) -> Result<()> {
        self.table.health.check_writable()?;
        if end > VALUE_BYTES_MAX {
            return Err(Error::ValueTooLong { max: VALUE_BYTES_MAX });
        }
        let Content::Memory(bytes) = &self.content else {
            return Ok(());
        };
        let context = &self.table.context;
        let growth = end.saturating_sub(bytes.len() as u64);
        let in_all = context.pending_bytes.fetch_add(growth, Ordering::Relaxed) + growth;
        let is_long = end > context.engine.spill_bytes;
        let is_too_much = in_all > context.engine.pending_bytes_max && end > SPILL_BYTES_MIN;
        if is_long || is_too_much {
            context.pending_bytes.fetch_sub(growth, Ordering::Relaxed);
            return self.spill();
        }
        Ok(())
    }

    /// Moves the value from memory to a file of its own.
    fn spill(&mut self) -> Result<()> {
        let Content::Memory(content) = &self.content else {
            return Ok(());
        };
        let table = &self.table;
        let root = table.segments.choose_root(self.id.0, content.len() as u64)?;
        let path = table.segments.dirs().dir(root)?.join(spill_name(self.id.0));
        let file = Arc::new(path.create_new()?);
        let mut spill = SpillFile {
            file,
            path,
            bytes: content.len() as u64,
            root,
            room: 0,
            checksums: BlockChecksums::default(),
            dedicated: None,
            stored_bytes: 0,
        };
        let written = spill.file.write_all_at(content, 0);
        spill.checksums.write(0, content);
        if let Err(error) = written {
            discard(&spill);
            return Err(error);
        }
        table.context.pending_bytes.fetch_sub(spill.bytes, Ordering::Relaxed);
        self.content = Content::File(Box::new(spill));
        Ok(())
    }

    /// Stores the bytes under a key that is free, as [`Table::put`] does. When that fails they are
    /// gone with the writer; [`Writer::store`] leaves it, to be tried under another key.
    pub fn finish(mut self, key: &[u8]) -> Result<Entry> {
        let attributes = self.table.context.default_attributes(Kind::File);
        self.store(key, attributes)
    }

    /// Stores the bytes so far under `key`. Repeated calls supersede what was stored before.
    /// Nothing happens when neither bytes nor key nor attributes changed.
    pub fn store(&mut self, key: &[u8], attributes: Attributes) -> Result<Entry> {
        self.table.health.check_writable()?;
        key::check_file(key)?;
        if !self.is_dirty
            && let Some(entry) = self.table.find_live_entry(self.table.identity.hash(key), key)?
            && entry.id == self.id
            && entry.attributes == attributes
        {
            return Ok(entry);
        }
        let table = Arc::clone(&self.table);
        let id = self.id;
        // It gets its time when it is stored.
        let draft = Draft::empty(id, attributes, 0);
        let entry = match &mut self.content {
            Content::Memory(content) => {
                table.segments.ensure_room()?;
                let mut draft = draft.with_value(content);
                table.store_draft(key, &mut draft, self.parents, |_| Ok(0))?
            }
            Content::File(spill) => {
                let checksums = spill.checksums.finish(&spill.file, spill.bytes)?;
                let mut draft = draft.with_file(spill.bytes, checksums);
                let entry = table.store_draft(key, &mut draft, self.parents, |active| {
                    spill.move_into(&table, active, id)
                })?;
                spill.stored_bytes = spill.bytes;
                entry
            }
        };
        self.is_dirty = false;
        self.stored = Some(entry);
        Ok(entry)
    }
}

/// Writes at the end.
impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_at(self.len(), bytes)?;
        Ok(bytes.len())
    }

    /// Does nothing: what was written is stored by [`Writer::finish`] or [`Writer::store`] alone.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SpillFile {
    /// Makes the file a dedicated shard of the active segment, and returns its number.
    fn move_into(&mut self, table: &Table, active: &ActiveSegment, id: ValueId) -> Result<u32> {
        if let Some((segment, number)) = self.dedicated
            && segment == active.number()
        {
            active.note_dedicated(Arc::clone(&self.file));
            return Ok(number);
        }
        let number = active.reserve_dedicated();
        let target = |path: &DiskPath| path.with_file_name(values_name(active.number(), number));
        if self.dedicated.is_some() {
            // What was stored before is in an earlier segment, which keeps its name for the file.
            match self.path.hard_link(&target(&self.path)) {
                // That segment has expired and took the last name of the file with it.
                Err(error) if is_not_found(&error) => self.go_on_in_copy(table, id)?,
                linked => linked?,
            }
        }
        let target = target(&self.path);
        if self.dedicated.is_none() {
            self.path.rename(&target)?;
        }
        self.path = target;
        self.dedicated = Some((active.number(), number));
        active.note_dedicated(Arc::clone(&self.file));
        Ok(number)
    }

    /// Leaves the file to what was stored and goes on in a copy of it: a crash before the value is
    /// stored again must find what was stored as it was, and so must whoever reads it.
    fn go_on_in_copy(&mut self, table: &Table, id: ValueId) -> Result<()> {
        let root = table.segments.choose_root(id.0, self.bytes)?;
        let path = table.segments.dirs().dir(root)?.join(spill_name(id.0));
        let file = path.create_new()?;
        if let Err(error) = copy_bytes(&self.file, &file, self.bytes) {
            if let Err(error) = path.unlink() {
                log::warn!("{error}");
            }
            return Err(error);
        }
        self.file = Arc::new(file);
        self.path = path;
        self.root = root;
        self.room = 0;
        self.dedicated = None;
        self.stored_bytes = 0;
        Ok(())
    }
}

fn copy_bytes(from: &DiskFile, to: &DiskFile, length: u64) -> Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = 0;
    while at < length {
        let wanted = to_usize(length - at).min(COPY_BYTES);
        from.read_exact_at(&mut buffer[..wanted], at)?;
        to.write_all_at(&buffer[..wanted], at)?;
        at += wanted as u64;
    }
    Ok(())
}

fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

impl Table {
    /// Stores a pending value under a key that is free, or holds what the same writer stored.
    fn store_draft(
        &self,
        key: &[u8],
        draft: &mut Draft<'_>,
        parents: Parents,
        mut place: impl FnMut(&ActiveSegment) -> Result<u32>,
    ) -> Result<Entry> {
        let hash = self.identity.hash(key);
        self.segments.with_active(|active| {
            let now_ns = self.context.clock.now_ns();
            draft.stamp(now_ns);
            // Storing again is no change of the folder, so its time is moved only below.
            self.mention_parents(active, key, 0, parents)?;
            let _stripe = self.locks.lock_file(hash);
            let own = match self.find_live_entry(hash, key)? {
                Some(entry) if entry.id == draft.id() => Some(entry),
                Some(_) => return Err(Error::Exists { key: printable(key) }),
                None => {
                    self.check_no_folder(key)?;
                    self.touch_parent_in(active, key, now_ns);
                    None
                }
            };
            draft.place(place(active)?);
            let mut entry = draft.append(active, hash, key)?;
            entry.supersedes = own.and_then(|own| own.supersedes_in(active.number()));
            active.mention(&NameChange::put(hash, key, entry))?;
            Ok(entry)
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        match &self.content {
            Content::Memory(content) => {
                let bytes = content.len() as u64;
                self.table.context.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            Content::File(spill) if spill.dedicated.is_none() || self.stored.is_none() => {
                discard(spill);
            }
            Content::File(_) => {}
        }
    }
}

fn discard(spill: &SpillFile) {
    if let Err(error) = spill.path.unlink() {
        log::warn!("{error}");
    }
}
