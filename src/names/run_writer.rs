//! Writes a run from mentions that come in order.
//!
//! Blocks of entries go out as they fill; an index block follows as soon as it is full, so the
//! writer holds one block for each level of the index, its buffer, and one hash for each distinct
//! folder, however long the run gets. The file is synced before it is finished; giving it its
//! name, and syncing that, is the caller's part. After an error the file is of no use.

use std::collections::HashSet;
use std::path::Path;

use crate::cast;
use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::format::entry::Mention;
use crate::format::key_hash::{KeyHash, Salt};
use crate::format::location::{SegmentNumber, ValueId};
use crate::format::run_block::{BlockBuilder, LEVEL_MAX, SORT_KEY_BYTES_MAX, shared_bytes};
use crate::format::run_entry::{Base, MentionEncoder};
use crate::format::run_footer::{RunFooter, RunSummary};
use crate::format::run_index::BlockPlace;
use crate::format::sort_key::plain_key;
use crate::format::{run_bloom, run_header};

const BUFFER_BYTES: usize = 256 * 1024;

/// The sort key of the folder that holds a name: what is left without its last component.
pub(crate) fn parent_sort_key(sort_key: &[u8]) -> &[u8] {
    let inner = sort_key.strip_suffix(&[0]).unwrap_or(sort_key);
    let end = inner.iter().rposition(|&byte| byte == 0).map_or(0, |separator| separator + 1);
    &sort_key[..end]
}

/// A block under construction and the key that the level above will know it by.
#[derive(Debug)]
struct Level {
    builder: BlockBuilder,
    separator: Vec<u8>,
}

/// A run under construction.
#[derive(Debug)]
pub(crate) struct RunWriter {
    file: DiskFile,
    buffer: Vec<u8>,
    /// Bytes that left the buffer for the file.
    written: u64,
    table: [u8; 16],
    segment: SegmentNumber,
    salt: Salt,
    levels: Vec<Level>,
    encoder: MentionEncoder,
    last_key: Vec<u8>,
    summary: RunSummary,
    folders: HashSet<KeyHash>,
    last_folder: Option<Vec<u8>>,
}

impl RunWriter {
    /// Begins a run in a new file.
    pub(crate) fn create(
        disk: &Disk,
        path: &Path,
        table: [u8; 16],
        segment: SegmentNumber,
        salt: Salt,
    ) -> Result<Self> {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 4);
        buffer.extend_from_slice(&run_header::encode());
        Ok(Self {
            file: disk.create_new(path)?,
            buffer,
            written: 0,
            table,
            segment,
            salt,
            levels: vec![Level { builder: BlockBuilder::new(0), separator: Vec::new() }],
            encoder: MentionEncoder::new(segment),
            last_key: Vec::new(),
            summary: RunSummary::EMPTY,
            folders: HashSet::new(),
            last_folder: None,
        })
    }

    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn refuse(&self, reason: &str) -> Error {
        Error::corrupt(self.file.path(), self.position(), reason)
    }

    /// Adds a mention. Sort keys must rise.
    pub(crate) fn push(&mut self, sort_key: &[u8], mention: &Mention) -> Result<()> {
        if sort_key <= self.last_key.as_slice() || sort_key.len() > SORT_KEY_BYTES_MAX {
            return Err(self.refuse("the keys to be written are out of order or too long"));
        }
        self.note_folder(sort_key);
        self.summary.count(mention);
        if self.levels[0].builder.is_full() {
            self.write_block(0)?;
        }
        let leaf = &mut self.levels[0];
        if leaf.builder.is_empty() {
            let enough = shared_bytes(&self.last_key, sort_key) + 1;
            leaf.separator.clear();
            leaf.separator.extend_from_slice(&sort_key[..enough]);
        }
        let (is_restart, out) = leaf.builder.begin(sort_key);
        self.encoder.encode(is_restart, mention, out);
        self.last_key.clear();
        self.last_key.extend_from_slice(sort_key);
        Ok(())
    }

    /// Adds all mentions of an ordered source.
    #[cfg(test)]
    pub(crate) fn push_all<K: AsRef<[u8]>>(
        &mut self,
        mentions: impl IntoIterator<Item = (K, Mention)>,
    ) -> Result<()> {
        mentions.into_iter().try_for_each(|(key, mention)| self.push(key.as_ref(), &mention))
    }

    /// Remembers the folder of a name for the bloom filter.
    fn note_folder(&mut self, sort_key: &[u8]) {
        let folder = parent_sort_key(sort_key);
        if self.last_folder.as_deref() != Some(folder) {
            self.folders.insert(KeyHash::new(self.salt, &plain_key(folder)));
            self.last_folder = Some(folder.to_vec());
        }
    }

    /// Puts the block of a level behind all others and points at it from the level above.
    fn write_block(&mut self, level: usize) -> Result<()> {
        let (place, separator) = self.seal_block(level)?;
        let above = level + 1;
        if self.levels.len() == above {
            let number = u8::try_from(above).ok().filter(|&number| number <= LEVEL_MAX);
            let number = number.ok_or_else(|| self.refuse("the run has too many blocks"))?;
            let builder = BlockBuilder::new(number);
            self.levels.push(Level { builder, separator: separator.clone() });
        } else if self.levels[above].builder.is_full() {
            self.write_block(above)?;
            self.levels[above].separator.clone_from(&separator);
        }
        place.encode(self.levels[above].builder.begin(&separator).1);
        Ok(())
    }

    /// Puts the block of a level behind all others; its place and its separator.
    fn seal_block(&mut self, level: usize) -> Result<(BlockPlace, Vec<u8>)> {
        let position = self.position();
        let base = if level == 0 { self.encoder.end_block() } else { Base::default() };
        let Level { builder, separator } = &mut self.levels[level];
        let bytes = builder.finish(position, &base);
        self.buffer.extend_from_slice(bytes);
        let bytes = cast::to_u32(bytes.len());
        let separator = std::mem::take(separator);
        builder.clear();
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_buffer()?;
        }
        Ok((BlockPlace { position, bytes }, separator))
    }

    fn write_buffer(&mut self) -> Result<()> {
        self.file.write_all_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is still open, from the bottom up; the place of the topmost block.
    fn write_open_blocks(&mut self) -> Result<Option<(BlockPlace, u8)>> {
        if self.levels[0].builder.is_empty() {
            return Ok(None);
        }
        self.write_block(0)?;
        let mut level = 1;
        loop {
            // Writing a block adds to the level above, and no level is empty once it exists.
            if level + 1 == self.levels.len() {
                let number = self.levels[level].builder.level();
                let (place, _) = self.seal_block(level)?;
                return Ok(Some((place, number)));
            }
            self.write_block(level)?;
            level += 1;
        }
    }

    /// Value ids up to this one were given out, also to values that are not mentioned any more.
    pub(crate) fn note_given_out(&mut self, id: ValueId) {
        self.summary.id_max = self.summary.id_max.max(id);
    }

    /// Completes and syncs the file; what the run holds.
    pub(crate) fn finish(mut self) -> Result<RunSummary> {
        let root = self.write_open_blocks()?;
        let blocks_end = self.position();
        let (bloom, bits) = run_bloom::encode(self.folders.len(), self.folders.iter());
        self.buffer.extend_from_slice(&bits);
        let footer = RunFooter {
            table: self.table,
            segment: self.segment,
            summary: self.summary,
            blocks_end,
            root,
            bloom,
        };
        self.buffer.extend_from_slice(&footer.encode());
        self.write_buffer()?;
        self.file.sync_all()?;
        Ok(self.summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_what_is_left_without_the_last_component() {
        for (key, parent) in [
            (&b"a"[..], &b""[..]),
            (b"a\0", b""),
            (b"a\0b", b"a\0"),
            (b"a\0b\0", b"a\0"),
            (b"a\0b\0c", b"a\0b\0"),
        ] {
            assert_eq!(parent_sort_key(key), parent);
        }
    }

    #[test]
    fn keys_out_of_order_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1.keys");
        let (disk, salt) = (Disk::new(), Salt([0; 16]));
        let mut writer = RunWriter::create(&disk, &path, [0; 16], SegmentNumber(1), salt).unwrap();
        let removed = Mention::Removed { supersedes: None };
        assert!(writer.push(b"", &removed).is_err());
        writer.push(b"b", &removed).unwrap();
        assert!(writer.push(b"b", &removed).is_err());
        assert!(writer.push(b"a", &removed).is_err());
        assert!(writer.push(&[b'c'; 4096], &removed).is_err());
    }
}
