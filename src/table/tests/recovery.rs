//! What is there after a kill, with files missing or damaged, or opened with less than all of it.

use super::*;

#[test]
fn a_kill_loses_nothing_that_was_put() {
    let fixture = Fixture::new(2);
    let (db, table) = fixture.create();
    for number in 0..100 {
        table.put(format!("k{number}").as_bytes(), &[number; 1000]).unwrap();
    }
    let mut writer = table.writer().unwrap();
    let large: Vec<u8> = (0..9_000_000_u32).map(|index| (index / 3) as u8).collect();
    writer.write_at(0, &large).unwrap();
    writer.store(b"large", table.context.default_attributes(Kind::File)).unwrap();
    std::mem::forget(writer);
    db.kill();
    let again = fixture.open();
    let reopened = again.table("table").unwrap();
    for number in 0..100 {
        let value = reopened.get(format!("k{number}").as_bytes()).unwrap();
        assert_eq!(value, Some(vec![number; 1000]));
    }
    assert_eq!(reopened.get(b"large").unwrap(), Some(large.clone()));
    assert_eq!(
        reopened.get_range(b"large", 5_000_001, 100).unwrap().unwrap(),
        large[5_000_001..5_000_101]
    );
    reopened.put(b"k0", b"again").unwrap_err();
    reopened.put(b"new", b"value").unwrap();
}

#[test]
fn a_writer_that_waits_for_the_sealer_is_told_when_the_table_is_poisoned() {
    let mut fixture = Fixture::new(1);
    fixture.options.engine.segment_keys_max = 1;
    let (db, table) = fixture.create();
    // Nothing is sealed until it goes.
    let upkeep = table.upkeep_io.lock();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            (0..100).find_map(|number| table.put(format!("{number}").as_bytes(), b"v").err())
        });
        while table.segments.view().sealing.len() < 2 {
            std::thread::yield_now();
        }
        table.health.poison(&Error::corrupt(Path::new("/drive"), 0, "a test"));
        let refused = writer.join().unwrap();
        assert!(matches!(refused, Some(Error::Poisoned { .. })), "{refused:?}");
    });
    drop(upkeep);
    drop(table);
    db.kill();
}

#[test]
fn a_crash_while_a_table_is_dropped_brings_nothing_back() {
    let fixture = Fixture::new(2);
    let (db, table) = fixture.create();
    table.put(b"a", b"1").unwrap();
    let dropped = format!(".dropped-{}", table.id_hex());
    drop(table);
    db.close().unwrap();
    let root = &fixture.options.roots[0];
    std::fs::rename(root.join("table"), root.join(&dropped)).unwrap();
    let db = fixture.open();
    assert!(db.tables().is_empty());
    for root in &fixture.options.roots {
        assert!(!root.join("table").exists() && !root.join(&dropped).exists());
    }
}

#[test]
fn nothing_is_done_to_a_new_table_through_one_that_was_dropped() {
    let mut fixture = Fixture::new(1);
    // Of which two have the next segment made.
    fixture.options.engine.segment_keys_max = 4;
    let (db, old) = fixture.create();
    old.put(b"a", b"1").unwrap();
    old.put(b"b", b"2").unwrap();
    old.upkeep().unwrap();
    db.drop_table("table").unwrap();
    let new = db.create_table("table", TableSettings::default()).unwrap();
    new.put(b"c", b"3").unwrap();
    // It would have to make another spare.
    old.segments.discard_spare();
    let files = fixture.segment_files();
    old.upkeep().unwrap();
    assert_eq!(fixture.segment_files(), files);
    assert!(matches!(old.set_ttl(None), Err(Error::TableDropped { .. })));
    drop((old, new));
    db.close().unwrap();
    let db = fixture.open();
    let table = db.table("table").unwrap();
    assert_eq!(table.get(b"c").unwrap().unwrap(), b"3");
}

#[test]
fn a_name_is_free_once_the_folders_of_the_dropped_table_are_gone() {
    let fixture = Fixture::new(2);
    let db = fixture.open();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                match db.drop_table("table") {
                    Ok(()) | Err(Error::NoSuchTable { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        for _ in 0..20 {
            match db.create_table("table", TableSettings::default()) {
                Ok(_) | Err(Error::TableExists { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        done.store(true, Ordering::Release);
    });
    let table = db.open_or_create_table("table", TableSettings::default()).unwrap();
    table.put(b"a", b"1").unwrap();
    drop(table);
    db.close().unwrap();
    let db = fixture.open();
    let table = db.table("table").unwrap();
    assert_eq!(table.get(b"a").unwrap().unwrap(), b"1");
}

#[test]
fn read_only_sees_everything_and_writes_nothing() {
    let mut fixture = Fixture::new(2);
    let (db, table) = fixture.create();
    table.put(b"d/sealed", b"1").unwrap();
    seal_all(&table);
    table.put(b"d/active", b"2").unwrap();
    db.kill();
    std::fs::remove_dir_all(fixture.options.roots[0].join("table/keymap")).unwrap();
    let before = fixture.segment_files();
    fixture.options.read_only = true;
    let db = fixture.open();
    let table = db.table("table").unwrap();
    assert_eq!(table.get(b"d/sealed").unwrap().unwrap(), b"1");
    assert_eq!(table.get(b"d/active").unwrap().unwrap(), b"2");
    assert_eq!(keys(&table), ["d/", "d/active", "d/sealed"]);
    assert!(matches!(table.put(b"x", b""), Err(Error::ReadOnly)));
    assert!(matches!(table.set_ttl(None), Err(Error::ReadOnly)));
    db.close().unwrap();
    assert_eq!(fixture.segment_files(), before);
    assert!(!fixture.options.roots[0].join("table/keymap").exists());
}

#[test]
fn damaged_segment_metadata_costs_nothing() {
    for seal_first in [false, true] {
        let fixture = Fixture::new(1);
        let (db, table) = fixture.create();
        table.put(b"d/k", b"value").unwrap();
        if seal_first {
            seal_all(&table);
        }
        drop(table);
        db.close().unwrap();
        let path = fixture.options.roots[0].join("table/segments/1.metadata");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let db = fixture.open();
        let table = db.table("table").unwrap();
        assert_eq!(table.get(b"d/k").unwrap().unwrap(), b"value");
        assert_eq!(keys(&table), ["d/", "d/k"]);
        assert_eq!(table.usage().keys, 1);
    }
}

#[test]
fn a_segment_that_was_never_finished_is_cleared_away() {
    let fixture = Fixture::new(2);
    let (db, table) = fixture.create();
    table.put(b"k", b"value").unwrap();
    drop(table);
    db.close().unwrap();
    // As a crash or a full drive leaves it: some files, nothing in them, no metadata.
    let segments = fixture.options.roots[1].join("table/segments");
    for unfinished in ["2-0.values", "2-3.values", "0-1.values", "2.keys", "spill-9.tmp"] {
        std::fs::write(segments.join(unfinished), b"").unwrap();
    }
    let db = fixture.open();
    let table = db.table("table").unwrap();
    assert!(fixture.segment_files().iter().all(|path| name(path).starts_with('1')));
    table.put(b"l", b"value").unwrap();
    drop(table);
    db.close().unwrap();
    // But what holds something is never taken for a leftover.
    std::fs::write(segments.join("7-0.values"), [1; 100]).unwrap();
    let db = fixture.open();
    let refused = db.table("table").unwrap_err().to_string();
    assert!(refused.contains("7.metadata"), "{refused}");
    db.close().unwrap();
    assert!(segments.join("7-0.values").exists());
}

#[test]
fn the_next_segment_is_made_early_and_is_no_trace_of_use() {
    let mut fixture = Fixture::new(2);
    fixture.options.engine.segment_keys_max = 100;
    let (db, table) = fixture.create();
    for number in 0..60 {
        table.put(format!("k{number}").as_bytes(), b"x").unwrap();
    }
    table.upkeep().unwrap();
    let second = |path: &PathBuf| name(path).starts_with('2');
    assert!(fixture.segment_files().iter().any(second), "a spare was made");
    // A killed process leaves it; the table then goes on in the first segment.
    db.kill();
    let db = fixture.open();
    let table = db.table("table").unwrap();
    for number in 60..90 {
        table.put(format!("k{number}").as_bytes(), b"x").unwrap();
    }
    assert_eq!(table.segments.view().active.as_ref().unwrap().number(), SegmentNumber(1));
    for number in 90..120 {
        table.put(format!("k{number}").as_bytes(), b"x").unwrap();
    }
    assert_eq!(table.segments.view().active.as_ref().unwrap().number(), SegmentNumber(2));
    table.upkeep().unwrap();
    drop(table);
    db.close().unwrap();
    assert!(fixture.segment_files().iter().all(|path| !name(path).starts_with('3')));
    let db = fixture.open();
    assert_eq!(keys(&db.table("table").unwrap()).len(), 120);
}

#[test]
fn without_a_root_the_rest_is_served_read_only() {
    for missing in 0..2 {
        let mut fixture = Fixture::new(2);
        let (db, table) = fixture.create();
        for number in 0..100 {
            table.put(format!("sealed/{number}").as_bytes(), b"1").unwrap();
        }
        seal_all(&table);
        for number in 0..100 {
            table.put(format!("active/{number}").as_bytes(), b"2").unwrap();
        }
        drop(table);
        db.close().unwrap();
        let away = fixture.options.roots[missing].with_extension("away");
        std::fs::rename(&fixture.options.roots[missing], &away).unwrap();
        let refused = Db::open(fixture.options.clone()).unwrap_err().to_string();
        assert!(refused.contains("--degraded"), "{refused}");
        let all = fixture.options.roots.clone();
        fixture.options.roots.remove(missing);
        fixture.options.degraded = true;
        let db = fixture.open();
        assert!(db.is_read_only() && db.missing_roots().len() == 1);
        let table = db.table("table").unwrap();
        assert!(table.put(b"new", b"").is_err());
        // Where the key files are there, what is on the drives that are left can be read.
        let read = (0..100).filter(|number| {
            let key = format!("sealed/{number}");
            matches!(table.get(key.as_bytes()), Ok(Some(value)) if value == b"1")
        });
        let read = read.count();
        assert!(if missing == 0 { read == 0 } else { (20..80).contains(&read) }, "{read}");
        drop(table);
        db.close().unwrap();
        std::fs::rename(&away, &all[missing]).unwrap();
        fixture.options.roots = all;
        fixture.options.degraded = false;
        let db = fixture.open();
        let table = db.table("table").unwrap();
        for number in 0..100 {
            let (sealed, active) = (format!("sealed/{number}"), format!("active/{number}"));
            assert_eq!(table.get(sealed.as_bytes()).unwrap().unwrap(), b"1");
            assert_eq!(table.get(active.as_bytes()).unwrap().unwrap(), b"2");
        }
    }
}

#[test]
fn what_was_stored_survives_a_kill_while_its_writer_writes_over_it() {
    const BYTES: usize = 5 << 20;
    let fixture = Fixture::new(2);
    let (db, table) = fixture.create();
    let attributes = table.context.default_attributes(Kind::File);
    let stored = vec![7; BYTES];
    let mut writers = Vec::new();
    for key in [&b"over"[..], b"cut", b"grown", b"synced", b"again"] {
        let mut writer = table.writer().unwrap();
        writer.write_at(0, &stored).unwrap();
        writer.store(key, attributes).unwrap();
        if key == b"synced" {
            table.flush().unwrap();
        }
        match key {
            b"cut" => writer.truncate(100).unwrap(),
            b"grown" => writer.write_at(stored.len() as u64, b"more").unwrap(),
            _ => writer.write_at(5, b"other").unwrap(),
        }
        writers.push(writer);
    }
    let mut again = writers.pop().unwrap();
    again.store(b"again", attributes).unwrap();
    let mut over = stored.clone();
    over[5..10].copy_from_slice(b"other");
    let check = |table: &Table| {
        for key in [&b"over"[..], b"cut", b"grown", b"synced"] {
            assert!(table.get(key).unwrap().as_ref() == Some(&stored), "{key:?}");
        }
        assert!(table.get(b"again").unwrap().as_ref() == Some(&over));
    };
    check(&table);
    db.kill();
    drop((writers, again, table, db));
    check(&fixture.open().table("table").unwrap());
}

#[test]
fn a_run_that_could_not_be_read_once_is_read_with_the_next_open() {
    let mut fixture = Fixture::new(1);
    let (db, table) = fixture.create();
    for segment in 0..3 {
        table.put(format!("k{segment}").as_bytes(), b"x").unwrap();
        seal_all(&table);
    }
    drop(table);
    db.close().unwrap();
    std::fs::remove_dir_all(fixture.options.roots[0].join("table/keymap")).unwrap();
    let run = fixture.options.roots[0].join("table/segments/2.keys");
    let away = run.with_extension("away");
    std::fs::rename(&run, &away).unwrap();
    fixture.options.engine.segment_keys_max = 1000;
    let found = |fixture: &Fixture| {
        let db = fixture.open();
        let table = db.table("table").unwrap();
        let found: Vec<bool> =
            (0..3).map(|n| table.exists(format!("k{n}").as_bytes()).unwrap_or(false)).collect();
        drop(table);
        db.close().unwrap();
        found
    };
    assert_eq!(found(&fixture), [true, false, true]);
    std::fs::rename(&away, &run).unwrap();
    assert_eq!(found(&fixture), [true, true, true]);
}

#[test]
fn large_values_that_were_removed_give_their_space_back() {
    let fixture = Fixture::new(2);
    let (_db, table) = fixture.create();
    let attributes = table.context.default_attributes(Kind::File);
    for key in [&b"kept"[..], b"gone", b"renamed", b"replaced"] {
        let mut writer = table.writer().unwrap();
        writer.write_at(0, &vec![7; 5 << 20]).unwrap();
        writer.store(key, attributes).unwrap();
    }
    table.remove(b"gone").unwrap();
    table.rename(b"renamed", b"a.name.that.is.much.longer.than.before", false).unwrap();
    table.rename(b"replaced", b"kept", true).unwrap();
    seal_all(&table);
    let dedicated = fixture
        .segment_files()
        .into_iter()
        .filter(|path| std::fs::metadata(path).unwrap().len() == 5 << 20);
    assert_eq!(dedicated.count(), 2);
    for key in [&b"kept"[..], b"a.name.that.is.much.longer.than.before"] {
        assert!(table.get(key).unwrap().unwrap() == vec![7; 5 << 20]);
    }
}

#[test]
fn a_large_value_is_stored_whatever_call_fails_on_the_way() {
    let stored = vec![7; 5 << 20];
    for errno in [libc::ENOSPC, libc::EIO] {
        for nth in 1..=14 {
            let mut fixture = Fixture::new(2);
            // No flush of its own takes the failure that is meant for the store.
            fixture.options.engine.flush_interval = Duration::from_secs(3600);
            let faults = Arc::new(crate::disk::Faults::default());
            fixture.options.disk = crate::disk::Disk::with_faults(Arc::clone(&faults));
            let (_db, table) = fixture.create();
            table.put(b"before", b"x").unwrap();
            let attributes = table.context.default_attributes(Kind::File);
            let mut writer = table.writer().unwrap();
            writer.write_at(0, &stored).unwrap();
            faults.fail_nth(nth, errno);
            let first = writer.store(b"large", attributes);
            faults.fail_nth(1 << 40, errno);
            if first.is_err() {
                assert_eq!(table.get(b"large").unwrap(), None, "half stored: {nth}");
                writer.store(b"large", attributes).unwrap();
            }
            drop(writer);
            for _ in 0..2 {
                assert!(table.get(b"large").unwrap().as_ref() == Some(&stored), "{errno} {nth}");
                assert_eq!(table.get(b"before").unwrap().unwrap(), b"x");
                seal_all(&table);
            }
        }
    }
}

#[test]
fn a_failed_sync_makes_the_table_read_only_until_it_is_opened_again() {
    let mut fixture = Fixture::new(1);
    fixture.options.engine.flush_interval = Duration::from_secs(3600);
    let faults = Arc::new(crate::disk::Faults::default());
    fixture.options.disk = crate::disk::Disk::with_faults(Arc::clone(&faults));
    let (db, table) = fixture.create();
    table.put(b"k", b"value").unwrap();
    faults.fail_nth(1, libc::EIO);
    assert!(table.flush().is_err());
    assert!(table.poisoned().is_some_and(|reason| reason.contains("sync")));
    for _ in 0..2 {
        assert!(matches!(table.put(b"l", b"value"), Err(Error::Poisoned { .. })));
        assert!(matches!(table.flush(), Err(Error::Poisoned { .. })), "it is not tried again");
    }
    assert_eq!(table.get(b"k").unwrap().unwrap(), b"value");
    drop(table);
    assert!(matches!(db.close(), Err(Error::Poisoned { .. })), "not all of it is durable");
    let db = fixture.open();
    let table = db.table("table").unwrap();
    assert_eq!(table.get(b"k").unwrap().unwrap(), b"value");
    table.put(b"l", b"value").unwrap();
    table.flush().unwrap();
}

#[test]
fn folders_keep_the_times_that_were_set_on_them() {
    for seal_first in [false, true] {
        let fixture = Fixture::new(1);
        let (db, table) = fixture.create();
        table.put(b"a/b/file", b"bytes").unwrap();
        if seal_first {
            seal_all(&table);
        }
        let set = |key: &[u8], mtime_ns| {
            let mut attributes = table.entry(key).unwrap().unwrap().attributes;
            attributes.mtime_ns = mtime_ns;
            table.change_attributes(key, attributes).unwrap();
        };
        // The outer ones first, as rsync does: what comes later is below them.
        set(b"a/", 1);
        set(b"a/b/", 2);
        set(b"a/b/file", 3);
        let times = |table: &Table| {
            [&b"a/"[..], b"a/b/", b"a/b/file"]
                .map(|key| table.entry(key).unwrap().unwrap().attributes.mtime_ns)
        };
        assert_eq!(times(&table), [1, 2, 3]);
        db.kill();
        let db = fixture.open();
        let table = db.table("table").unwrap();
        assert_eq!(times(&table), [1, 2, 3], "sealed first: {seal_first}");
        // What comes into a folder moves its time, also for those who read the log.
        table.put(b"a/b/other", b"bytes").unwrap();
        let moved = times(&table);
        assert!(moved[0] == 1 && moved[1] > 3, "{moved:?}");
        db.kill();
        let db = fixture.open();
        assert_eq!(times(&db.table("table").unwrap()), moved);
    }
}

#[test]
fn the_table_keeps_the_times_that_were_set_on_it() {
    for end in [Db::close, |db: &Db| {
        db.kill();
        Ok(())
    }] {
        let fixture = Fixture::new(1);
        let clock = &fixture.options.clock;
        let (db, table) = fixture.create();
        table.put(b"a", b"bytes").unwrap();
        clock.advance(Duration::from_secs(1));
        let set = Attributes {
            mtime_ns: 5,
            ctime_ns: i64::try_from(clock.now_ns()).unwrap(),
            ..table.attributes()
        };
        table.set_attributes(set).unwrap();
        seal_all(&table);
        end(&db).unwrap();
        let db = fixture.open();
        let table = db.table("table").unwrap();
        assert_eq!(table.attributes(), set);
        // What comes later moves it, whatever the end.
        clock.advance(Duration::from_secs(1));
        table.put(b"b", b"bytes").unwrap();
        let moved = table.attributes();
        assert_eq!(moved.mtime_ns, i64::try_from(clock.now_ns()).unwrap());
        end(&db).unwrap();
        let db = fixture.open();
        assert_eq!(db.table("table").unwrap().attributes(), moved);
    }
}

#[test]
fn value_ids_are_never_used_again() {
    for seal in [false, true] {
        let fixture = Fixture::new(1);
        let (db, table) = fixture.create();
        table.put(b"stays", b"").unwrap();
        table.put(b"goes", b"").unwrap();
        let gone = table.entry(b"goes").unwrap().unwrap().id;
        table.remove(b"goes").unwrap();
        if seal {
            seal_all(&table);
        }
        db.kill();
        let db = fixture.open();
        let table = db.table("table").unwrap();
        table.put(b"new", b"").unwrap();
        assert!(table.entry(b"new").unwrap().unwrap().id > gone, "sealed: {seal}");
        db.close().unwrap();
    }
}

/// Whoever opens very many files must not make a table read-only: what could not be opened was not
/// synced either, and can be later.
#[test]
fn too_many_open_files_do_not_poison_a_table() {
    for nth in 1..=12 {
        let mut fixture = Fixture::new(2);
        fixture.options.engine.flush_interval = Duration::from_secs(3600);
        let faults = Arc::new(crate::disk::Faults::default());
        fixture.options.disk = crate::disk::Disk::with_faults(Arc::clone(&faults));
        let (db, table) = fixture.create();
        table.put(b"small", b"x").unwrap();
        let large = vec![1; fixture.options.engine.spill_bytes as usize + 1];
        table.put(b"large", &large).unwrap();
        faults.fail_nth(nth, libc::EMFILE);
        let first = table.flush();
        assert!(first.is_ok() || first.is_err_and(|error| error.is_out_of_descriptors()));
        faults.fail_nth(1 << 40, libc::EMFILE);
        assert_eq!(table.poisoned(), None);
        table.flush().unwrap();
        table.put(b"after", b"y").unwrap();
        drop(table);
        db.kill();
        let db = fixture.open();
        let table = db.table("table").unwrap();
        assert!(table.get(b"large").unwrap().as_ref() == Some(&large), "{nth}");
    }
}
