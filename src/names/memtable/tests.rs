use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::format::sort_key::sort_key;
use crate::names::Direction;
use crate::names::tests::{SALT, folder_entry, hash, put, removed};

#[test]
fn points_are_put_replaced_and_found() {
    let memtable = Memtable::new();
    assert_eq!(memtable.len(), 0);
    assert_eq!(memtable.get(hash(b"a/b"), b"a/b"), None);
    assert_eq!(memtable.put(hash(b"a/b"), b"a/b", put(1)), None);
    assert_eq!(memtable.put(hash(b"a/b"), b"a/b", removed()), Some(put(1)));
    assert_eq!(memtable.get(hash(b"a/b"), b"a/b"), Some(removed()));
    assert!(memtable.get(hash(b"a/b"), b"a/b").is_some());
    assert_eq!(memtable.len(), 1);
    assert!(memtable.bytes() > 100);
    assert!(memtable.update(hash(b"a/b"), b"a/b", |mention| *mention = put(2)));
    assert_eq!(memtable.get(hash(b"a/b"), b"a/b"), Some(put(2)));
    assert!(!memtable.update(hash(b"x"), b"x", |_| unreachable!()));
}

#[test]
fn keys_with_one_hash_are_told_apart() {
    let memtable = Memtable::new();
    for number in 0..200_u8 {
        assert_eq!(memtable.put(hash(b"same"), &[number + 1], put(u64::from(number) + 1)), None);
    }
    for number in 0..200_u8 {
        let found = memtable.get(hash(b"same"), &[number + 1]);
        assert_eq!(found, Some(put(u64::from(number) + 1)));
    }
}

#[test]
fn folders_are_touched_upwards_only() {
    let memtable = Memtable::new();
    let times = |memtable: &Memtable| match memtable.get(hash(b"f/"), b"f/") {
        Some(Mention::Put(entry)) => (entry.attributes.mtime_ns, entry.attributes.ctime_ns),
        _ => (0, 0),
    };
    assert!(!memtable.touch_folder(hash(b"f/"), b"f/", 9));
    memtable.put(hash(b"f/"), b"f/", Mention::Put(folder_entry(1, 100)));
    assert!(memtable.touch_folder(hash(b"f/"), b"f/", 200));
    assert_eq!(times(&memtable), (200, 200));
    assert!(memtable.touch_folder(hash(b"f/"), b"f/", 150));
    assert_eq!(times(&memtable), (200, 200));
    memtable.put(hash(b"f/"), b"f/", removed());
    assert!(!memtable.touch_folder(hash(b"f/"), b"f/", 300));
}

#[test]
fn walks_agree_with_a_model() {
    let memtable = Arc::new(Memtable::new());
    let mut model: BTreeMap<Vec<u8>, Mention> = BTreeMap::new();
    for round in 0..20_u64 {
        for number in 0..50 {
            let key = format!("{}/{}", (round * 7 + number * 13) % 17, number * 31 % 47);
            let mention = put(round * 50 + number + 1);
            let before = memtable.put(hash(key.as_bytes()), key.as_bytes(), mention);
            assert_eq!(before, model.insert(sort_key(key.as_bytes()), mention));
        }
        let from = sort_key(format!("{}/2", round % 17).as_bytes());
        for bound in [Bound::Unbounded, Bound::Included(&from[..]), Bound::Excluded(&from[..])] {
            let mut cursor = MemtableCursor::new(Arc::clone(&memtable), Direction::Forward);
            cursor.seek(bound);
            let seen: Vec<_> = cursor.map(|(key, mention)| (key.to_vec(), mention)).collect();
            let range = model.range::<[u8], _>((bound, Bound::Unbounded));
            assert_eq!(
                seen,
                range.map(|(key, mention)| (key.clone(), *mention)).collect::<Vec<_>>()
            );
            let mut cursor = MemtableCursor::new(Arc::clone(&memtable), Direction::Backward);
            cursor.seek(bound);
            let seen: Vec<_> = cursor.map(|(key, mention)| (key.to_vec(), mention)).collect();
            let range = model.range::<[u8], _>((Bound::Unbounded, bound)).rev();
            assert_eq!(
                seen,
                range.map(|(key, mention)| (key.clone(), *mention)).collect::<Vec<_>>()
            );
        }
    }
    assert_eq!(memtable.len(), model.len());
}

/// Keys that neither come nor go while a walk is under way are in it exactly once, in order.
#[test]
fn walks_under_writers_miss_and_repeat_nothing() {
    let memtable = Arc::new(Memtable::new());
    let stable: Vec<Vec<u8>> =
        (0..500).map(|number| format!("s/{number:04}").into_bytes()).collect();
    for key in &stable {
        memtable.put(hash(key), key, put(1));
    }
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (memtable, is_done) = (&memtable, &is_done);
            scope.spawn(move || {
                let mut number = 0_u64;
                while !is_done.load(Ordering::Relaxed) && number < 40_000 {
                    let key = format!("s/{:04}-{writer}-{number}", number % 500);
                    let hash = KeyHash::new(SALT, key.as_bytes());
                    assert_eq!(memtable.put(hash, key.as_bytes(), put(2)), None);
                    assert_eq!(memtable.get(hash, key.as_bytes()), Some(put(2)));
                    number += 1;
                }
            });
        }
        for round in 0..30 {
            let forward = round % 2 == 0;
            let direction = if forward { Direction::Forward } else { Direction::Backward };
            let mut cursor = MemtableCursor::new(Arc::clone(&memtable), direction);
            cursor.seek(Bound::Unbounded);
            let mut all: Vec<Vec<u8>> = cursor.map(|(key, _)| key.to_vec()).collect();
            if !forward {
                all.reverse();
            }
            assert!(all.is_sorted_by(|one, other| one < other));
            all.retain(|key| key.len() == 6);
            let expected: Vec<Vec<u8>> = stable.iter().map(|key| sort_key(key)).collect();
            assert_eq!(all, expected);
        }
        is_done.store(true, Ordering::Relaxed);
    });
}
