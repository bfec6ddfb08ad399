//! How many pages a map should have, and when that is reason enough to write it anew.

use crate::cast;
use crate::format::keymap_header::HOME_PAGES_MAX;
use crate::format::keymap_page::SLOTS;

/// Fill of a map that was just written, in percent of the slots.
const FILL_PERCENT_NEW: u64 = 68;
const HOME_PAGES_MIN: u64 = 4;
/// Live keys, in percent of the slots, above which the map grows.
const FILL_PERCENT_MAX: u64 = 80;
/// Slots in use, stale ones included, above which it is written anew whatever the caller estimates.
const USED_PERCENT_MAX: u64 = 92;
/// A map this many times larger than needed is written anew, smaller.
const SHRINK_FACTOR: u64 = 8;

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

/// Home pages for so many keys.
fn pages_for(keys: u64) -> u64 {
    keys.saturating_mul(100).div_ceil(FILL_PERCENT_NEW * SLOTS as u64).max(HOME_PAGES_MIN)
}

/// As [`pages_for`], as far as the file goes.
pub(super) fn home_pages_for(keys: u64) -> u32 {
    cast::saturate_u32(pages_for(keys)).min(HOME_PAGES_MAX)
}

/// The next size to try when so many pages come out crowded.
pub(super) fn enlarged(home_pages: u32) -> u32 {
    home_pages.saturating_add(home_pages / 4 + 1).min(HOME_PAGES_MAX)
}

/// Whether a map of so many home pages and used slots should be written anew before it takes
/// `additions`, for a caller who knows of `keys` live keys.
pub(super) fn reason_to_rewrite(
    home_pages: u32,
    used_slots: u64,
    keys: u64,
    additions: u64,
) -> Option<Rewrite> {
    let slots = u64::from(home_pages) * SLOTS as u64;
    let used = used_slots.saturating_add(additions);
    let above = |count: u64, percent: u64| count.saturating_mul(100) > slots * percent;
    if above(keys, FILL_PERCENT_MAX) || above(used, USED_PERCENT_MAX) {
        Some(Rewrite::Full)
    } else if pages_for(keys.max(additions)).saturating_mul(SHRINK_FACTOR) < u64::from(home_pages) {
        Some(Rewrite::Sparse)
    } else {
        None
    }
}
