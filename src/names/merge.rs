//! Several sources read as one ordered map in which the newest mention of a name counts.
//!
//! Sources are numbered from the newest (0) to the oldest. The heap holds those that stand on a
//! key, ordered by key in the direction of the walk and, for one key, newest first. So the first
//! mention of a key that comes out is the newest one; the older ones of it are passed over with it.
//! It reads only: it knows neither times to live nor folders.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use crate::error::Result;
use crate::format::entry::{Entry, Mention};
use crate::names::Direction;
use crate::names::memtable::{Memtable, MemtableCursor};
use crate::names::run::Run;
use crate::names::run_cursor::RunCursor;

/// What knows the names of one segment.
#[derive(Clone, Debug)]
pub(crate) enum Layer {
    /// A segment that is active or being sealed.
    Memtable(Arc<Memtable>),
    /// A sealed segment.
    Run(Arc<Run>),
}

/// What the caller makes of a mention. It is asked about the newest one of each key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// It counts: an entry is shown, a removal hides the name.
    Take,
    /// It hides the name, older mentions included. Right for what has expired: an older mention
    /// cannot be alive then.
    Hide,
}

/// A walk over one layer.
#[derive(Debug)]
enum Cursor {
    Memtable(MemtableCursor),
    Run(RunCursor),
}

impl Cursor {
    fn seek(&mut self, bound: Bound<&[u8]>) -> Result<()> {
        match self {
            Self::Memtable(cursor) => {
                cursor.seek(bound);
                Ok(())
            }
            Self::Run(cursor) => cursor.seek(bound),
        }
    }

    fn skip_to(&mut self, bound: Bound<&[u8]>) -> Result<()> {
        match self {
            Self::Memtable(cursor) => {
                cursor.skip_to(bound);
                Ok(())
            }
            Self::Run(cursor) => cursor.skip_to(bound),
        }
    }

    fn advance(&mut self) -> Result<()> {
        match self {
            Self::Memtable(cursor) => {
                cursor.advance();
                Ok(())
            }
            Self::Run(cursor) => cursor.advance(),
        }
    }

    fn current(&self) -> Option<(&[u8], &Mention)> {
        match self {
            Self::Memtable(cursor) => cursor.current(),
            Self::Run(cursor) => cursor.current(),
        }
    }
}

/// One name that a [`Merge`] came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MergedName {
    /// It counts, and stands for this. Its key stays with the [`Merge`].
    Live(Entry),
    /// It is removed, expired or otherwise not to be shown.
    Hidden,
}

/// An ordered walk over several layers. Stands nowhere until it is sought, and after an error.
#[derive(Debug)]
pub(crate) struct Merge {
    direction: Direction,
    /// Number of the source and its cursor, newest first.
    cursors: Vec<(usize, Cursor)>,
    /// Indexes into `cursors`; a binary heap.
    heap: Vec<usize>,
    key: Vec<u8>,
}

impl Merge {
    /// A walk over layers, each with its number, newest first.
    pub(crate) fn new(
        direction: Direction,
        layers: impl IntoIterator<Item = (usize, Layer)>,
    ) -> Self {
        let cursor = |layer| match layer {
            Layer::Memtable(memtable) => Cursor::Memtable(MemtableCursor::new(memtable, direction)),
            Layer::Run(run) => Cursor::Run(RunCursor::new(run, direction)),
        };
        let cursors: Vec<_> =
            layers.into_iter().map(|(number, layer)| (number, cursor(layer))).collect();
        let heap = Vec::with_capacity(cursors.len());
        Self { direction, cursors, heap, key: Vec::new() }
    }

    /// Which way the walk goes.
    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }

    /// Goes to the first key at or behind `bound` in the direction of the walk, from anywhere.
    pub(crate) fn seek(&mut self, bound: Bound<&[u8]>) -> Result<()> {
        self.heap.clear();
        for (_, cursor) in &mut self.cursors {
            cursor.seek(bound)?;
        }
        self.rebuild();
        Ok(())
    }

    /// Skips what comes before `bound`; sources that are there already stay where they are.
    pub(crate) fn skip_to(&mut self, bound: Bound<&[u8]>) -> Result<()> {
        while let Some(&top) = self.heap.first() {
            let cursor = &mut self.cursors[top].1;
            if cursor.current().is_none_or(|(key, _)| self.direction.reaches(key, bound)) {
                break;
            }
            if let Err(error) = cursor.skip_to(bound) {
                self.heap.clear();
                return Err(error);
            }
            self.settle_top();
        }
        Ok(())
    }

    /// The key of what [`Merge::next`] gave last.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Goes on to the next name that counts. `choose` is asked about mentions with the number of
    /// their source.
    pub(crate) fn next(
        &mut self,
        choose: &mut dyn FnMut(&Mention, usize) -> Choice,
    ) -> Result<Option<Entry>> {
        while let Some(seen) = self.step(choose)? {
            if let MergedName::Live(entry) = seen {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Goes on to the next name, be it one that does not count. For those who can skip more than
    /// one name on the strength of its key.
    pub(crate) fn step(
        &mut self,
        choose: &mut dyn FnMut(&Mention, usize) -> Choice,
    ) -> Result<Option<MergedName>> {
        let Some((source, mention)) = self.take_top()? else { return Ok(None) };
        while self.top_key().is_some_and(|key| key == self.key) {
            self.pass_top()?;
        }
        Ok(Some(match (choose(&mention, source), mention) {
            (Choice::Take, Mention::Put(entry)) => MergedName::Live(entry),
            _ => MergedName::Hidden,
        }))
    }

    fn top_key(&self) -> Option<&[u8]> {
        self.cursors[*self.heap.first()?].1.current().map(|(key, _)| key)
    }

    /// Takes the mention at the top, leaving its key in `self.key`.
    fn take_top(&mut self) -> Result<Option<(usize, Mention)>> {
        let Some(&top) = self.heap.first() else { return Ok(None) };
        let (source, cursor) = &self.cursors[top];
        let Some((key, mention)) = cursor.current() else { return Ok(None) };
        self.key.clear();
        self.key.extend_from_slice(key);
        let taken = (*source, *mention);
        self.pass_top()?;
        Ok(Some(taken))
    }

    fn pass_top(&mut self) -> Result<()> {
        let Some(&top) = self.heap.first() else { return Ok(()) };
        if let Err(error) = self.cursors[top].1.advance() {
            self.heap.clear();
            return Err(error);
        }
        self.settle_top();
        Ok(())
    }

    /// Puts the heap right after the cursor at its top has moved.
    fn settle_top(&mut self) {
        if self.top_key().is_none() {
            self.heap.swap_remove(0);
        }
        self.sift_down(0);
    }

    fn rebuild(&mut self) {
        let cursors = &self.cursors;
        self.heap.extend((0..cursors.len()).filter(|&n| cursors[n].1.current().is_some()));
        for parent in (0..self.heap.len() / 2).rev() {
            self.sift_down(parent);
        }
    }

    fn sift_down(&mut self, mut parent: usize) {
        loop {
            let left = 2 * parent + 1;
            let Some(&left_cursor) = self.heap.get(left) else { return };
            let mut first = left;
            if let Some(&right_cursor) = self.heap.get(left + 1)
                && self.order(right_cursor, left_cursor) == Ordering::Less
            {
                first = left + 1;
            }
            if self.order(self.heap[parent], self.heap[first]) == Ordering::Less {
                return;
            }
            self.heap.swap(parent, first);
            parent = first;
        }
    }

    /// Which of two cursors comes first. Never equal for two different ones.
    fn order(&self, one: usize, other: usize) -> Ordering {
        let key = |number: usize| self.cursors[number].1.current().map(|(key, _)| key);
        let by_key = match self.direction {
            Direction::Forward => key(one).cmp(&key(other)),
            Direction::Backward => key(other).cmp(&key(one)),
        };
        by_key.then(one.cmp(&other))
    }
}
