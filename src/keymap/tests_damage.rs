//! Damaged, cut, foreign and future files: named, never believed, never a panic.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::tests::{Bed, NONE_STALE, TABLE, at, insert, places, put, spread};
use super::{Keymap, Lookup};
use crate::disk::Disk;
use crate::error::Error;
use crate::format::crc32c;
use crate::format::keymap_page::{self as page, home_page};
use crate::format::location::SegmentNumber;

const KEYS: u64 = 1_500;
const PAGE: u64 = 4096;

fn filled() -> (Bed, PathBuf) {
    let bed = Bed::new();
    let changes: Vec<_> = (0..KEYS).map(|number| put(spread(number), at(1, number))).collect();
    insert(&bed.keymap, &changes, KEYS);
    bed.keymap.mark_complete(SegmentNumber(1)).expect("a mark");
    let file = bed.data_files().remove(0);
    (bed, file)
}

fn change_byte(file: &Path, offset: u64) {
    let file = fs::File::options().read(true).write(true).open(file).expect("the file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0x10], offset).expect("a changed byte");
}

/// Every key is found where it is, or the answer is that its page is damaged.
fn count_damaged(keymap: &Keymap) -> u64 {
    let mut damaged = 0;
    for number in 0..KEYS {
        match keymap.lookup_fingerprint(spread(number), NONE_STALE) {
            Lookup::Damaged => damaged += 1,
            Lookup::Found(found) => {
                assert!(found.iter().any(|candidate| candidate.location == at(1, number)));
            }
        }
    }
    damaged
}

#[test]
fn a_changed_byte_in_a_page_costs_that_page() {
    let (mut bed, file) = filled();
    let home_pages = u32::try_from(bed.keymap.stats().expect("numbers").pages - 3).expect("few");
    let in_page = |page| {
        (0..KEYS).filter(|&number| home_page(spread(number), home_pages) == page).count() as u64
    };
    for (page, within) in [(0, 0), (1, 3), (2, 5), (3, 8), (4, 10), (5, 12), (6, 16), (7, 4095)] {
        let offset = (2 + u64::from(page)) * PAGE + within;
        change_byte(&file, offset);
        bed = bed.reopen();
        assert_eq!(bed.reason, None);
        assert!(!bed.keymap.is_damaged());
        assert_eq!(count_damaged(&bed.keymap), in_page(page), "page {page} byte {within}");
        assert!(bed.keymap.is_damaged());
        change_byte(&file, offset);
    }
    bed = bed.reopen();
    assert_eq!(count_damaged(&bed.keymap), 0);
}

#[test]
fn lost_and_misplaced_pages_are_noticed() {
    let (bed, file) = filled();
    let original = fs::read(&file).expect("the file");
    let mut swapped = original.clone();
    let (front, back) = swapped.split_at_mut(4 * 4096);
    front[3 * 4096..].swap_with_slice(&mut back[..4096]);
    fs::write(&file, swapped).expect("a file");
    let bed = bed.reopen();
    assert!(count_damaged(&bed.keymap) > 200);
    let mut zeroed = original;
    zeroed[2 * 4096..5 * 4096].fill(0);
    fs::write(&file, zeroed).expect("a file");
    let bed = bed.reopen();
    assert!(count_damaged(&bed.keymap) > 300);
    assert!(bed.keymap.count_live(NONE_STALE).is_err());
}

#[test]
fn a_slot_that_stands_in_a_wrong_page_stops_growing() {
    let (bed, file) = filled();
    let mut bytes = fs::read(&file).expect("the file");
    let (pages, _) = bytes.as_chunks_mut::<4096>();
    // The slots of home page 7 in the place of home page 0, with everything else in order.
    pages[2] = pages[9];
    pages[2][4..8].fill(0);
    page::seal(&mut pages[2]);
    fs::write(&file, bytes).expect("a file");
    let bed = bed.reopen();
    let more: Vec<_> = (0..9_000).map(|number| put(spread(number), at(2, number))).collect();
    let answer = bed.keymap.insert(&more, NONE_STALE, 9_000, &AtomicBool::new(false));
    let message = answer.expect_err("refused").to_string();
    assert!(message.contains("a slot of page 7 stands in page 0"), "{message}");
    assert!(bed.keymap.is_damaged());
}

#[test]
fn inserting_into_a_damaged_page_names_it_and_clearing_makes_it_good() {
    let (bed, file) = filled();
    change_byte(&file, 3 * PAGE + 100);
    let bed = bed.reopen();
    let again: Vec<_> = (0..KEYS).map(|number| put(spread(number), at(2, number))).collect();
    for estimate in [KEYS, 10 * KEYS] {
        let answer = bed.keymap.insert(&again, NONE_STALE, estimate, &AtomicBool::new(false));
        let Err(Error::Corrupt { path, offset, reason }) = answer else { panic!("{answer:?}") };
        assert_eq!((path, offset), (file.clone(), 3 * PAGE), "{reason}");
    }
    assert!(bed.keymap.is_damaged());
    bed.keymap.clear().expect("a new start");
    assert!(!bed.keymap.is_damaged());
    assert_eq!(bed.keymap.complete_up_to(), SegmentNumber(0));
    assert!(places(&bed.keymap, spread(3), 0).is_empty());
    insert(&bed.keymap, &again, KEYS);
    assert_eq!(places(&bed.keymap, spread(3), 0), [at(2, 3)]);
    assert_eq!(bed.reopen().data_files().len(), 1);
}

#[test]
fn one_torn_header_is_survived_and_two_are_not() {
    for within in [0, 4, 8, 16, 32, 40, 48, 56, 72, 4095] {
        let (bed, file) = filled();
        change_byte(&file, within);
        let bed = bed.reopen();
        assert_eq!((bed.reason.as_deref(), count_damaged(&bed.keymap)), (None, 0));
        change_byte(&file, PAGE + within);
        let bed = bed.reopen();
        assert!(bed.reason.is_some(), "byte {within}");
        assert_eq!(bed.keymap.complete_up_to(), SegmentNumber(0));
        assert!(places(&bed.keymap, spread(1), 0).is_empty());
        assert_eq!(bed.data_files().len(), 1, "the damaged file makes way");
    }
}

#[test]
fn the_older_header_claims_no_more_than_is_there() {
    let (bed, file) = filled();
    bed.keymap.mark_complete(SegmentNumber(2)).expect("a mark");
    // Sequences 1 and 2 come with the file, 3 and 4 are the marks: 4 is in the first copy.
    change_byte(&file, 60);
    let bed = bed.reopen();
    assert_eq!(bed.keymap.complete_up_to(), SegmentNumber(1));
    bed.keymap.mark_complete(SegmentNumber(3)).expect("a mark");
    assert_eq!(bed.reopen().keymap.complete_up_to(), SegmentNumber(3));
}

#[test]
fn a_cut_file_starts_empty_with_a_reason() {
    for length in [0, 1, 4095, 4096, 8191, 8192, 3 * PAGE + 7, 12 * PAGE] {
        let (bed, file) = filled();
        let Bed { keymap, dir, .. } = bed;
        drop(keymap);
        let cut = fs::File::options().write(true).open(&file).expect("the file");
        cut.set_len(length).expect("a cut");
        let (keymap, reason) =
            Keymap::open(&Disk::new(), &dir.path().join("keymap"), TABLE).expect("it opens");
        let reason = reason.expect("a reason");
        assert!(reason.contains(".map is damaged"), "{reason}");
        assert!(places(&keymap, spread(1), 0).is_empty());
        insert(&keymap, &[put(spread(1), at(1, 1))], 1);
        assert_eq!(places(&keymap, spread(1), 0), [at(1, 1)]);
    }
}

#[test]
fn a_map_of_another_table_or_generation_is_not_used() {
    let (bed, file) = filled();
    let (keymap, reason) =
        Keymap::open(&Disk::new(), &bed.dir.path().join("keymap"), [9; 16]).expect("it opens");
    assert!(reason.is_some_and(|reason| reason.contains("another table")));
    assert!(places(&keymap, spread(1), 0).is_empty());
    assert!(!file.exists());

    let (bed, file) = filled();
    fs::rename(&file, file.with_file_name("40.map")).expect("a rename");
    let bed = bed.reopen();
    assert!(bed.reason.as_ref().is_some_and(|reason| reason.contains("generation 2")));
    assert_eq!(bed.keymap.stats().expect("numbers").generation, 41);
}

#[test]
fn the_newest_valid_generation_counts_and_unknown_files_stay() {
    let (bed, file) = filled();
    let data = file.parent().expect("a folder").to_path_buf();
    fs::write(data.join("9.map"), [1; 12_000]).expect("a damaged later generation");
    fs::copy(&file, data.join("1.map")).expect("an older generation");
    fs::write(data.join("007.map"), b"x").expect("an unknown file");
    fs::write(data.join("notes"), b"x").expect("an unknown file");
    let bed = bed.reopen();
    assert_eq!((bed.reason.as_deref(), count_damaged(&bed.keymap)), (None, 0));
    let mut left = bed.data_files();
    left.sort();
    assert_eq!(left, ["007.map", "2.map", "notes"].map(|name| data.join(name)));
}

#[test]
fn a_future_version_is_refused_and_left_alone() {
    let (bed, file) = filled();
    let Bed { keymap, dir, .. } = bed;
    drop(keymap);
    let mut bytes = fs::read(&file).expect("the file");
    bytes[4] = 2;
    let crc = crc32c(&bytes[4..4096]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    fs::write(&file, &bytes).expect("a later version");
    let answer = Keymap::open(&Disk::new(), &dir.path().join("keymap"), TABLE);
    assert!(matches!(answer, Err(Error::FutureVersion { found: 2, supported: 1, .. })));
    assert_eq!(fs::read(&file).expect("the file"), bytes);
}

#[test]
fn another_keymap_type_is_refused_by_name() {
    let (bed, _) = filled();
    let type_file = bed.dir.path().join("keymap/keymap-type.txt");
    assert_eq!(fs::read(&type_file).expect("the type"), b"HashKeymap");
    for content in [&b"TreeKeymap\n"[..], b"", &[0xff; 300]] {
        fs::write(&type_file, content).expect("another type");
        let answer = Keymap::open(&Disk::new(), &bed.dir.path().join("keymap"), TABLE);
        let message = answer.expect_err("refused").to_string();
        assert!(message.contains("keymap-type.txt"), "{message}");
    }
    fs::write(&type_file, b"HashKeymap\n").expect("the type");
    assert_eq!(bed.reopen().reason, None);
}

#[test]
fn a_removed_folder_is_made_again() {
    let (bed, _) = filled();
    fs::remove_dir_all(bed.dir.path().join("keymap")).expect("a removal");
    let bed = bed.reopen();
    assert_eq!(bed.reason.as_deref(), Some("there is no keymap yet"));
    assert!(places(&bed.keymap, spread(1), 0).is_empty());
}
