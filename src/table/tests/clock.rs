//! A clock that is wrong hides what has expired by it, and erases nothing for a while.

use super::*;

const YEARS_NS: u64 = 10 * 365 * 24 * HOUR_NS;
const HOLD: Duration = Duration::from_secs(3600);

/// A table with a time to live of an hour, a sealed segment and an active one.
fn filled(fixture: &Fixture) -> Db {
    let (db, table) = fixture.create();
    table.set_ttl(Some(Duration::from_secs(3600))).unwrap();
    table.put(b"a/sealed", &[1; 5000]).unwrap();
    seal_all(&table);
    table.put(b"a/active", &[2; 5000]).unwrap();
    table.flush().unwrap();
    db
}

fn assert_all_there(table: &Table) {
    assert_eq!(keys(table), ["a/", "a/active", "a/sealed"]);
    assert_eq!(table.get(b"a/sealed").unwrap().unwrap(), [1; 5000]);
    assert_eq!(table.get(b"a/active").unwrap().unwrap(), [2; 5000]);
}

#[test]
fn a_clock_years_ahead_at_opening_erases_nothing_in_time_to_set_it_right() {
    let fixture = Fixture::new(2);
    let clock = &fixture.options.clock;
    let right_ns = clock.now_ns();
    filled(&fixture).close().unwrap();
    for round in 0..3 {
        clock.set_ns(right_ns + YEARS_NS);
        let db = fixture.open();
        let table = db.table("table").unwrap();
        assert!(keys(&table).is_empty(), "what the clock says counts for readers");
        clock.advance(HOLD / 2);
        db.upkeep().unwrap();
        table.flush().unwrap();
        drop(table);
        db.close().unwrap();
        clock.set_ns(right_ns);
        let db = fixture.open();
        db.upkeep().unwrap();
        assert_all_there(&db.table("table").unwrap());
        assert!(!fixture.segment_files().is_empty(), "round {round}");
        db.close().unwrap();
    }
    // When it was right after all, the space comes back when the hold ends.
    clock.set_ns(right_ns + YEARS_NS);
    let db = fixture.open();
    clock.advance(HOLD);
    db.upkeep().unwrap();
    assert_eq!(fixture.segment_files(), Vec::<PathBuf>::new());
}

#[test]
fn a_clock_that_is_set_forward_while_open_erases_nothing_in_time_to_set_it_right() {
    let fixture = Fixture::new(1);
    let clock = &fixture.options.clock;
    let right_ns = clock.now_ns();
    let db = filled(&fixture);
    let table = db.table("table").unwrap();
    clock.set_ns(right_ns + YEARS_NS);
    db.upkeep().unwrap();
    assert!(keys(&table).is_empty());
    clock.set_ns(right_ns);
    assert_all_there(&table);
    db.upkeep().unwrap();
    assert_all_there(&table);
    clock.set_ns(right_ns + YEARS_NS);
    db.upkeep().unwrap();
    clock.advance(HOLD);
    db.upkeep().unwrap();
    assert_eq!(fixture.segment_files(), Vec::<PathBuf>::new());
}

#[test]
fn a_clock_that_is_set_back_loses_nothing() {
    let fixture = Fixture::new(1);
    let clock = &fixture.options.clock;
    let right_ns = clock.now_ns();
    let db = filled(&fixture);
    let table = db.table("table").unwrap();
    clock.set_ns(right_ns / 2);
    table.put(b"b", b"written in the past").unwrap();
    seal_all(&table);
    assert_eq!(keys(&table), ["a/", "a/active", "a/sealed", "b"]);
    // By the clock of the moment its time to live begins.
    clock.set_ns(right_ns);
    assert_all_there(&table);
    db.upkeep().unwrap();
    assert_all_there(&table);
}
