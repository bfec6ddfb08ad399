//! The last bytes of a run: what it holds and where.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `runends\n` |
//! | 8 | 4 | version, as in the header |
//! | 12 | 4 | segment |
//! | 16 | 16 | table id |
//! | 32 | 8 | files and symbolic links |
//! | 40 | 8 | folders |
//! | 48 | 8 | removed names |
//! | 56 | 8 | bytes of all values together |
//! | 64 | 8 | earliest written-at, ns since the epoch; 2^64 - 1 when nothing is put |
//! | 72 | 8 | latest written-at; 0 when nothing is put |
//! | 80 | 8 | value ids up to this one were given out before the run was written |
//! | 88 | 8 | where the blocks end and the bloom filter begins |
//! | 96 | 8 | position of the topmost index block; 0 when the run is empty |
//! | 104 | 4 | bytes of that block; 0 when the run is empty |
//! | 108 | 4 | pages of the bloom filter |
//! | 112 | 4 | bytes of each page |
//! | 116 | 1 | level of the topmost index block; 0 when the run is empty |
//! | 117 | 7 | zero |
//! | 124 | 4 | CRC32C of bytes 0..124 |
//!
//! The file is header, blocks, bloom filter, footer, with nothing between and nothing behind.

use super::attributes::Kind;
use super::bytes::{Fields, Put};
use super::entry::Mention;
use super::location::{SegmentNumber, ValueId};
use super::run_block::LEVEL_MAX;
use super::run_bloom::BloomShape;
use super::run_header::{RUN_HEADER_BYTES, RUN_VERSION};
use super::run_index::BlockPlace;
use super::{Malformed, crc32c};

/// Bytes of the footer.
pub(crate) const RUN_FOOTER_BYTES: usize = 128;

const FOOTER_MAGIC: [u8; 8] = *b"runends\n";
const CRC_AT: usize = RUN_FOOTER_BYTES - 4;

/// What a run holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunSummary {
    /// Names that stand for files or symbolic links.
    pub(crate) files: u64,
    /// Names that stand for folders.
    pub(crate) folders: u64,
    /// Names that were taken away.
    pub(crate) removed: u64,
    /// Bytes of all values together.
    pub(crate) value_bytes: u64,
    /// When the earliest entry was written; `u64::MAX` when there is none.
    pub(crate) written_at_ns_min: u64,
    /// When the latest entry was written; 0 when there is none.
    pub(crate) written_at_ns_max: u64,
    /// The largest value id that may have been given out before the run was written; those of
    /// values that were removed again are in it.
    pub(crate) id_max: ValueId,
}

impl RunSummary {
    /// The summary of nothing.
    pub(crate) const EMPTY: Self = Self {
        files: 0,
        folders: 0,
        removed: 0,
        value_bytes: 0,
        written_at_ns_min: u64::MAX,
        written_at_ns_max: 0,
        id_max: ValueId(0),
    };

    /// Whether it sums up a run in which this was counted. Ids of values that were removed again are
    /// among those given out, but not in the run.
    pub(crate) fn is_of(&self, counted: &Self) -> bool {
        counted.id_max <= self.id_max && Self { id_max: self.id_max, ..*counted } == *self
    }

    /// Counts one more mention.
    pub(crate) fn count(&mut self, mention: &Mention) {
        let Mention::Put(entry) = mention else {
            self.removed += 1;
            return;
        };
        match entry.kind() {
            Kind::Folder => self.folders += 1,
            Kind::File | Kind::Symlink => self.files += 1,
        }
        self.value_bytes = self.value_bytes.saturating_add(entry.value_bytes);
        self.written_at_ns_min = self.written_at_ns_min.min(entry.written_at_ns);
        self.written_at_ns_max = self.written_at_ns_max.max(entry.written_at_ns);
        self.id_max = self.id_max.max(entry.id);
    }

    /// All mentions together.
    pub(crate) fn mentions(&self) -> u64 {
        self.files.saturating_add(self.folders).saturating_add(self.removed)
    }
}

/// The footer of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunFooter {
    /// The table the run belongs to.
    pub(crate) table: [u8; 16],
    /// The segment whose names these are.
    pub(crate) segment: SegmentNumber,
    /// What the run holds.
    pub(crate) summary: RunSummary,
    /// Where the blocks end.
    pub(crate) blocks_end: u64,
    /// The topmost index block and its level; `None` when the run is empty.
    pub(crate) root: Option<(BlockPlace, u8)>,
    /// How the bloom filter is cut.
    pub(crate) bloom: BloomShape,
}

impl RunFooter {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(RUN_FOOTER_BYTES);
        out.extend_from_slice(&FOOTER_MAGIC);
        out.put_u32(RUN_VERSION);
        out.put_u32(self.segment.0);
        out.extend_from_slice(&self.table);
        out.put_u64(self.summary.files);
        out.put_u64(self.summary.folders);
        out.put_u64(self.summary.removed);
        out.put_u64(self.summary.value_bytes);
        out.put_u64(self.summary.written_at_ns_min);
        out.put_u64(self.summary.written_at_ns_max);
        out.put_u64(self.summary.id_max.0);
        out.put_u64(self.blocks_end);
        let (root, level) = self.root.unwrap_or((BlockPlace { position: 0, bytes: 0 }, 0));
        out.put_u64(root.position);
        out.put_u32(root.bytes);
        out.put_u32(self.bloom.pages);
        out.put_u32(self.bloom.page_bytes);
        out.put_u8(level);
        out.put_zeros(7);
        out.put_u32(crc32c(&out));
        out
    }

    /// Verifies the last bytes of a run of `file_bytes`.
    pub(crate) fn decode(bytes: &[u8], file_bytes: u64) -> Result<Self, Malformed> {
        let mut fields = Fields::new(bytes);
        if fields.take(FOOTER_MAGIC.len())? != FOOTER_MAGIC {
            return Err(Malformed::damaged(0, "the run does not end with its footer; is it cut?"));
        }
        if bytes.len() != RUN_FOOTER_BYTES
            || bytes[CRC_AT..] != crc32c(&bytes[..CRC_AT]).to_le_bytes()
        {
            return Err(Malformed::damaged(CRC_AT as u64, "the checksum of the footer is wrong"));
        }
        if fields.u32()? != RUN_VERSION {
            return Err(Malformed::damaged(8, "header and footer have different versions"));
        }
        let segment = SegmentNumber(fields.u32()?);
        let mut table = [0; 16];
        table.copy_from_slice(fields.take(16)?);
        let summary = RunSummary {
            files: fields.u64()?,
            folders: fields.u64()?,
            removed: fields.u64()?,
            value_bytes: fields.u64()?,
            written_at_ns_min: fields.u64()?,
            written_at_ns_max: fields.u64()?,
            id_max: ValueId(fields.u64()?),
        };
        let blocks_end = fields.u64()?;
        let place = BlockPlace { position: fields.u64()?, bytes: fields.u32()? };
        let bloom = BloomShape { pages: fields.u32()?, page_bytes: fields.u32()? };
        let level = fields.u8()?;
        fields.zeros(7)?;
        let is_empty = place == BlockPlace { position: 0, bytes: 0 } && level == 0;
        let root = if is_empty && summary.mentions() == 0 { None } else { Some((place, level)) };
        let footer = Self { table, segment, summary, blocks_end, root, bloom };
        footer.check_places(file_bytes)?;
        Ok(footer)
    }

    fn check_places(&self, file_bytes: u64) -> Result<(), Malformed> {
        let end = self
            .blocks_end
            .checked_add(self.bloom.bytes())
            .and_then(|end| end.checked_add(RUN_FOOTER_BYTES as u64));
        if end != Some(file_bytes) || self.blocks_end < RUN_HEADER_BYTES as u64 {
            return Err(Malformed::damaged(88, "the parts of the run do not make up its length"));
        }
        let RunSummary { files, folders, removed, .. } = self.summary;
        // Each takes a few bytes.
        let mentions = files.saturating_add(folders).saturating_add(removed);
        if mentions > self.blocks_end {
            return Err(Malformed::damaged(32, "it counts more names than it can hold"));
        }
        if let Some((place, level)) = self.root
            && (!place.is_before(self.blocks_end) || !(1..=LEVEL_MAX).contains(&level))
        {
            return Err(Malformed::damaged(96, "the topmost index block cannot be there"));
        }
        if !self.bloom.is_possible() || (self.root.is_some() && self.bloom.pages == 0) {
            return Err(Malformed::damaged(108, "the bloom filter has an impossible shape"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> RunFooter {
        RunFooter {
            table: *b"0123456789abcdef",
            segment: SegmentNumber(7),
            summary: RunSummary {
                files: 1,
                folders: 2,
                removed: 3,
                value_bytes: 4,
                written_at_ns_min: 5,
                written_at_ns_max: 6,
                id_max: ValueId(8),
            },
            blocks_end: 1000,
            root: Some((BlockPlace { position: 800, bytes: 200 }, 1)),
            bloom: BloomShape { pages: 1, page_bytes: 16 },
        }
    }

    const FILE_BYTES: u64 = 1000 + 16 + 128;

    #[test]
    fn layout_is_pinned() {
        let bytes = sample().encode();
        assert_eq!(bytes.len(), RUN_FOOTER_BYTES);
        let mut golden = b"runends\n".to_vec();
        golden.extend([1, 0, 0, 0, 7, 0, 0, 0]);
        golden.extend(b"0123456789abcdef");
        for number in [1, 2, 3, 4, 5, 6, 8] {
            golden.extend([number, 0, 0, 0, 0, 0, 0, 0]);
        }
        golden.extend([0xe8, 3, 0, 0, 0, 0, 0, 0, 0x20, 3, 0, 0, 0, 0, 0, 0]);
        golden.extend([200, 0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[..CRC_AT], golden);
        assert_eq!(bytes[CRC_AT..], [110, 218, 133, 115]);
        assert_eq!(RunFooter::decode(&bytes, FILE_BYTES), Ok(sample()));
    }

    #[test]
    fn every_flipped_bit_and_wrong_length_is_noticed() {
        let good = sample().encode();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(RunFooter::decode(&bad, FILE_BYTES).is_err(), "bit {bit}");
        }
        assert!(RunFooter::decode(&good, FILE_BYTES + 1).is_err());
        assert!(RunFooter::decode(&good[1..], FILE_BYTES).is_err());
    }

    #[test]
    fn impossible_places_are_refused_despite_a_good_checksum() {
        let mut far = sample();
        far.root = Some((BlockPlace { position: u64::MAX, bytes: 200 }, 1));
        let mut deep = sample();
        deep.root = Some((BlockPlace { position: 800, bytes: 200 }, 200));
        let mut rootless = sample();
        rootless.root = None;
        let mut odd = sample();
        odd.bloom = BloomShape { pages: 16, page_bytes: 1 };
        for footer in [far, deep, rootless, odd] {
            assert!(RunFooter::decode(&footer.encode(), FILE_BYTES).is_err(), "{footer:?}");
        }
    }
}
