//! What headers begin with: a magic, a version and a checksum, put and checked in one place.
//!
//! Segment metadata, key logs and the records of values begin alike, with a [`Preamble`]: three
//! bytes of magic, one of version, and the CRC32C of the header behind these eight bytes. The other
//! formats order the three in ways of their own and share [`check_version`], [`put_crc`] and
//! [`check_crc`].

use super::bytes::{Fields, Put};
use super::{Malformed, crc32c};

/// Bytes of a preamble; what its checksum covers begins here.
pub(super) const PREAMBLE_BYTES: usize = 8;
const VERSION_AT: u64 = 3;
const CRC_AT: usize = 4;

/// How the headers of one format begin.
pub(super) struct Preamble {
    pub(super) magic: [u8; 3],
    /// The version written, and the newest one read.
    pub(super) version: u8,
    /// What is said of bytes that do not begin with the magic.
    pub(super) foreign: &'static str,
}

impl Preamble {
    /// Begins a header; returns where, for [`Preamble::finish`].
    pub(super) fn begin(&self, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        out.extend_from_slice(&self.magic);
        out.put_u8(self.version);
        out.put_u32(0);
        start
    }

    /// Puts the checksum of the header that was begun at `start` and ends with `out`.
    pub(super) fn finish(start: usize, out: &mut [u8]) {
        put_crc(out, start + CRC_AT);
    }

    /// Takes a preamble. Returns the checksum that the header claims to have: how much that
    /// covers, only the header knows.
    pub(super) fn take(&self, fields: &mut Fields<'_>) -> Result<u32, Malformed> {
        if fields.take(self.magic.len())? != self.magic {
            return Err(Malformed::damaged(0, self.foreign));
        }
        let version = fields.u8()?;
        check_version(VERSION_AT, version.into(), self.version.into())?;
        fields.u32()
    }

    /// Checks what a header claims against `covered`, its bytes behind the preamble.
    pub(super) fn check(claimed: u32, covered: &[u8]) -> Result<(), Malformed> {
        check_crc(CRC_AT as u64, "the header", claimed, covered)
    }
}

/// Refuses version 0, which no format has, and versions later than the one `supported`; `at` is
/// where the version stands.
pub(super) fn check_version(at: u64, found: u32, supported: u32) -> Result<(), Malformed> {
    if found > supported {
        return Err(Malformed::Future { found, supported });
    }
    if found == 0 {
        return Err(Malformed::damaged(at, "version 0 does not exist"));
    }
    Ok(())
}

/// Puts the checksum of everything behind its own four bytes, which stand at `at`.
pub(super) fn put_crc(bytes: &mut [u8], at: usize) {
    let crc = crc32c(&bytes[at + 4..]);
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Checks the checksum of `what`, which stands at `at`, against the bytes it covers.
pub(super) fn check_crc(
    at: u64,
    what: &str,
    claimed: u32,
    covered: &[u8],
) -> Result<(), Malformed> {
    let found = crc32c(covered);
    if found != claimed {
        let reason = format!("the checksum of {what} is {found:08x}, {claimed:08x} expected");
        return Err(Malformed::damaged(at, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREAMBLE: Preamble = Preamble { magic: *b"LFX", version: 2, foreign: "it is no X" };

    fn header() -> Vec<u8> {
        let mut out = b"before".to_vec();
        let start = PREAMBLE.begin(&mut out);
        out.put_u32(7);
        Preamble::finish(start, &mut out);
        out.split_off(start)
    }

    fn read(header: &[u8]) -> Result<(), Malformed> {
        let claimed = PREAMBLE.take(&mut Fields::new(header))?;
        Preamble::check(claimed, &header[PREAMBLE_BYTES..])
    }

    #[test]
    fn layout_is_pinned() {
        let header = header();
        assert_eq!(header[..4], *b"LFX\x02");
        assert_eq!(header[4..8], crc32c(&[7, 0, 0, 0]).to_le_bytes());
        assert_eq!(header[8..], [7, 0, 0, 0]);
        assert_eq!(read(&header), Ok(()));
    }

    #[test]
    fn foreign_damaged_and_future_headers_are_told_apart() {
        let with = |at: usize, byte: u8| {
            let mut header = header();
            header[at] = byte;
            read(&header)
        };
        assert_eq!(with(0, b'K'), Err(Malformed::damaged(0, "it is no X")));
        assert_eq!(with(3, 0), Err(Malformed::damaged(3, "version 0 does not exist")));
        assert_eq!(with(3, 1), Ok(()), "earlier versions are for the format to tell apart");
        assert_eq!(with(3, 3), Err(Malformed::Future { found: 3, supported: 2 }));
        assert!(matches!(with(8, 8), Err(Malformed::Damaged { at: 4, .. })));
        assert!(read(b"LFX\x02abc").is_err());
    }
}
