//! What programs that embed the engine call, where nothing else calls it that way.

use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Bound;

use proptest::prelude::*;

use super::*;
use crate::format::sort_key::sort_key;
use crate::table::Direction;

#[test]
fn values_are_read_as_files_are() {
    let fixture = Fixture::new(1);
    let (_db, table) = fixture.create();
    let value: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
    table.put(b"a/b", &value).unwrap();
    for _ in 0..2 {
        let mut reader = table.reader(b"a/b").unwrap().unwrap();
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read, value);
        assert_eq!(reader.seek(SeekFrom::End(-3)).unwrap(), 199_997);
        assert_eq!(reader.seek(SeekFrom::Current(-7)).unwrap(), 199_990);
        let mut last = [0; 20];
        assert_eq!(reader.read(&mut last).unwrap(), 10);
        assert_eq!(last[..10], value[199_990..]);
        assert_eq!(reader.seek(SeekFrom::End(5)).unwrap(), 200_005);
        assert_eq!(reader.read(&mut last).unwrap(), 0);
        let refused = reader.seek(SeekFrom::End(-200_001)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert_eq!(reader.stream_position().unwrap(), 200_005);
        seal_all(&table);
    }
    assert!(table.reader(b"a/c").unwrap().is_none());
    assert!(matches!(table.reader(b"a/"), Err(Error::IsFolder { .. })));
}

#[test]
fn writers_take_bytes_as_files_do_and_store_them_at_the_end() {
    let fixture = Fixture::new(1);
    let (_db, table) = fixture.create();
    let mut writer = table.writer().unwrap();
    writer.write_all(b"two ").unwrap();
    writer.write_at(0, b"one").unwrap();
    writer.write_all(b"halves").unwrap();
    writer.flush().unwrap();
    assert!(keys(&table).is_empty());
    let entry = writer.finish(b"deep/er/value").unwrap();
    assert_eq!(entry.attributes.permissions(), 0o644);
    assert_eq!(keys(&table), ["deep/", "deep/er/", "deep/er/value"]);
    assert_eq!(table.get(b"deep/er/value").unwrap().unwrap(), b"one halves");
    let mut strict = table.writer_in_folder().unwrap();
    strict.write_all(b"x").unwrap();
    assert!(matches!(strict.finish(b"none/value"), Err(Error::NotFound { .. })));
    let mut late = table.writer().unwrap();
    late.write_all(b"x").unwrap();
    table.abandon();
    let refused = late.write_all(b"y").unwrap_err();
    assert!(refused.downcast::<Error>().is_ok());
}

#[test]
fn tables_are_made_once_and_keep_their_settings() {
    let fixture = Fixture::new(1);
    let db = fixture.open();
    let hours = |hours: u64| TableSettings {
        ttl: Some(Duration::from_secs(hours * 3600)),
        ..TableSettings::default()
    };
    let made = db.open_or_create_table("t", hours(1)).unwrap();
    assert_eq!(made.attributes().permissions(), 0o755);
    assert_eq!(made.attributes().uid, nix::unistd::geteuid().as_raw());
    let found = db.open_or_create_table("t", hours(2)).unwrap();
    assert!(Arc::ptr_eq(&made, &found));
    assert_eq!(found.settings(), hours(1));
    assert!(matches!(db.create_table("t", hours(1)), Err(Error::TableExists { .. })));
}

#[test]
fn a_batch_that_is_too_large_says_what_to_do() {
    let mut fixture = Fixture::new(1);
    fixture.options.engine.spill_bytes = 8192;
    let (_db, table) = fixture.create();
    let refused = table.put_batch(&[(b"a", b"x"), (b"long", &[0; 8193])]).unwrap_err();
    let expected = "the value of \"long\" has 8193 bytes, and a value in a batch may have 8192; \
        `put` it by itself";
    assert_eq!(refused.to_string(), expected);
    let keys: Vec<String> =
        (0..16_000).map(|number| format!("{}{number:09}", "d/".repeat(2043))).collect();
    let pairs: Vec<(&[u8], &[u8])> = keys.iter().map(|key| (key.as_bytes(), &b""[..])).collect();
    let refused = table.put_batch(&pairs).unwrap_err();
    assert!(matches!(refused, Error::BatchTooLarge { keys: 16_000, .. }), "{refused}");
    assert!(refused.to_string().ends_with("split it, or `put` the values one by one"), "{refused}");
    assert!(super::keys(&table).is_empty());
}

#[test]
fn scans_hand_out_values_and_leave_out_what_is_not_asked_for() {
    let fixture = Fixture::new(1);
    let (_db, table) = fixture.create();
    let large = vec![7; 100_000];
    for key in ["a-b", "a/x", "a/y", "b/z"] {
        table.put(key.as_bytes(), if key == "a/y" { &large } else { key.as_bytes() }).unwrap();
    }
    let asked = |scan: Scan| {
        let live = table.scan(scan).unwrap();
        live.map(|live| String::from_utf8(live.unwrap().0).unwrap()).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        assert_eq!(asked(Scan::new()), ["a/", "a/x", "a/y", "a-b", "b/", "b/z"]);
        assert_eq!(asked(Scan::new().files_only()), ["a/x", "a/y", "a-b", "b/z"]);
        assert_eq!(asked(Scan::new().prefix(b"a/").files_only()), ["a/x", "a/y"]);
        assert_eq!(asked(Scan::new().range("a/y".."b/z")), ["a/y", "a-b", "b/"]);
        assert_eq!(asked(Scan::new().range(..="a/x")), ["a/", "a/x"]);
        assert!(asked(Scan::new().range("b"..="a")).is_empty());
        let mut under_way = table.scan(Scan::new()).unwrap();
        assert_eq!(under_way.next().unwrap().unwrap().0, b"a/");
        let values: Vec<_> = under_way.values().map(Result::unwrap).collect();
        assert_eq!(values.len(), 4);
        assert_eq!(values[1], (b"a/y".to_vec(), large.clone()));
        let last = table.scan(Scan::new()).unwrap().values().next_back().unwrap().unwrap();
        assert_eq!(last, (b"b/z".to_vec(), b"b/z".to_vec()));
        seal_all(&table);
    }
}

/// What is done while two ends of an iterator go towards each other.
#[derive(Clone, Copy, Debug)]
enum Move {
    Next,
    NextBack,
    Put(u16),
    Remove(u16),
    Seal,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => Just(Move::Next),
        4 => Just(Move::NextBack),
        2 => (0..60_u16).prop_map(Move::Put),
        1 => (0..60_u16).prop_map(Move::Remove),
        1 => Just(Move::Seal),
    ];
    prop::collection::vec(one, 0..80)
}

/// Some in folders, some on both sides of the byte that folders are sorted by.
fn key_of(number: u16) -> String {
    match number % 3 {
        0 => format!("d/{:02}", number / 3),
        1 => format!("d/{:02}-", number / 3),
        _ => format!("e{:02}/f", number / 3),
    }
}

/// Calls both ends as the moves say and then the front to its end; what each gave. Writes what the
/// moves say in between, and notes in `touched` what need not be given, or not once.
fn meet<T>(
    table: &Table,
    moves: &[Move],
    touched: &mut std::collections::BTreeSet<String>,
    mut iter: impl DoubleEndedIterator<Item = Result<(Vec<u8>, T)>>,
) -> (Vec<String>, Vec<String>) {
    let (mut front, mut back) = (Vec::new(), Vec::new());
    let text = |live: Result<(Vec<u8>, T)>| String::from_utf8(live.unwrap().0).unwrap();
    let note = |key: String, touched: &mut std::collections::BTreeSet<String>| {
        for (slash, _) in key.match_indices('/') {
            touched.insert(key[..=slash].to_owned());
        }
        touched.insert(key);
    };
    for step in moves {
        match *step {
            Move::Next => front.extend(iter.next().map(text)),
            Move::NextBack => back.extend(iter.next_back().map(text)),
            Move::Put(number) => match table.put(key_of(number).as_bytes(), b"new") {
                Ok(()) => note(key_of(number), touched),
                Err(error) => assert!(matches!(error, Error::Exists { .. }), "{error}"),
            },
            Move::Remove(number) => match table.remove(key_of(number).as_bytes()) {
                Ok(()) => note(key_of(number), touched),
                Err(error) => assert!(matches!(error, Error::NotFound { .. }), "{error}"),
            },
            Move::Seal => seal_all(table),
        }
    }
    front.extend(iter.by_ref().map(text));
    assert!(iter.next().is_none() && iter.next_back().is_none(), "an end stays an end");
    (front, back)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each key exactly once, in order from both ends, whatever is written between.
    #[test]
    fn the_ends_of_a_scan_meet(
        stored in prop::collection::btree_set(0..60_u16, 0..40),
        moves in moves(),
        files_only in any::<bool>(),
        ends in (0..60_u16, 0..60_u16),
    ) {
        let fixture = Fixture::new(1);
        let (_db, table) = fixture.create();
        for (count, number) in stored.iter().enumerate() {
            table.put(key_of(*number).as_bytes(), b"old").unwrap();
            if count % 13 == 12 {
                seal_all(&table);
            }
        }
        let bounds = (Bound::Included(key_of(ends.0)), Bound::Excluded(key_of(ends.1)));
        let range = (bounds.0.clone(), bounds.1.clone());
        let in_range = |key: &str| {
            let (key, low, high) = (sort_key(key.as_bytes()), key_of(ends.0), key_of(ends.1));
            key >= sort_key(low.as_bytes()) && key < sort_key(high.as_bytes())
        };
        let scan = Scan::new().range(range);
        let scan = if files_only { scan.files_only() } else { scan };
        let mut model: BTreeMap<Vec<u8>, String> = BTreeMap::new();
        for key in keys(&table) {
            if in_range(&key) && !(files_only && key.ends_with('/')) {
                model.insert(sort_key(key.as_bytes()), key);
            }
        }
        let mut touched = std::collections::BTreeSet::new();
        let iter = table.scan(scan).unwrap();
        let (front, back) = meet(&table, &moves, &mut touched, iter);
        check_met(&front, &back, |key| sort_key(key.as_bytes()), &model, &touched)?;
    }

    /// Each name of a folder exactly once, in order from both ends, whatever is written between.
    #[test]
    fn the_ends_of_a_listing_meet(
        stored in prop::collection::btree_set(0..60_u16, 0..40),
        moves in moves(),
        backward in any::<bool>(),
        from in prop::option::of(0..60_u16),
    ) {
        let fixture = Fixture::new(1);
        let (_db, table) = fixture.create();
        table.put(b"d/x", b"").unwrap();
        for (count, number) in stored.iter().enumerate() {
            table.put(key_of(*number).as_bytes(), b"old").unwrap();
            if count % 13 == 12 {
                seal_all(&table);
            }
        }
        let direction = if backward { Direction::Backward } else { Direction::Forward };
        let from = from.map(|number| key_of(number)[2..].to_owned());
        let bound = from.as_ref().map_or(Bound::Unbounded, |from| Bound::Excluded(from.as_bytes()));
        let model: BTreeMap<Vec<u8>, String> = names(&table, b"d/")
            .into_iter()
            .filter(|name| direction.reaches(name.as_bytes(), bound))
            .map(|name| (name.clone().into_bytes(), format!("d/{name}")))
            .collect();
        let mut touched = std::collections::BTreeSet::new();
        let iter = table.list_folder_from(b"d/", bound, direction).unwrap();
        let iter = iter.map(|live| live.map(|(name, entry)| ([b"d/", &name[..]].concat(), entry)));
        let (mut front, mut back) = meet(&table, &moves, &mut touched, iter);
        if backward {
            std::mem::swap(&mut front, &mut back);
        }
        check_met(&front, &back, |key| key.as_bytes()[2..].to_vec(), &model, &touched)?;
    }
}

/// The front rises, the back falls, they do not cross, and what was not touched is there once.
fn check_met(
    front: &[String],
    back: &[String],
    place: impl Fn(&str) -> Vec<u8>,
    model: &BTreeMap<Vec<u8>, String>,
    touched: &std::collections::BTreeSet<String>,
) -> std::result::Result<(), TestCaseError> {
    let mut all: Vec<&String> = front.iter().chain(back.iter().rev()).collect();
    let places: Vec<Vec<u8>> = all.iter().map(|key| place(key)).collect();
    prop_assert!(places.is_sorted_by(|one, other| one < other), "{front:?} {back:?}");
    all.retain(|key| !touched.contains(*key));
    let expected: Vec<&String> = model.values().filter(|key| !touched.contains(*key)).collect();
    prop_assert_eq!(all, expected);
    Ok(())
}
