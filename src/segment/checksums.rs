//! Block checksums of a value while it is written in any order.
//!
//! Bytes that arrive in order are checksummed as they pass. A block that is written out of order,
//! twice or in part is marked and read back once when the value is stored.

use crate::cast;
use crate::disk::DiskFile;
use crate::error::Result;
use crate::format::bytes::Put;
use crate::format::crc32c;
use crate::format::record::{BLOCK_BYTES, BLOCK_SIZE};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    /// Never written; a hole reads as zeros.
    Hole,
    /// The first `bytes` were written in order and have this checksum.
    Known { crc: u32, bytes: u32 },
    /// To be read back.
    Stale,
}

/// The checksums of the blocks written so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockChecksums {
    blocks: Vec<Block>,
}

impl BlockChecksums {
    /// Notes that `bytes` are being written at `offset`.
    pub(crate) fn write(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let within = offset % BLOCK_BYTES;
            let count = cast::to_usize(BLOCK_BYTES - within).min(bytes.len());
            let (part, rest) = bytes.split_at(count);
            self.write_block(offset / BLOCK_BYTES, within, part);
            offset += count as u64;
            bytes = rest;
        }
    }

    fn write_block(&mut self, index: u64, within: u64, part: &[u8]) {
        let index = cast::to_usize(index);
        if index >= self.blocks.len() {
            self.blocks.resize(index + 1, Block::Hole);
        }
        let block = &mut self.blocks[index];
        // Blocks have 64 KiB, so lengths within one fit 32 bits.
        let part_bytes = cast::to_u32(part.len());
        *block = match *block {
            Block::Hole if within == 0 => Block::Known { crc: crc32c(part), bytes: part_bytes },
            Block::Known { crc, bytes } if u64::from(bytes) == within => {
                let crc = crate::format::crc32c_append(crc, part);
                Block::Known { crc, bytes: bytes + part_bytes }
            }
            _ => Block::Stale,
        };
    }

    /// Notes that the value now ends at `length`, cut or extended by a hole.
    pub(crate) fn truncate(&mut self, length: u64) {
        let count = cast::to_usize(length.div_ceil(BLOCK_BYTES));
        self.blocks.truncate(count);
        let last_bytes = length - (count as u64).saturating_sub(1) * BLOCK_BYTES;
        if self.blocks.len() == count
            && let Some(last) = self.blocks.last_mut()
            && !matches!(last, Block::Known { bytes, .. } if u64::from(*bytes) <= last_bytes)
        {
            *last = Block::Stale;
        }
    }

    /// The encoded block checksums of the value of `length` bytes in `file`.
    pub(crate) fn finish(&mut self, file: &DiskFile, length: u64) -> Result<Vec<u8>> {
        let count = cast::to_usize(length.div_ceil(BLOCK_BYTES));
        self.blocks.resize(count, Block::Hole);
        let mut buffer = Vec::new();
        let mut encoded = Vec::with_capacity(4 * count);
        let mut hole_crc = None;
        for (index, block) in self.blocks.iter_mut().enumerate() {
            let start = index as u64 * BLOCK_BYTES;
            let wanted = BLOCK_BYTES.min(length - start);
            let crc = match *block {
                Block::Known { crc, bytes } if u64::from(bytes) == wanted => crc,
                Block::Hole if wanted == BLOCK_BYTES => {
                    *hole_crc.get_or_insert_with(|| crc32c(&vec![0; BLOCK_SIZE]))
                }
                _ => {
                    buffer.resize(cast::to_usize(wanted), 0);
                    file.read_exact_at(&mut buffer, start)?;
                    crc32c(&buffer)
                }
            };
            let bytes = cast::to_u32(wanted);
            *block = Block::Known { crc, bytes };
            encoded.put_u32(crc);
        }
        Ok(encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::format::record::checksum_value;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        Truncate(u64),
        Store,
    }

    fn step() -> impl Strategy<Value = Step> {
        let place = 0..5 * BLOCK_BYTES;
        prop_oneof![
            4 => (place.clone(), 1..3 * BLOCK_BYTES, any::<u8>())
                .prop_map(|(at, length, byte)| Step::Write(at, vec![byte; length as usize])),
            1 => place.prop_map(Step::Truncate),
            1 => Just(Step::Store),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn checksums_are_those_of_the_bytes_whatever_the_order(
            steps in proptest::collection::vec(step(), 1..12),
            appended in proptest::collection::vec(1..100_000_usize, 0..6),
        ) {
            let scratch = tempfile::tempdir().unwrap();
            let file = Disk::new().create_new(&scratch.path().join("value")).unwrap();
            let mut model = Vec::new();
            let mut checksums = BlockChecksums::default();
            let in_order = appended.into_iter().map(|length| Step::Write(u64::MAX, vec![7; length]));
            for step in steps.into_iter().chain(in_order).chain([Step::Store]) {
                match step {
                    Step::Write(at, bytes) => {
                        let at = at.min(if at == u64::MAX { model.len() as u64 } else { at });
                        let end = at as usize + bytes.len();
                        if model.len() < end { model.resize(end, 0); }
                        model[at as usize..end].copy_from_slice(&bytes);
                        file.write_all_at(&bytes, at).unwrap();
                        checksums.write(at, &bytes);
                    }
                    Step::Truncate(length) => {
                        model.resize(length as usize, 0);
                        file.set_len(length).unwrap();
                        checksums.truncate(length);
                    }
                    Step::Store => {
                        let found = checksums.finish(&file, model.len() as u64).unwrap();
                        let mut expected = Vec::new();
                        if model.len() as u64 > BLOCK_BYTES {
                            checksum_value(&model, &mut expected);
                        } else if !model.is_empty() {
                            expected.put_u32(crc32c(&model));
                        }
                        prop_assert_eq!(found, expected);
                    }
                }
            }
        }
    }
}
