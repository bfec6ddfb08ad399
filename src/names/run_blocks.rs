//! Finding the blocks of a run whose index cannot be trusted.
//!
//! Blocks carry their own position, so the next good block behind a damaged one is found by
//! looking for a place that names itself.

use crate::disk::window::{SEARCH_BYTES_MAX, Window};
use crate::error::Result;
use crate::format::Malformed;
use crate::format::run_block::{BLOCK_BYTES_MAX, BLOCK_HEADER_BYTES, RunBlock};

/// Verifies the block at a place.
pub(crate) fn block_at(window: &mut Window<'_>, at: u64) -> Result<Result<RunBlock, Malformed>> {
    let header = window.slice(at, BLOCK_HEADER_BYTES)?;
    let length = match RunBlock::claimed_bytes(header) {
        Ok(length) => length,
        Err(malformed) => return Ok(Err(malformed)),
    };
    let bytes = window.slice(at, length)?.to_vec();
    Ok(RunBlock::decode(bytes, at))
}

/// The first good block from `from` on; `end` when there is none.
pub(crate) fn next_block(window: &mut Window<'_>, from: u64, end: u64) -> Result<u64> {
    let mut budget = SEARCH_BYTES_MAX;
    for at in from..end {
        let header = window.slice(at, BLOCK_HEADER_BYTES)?;
        if header.len() < BLOCK_HEADER_BYTES {
            return Ok(end);
        }
        if header[8..16] != at.to_le_bytes() {
            continue;
        }
        if block_at(window, at)?.is_ok() {
            return Ok(at);
        }
        budget = budget.saturating_sub(BLOCK_BYTES_MAX as u64);
        if budget == 0 {
            return Ok(end);
        }
    }
    Ok(end)
}
