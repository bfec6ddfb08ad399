//! Orders in which threads can meet, chosen by a concurrency checker: `scripts/schedules`.
//!
//! Every lock of the engine is a point where another thread may go on. A schedule that fails is
//! printed, and `shuttle::replay` takes it.

use std::sync::atomic::AtomicU32;

use super::*;

/// Schedules of each scenario, unless `LITTFS_SCHEDULES` says otherwise.
const SCHEDULES: usize = 100;

fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    let wanted = std::env::var("LITTFS_SCHEDULES").ok().and_then(|number| number.parse().ok());
    let schedules = wanted.unwrap_or(SCHEDULES);
    let scenario = Arc::new(scenario);
    let again = Arc::clone(&scenario);
    shuttle::check_random(move || again(), schedules);
    // A few changes of threads in unlikely places find what many in likely ones do not.
    shuttle::check_pct(move || scenario(), schedules, 3);
}

fn fixture() -> Fixture {
    let mut fixture = Fixture::new(2);
    fixture.options.engine.segment_keys_max = 7;
    fixture.options.engine.spill_bytes = 5000;
    fixture.options.engine.expiry_hold = Duration::ZERO;
    fixture
}

fn value_of(key: &str) -> Vec<u8> {
    let length = if key.ends_with('3') { 9000 } else { 40 };
    key.bytes().cycle().take(length).collect()
}

fn put_and_get(table: &Table, key: &str) {
    table.put(key.as_bytes(), &value_of(key)).unwrap();
    assert_eq!(table.get(key.as_bytes()).unwrap(), Some(value_of(key)), "{key}");
}

fn rotate(table: &Table) {
    let active = table.segments.view().active.clone();
    if let Some(active) = active {
        table.segments.rotate(&active);
    }
}

/// Runs these side by side.
fn together(table: &Arc<Table>, tasks: Vec<fn(&Table)>) {
    let spawn = |task: fn(&Table)| {
        let table = Arc::clone(table);
        shuttle::thread::spawn(move || task(&table))
    };
    let threads: Vec<_> = tasks.into_iter().map(spawn).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn assert_all_there(fixture: &Fixture, db: Db, table: Arc<Table>, expected: &[&str]) {
    assert_eq!(keys(&table), expected);
    for key in expected.iter().filter(|key| !key.ends_with('/')) {
        assert!(table.get(key.as_bytes()).unwrap().is_some(), "{key}");
    }
    drop(table);
    db.close().unwrap();
    let report = crate::check::check(&fixture.options, None, &mut |_| {}).unwrap();
    assert!(report.is_good(), "{report:?}");
}

#[test]
fn puts_gets_renames_flushes_and_seals() {
    explore(|| {
        let fixture = fixture();
        let (db, table) = fixture.create();
        put_and_get(&table, "base");
        put_and_get(&table, "f/moves");
        together(
            &table,
            vec![
                |table| (0..4).for_each(|number| put_and_get(table, &format!("a/{number}"))),
                |table| {
                    table.rename(b"f/moves", b"f/moved", false).unwrap();
                    assert_eq!(table.get(b"f/moved").unwrap(), Some(value_of("f/moves")));
                    put_and_get(table, "f/3");
                    table.remove(b"f/3").unwrap();
                    assert_eq!(table.get(b"f/3").unwrap(), None);
                },
                |table| {
                    for _ in 0..3 {
                        rotate(table);
                        table.upkeep().unwrap();
                    }
                },
                |table| {
                    for _ in 0..4 {
                        assert_eq!(table.get(b"base").unwrap(), Some(value_of("base")));
                        let listed = keys(table);
                        assert!(listed.is_sorted() && listed.contains(&"base".to_owned()));
                        // Under one name or under both.
                        let is_there =
                            [&b"f/moves"[..], b"f/moved"].map(|name| table.exists(name).unwrap());
                        assert!(is_there.contains(&true), "a file that is renamed is nowhere");
                    }
                },
                |table| (0..2).for_each(|_| table.flush().unwrap()),
            ],
        );
        let expected = ["a/", "a/0", "a/1", "a/2", "a/3", "base", "f/", "f/moved"];
        assert_all_there(&fixture, db, table, &expected);
    });
}

#[test]
fn of_two_writers_of_one_name_one_wins_while_it_is_sealed() {
    explore(|| {
        let fixture = fixture();
        let (db, table) = fixture.create();
        let won = Arc::new(AtomicU32::new(0));
        let put = |by: &'static [u8]| {
            let (table, won) = (Arc::clone(&table), Arc::clone(&won));
            shuttle::thread::spawn(move || match table.put(b"d/name", by) {
                Ok(()) => {
                    won.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(table.get(b"d/name").unwrap().unwrap(), by);
                }
                Err(Error::Exists { .. }) => {}
                Err(error) => panic!("{error}"),
            })
        };
        let writers = [put(b"one"), put(b"other")];
        rotate(&table);
        table.upkeep().unwrap();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(won.load(Ordering::SeqCst), 1);
        assert_all_there(&fixture, db, table, &["d/", "d/name"]);
    });
}

#[test]
fn what_expires_goes_once_and_what_lives_stays() {
    explore(|| {
        let fixture = fixture();
        let (db, table) = fixture.create();
        table.set_ttl(Some(Duration::from_secs(100))).unwrap();
        put_and_get(&table, "old");
        seal_all(&table);
        fixture.options.clock.advance(Duration::from_secs(60));
        put_and_get(&table, "young");
        fixture.options.clock.advance(Duration::from_secs(60));
        together(
            &table,
            vec![
                |table| {
                    for _ in 0..4 {
                        assert_ne!(table.get(b"old").unwrap(), Some(value_of("old")));
                        assert_eq!(table.get(b"young").unwrap(), Some(value_of("young")));
                    }
                },
                |table| {
                    rotate(table);
                    table.upkeep().unwrap();
                },
                |table| put_and_get(table, "new"),
                // Its time is up and it may be dropped, so the name is free.
                |table| drop(table.put(b"old", b"again").map(|()| table.remove(b"old"))),
            ],
        );
        table.upkeep().unwrap();
        assert_all_there(&fixture, db, table, &["new", "young"]);
    });
}

#[test]
fn a_key_is_found_while_the_keymap_grows() {
    explore(|| {
        let mut fixture = fixture();
        fixture.options.engine.segment_keys_max = 10_000;
        let (db, table) = fixture.create();
        let name = |number: usize| format!("k{number:04}");
        let batch = |table: &Table, numbers: std::ops::Range<usize>| {
            let names: Vec<String> = numbers.map(name).collect();
            let pairs: Vec<(&[u8], &[u8])> =
                names.iter().map(|n| (n.as_bytes(), &b"v"[..])).collect();
            table.put_batch(&pairs).unwrap();
        };
        // Four pages hold a little more.
        batch(&table, 0..780);
        seal_all(&table);
        let pages = table.keymap_stats().unwrap().unwrap().pages;
        batch(&table, 780..900);
        together(
            &table,
            vec![
                |table| {
                    rotate(table);
                    table.upkeep().unwrap();
                },
                |table| {
                    for number in (0..900).step_by(97) {
                        let key = format!("k{number:04}");
                        assert_eq!(table.get(key.as_bytes()).unwrap().unwrap(), b"v", "{key}");
                    }
                },
                |table| {
                    table.remove(b"k0500").unwrap();
                    assert_eq!(table.get(b"k0500").unwrap(), None);
                },
            ],
        );
        assert!(table.keymap_stats().unwrap().unwrap().pages > pages, "it has grown");
        assert_eq!(keys(&table).len(), 899);
        drop(table);
        db.close().unwrap();
    });
}
