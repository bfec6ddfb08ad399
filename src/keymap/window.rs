//! A stretch of pages in memory, to which changes are applied before it is written back.
//!
//! A window covers some home pages and the [`TAIL_PAGES`] behind them that their chains can reach.
//! A page is verified, and freed of slots that name expired segments, when a change first touches
//! it; pages that no change touches are neither checked nor written.
//!
//! Invariants kept for lookups: slots of one fingerprint stand in the first pages of its chain; a
//! full page that was passed over is marked as overflowing; at most [`CANDIDATES_MAX`] slots have
//! one fingerprint, because the oldest gives way to one more.

use super::candidates::CANDIDATES_MAX;
use super::change::{Halt, KeymapChange};
use super::file::{MapFile, page_offset};
use crate::cast;
use crate::error::Result;
use crate::format::keymap_page::{self as page, CHAIN_PAGES_MAX, PageBytes, Slot, TAIL_PAGES};
use crate::format::location::{Location, SegmentNumber};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageState {
    /// As read from the file, not looked at.
    Raw,
    /// Verified, without stale slots, as in the file.
    Clean,
    /// To be written.
    Changed,
}

/// Pages in memory.
pub(super) struct PageWindow<'a> {
    /// Where the pages come from; none for a file that is being built.
    map: Option<&'a MapFile>,
    first: u32,
    pages: Vec<PageBytes>,
    states: Vec<PageState>,
    lowest_live: SegmentNumber,
    used_before: u64,
}

/// What a walk along a chain found of one fingerprint.
#[derive(Default)]
struct ChainWalk {
    wanted: Option<SlotIndex>,
    superseded: Option<SlotIndex>,
    oldest: Option<(u64, SlotIndex)>,
    count: usize,
    room: Option<SlotIndex>,
}

/// A slot: index of the page within the window, index of the slot within the page.
#[derive(Clone, Copy)]
struct SlotIndex {
    page: usize,
    slot: usize,
}

impl<'a> PageWindow<'a> {
    /// Home pages `first..end` and what their chains can reach, as they are in `map`.
    pub(super) fn load(
        map: &'a MapFile,
        first: u32,
        end: u32,
        lowest_live: SegmentNumber,
    ) -> Result<Self> {
        let count = (end - first + TAIL_PAGES) as usize;
        let mut pages = vec![[0; page::PAGE_BYTES]; count];
        map.read_pages(first, &mut pages)?;
        let states = vec![PageState::Raw; count];
        Ok(Self { map: Some(map), first, pages, states, lowest_live, used_before: 0 })
    }

    /// Home pages `first..end` and what their chains can reach, empty, for a new file.
    pub(super) fn empty(first: u32, end: u32, lowest_live: SegmentNumber) -> Self {
        let mut window = Self {
            map: None,
            first,
            pages: Vec::new(),
            states: Vec::new(),
            lowest_live,
            used_before: 0,
        };
        window.extend_to(end);
        window
    }

    fn extend_to(&mut self, end: u32) {
        for number in (self.first..end + TAIL_PAGES).skip(self.pages.len()) {
            self.pages.push(page::empty(number));
            self.states.push(PageState::Changed);
        }
    }

    /// Applies a change to the chain of `home`.
    pub(super) fn apply(&mut self, home: u32, change: &KeymapChange) -> Result<(), Halt> {
        match *change {
            // What it supersedes is older still, so there is nothing to do at all.
            KeymapChange::Put { location, .. } if location.segment < self.lowest_live => Ok(()),
            KeymapChange::Put { fingerprint, location, record_bytes, supersedes } => {
                self.put(home, Slot::new(fingerprint, location, record_bytes), supersedes)
            }
            KeymapChange::Remove { fingerprint, location } => {
                self.remove(home, fingerprint, location)
            }
        }
    }

    /// Makes `slot` stand in the chain once, and `supersedes` not at all.
    pub(super) fn put(
        &mut self,
        home: u32,
        slot: Slot,
        supersedes: Option<Location>,
    ) -> Result<(), Halt> {
        let earlier = supersedes.filter(|&location| location != slot.location());
        let walk = self.walk(home, slot.fingerprint(), Some(slot.location()), earlier, true)?;
        if walk.wanted.is_some() {
            if let Some(spot) = walk.superseded {
                self.take(spot);
            }
            return Ok(());
        }
        // A slot of the same fingerprint can stand wherever another one stood, so a value that
        // takes the place of an earlier one moves nothing.
        let oldest = walk.oldest.filter(|_| walk.count >= CANDIDATES_MAX);
        if walk.superseded.is_none() && oldest.is_some_and(|(age, _)| slot.age_key() < age) {
            return Ok(());
        }
        if let Some(spot) = walk.superseded.or(oldest.map(|(_, spot)| spot)) {
            page::replace(&mut self.pages[spot.page], spot.slot, slot);
            self.states[spot.page] = PageState::Changed;
            return Ok(());
        }
        let Some(room) = walk.room else {
            return Err(Halt::Crowded { page: home });
        };
        let home_index = (home - self.first) as usize;
        for passed in home_index..room.page {
            if !page::overflows(&self.pages[passed]) {
                page::set_overflows(&mut self.pages[passed]);
                self.states[passed] = PageState::Changed;
            }
        }
        page::add(&mut self.pages[room.page], room.slot, slot);
        self.states[room.page] = PageState::Changed;
        Ok(())
    }

    fn remove(&mut self, home: u32, fingerprint: u64, location: Location) -> Result<(), Halt> {
        let walk = self.walk(home, fingerprint, Some(location), None, false)?;
        if let Some(spot) = walk.wanted {
            self.take(spot);
        }
        Ok(())
    }

    fn take(&mut self, spot: SlotIndex) {
        let target = page::slot(&self.pages[spot.page], spot.slot);
        page::retain(&mut self.pages[spot.page], |slot| slot != target);
        self.states[spot.page] = PageState::Changed;
    }

    /// Follows the chain of `home` to its end and, when `needs_room`, to the first free slot.
    fn walk(
        &mut self,
        home: u32,
        fingerprint: u64,
        wanted: Option<Location>,
        superseded: Option<Location>,
        needs_room: bool,
    ) -> Result<ChainWalk, Halt> {
        let mut walk = ChainWalk::default();
        for number in home..home + CHAIN_PAGES_MAX {
            let index = (number - self.first) as usize;
            self.open_page(index)?;
            let bytes = &self.pages[index];
            let free = page::probe(
                fingerprint,
                |slot| page::slot(bytes, slot),
                |at, slot| {
                    let spot = SlotIndex { page: index, slot: at };
                    let location = Some(slot.location());
                    if location == wanted {
                        walk.wanted = Some(spot);
                    }
                    if location == superseded {
                        walk.superseded = Some(spot);
                    }
                    if walk.oldest.is_none_or(|(age, _)| slot.age_key() < age) {
                        walk.oldest = Some((slot.age_key(), spot));
                    }
                    walk.count += 1;
                },
            );
            let room = free.map(|slot| SlotIndex { page: index, slot });
            walk.room = walk.room.or(room);
            if !page::overflows(bytes) && (walk.room.is_some() || !needs_room) {
                break;
            }
        }
        Ok(walk)
    }

    /// Verifies a page and drops its stale slots, the first time it is touched.
    fn open_page(&mut self, index: usize) -> Result<(), Halt> {
        if self.states[index] != PageState::Raw {
            return Ok(());
        }
        let number = self.first + cast::to_u32(index);
        let bytes = &mut self.pages[index];
        if let (Err(malformed), Some(map)) = (page::verify(bytes, number), self.map) {
            map.report_damage(number, "found while changing it");
            return Err(Halt::Failed(malformed.in_file(map.file().path(), page_offset(number))));
        }
        self.used_before += u64::from(page::used(bytes));
        let lowest_live = self.lowest_live;
        let dropped = page::retain(bytes, |slot| slot.segment() >= lowest_live);
        self.states[index] = if dropped { PageState::Changed } else { PageState::Clean };
        Ok(())
    }

    /// Writes the changed pages back.
    pub(super) fn store(mut self) -> Result<()> {
        let Some(map) = self.map else { return Ok(()) };
        let mut used_after = 0;
        for (bytes, state) in self.pages.iter_mut().zip(&self.states) {
            if *state != PageState::Raw {
                used_after += u64::from(page::used(bytes));
            }
            if *state == PageState::Changed {
                page::seal(bytes);
            }
        }
        let mut stretches = Vec::new();
        let mut index = 0;
        for run in self.states.chunk_by(|left, right| left == right) {
            if run[0] == PageState::Changed {
                let number = self.first + cast::to_u32(index);
                stretches.push((number, &self.pages[index..index + run.len()]));
            }
            index += run.len();
        }
        map.write_stretches(&stretches)?;
        map.count_used(self.used_before, used_after);
        Ok(())
    }

    /// Seals the pages before `end` and hands them out with the number of the first, for a new
    /// file.
    pub(super) fn seal_before(&mut self, end: u32) -> (u32, &[PageBytes]) {
        let count = ((end - self.first) as usize).min(self.pages.len());
        self.pages[..count].iter_mut().for_each(page::seal);
        (self.first, &self.pages[..count])
    }

    /// Moves on to the home pages from `first` to `end`. What overflowed into pages that the old
    /// and the new window share stays.
    pub(super) fn advance(&mut self, first: u32, end: u32) {
        let passed = ((first - self.first) as usize).min(self.pages.len());
        self.pages.drain(..passed);
        self.states.drain(..passed);
        self.first = first;
        self.extend_to(end);
    }
}
