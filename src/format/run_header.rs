//! The first bytes of a run, by which `N.keys` is told from a key log.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `littrun\n` |
//! | 8 | 4 | version |
//! | 12 | 4 | CRC32C of bytes 0..12 |
//!
//! These 16 bytes keep their form in every version, so that a later version can be named rather
//! than called damage.

use super::bytes::{Fields, Put};
use super::preamble::{check_crc, check_version};
use super::{Malformed, crc32c};

/// Bytes of the header; the first block stands here.
pub(crate) const RUN_HEADER_BYTES: usize = 16;
/// What a run begins with.
pub(crate) const RUN_MAGIC: [u8; 8] = *b"littrun\n";
/// The version written, and the newest one read.
pub(crate) const RUN_VERSION: u32 = 1;

/// The header of a run of this version.
pub(crate) fn encode() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(RUN_HEADER_BYTES);
    bytes.extend_from_slice(&RUN_MAGIC);
    bytes.put_u32(RUN_VERSION);
    bytes.put_u32(crc32c(&bytes));
    bytes
}

/// Whether a file that begins with these bytes means to be a run, sound or not.
pub(crate) fn is_run(start: &[u8]) -> bool {
    start.starts_with(&RUN_MAGIC)
}

/// Checks the header of a run.
pub(crate) fn check(bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.len() < RUN_HEADER_BYTES {
        return Err(Malformed::damaged(0, "it is too short for a run"));
    }
    if !is_run(bytes) {
        return Err(Malformed::damaged(0, "it does not begin like a run (`littrun`)"));
    }
    let mut fields = Fields::new(bytes);
    fields.take(RUN_MAGIC.len())?;
    let version = fields.u32()?;
    check_crc(12, "the header", fields.u32()?, &bytes[..12])?;
    check_version(8, version, RUN_VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_pinned() {
        let golden =
            [b'l', b'i', b't', b't', b'r', b'u', b'n', b'\n', 1, 0, 0, 0, 0x86, 0x7c, 0x65, 0x25];
        assert_eq!(encode(), golden);
        assert_eq!(encode().len(), RUN_HEADER_BYTES);
        assert_eq!(check(&encode()), Ok(()));
    }

    #[test]
    fn foreign_short_damaged_and_future_headers_are_told_apart() {
        assert!(check(b"littrun").is_err());
        assert!(check(b"littkeys\0\0\0\0\0\0\0\0").is_err());
        for index in 0..RUN_HEADER_BYTES {
            let mut bytes = encode();
            bytes[index] ^= 1;
            assert!(matches!(check(&bytes), Err(Malformed::Damaged { .. })), "byte {index}");
        }
        let mut future = RUN_MAGIC.to_vec();
        future.put_u32(7);
        future.put_u32(crc32c(&future));
        assert_eq!(check(&future), Err(Malformed::Future { found: 7, supported: RUN_VERSION }));
    }
}
