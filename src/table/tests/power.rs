//! What a power cut leaves, made by hand, and syncs that fail.

use std::sync::Arc;

use super::*;
use crate::disk::{Disk, Faults};
use crate::format::entry::Entry;

#[test]
fn a_value_that_was_not_whole_once_never_comes_back() {
    let fixture = Fixture::new(1);
    let (db, table) = fixture.create();
    table.set_shards(1).unwrap();
    table.put(b"durable", b"old").unwrap();
    table.flush().unwrap();
    let lost =
        table.put_with(b"lost", &[7; 500], table.context.default_attributes(Kind::File)).unwrap();
    table.rename(b"durable", b"renamed", false).unwrap();
    drop(table);
    db.kill();
    // As a power cut leaves it: the log has it, the shard does not.
    let shard = fixture.segment_files().into_iter().find(|path| {
        let length = path.metadata().unwrap().len();
        path.extension().is_some_and(|end| end == "values") && length > lost.location.offset
    });
    let shard = std::fs::File::options().write(true).open(shard.unwrap()).unwrap();
    shard.set_len(lost.location.offset).unwrap();
    for round in 0..3 {
        let db = fixture.open();
        let table = db.table("table").unwrap();
        assert_eq!(table.get(b"lost").unwrap(), None, "round {round}");
        // What came later than the lost one is gone, too.
        assert_eq!(table.get(b"durable").unwrap().unwrap(), b"old");
        assert_eq!(table.get(b"renamed").unwrap(), None);
        // Where the lost one was to be, and with a mark behind it that vouches for all before.
        table.put(format!("later{round}").as_bytes(), &[round; 500]).unwrap();
        let later = table.entry(format!("later{round}").as_bytes()).unwrap().unwrap();
        assert!(later.id > lost.id, "no value id is given twice");
        table.flush().unwrap();
        assert!(names(&table, b"").iter().all(|name| name != "lost"));
        drop(table);
        if round == 0 { db.kill() } else { db.close().unwrap() }
    }
}

#[test]
fn a_segment_that_lost_everything_in_it_is_no_spare() {
    let mut fixture = Fixture::new(2);
    fixture.options.engine.spill_bytes = 4096;
    let (db, table) = fixture.create();
    table.set_shards(1).unwrap();
    table.put(b"earlier", b"value").unwrap();
    table.segments.rotate(table.segments.view().active.as_ref().unwrap());
    table.put(b"lost", &[7; 10_000]).unwrap();
    let lost = table.entry(b"lost").unwrap().unwrap();
    drop(table);
    db.kill();
    // As a power cut leaves it while the first segment is being sealed: of the second one there is
    // the file of the large value, and nothing that names it.
    let is_shard = |path: &PathBuf| path.ends_with(format!("{}-0.values", lost.location.segment));
    let shard = fixture.segment_files().into_iter().find(is_shard).unwrap();
    std::fs::write(&shard, b"").unwrap();
    for _ in 0..3 {
        let db = fixture.open();
        let table = db.table("table").unwrap();
        assert_eq!(keys(&table), ["earlier"]);
        drop(table);
        db.close().unwrap();
    }
}

/// Cuts a shard off where a value begins, as a power cut does before it was synced.
fn lose(fixture: &Fixture, lost: &Entry) {
    let wanted = format!("{}-{}.values", lost.location.segment, lost.location.shard);
    let shard = fixture.segment_files().into_iter().find(|path| path.ends_with(&wanted)).unwrap();
    let shard = std::fs::File::options().write(true).open(shard).unwrap();
    shard.set_len(lost.location.offset).unwrap();
}

#[test]
fn what_came_after_a_lost_value_is_lost_in_later_segments_too_unless_it_was_flushed() {
    for flushed in [false, true] {
        let mut fixture = Fixture::new(1);
        fixture.options.engine.flush_interval = Duration::from_secs(3600);
        let (db, table) = fixture.create();
        table.put(b"old name", b"durable").unwrap();
        table.flush().unwrap();
        // Nothing is sealed meanwhile.
        let upkeep = table.upkeep_io.lock();
        let lost = table.put_with(b"lost", &[7; 500], table.context.default_attributes(Kind::File));
        let active = table.segments.view().active.clone().unwrap();
        table.segments.rotate(&active);
        table.rename(b"old name", b"new name", false).unwrap();
        table.put(b"old name", b"later").unwrap();
        if flushed {
            table.flush().unwrap();
        } else {
            lose(&fixture, &lost.unwrap());
        }
        table.signals.stop();
        drop(upkeep);
        drop(active);
        drop(table);
        db.kill();
        for _ in 0..2 {
            let db = fixture.open();
            let table = db.table("table").unwrap();
            let expected: &[&str] =
                if flushed { &["lost", "new name", "old name"] } else { &["old name"] };
            assert_eq!(keys(&table), expected);
            let old: &[u8] = if flushed { b"later" } else { b"durable" };
            assert_eq!(table.get(b"old name").unwrap().unwrap(), old);
            drop(table);
            db.close().unwrap();
        }
    }
}

#[test]
fn a_value_that_was_taken_back_may_be_gone_and_costs_nothing_behind_it() {
    let fixture = Fixture::new(1);
    let (db, table) = fixture.create();
    table.set_shards(1).unwrap();
    let gone =
        table.put_with(b"gone", &[7; 500], table.context.default_attributes(Kind::File)).unwrap();
    table.remove(b"gone").unwrap();
    drop(table);
    db.kill();
    lose(&fixture, &gone);
    let db = fixture.open();
    let table = db.table("table").unwrap();
    table.put(b"later", b"value").unwrap();
    drop(table);
    db.kill();
    let db = fixture.open();
    assert_eq!(keys(&db.table("table").unwrap()), ["later"]);
}

#[test]
fn what_a_kill_left_unsynced_is_synced_by_the_next_flush() {
    let mut fixture = Fixture::new(1);
    fixture.options.engine.spill_bytes = 4096;
    let (db, table) = fixture.create();
    table.set_shards(1).unwrap();
    table.put(b"large", &[7; 10_000]).unwrap();
    drop(table);
    db.kill();
    let faults = Arc::new(Faults::default());
    fixture.options.disk = Disk::with_faults(Arc::clone(&faults));
    let db = fixture.open();
    let table = db.table("table").unwrap();
    table.put(b"small", b"value").unwrap();
    let dedicated = table.entry(b"large").unwrap().unwrap().dedicated;
    assert_ne!(dedicated, 0);
    let before = faults.seen();
    table.flush().unwrap();
    let with_large = faults.seen() - before;
    table.put(b"small again", b"value").unwrap();
    let before = faults.seen();
    table.flush().unwrap();
    // The file of the large value, and the folder it has its name in.
    assert!(with_large >= faults.seen() - before + 2, "{with_large}");
}

#[test]
fn a_segment_of_which_a_sync_failed_passes_no_other() {
    for names_too in [false, true] {
        let mut fixture = Fixture::new(2);
        fixture.options.engine.spill_bytes = 4096;
        let faults = Arc::new(Faults::default());
        fixture.options.disk = Disk::with_faults(Arc::clone(&faults));
        let (db, table) = fixture.create();
        table.put(b"value", &[7; 5000][..if names_too { 5000 } else { 100 }]).unwrap();
        let active = table.segments.view().active.clone().unwrap();
        faults.fail_nth(1, libc::EIO);
        active.sync().expect_err("the drive says no");
        // It says so once; the sealer asks when the flusher has been told.
        active.sync().expect_err("nobody knows what the drive holds");
        active.sync_values().expect_err("nor now");
        table.flush().expect_err("nor the flusher");
        assert!(table.poisoned().is_some());
        drop((active, table));
        db.kill();
        fixture.open().table("table").unwrap().flush().unwrap();
    }
}
