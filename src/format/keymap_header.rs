//! The header page of a keymap file. Pages 0 and 1 of the file hold one copy each.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | CRC32C of the rest of the page |
//! | 4 | 4 | version, 1 |
//! | 8 | 8 | magic `LITTKMAP` |
//! | 16 | 16 | table id |
//! | 32 | 8 | generation, the number in the file's name |
//! | 40 | 8 | sequence: the copy with the larger one counts |
//! | 48 | 4 | home pages |
//! | 52 | 4 | tail pages behind them, which take what overflows the last home page |
//! | 56 | 4 | every segment up to this number is in the map, synced; 0 for none |
//! | 60 | 4 | zero |
//! | 64 | 8 | slots in use when the header was written, a hint for growing |
//! | 72 | 4024 | zero |
//!
//! Every version keeps checksum, version and magic where they are, so that a later version is told
//! from damage.

use super::Malformed;
use super::bytes::{Fields, Put};
use super::keymap_page::{PAGE_BYTES, PageBytes, TAIL_PAGES};
use super::location::SegmentNumber;
use super::preamble::{check_crc, check_version, put_crc};

const MAGIC: &[u8; 8] = b"LITTKMAP";
const VERSION: u32 = 1;
const FIELD_BYTES: usize = 72;
/// Header copies at the start of the file, one page each.
pub(crate) const HEADER_PAGES: u32 = 2;
/// The most home pages a keymap can have; page numbers in the file stay within 32 bits.
pub(crate) const HOME_PAGES_MAX: u32 = u32::MAX - HEADER_PAGES - TAIL_PAGES;

const _: () = assert!(FIELD_BYTES < PAGE_BYTES);

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeymapHeader {
    pub(crate) table_id: [u8; 16],
    pub(crate) generation: u64,
    pub(crate) sequence: u64,
    pub(crate) home_pages: u32,
    pub(crate) complete_up_to: SegmentNumber,
    pub(crate) used_slots: u64,
}

impl KeymapHeader {
    /// Which of the header pages holds the copy with this sequence.
    pub(crate) fn copy_of(sequence: u64) -> u32 {
        u32::from(sequence % u64::from(HEADER_PAGES) == 1)
    }

    /// Bytes of the whole file.
    pub(crate) fn file_bytes(&self) -> u64 {
        let pages = u64::from(HEADER_PAGES) + u64::from(self.home_pages) + u64::from(TAIL_PAGES);
        pages * PAGE_BYTES as u64
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE_BYTES);
        page.put_u32(0);
        page.put_u32(VERSION);
        page.extend_from_slice(MAGIC);
        page.extend_from_slice(&self.table_id);
        page.put_u64(self.generation);
        page.put_u64(self.sequence);
        page.put_u32(self.home_pages);
        page.put_u32(TAIL_PAGES);
        page.put_u32(self.complete_up_to.0);
        page.put_u32(0);
        page.put_u64(self.used_slots);
        page.put_zeros(PAGE_BYTES - FIELD_BYTES);
        put_crc(&mut page, 0);
        page
    }

    pub(crate) fn decode(page: &PageBytes) -> Result<Self, Malformed> {
        let mut fields = Fields::new(page);
        let claimed = fields.u32()?;
        let version = fields.u32()?;
        if fields.take(MAGIC.len())? != MAGIC {
            return Err(Malformed::damaged(8, "this is no keymap: LITTKMAP expected"));
        }
        check_crc(0, "the header", claimed, &page[4..])?;
        check_version(4, version, VERSION)?;
        let mut table_id = [0; 16];
        table_id.copy_from_slice(fields.take(16)?);
        let generation = fields.u64()?;
        let sequence = fields.u64()?;
        let home_pages = fields.u32()?;
        if home_pages == 0 || home_pages > HOME_PAGES_MAX {
            return Err(Malformed::damaged(48, format!("{home_pages} pages are out of range")));
        }
        let tail_pages = fields.u32()?;
        if tail_pages != TAIL_PAGES {
            let reason = format!("{tail_pages} tail pages found, {TAIL_PAGES} expected");
            return Err(Malformed::damaged(52, reason));
        }
        let complete_up_to = SegmentNumber(fields.u32()?);
        fields.zeros(4)?;
        let used_slots = fields.u64()?;
        fields.zeros(PAGE_BYTES - FIELD_BYTES)?;
        Ok(Self { table_id, generation, sequence, home_pages, complete_up_to, used_slots })
    }
}

#[cfg(test)]
mod tests {
    use super::super::crc32c;
    use super::*;

    fn sample() -> KeymapHeader {
        KeymapHeader {
            table_id: *b"0123456789abcdef",
            generation: 3,
            sequence: 0x0102,
            home_pages: 40,
            complete_up_to: SegmentNumber(9),
            used_slots: 1000,
        }
    }

    fn page_of(header: &KeymapHeader) -> PageBytes {
        header.encode().try_into().expect("a whole page")
    }

    #[test]
    fn layout_is_pinned() {
        let page = page_of(&sample());
        assert_eq!(page[4..16], *b"\x01\0\0\0LITTKMAP");
        assert_eq!(page[16..32], *b"0123456789abcdef");
        assert_eq!(page[32..48], [3, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(page[48..60], [40, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0]);
        assert_eq!(page[60..72], [0, 0, 0, 0, 0xe8, 3, 0, 0, 0, 0, 0, 0]);
        assert!(page[72..].iter().all(|&byte| byte == 0));
        assert_eq!(page[..4], crc32c(&page[4..]).to_le_bytes());
        assert_eq!(KeymapHeader::decode(&page), Ok(sample()));
        assert_eq!(sample().file_bytes(), 45 * 4096);
    }

    #[test]
    fn every_flipped_byte_is_seen() {
        let page = page_of(&sample());
        for at in 0..PAGE_BYTES {
            let mut damaged = page;
            damaged[at] ^= 0x20;
            let answer = KeymapHeader::decode(&damaged);
            assert!(matches!(answer, Err(Malformed::Damaged { .. })), "byte {at}: {answer:?}");
        }
        assert!(KeymapHeader::decode(&[0; PAGE_BYTES]).is_err());
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut page = page_of(&sample());
        page[4] = 2;
        let crc = crc32c(&page[4..]);
        page[..4].copy_from_slice(&crc.to_le_bytes());
        let expected = Malformed::Future { found: 2, supported: 1 };
        assert_eq!(KeymapHeader::decode(&page), Err(expected));
    }
}
