//! Bad records of a key log: what a crash leaves is told from damage, and good ones are found behind.
//!
//! A crash leaves a record that was written in part: the file ends within it, or whole sectors of it
//! were never written. A record that is all there and yet fails its checksum was whole once.

use crate::cast;
use crate::disk::window::{SEARCH_BYTES_MAX, Window};
use crate::error::Result;
use crate::format::log_record::{self, BODY_BYTES_MAX, RECORD_HEADER_BYTES};

/// The unit in which drives write.
pub(crate) const SECTOR_BYTES: u64 = 512;
const KIND_MAX: u8 = 5;

/// A search for good records, which ends after so much work: bytes made up to look like records
/// everywhere must not keep it busy for ever.
pub(crate) struct Search {
    left_bytes: u64,
}

impl Default for Search {
    fn default() -> Self {
        Self { left_bytes: SEARCH_BYTES_MAX }
    }
}

impl Search {
    /// The place and the length of the first good record from `from` on.
    pub(crate) fn next_good(
        &mut self,
        window: &mut Window<'_>,
        from: u64,
        end: u64,
    ) -> Result<Option<(u64, usize)>> {
        let mut at = from;
        while at + (RECORD_HEADER_BYTES as u64) < end && self.left_bytes > 0 {
            let header = window.slice(at, RECORD_HEADER_BYTES)?;
            let may_be = matches!(header, [.., kind, 0, 0, 0] if (1..=KIND_MAX).contains(kind));
            let bytes = record_bytes(header);
            if may_be && bytes as u64 <= end - at {
                self.left_bytes = self.left_bytes.saturating_sub(bytes as u64);
                if let Ok((_, bytes)) = log_record::decode(window.slice(at, bytes)?) {
                    return Ok(Some((at, bytes)));
                }
            }
            at += 1;
        }
        Ok(None)
    }
}

/// The bytes a record claims to have, within the limits.
pub(crate) fn record_bytes(header: &[u8]) -> usize {
    let body = log_record::peek_body_bytes(header).unwrap_or(0);
    RECORD_HEADER_BYTES + body.min(BODY_BYTES_MAX)
}

/// Whether the rest of a log looks as a crash leaves it.
pub(crate) fn is_torn(window: &mut Window<'_>, at: u64, end: u64) -> Result<bool> {
    let rest_bytes = cast::to_usize(end - at);
    if rest_bytes < RECORD_HEADER_BYTES {
        return Ok(true);
    }
    let rest = window.slice(at, rest_bytes.min(RECORD_HEADER_BYTES + BODY_BYTES_MAX))?;
    let claimed =
        log_record::peek_body_bytes(rest).unwrap_or(0).saturating_add(RECORD_HEADER_BYTES);
    if claimed > rest_bytes {
        // It may be whole and only its length be wrong; the checksum covers the length.
        let mut patched = rest.to_vec();
        let body = cast::to_u32(rest.len() - RECORD_HEADER_BYTES);
        patched[4..8].copy_from_slice(&body.to_le_bytes());
        return Ok(log_record::decode(&patched).is_err());
    }
    let Some(last) = rest.iter().rposition(|&byte| byte != 0) else { return Ok(true) };
    let written_end = (at + last as u64 + 1).next_multiple_of(SECTOR_BYTES);
    Ok(written_end < end)
}
