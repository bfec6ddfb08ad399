//! Renaming, re-attributing, linking and removing files while they are settling.
//!
//! While the record is in the active segment only its mention changes; the record's header is
//! rewritten in place when the segment is sealed. A record of an earlier segment never changes: it
//! is put again into the active segment (a dedicated shard is hard-linked, not copied), and the
//! new mention says which record it takes the place of.

use std::sync::Arc;

use super::active::{ActiveSegment, NameChange};
use super::draft::Draft;
use super::folders::{Parents, is_mentioned};
use super::{Table, key};
use crate::cast::{saturate_signed_ns, to_usize};
use crate::error::{Error, Result, printable};
use crate::format::attributes::{Attributes, Kind};
use crate::format::crc32c;
use crate::format::entry::Entry;
use crate::format::location::{Location, ValueId};
use crate::format::record::{HEADER_BYTES, block_count, key_capacity};
use crate::layout::segment_files::values_name;

impl Table {
    /// Removes a settling file or link.
    pub fn remove(&self, key: &[u8]) -> Result<()> {
        self.health.check_writable()?;
        key::check_file(key)?;
        let hash = self.identity.hash(key);
        self.segments.with_active(|active| {
            self.mention_parents(active, key, self.context.clock.now_ns(), Parents::Require)?;
            let _stripe = self.locks.lock(key);
            let entry = self.find_settling(key)?;
            active.mention(&NameChange::remove(hash, key, &entry, active.number()))
        })
    }

    /// Removes a settling file if it still is the value `id`; tells whether it was.
    #[cfg(any(test, feature = "mount"))]
    pub(crate) fn remove_value(&self, key: &[u8], id: ValueId) -> Result<bool> {
        self.health.check_writable()?;
        let hash = self.identity.hash(key);
        self.segments.with_active(|active| {
            let _stripe = self.locks.lock(key);
            match self.find_live_entry(hash, key)? {
                Some(entry) if entry.id == id => {
                    active.mention(&NameChange::remove(hash, key, &entry, active.number()))?;
                    Ok(true)
                }
                _ => Ok(false),
            }
        })
    }

    /// Replaces mode, owner and times of a settling file or of a folder.
    pub fn change_attributes(&self, key: &[u8], attributes: Attributes) -> Result<Entry> {
        self.health.check_writable()?;
        key::check(key)?;
        let hash = self.identity.hash(key);
        let now_ns = self.context.clock.now_ns();
        self.segments.with_active(|active| {
            if key::parent(key).is_some() && !is_mentioned(active, hash, key) {
                self.mention_parents(active, key, 0, Parents::Require)?;
            }
            let _stripe = self.locks.lock(key);
            let mut entry = self.find_settling(key)?;
            if entry.kind() == Kind::Folder && !active.holds(&entry) {
                return self.put_folder(active, key, entry.id, attributes, Some(&entry));
            }
            entry.attributes = Attributes { mode: keep_kind(&entry, attributes), ..attributes };
            entry.attributes.ctime_ns = entry.attributes.ctime_ns.max(saturate_signed_ns(now_ns));
            let earlier = (!active.holds(&entry)).then_some(entry.location);
            if earlier.is_some() {
                entry = self.copy_record(active, key, &entry, entry.id, entry.written_at_ns)?;
            }
            entry.supersedes = earlier.or(entry.supersedes);
            active.mention(&NameChange::put(hash, key, entry))?;
            Ok(entry)
        })
    }

    /// Renames a settling file or link, or an empty folder. A settling file in the way is replaced
    /// when `replace` says so.
    pub fn rename(&self, from: &[u8], to: &[u8], replace: bool) -> Result<Entry> {
        self.health.check_writable()?;
        key::check(from)?;
        key::check(to)?;
        if from.ends_with(b"/") != to.ends_with(b"/") {
            let key = printable(if to.ends_with(b"/") { from } else { to });
            return Err(Error::NotFolder { key });
        }
        if from == to {
            return self.find_settling(from);
        }
        if from.ends_with(b"/") {
            return self.rename_folder(from, to);
        }
        self.segments
            .with_active(|active| {
                let now_ns = self.context.clock.now_ns();
                self.mention_parents(active, to, now_ns, Parents::Require)?;
                let _stripes = self.locks.lock_all([from, to]);
                let entry = self.find_settling(from)?;
                let target = self.find_replaceable(to, replace)?;
                self.move_entry(active, from, to, &entry, target.as_ref())
            })
            .inspect(|_| self.touch_parent(from))
    }

    fn rename_folder(&self, from: &[u8], to: &[u8]) -> Result<Entry> {
        if to.starts_with(from) {
            let reason = "a folder cannot be moved into itself";
            return Err(Error::InvalidKey { key: printable(to), reason });
        }
        let renamed = self.segments.with_active_alone(|active| {
            self.mention_parents(active, to, self.context.clock.now_ns(), Parents::Require)?;
            let entry = self.find_settling(from)?;
            if !self.folder_is_empty(from)? {
                return Err(Error::FolderNotEmpty { key: printable(from) });
            }
            let target = self.find_live_entry(self.identity.hash(to), to)?;
            if target.is_some() && !self.folder_is_empty(to)? {
                return Err(Error::FolderNotEmpty { key: printable(to) });
            }
            let name = key::name_key(to);
            if self.find_live(self.identity.hash(name), name)?.is_some() {
                return Err(Error::NotFolder { key: printable(name) });
            }
            self.move_entry(active, from, to, &entry, target.as_ref())
        })?;
        self.touch_parent(from);
        Ok(renamed)
    }

    /// What a rename finds at its target: nothing, or a settling file that it may replace.
    fn find_replaceable(&self, to: &[u8], replace: bool) -> Result<Option<Entry>> {
        self.check_no_folder(to)?;
        let Some(target) = self.find_live_entry(self.identity.hash(to), to)? else {
            return Ok(None);
        };
        if !replace {
            return Err(Error::Exists { key: printable(to) });
        }
        if self.is_sealed(&target) {
            return Err(Error::Sealed { key: printable(to) });
        }
        Ok(Some(target))
    }

    fn move_entry(
        &self,
        active: &ActiveSegment,
        from: &[u8],
        to: &[u8],
        entry: &Entry,
        target: Option<&Entry>,
    ) -> Result<Entry> {
        let now_ns = saturate_signed_ns(self.context.clock.now_ns());
        let mut moved = *entry;
        moved.attributes.ctime_ns = moved.attributes.ctime_ns.max(now_ns);
        let own = active.holds(entry);
        if !own || !fits_in_place(entry, to) {
            moved = self.copy_record(active, to, &moved, entry.id, entry.written_at_ns)?;
        }
        moved.supersedes = target.and_then(|target| target.supersedes_in(active.number()));
        let removal = NameChange::remove(self.identity.hash(from), from, entry, active.number());
        let put = NameChange::put(self.identity.hash(to), to, moved).instead_of(target);
        active.mention_all(&[removal, put])?;
        Ok(moved)
    }

    /// A second name for the bytes of a file or link, with an identity and a time to live of its
    /// own.
    pub fn link(&self, from: &[u8], to: &[u8]) -> Result<Entry> {
        self.health.check_writable()?;
        key::check_file(from)?;
        key::check_file(to)?;
        let hash = self.identity.hash(to);
        let id = self.ids.take()?;
        self.segments.with_active(|active| {
            let now_ns = self.context.clock.now_ns();
            self.mention_parents(active, to, now_ns, Parents::Require)?;
            let _stripe = self.locks.lock(to);
            let Some(source) = self.find_live_entry(self.identity.hash(from), from)? else {
                return Err(Error::NotFound { key: printable(from) });
            };
            self.check_free(hash, to)?;
            let mut entry = self.copy_record(active, to, &source, id, now_ns)?;
            entry.supersedes = None;
            active.mention(&NameChange::put(hash, to, entry))?;
            Ok(entry)
        })
    }

    /// The live entry of a key that may still change.
    fn find_settling(&self, key: &[u8]) -> Result<Entry> {
        let Some(entry) = self.find_live_entry(self.identity.hash(key), key)? else {
            return Err(Error::NotFound { key: printable(key) });
        };
        if self.is_sealed(&entry) {
            return Err(Error::Sealed { key: printable(key) });
        }
        Ok(entry)
    }

    /// Writes the record of an entry again, under another key and identity and with the attributes
    /// that the entry now has, into the active segment.
    fn copy_record(
        &self,
        active: &ActiveSegment,
        key: &[u8],
        entry: &Entry,
        id: ValueId,
        written_at_ns: u64,
    ) -> Result<Entry> {
        let (record, file) = self.segments.record_of(entry)?;
        let header = record.header;
        let mut checksums = vec![0; to_usize(4 * block_count(header.value_bytes))];
        let checksums_at = entry.location.offset + header.checksums_offset();
        file.read_exact_at(&mut checksums, checksums_at)?;
        let (value, dedicated) = if header.dedicated == 0 {
            (record.into_value(&file, entry.location.offset)?, 0)
        } else {
            (Vec::new(), self.link_dedicated(active, entry.location, header.dedicated)?)
        };
        if !checksums.is_empty() && crc32c(&checksums) != header.value_crc {
            let reason = "the block checksums fail their own checksum";
            return Err(Error::corrupt(file.path(), checksums_at, reason));
        }
        let mut draft = Draft::empty(id, entry.attributes, written_at_ns)
            .with_copy_of(&header, &value, checksums);
        draft.place(dedicated);
        draft.append(active, self.identity.hash(key), key)
    }

    /// Gives the bytes of a dedicated shard a name in the active segment as well.
    pub(super) fn link_dedicated(
        &self,
        active: &ActiveSegment,
        record: Location,
        dedicated: u32,
    ) -> Result<u32> {
        if record.segment == active.number() {
            return Ok(dedicated);
        }
        // Not from the cache: its path may be one from before the file was stored.
        let source = self.segments.dirs().open(&values_name(record.segment, dedicated))?;
        let number = active.reserve_dedicated();
        let target = source.at().with_file_name(values_name(active.number(), number));
        source.at().hard_link(&target)?;
        active.note_dedicated(Arc::new(source));
        Ok(number)
    }
}

/// Whether a record has room for another key.
fn fits_in_place(entry: &Entry, key: &[u8]) -> bool {
    let inline_bytes = if entry.dedicated == 0 { entry.value_bytes } else { 0 };
    let body_bytes = inline_bytes + 4 * block_count(entry.value_bytes);
    let rest = u64::from(entry.record_bytes).saturating_sub(HEADER_BYTES as u64 + body_bytes);
    // What is left is the key's capacity and less than 8 bytes of padding.
    key_capacity(key.len()) as u64 <= rest / 8 * 8
}

fn keep_kind(entry: &Entry, attributes: Attributes) -> u32 {
    let mut kept = entry.attributes;
    kept.set_permissions(attributes.permissions());
    kept.mode
}
