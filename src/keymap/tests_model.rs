//! Random histories of segments, expiry, crashes and rebuilds against a plain map.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::tests::{Bed, at, clustered, spread};
use super::{Inserted, KeymapChange, Lookup};
use crate::format::location::{Location, SegmentNumber};

/// A step of a random history.
#[derive(Clone, Debug)]
enum Step {
    /// Seals a segment with these keys; `true` removes the key if it is there.
    Seal(Vec<(u16, bool)>),
    Expire,
    Mark,
    /// Reopens and inserts again what lies above the mark.
    Reopen,
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = (0..3_000_u16, proptest::bool::weighted(0.2));
    let step = prop_oneof![
        6 => proptest::collection::vec(key, 0..900).prop_map(Step::Seal),
        2 => Just(Step::Expire),
        2 => Just(Step::Mark),
        2 => Just(Step::Reopen),
        1 => Just(Step::Clear),
    ];
    proptest::collection::vec(step, 1..25)
}

/// The keymap next to what it must answer.
struct Modelled {
    bed: Bed,
    live: HashMap<u16, Location>,
    segments: Vec<Vec<KeymapChange>>,
    lowest_live: SegmentNumber,
    fingerprint: fn(u64) -> u64,
}

impl Modelled {
    fn seal(&mut self, keys: &[(u16, bool)]) {
        let segment = u32::try_from(self.segments.len() + 1).expect("few segments");
        let mut changes = Vec::new();
        for (position, &(key, removes)) in keys.iter().enumerate() {
            let fingerprint = (self.fingerprint)(u64::from(key));
            let earlier = self.live.get(&key).copied();
            if removes {
                if let Some(location) = self.live.remove(&key) {
                    changes.push(KeymapChange::Remove { fingerprint, location });
                }
                continue;
            }
            let location = at(segment, position as u64);
            let record_bytes = u32::from(key) * 13;
            changes.push(KeymapChange::Put {
                fingerprint,
                location,
                record_bytes,
                supersedes: earlier,
            });
            self.live.insert(key, location);
        }
        self.insert(&changes);
        self.segments.push(changes);
    }

    fn insert(&self, changes: &[KeymapChange]) {
        let estimate = self.live.len() as u64;
        let never = AtomicBool::new(false);
        let inserted = self.bed.keymap.insert(changes, self.lowest_live, estimate, &never);
        assert_eq!(inserted.expect("an insertion"), Inserted::All);
    }

    fn insert_above_mark(&self) {
        let complete = self.bed.keymap.complete_up_to().0 as usize;
        for changes in self.segments.iter().skip(complete) {
            self.insert(changes);
        }
    }

    fn check(&self) {
        for key in 0..3_000_u16 {
            let fingerprint = (self.fingerprint)(u64::from(key));
            let Lookup::Found(found) =
                self.bed.keymap.lookup_fingerprint(fingerprint, self.lowest_live)
            else {
                panic!("key {key} is on a damaged page")
            };
            let locations: Vec<_> = found.iter().map(|candidate| candidate.location).collect();
            let expected: Vec<_> = self.live.get(&key).copied().into_iter().collect();
            assert_eq!(locations, expected, "key {key}");
            for candidate in found.iter() {
                assert!(candidate.record_bytes_max >= u32::from(key) * 13);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_match_the_model(steps in steps(), crowded in any::<bool>()) {
        let fingerprint = if crowded { |key| clustered(key % 3_000 * 3) } else { spread };
        let mut modelled = Modelled {
            bed: Bed::new(),
            live: HashMap::new(),
            segments: Vec::new(),
            lowest_live: SegmentNumber(1),
            fingerprint,
        };
        for step in steps {
            match step {
                Step::Seal(keys) if crowded => {
                    let keys: Vec<_> = keys.iter().map(|&(key, removes)| (key % 900, removes)).collect();
                    modelled.seal(&keys);
                }
                Step::Seal(keys) => modelled.seal(&keys),
                Step::Expire => {
                    let lowest_live = SegmentNumber(modelled.lowest_live.0 + 1);
                    if lowest_live.0 as usize <= modelled.segments.len() {
                        modelled.lowest_live = lowest_live;
                        modelled.live.retain(|_, location| location.segment >= lowest_live);
                    }
                }
                Step::Mark => {
                    let last = u32::try_from(modelled.segments.len()).expect("few segments");
                    modelled.bed.keymap.mark_complete(SegmentNumber(last)).expect("a mark");
                }
                Step::Reopen => {
                    modelled.bed = modelled.bed.reopen();
                    prop_assert_eq!(&modelled.bed.reason, &None);
                    modelled.insert_above_mark();
                }
                Step::Clear => {
                    modelled.bed.keymap.clear().expect("a new start");
                    modelled.insert_above_mark();
                }
            }
            modelled.check();
        }
        let live = modelled.bed.keymap.count_live(modelled.lowest_live).expect("a count");
        prop_assert_eq!(live, modelled.live.len() as u64);
    }
}
