//! The keymap: its pages by themselves, and the names of sealed segments looked up in it.
//!
//! Names come in their own order, the keymap has another: lookups are gathered up to a limit of
//! memory, sorted by fingerprint and made in the order of pages.

use super::{AffectedKeys, Checker, Finding, Severity, TableFacts};
use crate::disk::DiskPath;
use crate::error::Error;
use crate::format::location::{Location, SegmentNumber};
use crate::keymap::inspect::{KeymapReader, look};
use crate::layout::inventory::Inventory;
use crate::layout::segment_files::read_metadata;
use crate::layout::{KEYMAP_DIR, keymap_folders};

/// Lookups gathered before they are made.
const BATCH_LOOKUPS: usize = 1 << 20;
/// Wrong answers whose keys are kept.
const WRONG_KEPT: usize = super::SAMPLE_KEYS;

/// Something to be looked up.
#[derive(Clone, Copy, Debug)]
struct SlotLookup {
    fingerprint: u64,
    location: Location,
    /// The slot must be there; else it must not.
    is_expected: bool,
}

/// The lookups of a table.
pub(super) struct Lookups {
    reader: KeymapReader,
    gathered: Vec<SlotLookup>,
    missing: WrongAnswers,
    stale: WrongAnswers,
}

/// Answers that were wrong.
#[derive(Debug, Default)]
struct WrongAnswers {
    count: u64,
    places: Vec<Location>,
}

impl WrongAnswers {
    fn add(&mut self, location: Location) {
        self.count += 1;
        if self.places.len() < WRONG_KEPT {
            self.places.push(location);
        }
    }
}

impl Lookups {
    /// Whether the mentions of a segment must have found their way into the keymap.
    pub(super) fn covers(&self, segment: SegmentNumber) -> bool {
        segment <= self.reader.complete_up_to()
    }
}

impl Checker<'_> {
    /// Checks the files of the keymap; what lookups can be made in, if anything.
    pub(super) fn check_keymap_files(
        &mut self,
        facts: &TableFacts,
        inventory: &Inventory,
    ) -> Option<Lookups> {
        let places = match keymap_folders(&facts.table_dirs) {
            Ok(places) => places,
            Err(error) => {
                self.add(Finding::of_error(&error, facts.dirs.first()));
                return None;
            }
        };
        let Some(dir) = places.first() else {
            let dir = facts.table_dirs.first()?.join(KEYMAP_DIR);
            let what = "there is no keymap; the next open makes one";
            self.add(Finding::note(&dir, what));
            return None;
        };
        if let Some(second) = places.get(1) {
            let what = format!("{} is a keymap of this table too; remove one", dir.display());
            self.add(Finding::damage(second, what));
        }
        let look = match look(&self.disk, dir, facts.file.id()) {
            Ok(look) => look,
            Err(error) => {
                self.add(Finding::of_error(&error, dir));
                return None;
            }
        };
        for error in &look.damage {
            let finding = Finding::of_error(error, dir);
            let what = format!("{}; {}", finding.what, cure(facts));
            self.add(Finding { what, ..finding });
        }
        for (path, what) in look.notes {
            self.add(Finding::note(&path, what));
        }
        let reader = look.reader?;
        self.bytes_total += reader.bytes();
        self.report.counts.files += 1;
        self.check_pages(facts, inventory, &reader);
        let (missing, stale) = (WrongAnswers::default(), WrongAnswers::default());
        Some(Lookups { reader, gathered: Vec::new(), missing, stale })
    }

    fn check_pages(&mut self, facts: &TableFacts, inventory: &Inventory, reader: &KeymapReader) {
        let newest = inventory.segments.keys().next_back().copied();
        let newest = newest.unwrap_or(SegmentNumber(facts.file.lowest_segment.saturating_sub(1)));
        if reader.complete_up_to() > newest {
            let what = format!(
                "it says it knows segment {}, the newest is {newest}; {}",
                reader.complete_up_to(),
                cure(facts)
            );
            self.add(Finding::damage(reader.path(), what));
        }
        let is_behind = is_behind(facts, inventory, reader.complete_up_to());
        for number in 0..reader.pages() {
            let page = reader.page(number);
            self.report.counts.keymap_pages += 1;
            self.advance(crate::format::keymap_page::PAGE_BYTES as u64);
            let problem = match &page {
                Ok(bytes) => reader
                    .misplaced_slot(number, bytes, newest)
                    .map(|(at, what)| Finding::damage(reader.path(), what).at(at)),
                Err(error @ Error::Corrupt { .. }) if is_behind => {
                    let what = "a crash came while this page was written; the next open makes the \
                                keymap anew";
                    let finding = Finding::of_error(error, reader.path());
                    self.add(Finding {
                        severity: Severity::Note,
                        what: what.to_owned(),
                        ..finding
                    });
                    continue;
                }
                Err(error) => Some(Finding::of_error(error, reader.path())),
            };
            if let Some(finding) = problem {
                let what = format!("{}; {}", finding.what, cure(facts));
                self.add(Finding { what, ..finding });
            }
        }
    }

    /// Has a slot looked up: it must be there, or it must not.
    pub(super) fn look_up(
        &mut self,
        lookups: &mut Lookups,
        fingerprint: u64,
        location: Location,
        is_expected: bool,
    ) {
        lookups.gathered.push(SlotLookup { fingerprint, location, is_expected });
        if lookups.gathered.len() >= BATCH_LOOKUPS {
            self.make_lookups(lookups);
        }
    }

    fn make_lookups(&mut self, lookups: &mut Lookups) {
        let Lookups { reader, gathered, missing, stale } = lookups;
        gathered.sort_unstable_by_key(|lookup| lookup.fingerprint);
        for lookup in gathered.drain(..) {
            let SlotLookup { fingerprint, location, is_expected } = lookup;
            // Damaged pages are reported already, and hide nothing: the runs are searched instead.
            match (reader.holds(fingerprint, location), is_expected) {
                (Some(false), true) => missing.add(location),
                (Some(true), false) => stale.add(location),
                _ => {}
            }
            self.report.counts.keymap_lookups += u64::from(is_expected);
        }
    }

    /// Makes the last lookups and reports what was wrong. `key_at` names the key of a record.
    pub(super) fn finish_lookups(
        &mut self,
        facts: &TableFacts,
        mut lookups: Lookups,
        key_at: impl Fn(Location) -> Option<Vec<u8>>,
    ) {
        self.make_lookups(&mut lookups);
        let path = lookups.reader.path().to_path_buf();
        let wrong = [
            (lookups.missing, "live names are not found through the keymap"),
            (lookups.stale, "removed or replaced records are still found through the keymap"),
        ];
        for (wrong, what) in wrong {
            if wrong.count == 0 {
                continue;
            }
            let mut keys = AffectedKeys::default();
            wrong.places.iter().filter_map(|place| key_at(*place)).for_each(|key| keys.add(&key));
            keys.count = wrong.count;
            let what = format!("{} {what}; {}", wrong.count, cure(facts));
            self.add(Finding::damage(&path, what).affecting(keys));
        }
    }
}

/// Whether pages may have been written since the keymap was last made durable: a segment above
/// its mark was sealed, whether it is still there or has expired since.
fn is_behind(facts: &TableFacts, inventory: &Inventory, mark: SegmentNumber) -> bool {
    let is_sealed =
        |path: &DiskPath| read_metadata(path).is_ok_and(|metadata| metadata.sealed.is_some());
    let above = SegmentNumber(mark.0.saturating_add(1));
    facts.file.lowest_segment > above.0
        || inventory
            .segments
            .range(above..)
            .any(|(_, files)| files.metadata.as_ref().is_some_and(is_sealed))
}

/// What helps against every damage of a keymap.
fn cure(facts: &TableFacts) -> String {
    format!(
        "nothing is lost: `littfs check --repair` makes the keymap anew, as the next open does when \
         you delete the folder {}/{KEYMAP_DIR} while nothing is mounted",
        facts.name
    )
}
