//! What a lookup answers: the places where a key may stand.

use crate::format::keymap_page::Slot;
use crate::format::location::Location;

/// The most slots of one fingerprint. Two keys of ten million hardly ever share one; more slots
/// come only from a key that was put again without naming what it supersedes.
pub(crate) const CANDIDATES_MAX: usize = 4;

/// A place where a key may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) location: Location,
    /// The record is at most this long, at most an eighth longer than it is. It may reach past the
    /// end of the shard.
    pub(crate) record_bytes_max: u32,
}

/// The places where a key may stand, the newest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Candidates {
    slots: [Slot; CANDIDATES_MAX],
    count: usize,
}

impl Candidates {
    /// Takes a slot in; `false` when there is no room or no record has its size.
    pub(super) fn add(&mut self, slot: Slot) -> bool {
        if self.count == CANDIDATES_MAX || slot.size_class().is_none() {
            return false;
        }
        let mut at = self.count;
        while at > 0 && self.slots[at - 1].age_key() < slot.age_key() {
            self.slots[at] = self.slots[at - 1];
            at -= 1;
        }
        self.slots[at] = slot;
        self.count += 1;
        true
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Candidate> + '_ {
        self.slots[..self.count].iter().filter_map(|slot| {
            let record_bytes_max = slot.size_class()?.bytes_max();
            Some(Candidate { location: slot.location(), record_bytes_max })
        })
    }
}

/// What a lookup answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// The key stands in one of these places, or in no segment that was inserted.
    Found(Candidates),
    /// The page is damaged: search the runs, and rebuild the map ([`Keymap::clear`](super::Keymap::clear)).
    Damaged,
}
