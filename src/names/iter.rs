//! All live keys with a prefix, in the order of sort keys, either way, from any key on.
//!
//! The order is that of listings: component by component, a folder in front of what is below it.
//! It is not the byte order of keys where names hold bytes below `/`. Folders are keys too; who
//! does not want them hides them through `choose`.

use std::ops::Bound;

use crate::error::Result;
use crate::format::entry::{Entry, Mention};
use crate::format::sort_key::{plain_key, sort_key};
use crate::names::Direction;
use crate::names::merge::{Choice, Layer, Merge};

/// A live key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LiveKey {
    /// The key.
    pub(crate) key: Vec<u8>,
    /// What it stands for.
    pub(crate) entry: Entry,
}

/// An iteration under way. `choose` is asked about mentions with the number of
/// their layer, counted from the newest; see [`Choice`].
pub(crate) struct Keys<F> {
    merge: Merge,
    prefix: Vec<u8>,
    choose: F,
    is_done: bool,
}

/// The smallest sort key above all that begin with `prefix`; none if there is no such key.
fn above_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let end = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut above = prefix[..=end].to_vec();
    above[end] += 1;
    Some(above)
}

impl<F: FnMut(&Mention, usize) -> Choice> Keys<F> {
    /// Iterates over layers from the newest to the oldest: the keys that begin with `prefix` and
    /// lie at or behind `from` (a plain key) in the direction.
    pub(crate) fn new(
        layers: &[Layer],
        prefix: &[u8],
        from: Bound<&[u8]>,
        direction: Direction,
        choose: F,
    ) -> Result<Self> {
        let prefix = sort_key(prefix);
        let mut merge = Merge::new(direction, layers.iter().cloned().enumerate());
        let from = from.map(sort_key);
        let from = from.as_ref().map(Vec::as_slice);
        // The edge of the prefix counts where `from` lies in front of it.
        let above = above_prefix(&prefix);
        let edge = match (direction, &above) {
            (Direction::Forward, _) => Bound::Included(&prefix[..]),
            (Direction::Backward, Some(above)) => Bound::Excluded(&above[..]),
            (Direction::Backward, None) => Bound::Unbounded,
        };
        let is_behind_edge = match from {
            Bound::Unbounded => false,
            Bound::Included(key) | Bound::Excluded(key) => direction.reaches(key, edge),
        };
        merge.seek(if is_behind_edge { from } else { edge })?;
        Ok(Self { merge, prefix, choose, is_done: false })
    }
}

impl<F: FnMut(&Mention, usize) -> Choice> Iterator for Keys<F> {
    type Item = Result<LiveKey>;

    /// The next key. An error ends the iteration.
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let found = match self.merge.next(&mut self.choose) {
            Ok(found) => found,
            Err(error) => {
                self.is_done = true;
                return Some(Err(error));
            }
        };
        match found {
            Some(entry) if self.merge.key().starts_with(&self.prefix) => {
                let key = plain_key(self.merge.key());
                Some(Ok(LiveKey { key, entry }))
            }
            _ => {
                self.is_done = true;
                None
            }
        }
    }
}
