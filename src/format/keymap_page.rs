//! A page of the keymap: a header of 16 bytes and 255 slots of 16 bytes.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | CRC32C of the rest of the page |
//! | 4 | 4 | number of the page, counted from the first home page |
//! | 8 | 2 | slots in use, 0..=255 |
//! | 10 | 2 | flags: bit 0, keys that belong here stand in the next page |
//! | 12 | 4 | zero |
//! | 16 n | 8 | slot n: fingerprint << 16 \| shard << 8 \| size class; 0 when the slot is free |
//! | 16 n + 8 | 8 | slot n: segment << 32 \| offset / 8; 0 when the slot is free |
//!
//! Within a page a slot stands at the first free place from [`start_slot`] on, wrapping behind slot
//! 255 to slot 1. A search may therefore end at the first free slot, and whoever takes a slot away
//! must lay the page out anew ([`retain`]).

use super::Malformed;
use super::bytes::Fields;
use super::location::{Location, SegmentNumber};
use super::preamble::{check_crc, put_crc};
use super::size_class::SizeClass;
use crate::cast;

/// Bytes of a page.
pub(crate) const PAGE_BYTES: usize = 4096;
/// Words of 64 bits of a page.
pub(crate) const PAGE_WORDS: usize = PAGE_BYTES / 8;
/// Slots of a page; they are numbered from 1.
pub(crate) const SLOTS: usize = 255;
/// The longest way from the home page of a key to the page it stands in, itself included.
pub(crate) const CHAIN_PAGES_MAX: u32 = 4;
/// Pages behind the last home page, so that its chain is as long as any other.
pub(crate) const TAIL_PAGES: u32 = CHAIN_PAGES_MAX - 1;

const SLOT_BYTES: usize = 16;
const FINGERPRINT_BITS: u32 = 48;
const FINGERPRINT_MASK: u64 = (1 << FINGERPRINT_BITS) - 1;
const FLAG_OVERFLOWS: u16 = 1;
/// The word of the page header that holds used count and flags.
const STATE_WORD: usize = 1;

const _: () = assert!((SLOTS + 1) * SLOT_BYTES == PAGE_BYTES);

/// The bytes of a page.
pub(crate) type PageBytes = [u8; PAGE_BYTES];

/// One slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    name: u64,
    place: u64,
}

impl Slot {
    pub(crate) fn new(fingerprint: u64, location: Location, record_bytes: u32) -> Self {
        let class = u64::from(SizeClass::of(record_bytes).code());
        let name =
            ((fingerprint & FINGERPRINT_MASK) << 16) | (u64::from(location.shard) << 8) | class;
        Self { name, place: location.packed() }
    }

    /// The slot of the two words that stand in a page.
    pub(crate) fn from_words(name: u64, place: u64) -> Self {
        Self { name, place }
    }

    pub(crate) fn is_free(self) -> bool {
        self.name == 0
    }

    pub(crate) fn fingerprint(self) -> u64 {
        self.name >> 16
    }

    pub(crate) fn segment(self) -> SegmentNumber {
        self.location().segment
    }

    pub(crate) fn location(self) -> Location {
        let [_, shard, ..] = self.name.to_le_bytes();
        Location::from_packed(self.place, shard)
    }

    /// Orders slots of one fingerprint by age: later segments, and later records of a segment, are
    /// larger.
    pub(crate) fn age_key(self) -> u64 {
        self.place
    }

    /// `None` when no record has such a size class.
    pub(crate) fn size_class(self) -> Option<SizeClass> {
        let [code, ..] = self.name.to_le_bytes();
        SizeClass::from_code(code)
    }

    fn to_bytes(self) -> [u8; SLOT_BYTES] {
        ((u128::from(self.place) << 64) | u128::from(self.name)).to_le_bytes()
    }

    fn from_bytes(bytes: [u8; SLOT_BYTES]) -> Self {
        let both = u128::from_le_bytes(bytes);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of 128 bits")]
        Self { name: both as u64, place: (both >> 64) as u64 }
    }
}

/// The page a fingerprint belongs to among `home_pages`. Rises with the fingerprint, so that slots
/// keep their order when the number of pages changes.
pub(crate) fn home_page(fingerprint: u64, home_pages: u32) -> u32 {
    let fingerprint = u128::from(fingerprint & FINGERPRINT_MASK);
    #[expect(clippy::cast_possible_truncation, reason = "below home_pages, a u32")]
    let page = ((fingerprint * u128::from(home_pages)) >> FINGERPRINT_BITS) as u32;
    page
}

/// The smallest fingerprint that belongs to `page` or a page behind it.
pub(crate) fn first_fingerprint(page: u32, home_pages: u32) -> u64 {
    let scaled = u128::from(page) << FINGERPRINT_BITS;
    cast::to_u64(scaled.div_ceil(u128::from(home_pages)))
}

/// Where in a page the search for a fingerprint starts. Uses the low bits, the page the high ones.
fn start_slot(fingerprint: u64) -> usize {
    let [low, high, ..] = fingerprint.to_le_bytes();
    1 + ((usize::from(u16::from_le_bytes([low, high])) * SLOTS) >> 16)
}

/// Visits the slots of one fingerprint in a page whose slots `slot_at` reads, and answers the free
/// slot where the fingerprint may be added, or `None` when the page is full.
pub(crate) fn probe(
    fingerprint: u64,
    slot_at: impl Fn(usize) -> Slot,
    mut visit: impl FnMut(usize, Slot),
) -> Option<usize> {
    let mut index = start_slot(fingerprint);
    for _ in 0..SLOTS {
        let slot = slot_at(index);
        if slot.is_free() {
            return Some(index);
        }
        if slot.fingerprint() == fingerprint {
            visit(index, slot);
        }
        index = if index == SLOTS { 1 } else { index + 1 };
    }
    None
}

/// An empty page, not yet sealed.
pub(crate) fn empty(number: u32) -> PageBytes {
    let mut page = [0; PAGE_BYTES];
    page[4..8].copy_from_slice(&number.to_le_bytes());
    page
}

/// Writes the checksum; the last thing before a page goes to disk.
pub(crate) fn seal(page: &mut PageBytes) {
    put_crc(page, 0);
}

/// Checks everything that can be known of page `number` by itself.
pub(crate) fn verify(page: &PageBytes, number: u32) -> Result<(), Malformed> {
    let mut fields = Fields::new(page);
    check_crc(0, "the page", fields.u32()?, &page[4..])?;
    let own_number = fields.u32()?;
    if own_number != number {
        let reason = format!("page {own_number} found, page {number} expected");
        return Err(Malformed::damaged(4, reason));
    }
    let used = usize::from(fields.u16()?);
    let flags = fields.u16()?;
    if flags & !FLAG_OVERFLOWS != 0 {
        return Err(Malformed::damaged(10, format!("unknown flags {flags:#x}")));
    }
    fields.zeros(4)?;
    let counted = slots(page).count();
    if used != counted {
        let reason = format!("{counted} slots are in use, {used} expected");
        return Err(Malformed::damaged(8, reason));
    }
    Ok(())
}

/// The slots in use.
pub(crate) fn slots(page: &PageBytes) -> impl Iterator<Item = Slot> + '_ {
    let (all, _) = page.as_chunks::<SLOT_BYTES>();
    all[1..].iter().map(|&bytes| Slot::from_bytes(bytes)).filter(|slot| !slot.is_free())
}

/// The slot `index`, 1..=255.
pub(crate) fn slot(page: &PageBytes, index: usize) -> Slot {
    let (all, _) = page.as_chunks::<SLOT_BYTES>();
    Slot::from_bytes(all[index])
}

fn write_slot(page: &mut PageBytes, index: usize, slot: Slot) {
    let (all, _) = page.as_chunks_mut::<SLOT_BYTES>();
    all[index] = slot.to_bytes();
}

pub(crate) fn used(page: &PageBytes) -> u16 {
    u16::from_le_bytes([page[8], page[9]])
}

fn set_used(page: &mut PageBytes, used: u16) {
    page[8..10].copy_from_slice(&used.to_le_bytes());
}

/// Whether keys that belong to this page, or passed it, may stand in the next one.
pub(crate) fn overflows(page: &PageBytes) -> bool {
    u16::from_le_bytes([page[10], page[11]]) & FLAG_OVERFLOWS != 0
}

/// What [`overflows`] says, of a page that is read word by word.
pub(crate) fn overflows_by_words(word_at: impl Fn(usize) -> u64) -> bool {
    let [_, _, low, high, ..] = word_at(STATE_WORD).to_le_bytes();
    u16::from_le_bytes([low, high]) & FLAG_OVERFLOWS != 0
}

pub(crate) fn set_overflows(page: &mut PageBytes) {
    page[10..12].copy_from_slice(&FLAG_OVERFLOWS.to_le_bytes());
}

/// Puts a slot where [`probe`] found the page free.
pub(crate) fn add(page: &mut PageBytes, index: usize, slot: Slot) {
    write_slot(page, index, slot);
    let used = used(page);
    set_used(page, used.saturating_add(1));
}

/// Puts `slot` in the place of one with the same fingerprint.
pub(crate) fn replace(page: &mut PageBytes, index: usize, slot: Slot) {
    write_slot(page, index, slot);
}

/// Drops the slots that `keep` refuses and lays out the rest anew; answers whether any went.
pub(crate) fn retain(page: &mut PageBytes, keep: impl Fn(Slot) -> bool) -> bool {
    if slots(page).all(&keep) {
        return false;
    }
    let before = *page;
    page[SLOT_BYTES..].fill(0);
    let mut count = 0;
    for kept in slots(&before).filter(|&slot| keep(slot)) {
        let free = probe(kept.fingerprint(), |index| slot(page, index), |_, _| {});
        if let Some(index) = free {
            write_slot(page, index, kept);
            count += 1;
        }
    }
    set_used(page, count);
    true
}

#[cfg(test)]
mod tests {
    use super::super::crc32c;
    use super::*;

    fn location(segment: u32, offset: u64) -> Location {
        Location { segment: SegmentNumber(segment), shard: 5, offset }
    }

    fn put(page: &mut PageBytes, new: Slot) -> bool {
        let free = probe(new.fingerprint(), |index| slot(page, index), |_, _| {});
        if let Some(index) = free {
            add(page, index, new);
        }
        free.is_some()
    }

    #[test]
    fn layout_is_pinned() {
        let mut page = empty(0x0102);
        // Low bits ffff start at the last slot; the second one wraps to slot 1.
        let fingerprint = 0x1234_5678_ffff;
        assert!(put(&mut page, Slot::new(fingerprint, location(7, 4096), 1152)));
        assert!(put(&mut page, Slot::new(fingerprint, location(8, 64), 1152)));
        set_overflows(&mut page);
        seal(&mut page);
        assert_eq!(page[4..16], [2, 1, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(page[4080..4088], [41, 5, 0xff, 0xff, 0x78, 0x56, 0x34, 0x12]);
        assert_eq!(page[4088..], [0, 2, 0, 0, 7, 0, 0, 0]);
        assert_eq!(page[24..32], [8, 0, 0, 0, 8, 0, 0, 0]);
        assert_eq!(page[..4], crc32c(&page[4..]).to_le_bytes());
        assert_eq!(verify(&page, 0x0102), Ok(()));
        assert!(verify(&page, 0x0103).is_err());
        assert!(verify(&[0; PAGE_BYTES], 0).is_err(), "a lost page is not an empty one");
    }

    #[test]
    fn every_flipped_byte_is_seen() {
        let mut page = empty(3);
        assert!(put(&mut page, Slot::new(99, location(1, 8), 100)));
        seal(&mut page);
        for at in 0..PAGE_BYTES {
            let mut damaged = page;
            damaged[at] ^= 1;
            assert!(verify(&damaged, 3).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_page_takes_255_slots_and_finds_them_after_some_are_dropped() {
        let mut page = empty(0);
        let fingerprint = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        for number in 0..255 {
            assert!(put(&mut page, Slot::new(fingerprint(number), location(1, number * 8), 8)));
        }
        assert!(!put(&mut page, Slot::new(1, location(1, 0), 8)));
        assert_eq!(used(&page), 255);
        assert!(!retain(&mut page, |_| true));
        assert!(retain(&mut page, |slot| slot.location().offset % 24 == 0));
        assert_eq!(used(&page), 85);
        for number in 0..255 {
            let mut seen = 0;
            probe(
                fingerprint(number),
                |index| slot(&page, index),
                |_, slot| {
                    assert_eq!(slot.location(), location(1, number * 8));
                    seen += 1;
                },
            );
            assert_eq!(seen, u32::from(number % 3 == 0));
        }
    }

    #[test]
    fn home_pages_rise_with_the_fingerprint_and_bounds_agree() {
        for home_pages in [1, 2, 3, 7, 255, 40_000, u32::MAX - 5] {
            assert_eq!(home_page(0, home_pages), 0);
            assert_eq!(home_page((1 << 48) - 1, home_pages), home_pages - 1);
            for page in [0, 1, home_pages / 3, home_pages - 1] {
                let first = first_fingerprint(page.min(home_pages - 1), home_pages);
                assert_eq!(home_page(first, home_pages), page.min(home_pages - 1));
                assert!(first == 0 || home_page(first - 1, home_pages) < page);
            }
            assert_eq!(first_fingerprint(home_pages, home_pages), 1 << 48);
        }
    }
}
