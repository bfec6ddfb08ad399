//! Inserting in bulk: changes in page order, a stretch of neighbouring pages at a time.
//!
//! Each stretch is read with one call, changed in memory and written under the locks of its pages,
//! so readers wait for one write at most. Whether the map has to be written anew, larger or
//! smaller, is decided here; `grow.rs` does it.

use std::iter::Peekable;
use std::sync::atomic::{AtomicBool, Ordering};

use super::file::MapFile;
use super::grow::pages_for;
use super::window::Window;
use super::{Change, Keymap, Stop, slots_in};
use crate::format::keymap_page::home_page;
use crate::format::location::SegmentNumber;

/// Home pages of a stretch.
pub(super) const STRETCH_PAGES: u32 = 64;
/// Pages without a change that a stretch reaches over: reading them costs less than another call.
const GAP_PAGES: u32 = 4;
/// Live keys, in percent of the slots, above which the map grows.
const FILL_PERCENT_MAX: u64 = 80;
/// Slots in use, stale ones included, above which it is written anew whatever the caller estimates.
const USED_PERCENT_MAX: u64 = 92;
/// A map this many times larger than needed is written anew, smaller.
const SHRINK_FACTOR: u64 = 8;

/// Changes in the order of their fingerprints; those of one fingerprint in the order they came.
pub(super) struct InOrder<'a> {
    changes: &'a [Change],
    /// Fingerprint and index, sorted.
    order: Vec<(u64, usize)>,
}

impl<'a> InOrder<'a> {
    pub(super) fn new(changes: &'a [Change]) -> Self {
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
    ) -> impl Iterator<Item = (u32, &'a Change)> + Clone + '_ {
        self.order.iter().map(move |&(fingerprint, index)| {
            (home_page(fingerprint, home_pages), &self.changes[index])
        })
    }

    /// How many slots the changes may add.
    pub(super) fn additions(&self) -> u64 {
        let adds = |change: &&Change| matches!(change, Change::Put { supersedes: None, .. });
        self.changes.iter().filter(adds).count() as u64
    }
}

/// Why the map is written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rewrite {
    /// It is too full, or will be.
    Full,
    /// Some page and its neighbours are, though the map as a whole is not.
    Crowded,
    /// It is far too large.
    Sparse,
}

impl Keymap {
    pub(super) fn insert_or_grow(
        &self,
        changes: &[Change],
        lowest_live: SegmentNumber,
        live_keys_estimate: u64,
        abort: &AtomicBool,
    ) -> Result<(), Stop> {
        let changes = InOrder::new(changes);
        let map = self.current.load_full();
        let keys = live_keys_estimate.max(self.reserved_keys.load(Ordering::Relaxed));
        let reason = reason_to_rewrite(&map, keys, changes.additions());
        if let Some(reason) = reason
            && self.rewrite(&map, reason, &changes, lowest_live, keys, abort)?
        {
            return Ok(());
        }
        match insert_in_place(&map, &changes, lowest_live, abort) {
            Err(Stop::Crowded { .. }) => self
                .rewrite(&map, Rewrite::Crowded, &changes, lowest_live, keys, abort)
                .map(|_rewritten| ()),
            other => other,
        }
    }
}

fn reason_to_rewrite(map: &MapFile, keys: u64, additions: u64) -> Option<Rewrite> {
    let slots = slots_in(map.home_pages());
    let used = map.used_slots().saturating_add(additions);
    let above = |count: u64, percent: u64| count.saturating_mul(100) > slots * percent;
    if above(keys, FILL_PERCENT_MAX) || above(used, USED_PERCENT_MAX) {
        Some(Rewrite::Full)
    } else if pages_for(keys.max(additions)).saturating_mul(SHRINK_FACTOR)
        < u64::from(map.home_pages())
    {
        Some(Rewrite::Sparse)
    } else {
        None
    }
}

fn insert_in_place(
    map: &MapFile,
    changes: &InOrder<'_>,
    lowest_live: SegmentNumber,
    abort: &AtomicBool,
) -> Result<(), Stop> {
    let mut rest = changes.with_homes(map.home_pages()).peekable();
    let mut stretch = Vec::new();
    while let Some(&(first, _)) = rest.peek() {
        if abort.load(Ordering::Relaxed) {
            return Err(Stop::Aborted);
        }
        let end = stretch_end(rest.clone().map(|(home, _)| home), first);
        let mut window = Window::load(map, first, end, lowest_live)?;
        gather(&mut rest, end, &mut stretch);
        for (home, change) in &stretch {
            window.apply(*home, change)?;
        }
        window.store()?;
    }
    Ok(())
}

/// The end of the stretch that starts at page `first`, for changes of these home pages.
fn stretch_end(homes: impl Iterator<Item = u32>, first: u32) -> u32 {
    let limit = first.saturating_add(STRETCH_PAGES);
    let mut end = first + 1;
    for home in homes {
        if home >= limit || home.saturating_sub(end) > GAP_PAGES {
            break;
        }
        end = home + 1;
    }
    end
}

/// Takes the changes of home pages before `end`. They lie scattered in memory; copying them in one
/// go lets the processor wait for many of them at once instead of for each in turn.
pub(super) fn gather<'a>(
    rest: &mut Peekable<impl Iterator<Item = (u32, &'a Change)>>,
    end: u32,
    stretch: &mut Vec<(u32, Change)>,
) {
    stretch.clear();
    while let Some((home, change)) = rest.next_if(|&(home, _)| home < end) {
        stretch.push((home, *change));
    }
}
