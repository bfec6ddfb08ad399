//! Reads all mentions of a run from its first byte to its last, for rebuilding and checking.
//!
//! Goes past the cache, in large reads, with one buffer and one block; verifies every block, the
//! index included, the order of all keys, and that the footer counted them right. Keys are lent,
//! not copied.

use std::sync::Arc;

use crate::cast;
use crate::disk::DiskFile;
use crate::error::{Error, Result};
use crate::format::entry::Mention;
use crate::format::run_block::{BLOCK_BYTES_MAX, BLOCK_HEADER_BYTES, RunBlock, Walk};
use crate::format::run_entry::MentionDecoder;
use crate::format::run_footer::RunSummary;
use crate::format::run_header::RUN_HEADER_BYTES;
use crate::names::run::Run;

const READ_BYTES: usize = 1 << 20;
const _: () = assert!(READ_BYTES >= BLOCK_BYTES_MAX);

impl Run {
    /// Reads all mentions in order, past the cache, in large pieces.
    pub(crate) fn scan_all(&self) -> Result<RunScan<'_>> {
        RunScan::new(self)
    }

    /// Reads and verifies every byte of the run.
    pub(crate) fn verify(&self) -> Result<()> {
        let mut scan = self.scan_all()?;
        while scan.next()?.is_some() {}
        (0..self.footer().bloom.pages).try_for_each(|number| self.bloom_page(number).map(drop))
    }
}

/// A scan under way.
pub(crate) struct RunScan<'r> {
    run: &'r Run,
    file: Arc<DiskFile>,
    buffer: Vec<u8>,
    /// What of the buffer is not yet consumed.
    unread: std::ops::Range<usize>,
    /// Position in the file of the first unread byte.
    position: u64,
    block: Option<(RunBlock, MentionDecoder)>,
    walk: Walk,
    spare: Vec<u8>,
    last_key: Vec<u8>,
    is_first_of_block: bool,
    seen: RunSummary,
}

impl<'r> RunScan<'r> {
    fn new(run: &'r Run) -> Result<Self> {
        Ok(Self {
            run,
            file: run.file()?,
            buffer: Vec::new(),
            unread: 0..0,
            position: RUN_HEADER_BYTES as u64,
            block: None,
            walk: Walk::default(),
            spare: Vec::new(),
            last_key: Vec::new(),
            is_first_of_block: false,
            seen: RunSummary::EMPTY,
        })
    }

    /// The next sort key and what is said of it. After an error the scan is at an end.
    pub(crate) fn next(&mut self) -> Result<Option<(&[u8], Mention)>> {
        let step = self.step();
        if step.is_err() {
            self.block = None;
            self.position = self.run.footer().blocks_end;
            self.seen = *self.run.summary();
        }
        Ok(step?.map(|mention| (self.walk.key(), mention)))
    }

    fn step(&mut self) -> Result<Option<Mention>> {
        loop {
            let Some((block, decoder)) = &mut self.block else {
                if !self.next_block()? {
                    return self.check_counts().map(|()| None);
                }
                continue;
            };
            let fail = self.run.malformed(block.position());
            let Some((is_restart, mut fields)) = self.walk.step(block).map_err(&fail)? else {
                self.last_key.clear();
                self.last_key.extend_from_slice(self.walk.key());
                if let Some((block, _)) = self.block.take() {
                    self.spare = block.into_bytes();
                }
                continue;
            };
            let mention = decoder.decode(is_restart, &mut fields).map_err(&fail)?;
            self.walk.end_payload(&fields);
            if self.is_first_of_block && self.walk.key() <= self.last_key.as_slice() {
                let reason = "the keys of a block are not above those of the one before";
                return Err(Error::corrupt(self.run.path(), block.position(), reason));
            }
            self.is_first_of_block = false;
            self.seen.count(&mention);
            return Ok(Some(mention));
        }
    }

    fn check_counts(&self) -> Result<()> {
        if !self.run.summary().is_of(&self.seen) {
            let reason = "the run does not hold what its footer says";
            return Err(Error::corrupt(self.run.path(), self.position, reason));
        }
        Ok(())
    }

    /// Takes the next block of entries; false at the end.
    fn next_block(&mut self) -> Result<bool> {
        let end = self.run.footer().blocks_end;
        while self.position < end {
            self.ensure(BLOCK_HEADER_BYTES)?;
            let fail = self.run.malformed(self.position);
            let header = &self.buffer[self.unread.clone()][..BLOCK_HEADER_BYTES];
            let length = RunBlock::claimed_bytes(header).map_err(&fail)?;
            self.ensure(length)?;
            let mut bytes = std::mem::take(&mut self.spare);
            bytes.clear();
            bytes.extend_from_slice(&self.buffer[self.unread.clone()][..length]);
            let block = RunBlock::decode(bytes, self.position).map_err(&fail)?;
            self.unread.start += length;
            self.position += length as u64;
            if block.level() == 0 {
                self.walk.start(&block, 0).map_err(&fail)?;
                let decoder = MentionDecoder::new(self.run.segment(), block.base());
                self.block = Some((block, decoder));
                self.is_first_of_block = true;
                return Ok(true);
            }
            self.spare = block.into_bytes();
        }
        Ok(false)
    }

    /// Makes sure that so many bytes are unread in the buffer; they must be in front of the end of
    /// the blocks.
    fn ensure(&mut self, count: usize) -> Result<()> {
        if self.unread.len() >= count {
            return Ok(());
        }
        let end = self.run.footer().blocks_end;
        let left = cast::to_usize(end - self.position);
        if left < count {
            let reason = "a block reaches beyond the end of the blocks";
            return Err(Error::corrupt(self.run.path(), self.position, reason));
        }
        self.buffer.copy_within(self.unread.clone(), 0);
        let kept = self.unread.len();
        let wanted = left.min(READ_BYTES);
        self.buffer.resize(wanted.max(kept), 0);
        self.file.read_exact_at(&mut self.buffer[kept..], self.position + kept as u64)?;
        self.unread = 0..self.buffer.len();
        Ok(())
    }
}
