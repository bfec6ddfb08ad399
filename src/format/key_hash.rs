//! The hash of a key: SipHash-2-4 with 128 bits, keyed with the table's salt.
//!
//! The first 64 bits place the key in the keymap (its top 48 bits are the fingerprint, and also
//! choose the page); the other 64 bits choose the packed shard and the in-memory stripe. The salt
//! is secret to the database, so that nobody can choose keys that collide.
//! Source: <https://www.aumasson.jp/siphash/siphash.pdf>, 128-bit variant of the reference code.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

/// The salt of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt(pub(crate) [u8; 16]);

/// The hash of one key under one salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyHash {
    place: u64,
    spread: u64,
}

impl KeyHash {
    pub(crate) fn new(salt: Salt, key: &[u8]) -> Self {
        let mut hasher = SipHasher24::new_with_key(&salt.0);
        hasher.write(key);
        let hash = hasher.finish128();
        Self { place: hash.h1, spread: hash.h2 }
    }

    /// 48 bits that place the key in the keymap and tell it from its neighbours there.
    pub(crate) fn fingerprint(self) -> u64 {
        self.place >> 16
    }

    /// 64 bits independent of the fingerprint, for in-memory tables.
    pub(crate) fn spread(self) -> u64 {
        self.spread
    }

    /// Which of `count` equal parts (shards, stripes) the key belongs to.
    pub(crate) fn part_of(self, count: usize) -> usize {
        // Lossless: the high half of a product with `count` is below `count`.
        #[expect(clippy::cast_possible_truncation, reason = "the result is below count")]
        let part = ((u128::from(self.spread) * count as u128) >> 64) as usize;
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_reference_vectors() {
        // vectors_sip128 of the reference implementation: key 00..0f, inputs of 0 and 1 bytes.
        let mut key = [0; 16];
        for (index, byte) in key.iter_mut().enumerate() {
            *byte = index as u8;
        }
        let empty = KeyHash::new(Salt(key), b"");
        assert_eq!(empty.place.to_le_bytes(), [0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6]);
        assert_eq!(empty.spread.to_le_bytes(), [0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93]);
    }

    #[test]
    fn parts_cover_the_range() {
        let mut seen = [0_u32; 7];
        for number in 0..1000_u32 {
            seen[KeyHash::new(Salt([1; 16]), &number.to_le_bytes()).part_of(7)] += 1;
        }
        assert!(seen.iter().all(|&count| count > 80), "{seen:?}");
    }
}
