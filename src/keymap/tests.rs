//! What the keymap promises, on directories of their own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tempfile::TempDir;

use super::{Inserted, Keymap, KeymapChange, Lookup};
use crate::disk::{Disk, Faults};
use crate::format::keymap_page::first_fingerprint;
use crate::format::location::{Location, SegmentNumber};

pub(super) const TABLE: [u8; 16] = *b"the table's own!";
pub(super) const NONE_STALE: SegmentNumber = SegmentNumber(0);

/// A keymap in a directory of its own.
pub(super) struct Bed {
    pub(super) keymap: Keymap,
    pub(super) reason: Option<String>,
    pub(super) dir: TempDir,
}

impl Bed {
    pub(super) fn new() -> Self {
        Self::with_disk(&Disk::new())
    }

    pub(super) fn with_disk(disk: &Disk) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (keymap, reason) =
            Keymap::open(disk, &dir.path().join("keymap"), TABLE).expect("a new keymap");
        Self { keymap, reason, dir }
    }

    pub(super) fn reopen(self) -> Self {
        let Self { keymap, dir, .. } = self;
        drop(keymap);
        let (keymap, reason) =
            Keymap::open(&Disk::new(), &dir.path().join("keymap"), TABLE).expect("it opens");
        Self { keymap, reason, dir }
    }

    pub(super) fn data_files(&self) -> Vec<PathBuf> {
        let listing = std::fs::read_dir(self.dir.path().join("keymap/data")).expect("a listing");
        let mut files: Vec<_> = listing.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        files
    }
}

/// A fingerprint that is spread like that of a hashed key.
pub(super) fn spread(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) >> 16
}

/// Fingerprints of which many share a page, so that it overflows: every other one is spread, the
/// rest stand together.
pub(super) fn clustered(number: u64) -> u64 {
    if number.is_multiple_of(2) {
        spread(number)
    } else {
        0x3fff_0000_0000 + (spread(number) >> 18)
    }
}

pub(super) fn at(segment: u32, offset: u64) -> Location {
    Location { segment: SegmentNumber(segment), shard: 2, offset: offset * 8 }
}

pub(super) fn put(fingerprint: u64, location: Location) -> KeymapChange {
    KeymapChange::Put { fingerprint, location, record_bytes: 100, supersedes: None }
}

pub(super) fn insert(keymap: &Keymap, changes: &[KeymapChange], estimate: u64) {
    let inserted = keymap.insert(changes, NONE_STALE, estimate, &AtomicBool::new(false));
    assert_eq!(inserted.expect("an insertion"), Inserted::All);
}

pub(super) fn places(keymap: &Keymap, fingerprint: u64, lowest_live: u32) -> Vec<Location> {
    match keymap.lookup_fingerprint(fingerprint, SegmentNumber(lowest_live)) {
        Lookup::Found(found) => found.iter().map(|candidate| candidate.location).collect(),
        Lookup::Damaged => panic!("fingerprint {fingerprint:x} is on a damaged page"),
    }
}

#[test]
fn what_is_put_is_found_also_after_reopening() {
    let bed = Bed::new();
    assert_eq!(bed.reason.as_deref(), Some("there is no keymap yet"));
    let changes: Vec<_> = (0..5_000).map(|number| put(spread(number), at(1, number))).collect();
    insert(&bed.keymap, &changes, 5_000);
    let stats = bed.keymap.stats().expect("numbers");
    assert_eq!((stats.used_slots, stats.pages, stats.generation), (5_000, 29 + 3, 2));
    assert_eq!(stats.bytes_on_disk, (29 + 3 + 2) * 4096);
    bed.keymap.mark_complete(SegmentNumber(1)).expect("a mark");
    let bed = bed.reopen();
    assert_eq!(bed.reason, None);
    assert_eq!(bed.keymap.complete_up_to(), SegmentNumber(1));
    assert_eq!(bed.keymap.stats().expect("numbers").used_slots, 5_000);
    assert_eq!(bed.keymap.count_live(NONE_STALE).expect("a count"), 5_000);
    for number in 0..5_000 {
        assert_eq!(places(&bed.keymap, spread(number), 0), [at(1, number)]);
        assert!(places(&bed.keymap, spread(number + 5_000), 0).is_empty());
    }
}

#[test]
fn a_mark_is_only_moved_forward() {
    let bed = Bed::new();
    bed.keymap.mark_complete(SegmentNumber(7)).expect("a mark");
    bed.keymap.mark_complete(SegmentNumber(3)).expect("a mark");
    bed.keymap.sync().expect("a sync");
    assert_eq!(bed.keymap.complete_up_to(), SegmentNumber(7));
    assert_eq!(bed.reopen().keymap.complete_up_to(), SegmentNumber(7));
}

#[test]
fn superseding_and_removing_apply_in_order_and_again() {
    let bed = Bed::new();
    let replace = |segment, earlier| KeymapChange::Put {
        fingerprint: 77,
        location: at(segment, 1),
        record_bytes: 3_000,
        supersedes: Some(at(earlier, 1)),
    };
    let story = [put(77, at(1, 1)), replace(2, 1), put(77, at(2, 9)), replace(4, 2)];
    for _ in 0..3 {
        insert(&bed.keymap, &story, 2);
        assert_eq!(places(&bed.keymap, 77, 0), [at(4, 1), at(2, 9)]);
    }
    let Lookup::Found(found) = bed.keymap.lookup_fingerprint(77, NONE_STALE) else {
        panic!("damaged")
    };
    assert_eq!(found.iter().next().map(|first| first.record_bytes_max), Some(3_072));
    let removal = [KeymapChange::Remove { fingerprint: 77, location: at(4, 1) }];
    insert(&bed.keymap, &removal, 2);
    insert(&bed.keymap, &removal, 2);
    assert_eq!(places(&bed.keymap, 77, 0), [at(2, 9)]);
    assert_eq!(bed.keymap.stats().expect("numbers").used_slots, 1);
}

#[test]
fn one_fingerprint_keeps_its_newest_places() {
    let bed = Bed::new();
    for segment in [3, 1, 9, 5, 7, 2, 8] {
        insert(&bed.keymap, &[put(5, at(segment, 0))], 1);
    }
    assert_eq!(places(&bed.keymap, 5, 0), [9, 8, 7, 5].map(|segment| at(segment, 0)));
}

#[test]
fn stale_slots_are_passed_over_and_make_room() {
    let bed = Bed::new();
    for segment in 1..60_u32 {
        let first = u64::from(segment) * 200;
        let changes: Vec<_> =
            (first..first + 200).map(|number| put(spread(number), at(segment, number))).collect();
        let lowest_live = SegmentNumber(segment.saturating_sub(2));
        let inserted = bed.keymap.insert(&changes, lowest_live, 600, &AtomicBool::new(false));
        assert_eq!(inserted.expect("an insertion"), Inserted::All);
        for number in 200..first + 200 {
            let home_segment = u32::try_from(number / 200).expect("small");
            let found = places(&bed.keymap, spread(number), lowest_live.0);
            let expected = (home_segment >= lowest_live.0).then(|| at(home_segment, number));
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "key {number}");
        }
    }
    // 12000 keys went through; the map stayed at the size of those that live together.
    assert!(bed.keymap.stats().expect("numbers").pages < 12);
}

#[test]
fn a_map_that_became_far_too_large_shrinks() {
    let bed = Bed::new();
    let changes: Vec<_> = (0..20_000).map(|number| put(spread(number), at(1, number))).collect();
    insert(&bed.keymap, &changes, 20_000);
    let before = bed.keymap.stats().expect("numbers");
    let later = [put(spread(20_000), at(2, 0))];
    let inserted = bed.keymap.insert(&later, SegmentNumber(2), 1, &AtomicBool::new(false));
    assert_eq!(inserted.expect("an insertion"), Inserted::All);
    let after = bed.keymap.stats().expect("numbers");
    assert!(after.pages < before.pages / 8, "{before:?} {after:?}");
    assert_eq!(places(&bed.keymap, spread(20_000), 2), [at(2, 0)]);
    assert_eq!(bed.data_files().len(), 1);
    // An estimate that is far too low loses nothing.
    let again: Vec<_> = (0..20_000).map(|number| put(spread(number), at(3, number))).collect();
    insert(&bed.keymap, &again, 0);
    insert(&bed.keymap, &later, 0);
    for number in 0..20_000 {
        assert_eq!(places(&bed.keymap, spread(number), 3), [at(3, number)]);
    }
}

#[test]
fn reserving_sizes_the_map_once() {
    let bed = Bed::new();
    bed.keymap.reserve(30_000);
    for batch in 0..10_u64 {
        let numbers = batch * 3_000..(batch + 1) * 3_000;
        let changes: Vec<_> = numbers.map(|number| put(spread(number), at(1, number))).collect();
        insert(&bed.keymap, &changes, (batch + 1) * 3_000);
    }
    let stats = bed.keymap.stats().expect("numbers");
    assert_eq!((stats.generation, stats.used_slots), (2, 30_000));
    assert!(stats.bytes_on_disk <= 30_000 * 24 + 5 * 4096);
}

#[test]
fn overflowing_pages_lose_nothing() {
    let bed = Bed::new();
    let mut inserted = 0_u64;
    // 900 fingerprints of one page at least: its chain is four pages long in the end.
    for batch in 0..18 {
        let numbers = inserted..inserted + 100;
        let changes: Vec<_> = numbers.map(|number| put(clustered(number), at(1, number))).collect();
        insert(&bed.keymap, &changes, inserted + 100);
        inserted += 100;
        for number in 0..inserted {
            let found = places(&bed.keymap, clustered(number), 0);
            assert_eq!(found, [at(1, number)], "key {number}, batch {batch}");
        }
    }
    let removals: Vec<_> = (0..inserted)
        .step_by(3)
        .map(|number| KeymapChange::Remove {
            fingerprint: clustered(number),
            location: at(1, number),
        })
        .collect();
    insert(&bed.keymap, &removals, inserted);
    let bed = bed.reopen();
    for number in 0..inserted {
        assert_eq!(places(&bed.keymap, clustered(number), 0).len(), usize::from(number % 3 != 0));
    }
}

#[test]
fn fingerprints_that_are_not_spread_at_all_are_refused_not_grown_for_ever() {
    let bed = Bed::new();
    let changes: Vec<_> = (0..2_000).map(|number| put(number, at(1, number))).collect();
    let answer = bed.keymap.insert(&changes, NONE_STALE, 2_000, &AtomicBool::new(false));
    let message = answer.expect_err("they do not fit").to_string();
    assert!(message.contains("stays full"), "{message}");
    assert_eq!(bed.data_files().len(), 1);
    assert!(bed.keymap.stats().expect("numbers").pages < 100);
}

#[test]
fn growing_stops_when_told_and_leaves_the_old_map() {
    let bed = Bed::new();
    let few: Vec<_> = (0..500).map(|number| put(spread(number), at(1, number))).collect();
    insert(&bed.keymap, &few, 500);
    bed.keymap.mark_complete(SegmentNumber(1)).expect("a mark");
    let many: Vec<_> = (500..9_000).map(|number| put(spread(number), at(2, number))).collect();
    let stopped = bed.keymap.insert(&many, NONE_STALE, 9_000, &AtomicBool::new(true));
    assert_eq!(stopped.expect("no error"), Inserted::Aborted);
    // What a kill in the middle would leave behind as well.
    let leftover = bed.dir.path().join("keymap/data/3.map.tmp");
    std::fs::write(&leftover, [7; 10_000]).expect("a leftover");
    let bed = bed.reopen();
    assert_eq!((bed.reason.as_deref(), bed.data_files().len()), (None, 1));
    assert_eq!(bed.keymap.complete_up_to(), SegmentNumber(1));
    for number in 0..500 {
        assert_eq!(places(&bed.keymap, spread(number), 0), [at(1, number)]);
    }
    insert(&bed.keymap, &many, 9_000);
    assert_eq!(places(&bed.keymap, spread(8_999), 0), [at(2, 8_999)]);
}

#[test]
fn any_failing_disk_operation_costs_nothing_that_was_inserted() {
    let few: Vec<_> = (0..700).map(|number| put(spread(number), at(1, number))).collect();
    let many: Vec<_> = (700..3_000).map(|number| put(spread(number), at(2, number))).collect();
    for nth in 1.. {
        let faults = Arc::new(Faults::default());
        let bed = Bed::with_disk(&Disk::with_faults(Arc::clone(&faults)));
        insert(&bed.keymap, &few, 700);
        bed.keymap.mark_complete(SegmentNumber(1)).expect("a mark");
        let before = faults.seen();
        faults.fail_nth(nth, libc::ENOSPC);
        let grown = bed.keymap.insert(&many, NONE_STALE, 3_000, &AtomicBool::new(false));
        let marked = bed.keymap.mark_complete(SegmentNumber(2));
        let done = faults.seen() < before + nth;
        if grown.is_ok() && marked.is_ok() {
            // The failed operation was one that costs nothing, such as removing the old file.
            assert_eq!(bed.keymap.complete_up_to(), SegmentNumber(2));
        }
        let expected = if grown.is_ok() { 3_000 } else { 700 };
        for number in 0..expected {
            assert_eq!(places(&bed.keymap, spread(number), 0).len(), 1, "operation {nth}");
        }
        let given_up = bed.data_files().is_empty();
        let bed = bed.reopen();
        if given_up {
            assert!(marked.is_err() && bed.reason.is_some(), "operation {nth}");
            continue;
        }
        assert_eq!((bed.reason.as_deref(), bed.data_files().len()), (None, 1), "operation {nth}");
        for number in 0..expected {
            assert_eq!(places(&bed.keymap, spread(number), 0).len(), 1, "operation {nth}");
        }
        if done {
            assert!(nth > 8, "only {nth} operations were tried");
            break;
        }
    }
}

#[test]
fn a_failed_sync_ends_all_claims_until_the_map_starts_again() {
    let faults = Arc::new(Faults::default());
    let bed = Bed::with_disk(&Disk::with_faults(Arc::clone(&faults)));
    insert(&bed.keymap, &[put(1, at(1, 1))], 1);
    faults.fail_nth(1, libc::EIO);
    assert!(bed.keymap.mark_complete(SegmentNumber(1)).is_err());
    for _ in 0..2 {
        let refused = bed.keymap.mark_complete(SegmentNumber(1)).expect_err("refused");
        assert!(refused.to_string().contains("cannot sync"), "{refused}");
    }
    assert_eq!(bed.keymap.complete_up_to(), SegmentNumber(0));
    assert_eq!(places(&bed.keymap, 1, 0), [at(1, 1)]);
    assert!(bed.data_files().is_empty(), "what failed to sync is not taken up again");
    bed.keymap.clear().expect("a new start");
    insert(&bed.keymap, &[put(1, at(1, 1))], 1);
    bed.keymap.mark_complete(SegmentNumber(1)).expect("a mark");
}

#[test]
fn lookups_miss_nothing_while_others_insert_and_the_map_grows() {
    const KEYS: u64 = 60_000;
    let bed = Bed::new();
    let inserted = AtomicU64::new(0);
    // Every twentieth key is of one crowded page, so that chains are followed as well.
    let fingerprint = |number: u64| match number % 20 {
        0 if number < 12_000 => 0x3fff_0000_0000 + (spread(number) >> 18),
        _ => spread(number),
    };
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let (keymap, inserted) = (&bed.keymap, &inserted);
            scope.spawn(move || {
                let mut turn = thread;
                loop {
                    let known = inserted.load(Ordering::Acquire);
                    for _ in 0..100.min(known) {
                        turn += 1;
                        let number = spread(turn * 7) % known;
                        let found = places(keymap, fingerprint(number), 0);
                        assert!(found.contains(&at(1, number)), "key {number} of {known}");
                    }
                    if known == KEYS {
                        break;
                    }
                }
            });
        }
        for first in (0..KEYS).step_by(1_500) {
            let numbers = first..first + 1_500;
            let changes: Vec<_> =
                numbers.map(|number| put(fingerprint(number), at(1, number))).collect();
            insert(&bed.keymap, &changes, first + 1_500);
            inserted.store(first + 1_500, Ordering::Release);
        }
    });
    assert!(bed.keymap.stats().expect("numbers").generation > 5);
}

#[test]
fn growing_finds_what_overflowed_over_the_end_of_a_stretch() {
    let bed = Bed::new();
    let spread_out: Vec<_> = (0..15_000).map(|number| put(spread(number), at(1, number))).collect();
    bed.keymap.reserve(15_000);
    insert(&bed.keymap, &spread_out, 15_000);
    let home_pages = u32::try_from(bed.keymap.stats().expect("numbers").pages).expect("few") - 3;
    let crowd = first_fingerprint(63, home_pages);
    assert!(home_pages > 64);
    let crowded: Vec<_> =
        (0..200).map(|number| put(crowd + number * 65_537, at(1, number))).collect();
    insert(&bed.keymap, &crowded, 15_200);
    let more: Vec<_> = (15_000..30_000).map(|number| put(spread(number), at(1, number))).collect();
    insert(&bed.keymap, &more, 30_200);
    assert_eq!(bed.keymap.stats().expect("numbers").generation, 3);
    for number in 0..200 {
        assert_eq!(places(&bed.keymap, crowd + number * 65_537, 0), [at(1, number)]);
    }
    for number in 0..30_000 {
        assert_eq!(places(&bed.keymap, spread(number), 0), [at(1, number)]);
    }
}

#[test]
fn a_key_that_moves_to_another_page_is_never_out_of_sight() {
    // One crowded page: 255 fingerprints fill it and those that came later stand in the next.
    let crowd = |number: u64| 0x3fff_0000_0000 + number * 65_537;
    let bed = Bed::new();
    let all: Vec<_> = (0..500).map(|number| put(crowd(number), at(1, number))).collect();
    for changes in all.chunks(250) {
        insert(&bed.keymap, changes, 500);
    }
    let moving = AtomicU64::new(499);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                let number = moving.load(Ordering::Acquire);
                if number == 0 {
                    break;
                }
                assert!(!places(&bed.keymap, crowd(number), 0).is_empty(), "key {number}");
            }
        });
        // Each time a key of the first page goes and one of the second takes its place.
        for step in 0..240 {
            let number = 499 - step;
            moving.store(number, Ordering::Release);
            std::thread::sleep(std::time::Duration::from_micros(200));
            let changes = [
                KeymapChange::Remove { fingerprint: crowd(step), location: at(1, step) },
                KeymapChange::Remove { fingerprint: crowd(number), location: at(1, number) },
                put(crowd(number), at(2, number)),
            ];
            insert(&bed.keymap, &changes, 500);
        }
        moving.store(0, Ordering::Release);
    });
}

#[test]
fn growing_can_be_stopped_halfway() {
    let bed = Bed::new();
    let few: Vec<_> = (0..500).map(|number| put(spread(number), at(1, number))).collect();
    insert(&bed.keymap, &few, 500);
    let before = bed.keymap.stats().expect("numbers");
    bed.keymap.reserve(1_000_000);
    let unfinished = bed.dir.path().join("keymap/data/3.map.tmp");
    let abort = AtomicBool::new(false);
    let many: Vec<_> = (500..9_000).map(|number| put(spread(number), at(2, number))).collect();
    let inserted = std::thread::scope(|scope| {
        let growing = scope.spawn(|| bed.keymap.insert(&many, NONE_STALE, 9_000, &abort));
        while !unfinished.exists() && !growing.is_finished() {
            std::thread::yield_now();
        }
        abort.store(true, Ordering::Relaxed);
        growing.join().expect("no panic").expect("no error")
    });
    // Whichever of the two was faster, nothing is lost and nothing is left behind.
    if inserted == Inserted::Aborted {
        assert_eq!(bed.keymap.stats().expect("numbers"), before);
    }
    assert_eq!(bed.data_files().len(), 1);
    for number in 0..500 {
        assert_eq!(places(&bed.keymap, spread(number), 0), [at(1, number)]);
    }
}

#[test]
fn a_copy_taken_at_any_moment_opens_and_keeps_what_was_complete() {
    let bed = Bed::new();
    let first: Vec<_> = (0..4_000).map(|number| put(spread(number), at(1, number))).collect();
    insert(&bed.keymap, &first, 4_000);
    bed.keymap.mark_complete(SegmentNumber(1)).expect("a mark");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for segment in 2..30_u32 {
                let start = u64::from(segment) * 2_000;
                let changes: Vec<_> = (start..start + 2_000)
                    .map(|number| put(spread(number), at(segment, number)))
                    .collect();
                insert(&bed.keymap, &changes, start);
                bed.keymap.mark_complete(SegmentNumber(segment)).expect("a mark");
            }
            done.store(true, Ordering::Release);
        });
        let mut opened = 0;
        while !done.load(Ordering::Acquire) || opened == 0 {
            let copy = tempfile::tempdir().expect("a directory");
            std::fs::create_dir_all(copy.path().join("keymap/data")).expect("a folder");
            for file in bed.data_files() {
                let name = file.file_name().expect("a name");
                // A file may be renamed or removed between the listing and the copy.
                drop(std::fs::copy(&file, copy.path().join("keymap/data").join(name)));
            }
            let (keymap, reason) =
                Keymap::open(&Disk::new(), &copy.path().join("keymap"), TABLE).expect("it opens");
            if reason.is_some() {
                continue;
            }
            opened += 1;
            assert!(keymap.complete_up_to() >= SegmentNumber(1));
            for number in 0..4_000 {
                // A page copied while it was written may be torn, and then it says so.
                if let Lookup::Found(found) = keymap.lookup_fingerprint(spread(number), NONE_STALE)
                {
                    assert!(found.iter().any(|candidate| candidate.location == at(1, number)));
                }
            }
        }
    });
}
