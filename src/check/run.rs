//! Walks a run from its first byte to its last, and goes on behind what is damaged.

use super::{Checker, Finding};
use crate::disk::DiskFile;
use crate::disk::window::Window;
use crate::error::Result;
use crate::format::Malformed;
use crate::format::entry::Mention;
use crate::format::location::SegmentNumber;
use crate::format::run_block::{RunBlock, Walk};
use crate::format::run_entry::MentionDecoder;
use crate::format::run_header::RUN_HEADER_BYTES;
use crate::names::run_blocks::{block_at, next_block};

/// What the walk hands on: a sort key, what is said of it, and whether it is the first
/// of its block.
pub(super) struct RunMention<'a> {
    pub(super) sort_key: &'a [u8],
    pub(super) mention: Mention,
    pub(super) is_first_of_block: bool,
}

/// Hands every mention of the good blocks before `end` to `visit`. Reports bad ones; tells whether
/// there were none.
pub(super) fn walk(
    checker: &mut Checker<'_>,
    file: &DiskFile,
    segment: SegmentNumber,
    end: u64,
    mut visit: impl FnMut(&mut Checker<'_>, &RunMention<'_>) -> Result<()>,
) -> Result<bool> {
    let mut window = Window::new(file, end);
    let mut at = RUN_HEADER_BYTES as u64;
    let mut last_key = Vec::new();
    let mut is_good = true;
    while at < end {
        let (next, problem) = match block_at(&mut window, at)? {
            Ok(block) => {
                let next = at + block.len() as u64;
                let result = entries(checker, &block, segment, &mut last_key, &mut visit)?;
                (next, result.err())
            }
            Err(malformed) => (next_block(&mut window, at + 1, end)?, Some(malformed)),
        };
        if let Some(malformed) = problem {
            is_good = false;
            let lost = next - at;
            let finding = Finding::of_error(&malformed.in_file(file.path(), at), file.path());
            let what = format!("{} (the names in {lost} bytes cannot be read)", finding.what);
            checker.add(Finding { what, ..finding });
        }
        checker.advance(next - at);
        at = next;
    }
    Ok(is_good)
}

/// Hands on the mentions of a block; blocks of the index have none.
fn entries(
    checker: &mut Checker<'_>,
    block: &RunBlock,
    segment: SegmentNumber,
    last_key: &mut Vec<u8>,
    visit: &mut impl FnMut(&mut Checker<'_>, &RunMention<'_>) -> Result<()>,
) -> Result<Result<(), Malformed>> {
    if block.level() > 0 {
        return Ok(index_entries(block));
    }
    let mut decoder = MentionDecoder::new(segment, block.base());
    let mut walk = Walk::default();
    if let Err(malformed) = walk.start(block, 0) {
        return Ok(Err(malformed));
    }
    let mut is_first = true;
    loop {
        let (is_restart, mut fields) = match walk.step(block) {
            Ok(Some(step)) => step,
            Ok(None) => break,
            Err(malformed) => return Ok(Err(malformed)),
        };
        let mention = match decoder.decode(is_restart, &mut fields) {
            Ok(mention) => mention,
            Err(malformed) => return Ok(Err(malformed)),
        };
        walk.end_payload(&fields);
        if is_first && walk.key() <= last_key.as_slice() {
            let reason = "the keys of the block are not above those of the one before";
            return Ok(Err(Malformed::damaged(0, reason)));
        }
        visit(checker, &RunMention { sort_key: walk.key(), mention, is_first_of_block: is_first })?;
        is_first = false;
        last_key.clear();
        last_key.extend_from_slice(walk.key());
    }
    Ok(Ok(()))
}

/// Walks an index block, whose payloads are the places of blocks.
fn index_entries(block: &RunBlock) -> Result<(), Malformed> {
    for restart in 0..block.restarts() {
        crate::format::run_index::child(block, restart)?;
    }
    Ok(())
}
