//! What is to be done to the headers of records when their segment is sealed.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::format::location::Location;

/// What is to be done to a record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settlement {
    /// Its name or attributes changed: write them.
    Rewrite,
    /// It was removed or taken the place of: mark it dead.
    Bury,
}

/// The records of a segment of which the header is not as it will be.
#[derive(Debug, Default)]
pub(super) struct Settlements(Mutex<HashMap<Location, Settlement>>);

impl Settlements {
    /// A name stood for the record `before` and stands for `now`. A record that is among those `kept`
    /// comes under another name.
    pub(super) fn note(&self, before: Option<Location>, now: Option<Location>, kept: &[Location]) {
        let mut unsettled = self.0.lock();
        if let Some(location) = before.filter(|location| Some(*location) != now) {
            let is_kept = kept.contains(&location);
            let settlement = if is_kept { Settlement::Rewrite } else { Settlement::Bury };
            unsettled.insert(location, settlement);
        }
        if let Some(location) = now
            && (before == now || unsettled.contains_key(&location))
        {
            unsettled.insert(location, Settlement::Rewrite);
        }
    }

    /// Has a header written anew, unless more is to be done to it.
    pub(super) fn rewrite(&self, location: Location) {
        self.0.lock().entry(location).or_insert(Settlement::Rewrite);
    }

    /// What is to be done now.
    pub(super) fn all(&self) -> HashMap<Location, Settlement> {
        self.0.lock().clone()
    }
}
