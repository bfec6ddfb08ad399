//! An ordered walk over a run, in either direction.
//!
//! It stands in a group, the entries between two restart points, which is unpacked whole: within
//! it both directions are a step of an index, and the group in front can be unpacked as well as
//! the one behind. It keeps the index blocks on the way down to its block, so that the next block
//! is found without searching.

use std::ops::Bound;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::Malformed;
use crate::format::entry::Mention;
use crate::format::location::SegmentNumber;
use crate::format::run_block::{RunBlock, Walk};
use crate::format::run_entry::MentionDecoder;
use crate::format::run_index;
use crate::names::Direction;
use crate::names::run::Run;

/// The unpacked entries between two restart points.
#[derive(Debug, Default)]
struct Group {
    walk: Walk,
    keys: Vec<u8>,
    /// Where the key ends in `keys`, and what is said of it.
    entries: Vec<(usize, Mention)>,
}

impl Group {
    fn unpack(
        &mut self,
        block: &RunBlock,
        restart: usize,
        segment: SegmentNumber,
    ) -> Result<(), Malformed> {
        self.keys.clear();
        self.entries.clear();
        self.walk.start(block, restart)?;
        let mut decoder = MentionDecoder::new(segment, block.base());
        while let Some((is_restart, mut fields)) = self.walk.step(block)? {
            let mention = decoder.decode(is_restart, &mut fields)?;
            self.walk.end_payload(&fields);
            self.keys.extend_from_slice(self.walk.key());
            self.entries.push((self.keys.len(), mention));
            if self.walk.is_at_group_end(block) {
                break;
            }
        }
        Ok(())
    }

    fn key(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.entries[before].0);
        &self.keys[start..self.entries[number].0]
    }

    /// How many entries come before the first one at or behind `bound` in the direction.
    fn before(&self, direction: Direction, bound: Bound<&[u8]>) -> usize {
        let count = self.entries.len();
        match direction {
            Direction::Forward => (0..count).position(|n| direction.reaches(self.key(n), bound)),
            Direction::Backward => {
                (0..count).rev().position(|n| direction.reaches(self.key(n), bound))
            }
        }
        .unwrap_or(count)
    }
}

/// A walk in one direction. Stands on an entry, or nowhere: behind the last one, after an error,
/// and until it is sought.
#[derive(Debug)]
pub(crate) struct RunCursor {
    run: Arc<Run>,
    direction: Direction,
    /// Index blocks from the top, each with the number of the entry that was followed.
    path: Vec<(Arc<RunBlock>, usize)>,
    leaf: Option<(Arc<RunBlock>, usize)>,
    group: Group,
    /// The last key of the group before, which the next one must lie beyond. Without this a run
    /// with a false index could lead a walk in circles.
    edge: Vec<u8>,
    /// Entry of the group where the walk stands; `None` is nowhere.
    at: Option<usize>,
}

impl RunCursor {
    /// A walk that stands nowhere until it is sought.
    pub(crate) fn new(run: Arc<Run>, direction: Direction) -> Self {
        Self {
            run,
            direction,
            path: Vec::new(),
            leaf: None,
            group: Group::default(),
            edge: Vec::new(),
            at: None,
        }
    }

    /// Where the walk stands.
    pub(crate) fn current(&self) -> Option<(&[u8], &Mention)> {
        let at = self.at?;
        Some((self.group.key(at), &self.group.entries.get(at)?.1))
    }

    /// Goes to the first entry at or behind `bound` in the direction of the walk.
    pub(crate) fn seek(&mut self, bound: Bound<&[u8]>) -> Result<()> {
        self.at = None;
        self.descend(bound)?;
        // The bound falls into this group or between it and the next one, which may be in the
        // next block: at most two groups are looked at.
        while self.leaf.is_some() {
            let before = self.group.before(self.direction, bound);
            if self.stand(before) {
                return Ok(());
            }
            self.next_group()?;
        }
        Ok(())
    }

    /// Goes on to the first entry at or behind `bound`, which must not lie in front of where the
    /// walk stands. Short ways need no search.
    pub(crate) fn skip_to(&mut self, bound: Bound<&[u8]>) -> Result<()> {
        let before = self.group.before(self.direction, bound);
        if self.at.is_some() && self.stand(before) {
            return Ok(());
        }
        self.seek(bound)
    }

    /// Goes to the next entry.
    pub(crate) fn advance(&mut self) -> Result<()> {
        let Some(at) = self.at.take() else { return Ok(()) };
        let passed = match self.direction {
            Direction::Forward => at + 1,
            Direction::Backward => self.group.entries.len() - at,
        };
        if !self.stand(passed) {
            self.next_group()?;
            self.stand(0);
        }
        Ok(())
    }

    /// Stands behind so many entries of the group in the direction; false if there are no more.
    fn stand(&mut self, passed: usize) -> bool {
        let count = if self.leaf.is_some() { self.group.entries.len() } else { 0 };
        self.at = (passed < count).then(|| match self.direction {
            Direction::Forward => passed,
            Direction::Backward => count - 1 - passed,
        });
        self.at.is_some()
    }

    /// Which entry of a block, seen as its restart points, leads to the bound.
    fn choose(&self, block: &RunBlock, bound: Bound<&[u8]>) -> Result<usize, Malformed> {
        match (bound, self.direction) {
            (Bound::Included(key) | Bound::Excluded(key), _) => block.restart_for(key),
            (Bound::Unbounded, Direction::Forward) => Ok(0),
            (Bound::Unbounded, Direction::Backward) => Ok(block.restarts() - 1),
        }
    }

    /// Goes from the top of the index down to the group that a bound falls into.
    fn descend(&mut self, bound: Bound<&[u8]>) -> Result<()> {
        self.path.clear();
        self.leaf = None;
        let Some((place, level)) = self.run.footer().root else { return Ok(()) };
        let root = self.run.block(place, level)?;
        self.descend_from(root, bound)
    }

    /// Goes from an index block down to the group that a bound falls into.
    fn descend_from(&mut self, mut block: Arc<RunBlock>, bound: Bound<&[u8]>) -> Result<()> {
        loop {
            let number = self.choose(&block, bound).map_err(|bad| self.fail(&block, bad))?;
            let Some(level_below) = block.level().checked_sub(1) else {
                return self.unpack(block, number);
            };
            let place = run_index::child(&block, number).map_err(|bad| self.fail(&block, bad))?;
            let below = self.run.block(place, level_below)?;
            self.path.push((block, number));
            block = below;
        }
    }

    fn fail(&self, block: &RunBlock, malformed: Malformed) -> Error {
        malformed.in_file(self.run.path(), block.position())
    }

    fn unpack(&mut self, block: Arc<RunBlock>, restart: usize) -> Result<()> {
        self.leaf = None;
        self.group
            .unpack(&block, restart, self.run.segment())
            .map_err(|malformed| malformed.in_file(self.run.path(), block.position()))?;
        debug_assert!(!self.group.entries.is_empty(), "a block has no restart point without entry");
        self.leaf = Some((block, restart));
        Ok(())
    }

    fn step(&self, number: usize, count: usize) -> Option<usize> {
        match self.direction {
            Direction::Forward => Some(number + 1).filter(|&next| next < count),
            Direction::Backward => number.checked_sub(1),
        }
    }

    /// Goes to the next group, in the same block or in the next one.
    fn next_group(&mut self) -> Result<()> {
        let Some((block, restart)) = self.leaf.take() else { return Ok(()) };
        self.edge.clear();
        self.edge.extend_from_slice(self.group.key(match self.direction {
            Direction::Forward => self.group.entries.len() - 1,
            Direction::Backward => 0,
        }));
        self.unpack_next(block, restart)?;
        let Some((block, _)) = &self.leaf else { return Ok(()) };
        let first = self.group.key(match self.direction {
            Direction::Forward => 0,
            Direction::Backward => self.group.entries.len() - 1,
        });
        if !self.direction.reaches(first, Bound::Excluded(&self.edge)) {
            let reason = "the keys of a block are out of order with those before";
            let error = Error::corrupt(self.run.path(), block.position(), reason);
            self.leaf = None;
            return Err(error);
        }
        Ok(())
    }

    fn unpack_next(&mut self, block: Arc<RunBlock>, restart: usize) -> Result<()> {
        if let Some(next) = self.step(restart, block.restarts()) {
            return self.unpack(block, next);
        }
        while let Some((block, number)) = self.path.pop() {
            let Some(next) = self.step(number, block.restarts()) else { continue };
            let place = run_index::child(&block, next).map_err(|bad| self.fail(&block, bad))?;
            let below = self.run.block(place, block.level().saturating_sub(1))?;
            self.path.push((block, next));
            return self.descend_from(below, Bound::Unbounded);
        }
        Ok(())
    }
}
