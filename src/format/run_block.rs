//! A block of a run: keys in ascending order, each with a payload, prefix-compressed.
//!
//! Blocks of entries (level 0) hold mentions (`run_entry.rs`); blocks of the index (level 1 and
//! up) hold the places of the blocks one level below (`run_index.rs`).
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | CRC32C of everything behind it |
//! | 4 | 4 | bytes of the block, this header included |
//! | 8 | 8 | position of the block in its file |
//! | 16 | 1 | level + 1 |
//! | 17 | 3 | zero |
//! | 20 | 4 | number of entries, at least 1 |
//! | 24 | 8 | base value id |
//! | 32 | 8 | base written-at, ns since the epoch |
//! | 40 | 4 | base mode |
//! | 44 | 4 | base owner |
//! | 48 | 4 | base group |
//! | 52 | 4 | zero |
//! | 56 | .. | entries |
//! | .. | 4 each | restart points: where every 16th entry (level 0) or every entry begins |
//!
//! An entry: varint count of bytes shared with the key before, varint count of other bytes, those
//! bytes, payload. At a restart point nothing is shared. The shared part is as long as possible,
//! so the first other byte proves the order of two keys.
//!
//! The position guards against a block read from the wrong place; the CRC would not.

use super::Malformed;
use super::bytes::{Fields, Put};
use super::preamble::{check_crc, put_crc};
use super::run_entry::Base;
use crate::cast;

/// Bytes of a block before its first entry.
pub(crate) const BLOCK_HEADER_BYTES: usize = 56;
/// A block takes no more entries once it has this many bytes.
pub(crate) const BLOCK_BYTES_TARGET: usize = 16 * 1024;
/// No block is longer: the target and one entry with the longest key stay far below.
pub(crate) const BLOCK_BYTES_MAX: usize = 64 * 1024;
/// The longest key there is.
pub(crate) const SORT_KEY_BYTES_MAX: usize = 4095;
/// No run has a deeper index: each level has at least three times fewer blocks than the one below.
pub(crate) const LEVEL_MAX: u8 = 40;

const RESTART_INTERVAL: usize = 16;
const RESTART_BYTES: usize = 4;
const LARGEST_PAYLOAD_BYTES: usize = 160;
const _: () = assert!(
    BLOCK_BYTES_TARGET + SORT_KEY_BYTES_MAX + LARGEST_PAYLOAD_BYTES + RESTART_BYTES + 8
        <= BLOCK_BYTES_MAX
);

/// Every how many entries a block of this level has a restart point. Index blocks are searched
/// only, never walked, and long keys must not unfold in memory: each of their entries is one.
fn restart_interval(level: u8) -> usize {
    if level == 0 { RESTART_INTERVAL } else { 1 }
}

/// Puts a block together.
#[derive(Debug)]
pub(crate) struct BlockBuilder {
    level: u8,
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    entries: usize,
    last_key: Vec<u8>,
}

impl BlockBuilder {
    pub(crate) fn new(level: u8) -> Self {
        let mut bytes = Vec::with_capacity(BLOCK_BYTES_TARGET + BLOCK_BYTES_TARGET / 4);
        bytes.put_zeros(BLOCK_HEADER_BYTES);
        Self { level, bytes, restarts: Vec::new(), entries: 0, last_key: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    pub(crate) fn level(&self) -> u8 {
        self.level
    }

    /// Whether the block has as many bytes as it should have.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() + self.restarts.len() * RESTART_BYTES >= BLOCK_BYTES_TARGET
    }

    /// Begins an entry with a key above the last one. Answers whether it is a restart point, and
    /// the buffer that the payload must be appended to.
    pub(crate) fn begin(&mut self, key: &[u8]) -> (bool, &mut Vec<u8>) {
        debug_assert!(key > self.last_key.as_slice() && key.len() <= SORT_KEY_BYTES_MAX);
        let is_restart = self.entries.is_multiple_of(restart_interval(self.level));
        let shared = if is_restart {
            self.restarts.push(cast::to_u32(self.bytes.len()));
            0
        } else {
            shared_bytes(&self.last_key, key)
        };
        self.entries += 1;
        self.bytes.put_varint(shared as u64);
        self.bytes.put_varint((key.len() - shared) as u64);
        self.bytes.extend_from_slice(&key[shared..]);
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        (is_restart, &mut self.bytes)
    }

    /// Completes the block for its place in the file. It can only be read and cleared afterwards.
    pub(crate) fn finish(&mut self, position: u64, base: &Base) -> &[u8] {
        for &restart in &self.restarts {
            self.bytes.put_u32(restart);
        }
        debug_assert!(self.bytes.len() <= BLOCK_BYTES_MAX);
        let mut header = Vec::with_capacity(BLOCK_HEADER_BYTES);
        header.put_u32(0);
        header.put_u32(cast::to_u32(self.bytes.len()));
        header.put_u64(position);
        header.put_u8(self.level + 1);
        header.put_zeros(3);
        header.put_u32(cast::to_u32(self.entries));
        base.encode(&mut header);
        header.put_u32(0);
        debug_assert_eq!(header.len(), BLOCK_HEADER_BYTES);
        self.bytes[..BLOCK_HEADER_BYTES].copy_from_slice(&header);
        put_crc(&mut self.bytes, 0);
        &self.bytes
    }

    /// Makes the builder ready for the next block of its level.
    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(BLOCK_HEADER_BYTES);
        self.restarts.clear();
        self.entries = 0;
        self.last_key.clear();
    }
}

/// How many bytes two keys have in common at their front.
pub(crate) fn shared_bytes(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

/// A verified block.
#[derive(Debug)]
pub(crate) struct RunBlock {
    bytes: Vec<u8>,
    position: u64,
    level: u8,
    entries: usize,
    restarts_at: usize,
    base: Base,
}

impl RunBlock {
    /// The length that a header claims for its block, within the limits of a block.
    pub(crate) fn claimed_bytes(header: &[u8]) -> Result<usize, Malformed> {
        let mut fields = Fields::new(header);
        fields.take(4)?;
        let length = fields.u32()?;
        match usize::try_from(length) {
            Ok(length) if (BLOCK_HEADER_BYTES..=BLOCK_BYTES_MAX).contains(&length) => Ok(length),
            _ => Err(Malformed::damaged(4, format!("a block cannot have {length} bytes"))),
        }
    }

    /// Verifies the block that was read from `position`.
    pub(crate) fn decode(bytes: Vec<u8>, position: u64) -> Result<Self, Malformed> {
        if Self::claimed_bytes(&bytes)? != bytes.len() {
            return Err(Malformed::damaged(4, "the block has another length than its index says"));
        }
        let mut fields = Fields::new(&bytes);
        check_crc(0, "the block", fields.u32()?, &bytes[4..])?;
        fields.take(4)?;
        if fields.u64()? != position {
            return Err(Malformed::damaged(8, "the block belongs to another place"));
        }
        let level = match fields.u8()?.checked_sub(1) {
            Some(level) if level <= LEVEL_MAX => level,
            _ => return Err(Malformed::damaged(16, "the level of the block does not exist")),
        };
        fields.zeros(3)?;
        let entries = cast::to_usize(fields.u32()?);
        let base = Base::decode(&mut fields)?;
        fields.zeros(4)?;
        let restarts = entries.div_ceil(restart_interval(level));
        let restart_bytes = restarts.saturating_mul(RESTART_BYTES);
        let restarts_at = bytes.len().saturating_sub(restart_bytes);
        if entries == 0 || restarts_at < BLOCK_HEADER_BYTES {
            let reason = format!("a block of {} bytes cannot have {entries} entries", bytes.len());
            return Err(Malformed::damaged(20, reason));
        }
        Ok(Self { bytes, position, level, entries, restarts_at, base })
    }

    pub(crate) fn level(&self) -> u8 {
        self.level
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn base(&self) -> &Base {
        &self.base
    }

    /// Bytes of the block.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Gives the buffer back for the next block.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many restart points the block has; at least one.
    pub(crate) fn restarts(&self) -> usize {
        self.entries.div_ceil(restart_interval(self.level))
    }

    fn restart_at(&self, restart: usize) -> Result<usize, Malformed> {
        let slot = self.restarts_at + restart * RESTART_BYTES;
        let mut fields = Fields::new(&self.bytes);
        fields.take(slot)?;
        match usize::try_from(fields.u32()?) {
            Ok(at) if (BLOCK_HEADER_BYTES..self.restarts_at).contains(&at) => Ok(at),
            _ => Err(Malformed::damaged(slot as u64, "a restart point is outside of the block")),
        }
    }

    /// The key at a restart point and the bytes behind it.
    pub(crate) fn restart_entry(&self, restart: usize) -> Result<(&[u8], Fields<'_>), Malformed> {
        let at = self.restart_at(restart)?;
        let mut fields = Fields::new(&self.bytes[..self.restarts_at]);
        fields.take(at)?;
        if fields.varint()? != 0 {
            return Err(Malformed::damaged(at as u64, "a restart point shares bytes"));
        }
        let key = take_key_bytes(&mut fields, 0)?;
        Ok((key, fields))
    }

    /// The last restart point whose key is not above `key`; the first one if all are above.
    pub(crate) fn restart_for(&self, key: &[u8]) -> Result<usize, Malformed> {
        let (mut low, mut high) = (0, self.restarts());
        // Invariant: restart `low` may be the answer, `high` and all behind it are above the key.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.restart_entry(middle)?.0 <= key {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

/// Takes a varint length and that many bytes of a key which has `shared` bytes already.
fn take_key_bytes<'a>(fields: &mut Fields<'a>, shared: usize) -> Result<&'a [u8], Malformed> {
    let start = fields.at() as u64;
    let length = cast::to_usize(fields.varint()?);
    if length == 0 || length > SORT_KEY_BYTES_MAX.saturating_sub(shared) {
        let reason = format!("{length} more bytes behind {shared} are no key");
        return Err(Malformed::damaged(start, reason));
    }
    fields.take(length)
}

/// A walk over the entries of a block. Holds no reference, so that it can live beside the block.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    at: usize,
    ordinal: usize,
    key: Vec<u8>,
    is_started: bool,
}

impl Walk {
    /// Goes to a restart point; the next step gives its entry.
    pub(crate) fn start(&mut self, block: &RunBlock, restart: usize) -> Result<(), Malformed> {
        self.at = block.restart_at(restart)?;
        self.ordinal = restart * restart_interval(block.level);
        self.is_started = false;
        self.key.clear();
        Ok(())
    }

    /// The key of the entry that the last step gave.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Goes to the next entry: whether it is a restart point, and its payload. What the caller
    /// leaves of the payload must be reported with [`Walk::end_payload`].
    pub(crate) fn step<'a>(
        &mut self,
        block: &'a RunBlock,
    ) -> Result<Option<(bool, Fields<'a>)>, Malformed> {
        if self.ordinal >= block.entries {
            if self.at != block.restarts_at {
                return Err(Malformed::damaged(self.at as u64, "bytes behind the last entry"));
            }
            return Ok(None);
        }
        let interval = restart_interval(block.level);
        let is_restart = self.ordinal.is_multiple_of(interval);
        if is_restart && block.restart_at(self.ordinal / interval)? != self.at {
            return Err(Malformed::damaged(self.at as u64, "an entry misses its restart point"));
        }
        let mut fields = Fields::new(&block.bytes[..block.restarts_at]);
        fields.take(self.at)?;
        let shared = cast::to_usize(fields.varint()?);
        if shared > self.key.len() || (is_restart && shared != 0) {
            return Err(Malformed::damaged(self.at as u64, "an entry shares too many bytes"));
        }
        let fresh = take_key_bytes(&mut fields, shared)?;
        let is_above = if is_restart {
            fresh > self.key.as_slice()
        } else {
            self.key.get(shared).is_none_or(|before| fresh[0] > *before)
        };
        if self.is_started && !is_above {
            return Err(Malformed::damaged(self.at as u64, "keys are out of order"));
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(fresh);
        self.is_started = true;
        self.ordinal += 1;
        Ok(Some((is_restart, fields)))
    }

    /// Says where the payload of the last step ended.
    pub(crate) fn end_payload(&mut self, fields: &Fields<'_>) {
        self.at = fields.at();
    }

    /// Whether the next entry begins another group, or there is none.
    pub(crate) fn is_at_group_end(&self, block: &RunBlock) -> bool {
        self.ordinal >= block.entries || self.ordinal.is_multiple_of(restart_interval(block.level))
    }
}

#[cfg(test)]
mod tests {
    use super::super::crc32c;
    use super::*;

    fn block(level: u8, keys: &[&[u8]], position: u64) -> Vec<u8> {
        let mut builder = BlockBuilder::new(level);
        for (number, key) in keys.iter().enumerate() {
            builder.begin(key).1.put_varint(number as u64);
        }
        builder.finish(position, &Base::default()).to_vec()
    }

    #[test]
    fn layout_is_pinned() {
        let bytes = block(0, &[b"ab", b"abc", b"b"], 16);
        let mut golden = vec![0xe6, 0x89, 0x8f, 0x6c, 73, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 1];
        golden.extend([0, 0, 0, 3, 0, 0, 0]);
        golden.put_zeros(32);
        golden.extend([0, 2, b'a', b'b', 0, 2, 1, b'c', 1, 0, 1, b'b', 2, 56, 0, 0, 0]);
        assert_eq!(bytes, golden);
    }

    #[test]
    fn entries_come_back_in_order_from_any_restart() {
        let keys: Vec<Vec<u8>> = (0..50_u8).map(|number| vec![b'k', number]).collect();
        let slices: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let block = RunBlock::decode(block(0, &slices, 99), 99).unwrap();
        assert_eq!(block.restarts(), 4);
        for restart in 0..4 {
            let mut walk = Walk::default();
            walk.start(&block, restart).unwrap();
            let mut seen = restart * 16;
            while let Some((_, mut fields)) = walk.step(&block).unwrap() {
                assert_eq!(walk.key(), keys[seen]);
                assert_eq!(fields.varint(), Ok(seen as u64));
                walk.end_payload(&fields);
                seen += 1;
            }
            assert_eq!(seen, 50);
        }
        assert_eq!(block.restart_for(b"a"), Ok(0));
        assert_eq!(block.restart_for(&[b'k', 15]), Ok(0));
        assert_eq!(block.restart_for(&[b'k', 16]), Ok(1));
        assert_eq!(block.restart_for(b"z"), Ok(3));
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let good = block(0, &[b"ab", b"abc", b"b"], 16);
        for index in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[index] ^= 1 << bit;
                assert!(RunBlock::decode(bad, 16).is_err(), "byte {index} bit {bit}");
            }
        }
        assert!(RunBlock::decode(good.clone(), 17).is_err());
        assert!(RunBlock::decode(good[..70].to_vec(), 16).is_err());
    }

    /// What is right for the checksum may still be nonsense; it must be an error and end.
    #[test]
    fn nonsense_with_a_good_checksum_is_an_error() {
        let good = block(0, &[b"ab", b"abc", b"b"], 16);
        for index in 16..good.len() {
            for value in [0, 1, 2, 17, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[index] = value;
                let crc = crc32c(&bad[4..]);
                bad[..4].copy_from_slice(&crc.to_le_bytes());
                let Ok(block) = RunBlock::decode(bad, 16) else { continue };
                let mut walk = Walk::default();
                if walk.start(&block, 0).is_err() {
                    continue;
                }
                let mut steps = 0;
                while let Ok(Some((_, mut fields))) = walk.step(&block) {
                    if fields.varint().is_err() {
                        break;
                    }
                    walk.end_payload(&fields);
                    steps += 1;
                    assert!(steps <= 100, "the walk does not end");
                }
                assert!(
                    block.restart_for(b"b").is_ok_and(|restart| restart < block.restarts())
                        || block.restart_for(b"b").is_err()
                );
            }
        }
    }
}
