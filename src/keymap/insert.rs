//! Inserting in bulk: changes in page order, a stretch of neighbouring pages at a time.
//!
//! Each stretch is read with one call, changed in memory and written under the locks of its pages,
//! so readers wait for one write at most. Whether the map has to be written anew instead, larger or
//! smaller, `size.rs` says; `grow.rs` does it.

use std::sync::atomic::Ordering;

use super::change::{Halt, Insertion, STRETCH_PAGES, gather};
use super::file::MapFile;
use super::window::PageWindow;

/// Pages without a change that a stretch reaches over: reading them costs less than another call.
const GAP_PAGES: u32 = 4;
/// Applies changes to the pages of `map`, a stretch at a time.
pub(super) fn insert_in_place(map: &MapFile, insertion: &Insertion<'_>) -> Result<(), Halt> {
    let mut rest = insertion.changes.with_homes(map.home_pages()).peekable();
    let mut stretch = Vec::new();
    while let Some(&(first, _)) = rest.peek() {
        if insertion.abort.load(Ordering::Relaxed) {
            return Err(Halt::Aborted);
        }
        let end = stretch_end(rest.clone().map(|(home, _)| home), first);
        let mut window = PageWindow::load(map, first, end, insertion.lowest_live)?;
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
