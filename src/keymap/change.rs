//! What an insertion applies to the map, and how it may end.

use std::iter::Peekable;
use std::sync::atomic::AtomicBool;

use crate::error::Error;
use crate::format::keymap_page::home_page;
use crate::format::location::{Location, SegmentNumber};

/// Home pages of a stretch.
pub(super) const STRETCH_PAGES: u32 = 64;

/// What a segment says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeymapChange {
    /// The key stands at `location`, and no more at `supersedes`.
    Put {
        /// [`KeyHash::fingerprint`](crate::format::key_hash::KeyHash::fingerprint).
        fingerprint: u64,
        location: Location,
        record_bytes: u32,
        supersedes: Option<Location>,
    },
    /// The key stands no more at `location`.
    Remove {
        /// [`KeyHash::fingerprint`](crate::format::key_hash::KeyHash::fingerprint).
        fingerprint: u64,
        location: Location,
    },
}

impl KeymapChange {
    fn fingerprint(&self) -> u64 {
        match *self {
            Self::Put { fingerprint, .. } | Self::Remove { fingerprint, .. } => fingerprint,
        }
    }
}

/// How an insertion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// Every change is in the map.
    All,
    /// It was told to stop: some changes may be in the map. Insert all of them again later.
    Aborted,
}

/// Why an insertion does not go on.
#[derive(Debug)]
pub(super) enum Halt {
    Aborted,
    /// Page `page` and all that its chain may reach are full.
    Crowded {
        page: u32,
    },
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Changes in the order of their fingerprints; those of one fingerprint in the order they came.
pub(super) struct InOrder<'a> {
    changes: &'a [KeymapChange],
    /// Fingerprint and index, sorted.
    order: Vec<(u64, usize)>,
}

impl<'a> InOrder<'a> {
    pub(super) fn new(changes: &'a [KeymapChange]) -> Self {
        let mut order: Vec<_> = changes
            .iter()
            .enumerate()
            .map(|(index, change)| (change.fingerprint(), index))
            .collect();
        order.sort_unstable();
        Self { changes, order }
    }

    /// The changes with the home page of each.
    pub(super) fn with_homes(
        &self,
        home_pages: u32,
    ) -> impl Iterator<Item = (u32, &'a KeymapChange)> + Clone + '_ {
        self.order.iter().map(move |&(fingerprint, index)| {
            (home_page(fingerprint, home_pages), &self.changes[index])
        })
    }

    /// How many slots the changes may add.
    pub(super) fn additions(&self) -> u64 {
        let adds =
            |change: &&KeymapChange| matches!(change, KeymapChange::Put { supersedes: None, .. });
        self.changes.iter().filter(adds).count() as u64
    }
}

/// Everything about one insertion that holds while it is under way.
pub(super) struct Insertion<'a> {
    pub(super) changes: InOrder<'a>,
    /// Slots of older segments are free space.
    pub(super) lowest_live: SegmentNumber,
    /// How many keys there should be room for.
    pub(super) keys: u64,
    /// Set by whoever wants it to stop.
    pub(super) abort: &'a AtomicBool,
}

/// Takes the changes of home pages before `end`. They lie scattered in memory; copying them in one
/// go lets the processor wait for many of them at once instead of for each in turn.
pub(super) fn gather<'a>(
    rest: &mut Peekable<impl Iterator<Item = (u32, &'a KeymapChange)>>,
    end: u32,
    stretch: &mut Vec<(u32, KeymapChange)>,
) {
    stretch.clear();
    while let Some((home, change)) = rest.next_if(|&(home, _)| home < end) {
        stretch.push((home, *change));
    }
}
