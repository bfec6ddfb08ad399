//! The payload of a key in an index block: where the block for the keys from this one on stands.
//!
//! | bytes | field |
//! |---|---|
//! | varint | position of the block in the file |
//! | varint | bytes of the block |
//!
//! The key is the shortest that separates the block from the one before it, not a whole key, so
//! an index entry is a few bytes even where keys are long. The index is a tree, written from the
//! bottom while the run is written: a block is always in front of the one that points at it, so
//! going down the tree ends however damaged it is.

use super::Malformed;
use super::bytes::Put;
use super::run_block::{BLOCK_BYTES_MAX, BLOCK_HEADER_BYTES, RunBlock};
use super::run_header::RUN_HEADER_BYTES;
use crate::cast;

/// The place of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockPlace {
    /// Offset in the file.
    pub(crate) position: u64,
    /// Length in bytes.
    pub(crate) bytes: u32,
}

impl BlockPlace {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.put_varint(self.position);
        out.put_varint(u64::from(self.bytes));
    }

    /// Whether a block can be here, in front of `end`.
    pub(crate) fn is_before(self, end: u64) -> bool {
        let block_bytes = cast::to_usize(self.bytes);
        (BLOCK_HEADER_BYTES..=BLOCK_BYTES_MAX).contains(&block_bytes)
            && self.position >= RUN_HEADER_BYTES as u64
            && self.position.checked_add(u64::from(self.bytes)).is_some_and(|behind| behind <= end)
    }
}

/// The place that entry `number` of an index block points at.
pub(crate) fn child(block: &RunBlock, number: usize) -> Result<BlockPlace, Malformed> {
    let (_, mut fields) = block.restart_entry(number)?;
    let at = fields.at() as u64;
    let position = fields.varint()?;
    let bytes = cast::saturate_u32(fields.varint()?);
    let place = BlockPlace { position, bytes };
    if !place.is_before(block.position()) {
        return Err(Malformed::damaged(at, "the index points at something that is no block"));
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::super::run_block::BlockBuilder;
    use super::super::run_entry::Base;
    use super::*;

    fn index(places: &[BlockPlace]) -> RunBlock {
        let mut builder = BlockBuilder::new(1);
        for (number, place) in places.iter().enumerate() {
            place.encode(builder.begin(&[b'a', u8::try_from(number).unwrap()]).1);
        }
        let bytes = builder.finish(5000, &Base::default()).to_vec();
        assert_eq!(bytes[16], 2);
        RunBlock::decode(bytes, 5000).unwrap()
    }

    #[test]
    fn layout_is_pinned() {
        let mut bytes = Vec::new();
        BlockPlace { position: 16, bytes: 300 }.encode(&mut bytes);
        assert_eq!(bytes, [16, 0xac, 2]);
    }

    #[test]
    fn places_come_back_and_wrong_ones_are_refused() {
        let good = BlockPlace { position: 16, bytes: 100 };
        let last = BlockPlace { position: 4900, bytes: 100 };
        let in_header = BlockPlace { position: 15, bytes: 100 };
        let beyond = BlockPlace { position: 4901, bytes: 100 };
        let huge = BlockPlace { position: 16, bytes: u32::MAX };
        let far = BlockPlace { position: u64::MAX, bytes: 100 };
        let block = index(&[good, last, in_header, beyond, huge, far]);
        assert_eq!(child(&block, 0), Ok(good));
        assert_eq!(child(&block, 1), Ok(last));
        for number in 2..6 {
            assert!(child(&block, number).is_err(), "{number}");
        }
        assert!(child(&block, 6).is_err());
    }
}
