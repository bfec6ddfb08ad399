//! The bloom filter of a run: which folders have a name in it, in pages of up to 4 KiB.
//!
//! One page:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | CRC32C of everything behind it |
//! | 4 | 4 | number of the page |
//! | 8 | .. | bits, lowest bit of a byte first |
//!
//! All pages of a run have the same length. The hash of the folder's key chooses the page, then
//! seven bits in it: bit i is `(spread + i * (fingerprint | 1)) mod bits`. One question reads one
//! page, so even a run with millions of folders needs no more memory than that.
//! Source: Kirsch and Mitzenmacher, "Less Hashing, Same Performance" (2006), for double hashing.

use super::Malformed;
use super::bytes::Fields;
use super::key_hash::KeyHash;
use super::preamble::{check_crc, put_crc};
use crate::cast;

/// The longest page.
pub(crate) const BLOOM_PAGE_BYTES_MAX: usize = 4096;
/// Bytes of a page before its bits.
pub(crate) const BLOOM_PAGE_HEADER_BYTES: usize = 8;

const BITS_PER_FOLDER: usize = 10;
const PROBES: u64 = 7;
const PAGE_BITS_MAX: usize = (BLOOM_PAGE_BYTES_MAX - BLOOM_PAGE_HEADER_BYTES) * 8;

/// How the pages of a filter are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BloomShape {
    /// Number of pages; 0 when there is no folder.
    pub(crate) pages: u32,
    /// Bytes of each page.
    pub(crate) page_bytes: u32,
}

impl BloomShape {
    /// The shape for a number of distinct folders.
    fn of(folders: usize) -> Self {
        let bits = folders.saturating_mul(BITS_PER_FOLDER);
        let page_bits = bits.clamp(64, PAGE_BITS_MAX).next_multiple_of(64);
        let page_bytes = BLOOM_PAGE_HEADER_BYTES + page_bits / 8;
        Self {
            pages: cast::to_u32(bits.div_ceil(PAGE_BITS_MAX)),
            page_bytes: cast::to_u32(page_bytes),
        }
    }

    /// Whether a filter can have this shape.
    pub(crate) fn is_possible(self) -> bool {
        let bytes = cast::to_usize(self.page_bytes);
        (BLOOM_PAGE_HEADER_BYTES + 8..=BLOOM_PAGE_BYTES_MAX).contains(&bytes)
    }

    /// Bytes of all pages.
    pub(crate) fn bytes(self) -> u64 {
        u64::from(self.pages) * u64::from(self.page_bytes)
    }

    /// The page that holds the bits of a folder. There must be pages.
    pub(crate) fn page_of(self, folder: KeyHash) -> u32 {
        // The fingerprint has 48 bits, so the product stays below 2^80 and the result below pages.
        let page = (u128::from(folder.fingerprint()) * u128::from(self.pages)) >> 48;
        cast::to_u32(page)
    }
}

const _: () = assert!(PAGE_BITS_MAX.is_multiple_of(64));

/// The bits of a folder within a page of `bits`.
fn probes(folder: KeyHash, bits: usize) -> impl Iterator<Item = usize> {
    let step = folder.fingerprint() | 1;
    (0..PROBES).map(move |number| {
        cast::to_usize(folder.spread().wrapping_add(number.wrapping_mul(step)) % bits as u64)
    })
}

/// Encodes the filter over these folders: its shape and all pages.
pub(crate) fn encode<'a>(
    folders: usize,
    hashes: impl Iterator<Item = &'a KeyHash>,
) -> (BloomShape, Vec<u8>) {
    let shape = BloomShape::of(folders);
    let page_bytes = shape.page_bytes as usize;
    let mut bytes = vec![0; page_bytes * shape.pages as usize];
    let bits = (page_bytes - BLOOM_PAGE_HEADER_BYTES) * 8;
    for &folder in hashes {
        let start = shape.page_of(folder) as usize * page_bytes + BLOOM_PAGE_HEADER_BYTES;
        for bit in probes(folder, bits) {
            bytes[start + bit / 8] |= 1 << (bit % 8);
        }
    }
    for (number, page) in (0_u32..).zip(bytes.chunks_exact_mut(page_bytes)) {
        page[4..8].copy_from_slice(&number.to_le_bytes());
        put_crc(page, 0);
    }
    (shape, bytes)
}

/// A verified page.
#[derive(Debug)]
pub(crate) struct BloomPage {
    bytes: Vec<u8>,
}

impl BloomPage {
    /// Verifies what was read for page `number`.
    pub(crate) fn decode(bytes: Vec<u8>, number: u32) -> Result<Self, Malformed> {
        let mut fields = Fields::new(&bytes);
        check_crc(0, "the bloom filter", fields.u32()?, bytes.get(4..).unwrap_or_default())?;
        if fields.u32()? != number || fields.left() == 0 {
            return Err(Malformed::damaged(4, "the page of the bloom filter is misplaced"));
        }
        Ok(Self { bytes })
    }

    /// False only if no name directly in the folder is in the run.
    pub(crate) fn may_hold(&self, folder: KeyHash) -> bool {
        let bits = &self.bytes[BLOOM_PAGE_HEADER_BYTES..];
        probes(folder, bits.len() * 8).all(|bit| bits[bit / 8] & (1 << (bit % 8)) != 0)
    }

    /// Bytes of the page.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::key_hash::Salt;
    use super::*;

    fn hash(number: u32) -> KeyHash {
        KeyHash::new(Salt([3; 16]), &number.to_le_bytes())
    }

    #[test]
    fn layout_is_pinned() {
        let (shape, bytes) = encode(1, [hash(1)].iter());
        assert_eq!(shape, BloomShape { pages: 1, page_bytes: 16 });
        let golden = [247, 112, 243, 32, 0, 0, 0, 0, 4, 128, 0, 24, 0, 3, 32, 0];
        assert_eq!(bytes, golden);
    }

    #[test]
    fn folders_are_found_and_strangers_seldom() {
        for folders in [1_u32, 100, 3270, 3271, 50_000] {
            let hashes: Vec<KeyHash> = (0..folders).map(hash).collect();
            let (shape, bytes) = encode(hashes.len(), hashes.iter());
            assert_eq!(shape.bytes(), bytes.len() as u64);
            assert!(shape.is_possible());
            let pages: Vec<BloomPage> = (0_u32..)
                .zip(bytes.chunks_exact(shape.page_bytes as usize))
                .map(|(number, page)| BloomPage::decode(page.to_vec(), number).unwrap())
                .collect();
            let holds = |folder: KeyHash| pages[shape.page_of(folder) as usize].may_hold(folder);
            assert!(hashes.iter().all(|&folder| holds(folder)));
            let wrong = (0..10_000).filter(|number| holds(hash(1_000_000 + number))).count();
            assert!(wrong < 200, "{wrong} of 10000 strangers pass with {folders} folders");
        }
        assert_eq!(encode(0, [].iter()), (BloomShape { pages: 0, page_bytes: 16 }, vec![]));
    }

    #[test]
    fn damaged_and_misplaced_pages_are_refused() {
        let (_, good) = encode(1, [hash(1)].iter());
        assert!(BloomPage::decode(good.clone(), 1).is_err());
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 0x10;
            assert!(BloomPage::decode(bad, 0).is_err(), "byte {index}");
        }
        for length in 0..good.len() {
            assert!(BloomPage::decode(good[..length].to_vec(), 0).is_err());
        }
    }
}
