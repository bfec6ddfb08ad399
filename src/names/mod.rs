//! Names in order: what a segment knows of its names, and how several segments are read as one.
//!
//! An active segment has a [`memtable::Memtable`], a sealed one a [`run::Run`]; both map sort keys
//! to mentions. [`merge::Merge`] reads any number of them as one ordered map in which the newest
//! mention of a name counts; [`folder::FolderListing`] and [`iter::Keys`] stand on it.
//! Nothing here knows of values, of expiry (callers drop what has expired through a closure), of
//! the key log or of the keymap.

pub(crate) mod cache;
pub(crate) mod folder;
pub(crate) mod iter;
pub(crate) mod memtable;
pub(crate) mod merge;
pub(crate) mod run;
pub(crate) mod run_blocks;
pub(crate) mod run_cursor;
pub(crate) mod run_scan;
pub(crate) mod run_writer;
#[cfg(test)]
mod tests;

use std::ops::Bound;

pub(crate) use self::cache::BlockCache;
pub(crate) use self::folder::FolderListing;
pub(crate) use self::iter::Keys;
pub(crate) use self::memtable::Memtable;
pub(crate) use self::merge::{Choice, Layer};
pub(crate) use self::run::Run;
pub(crate) use self::run_writer::RunWriter;

/// Which way a walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From small keys to large ones.
    Forward,
    /// From large keys to small ones.
    Backward,
}

impl Direction {
    /// The other way.
    pub(crate) fn opposite(self) -> Self {
        match self {
            Self::Forward => Self::Backward,
            Self::Backward => Self::Forward,
        }
    }

    /// Whether `key` comes at or behind `bound` in this direction.
    pub(crate) fn reaches(self, key: &[u8], bound: Bound<&[u8]>) -> bool {
        match (self, bound) {
            (_, Bound::Unbounded) => true,
            (Self::Forward, Bound::Included(limit)) => key >= limit,
            (Self::Forward, Bound::Excluded(limit)) => key > limit,
            (Self::Backward, Bound::Included(limit)) => key <= limit,
            (Self::Backward, Bound::Excluded(limit)) => key < limit,
        }
    }
}
