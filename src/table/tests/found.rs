//! What a power cut or a failing drive leaves in single places; the campaigns of `tests/crashes` go
//! through all of them.

use std::os::unix::fs::FileExt as _;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::disk::{Disk, Fault, Faults};
use crate::root_id::RootId;
use crate::table::active::ActiveSegment;

impl Fixture {
    fn with_faults(&mut self) -> Arc<Faults> {
        self.options.engine.flush_interval = Duration::from_secs(3600);
        let faults = Arc::new(Faults::default());
        self.options.disk = Disk::with_faults(Arc::clone(&faults));
        faults
    }

    fn map_file(&self) -> PathBuf {
        let data = self.options.roots[0].join("table/keymap/data");
        std::fs::read_dir(data).unwrap().next().unwrap().unwrap().path()
    }

    fn is_good(&self) -> bool {
        let report = crate::check::check(&self.options, None, &mut |_| {}).unwrap();
        report.is_good()
    }
}

/// Spoils every page of a keymap but its headers, as a torn write would.
fn tear_pages(map: &Path) {
    let file = std::fs::File::options().write(true).open(map).unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    for page in 2..pages {
        file.write_all_at(&[0x55; 512], page * 4096 + 1024).unwrap();
    }
}

#[test]
fn a_keymap_page_that_a_power_cut_has_torn_costs_nothing() {
    let fixture = Fixture::new(1);
    let (db, table) = fixture.create();
    table.put(b"a/sealed", b"value").unwrap();
    seal_all(&table);
    drop(table);
    db.kill();
    tear_pages(&fixture.map_file());
    assert!(fixture.is_good(), "a power cut leaves this");
    let db = fixture.open();
    let table = db.table("table").unwrap();
    assert_eq!(table.get(b"a/sealed").unwrap().unwrap(), b"value");
    // Torn while it is open, nothing but the next sealing meets it.
    tear_pages(&fixture.map_file());
    for number in 0..50 {
        table.put(format!("{number}").as_bytes(), b"value").unwrap();
    }
    seal_all(&table);
    table.upkeep().unwrap();
    assert!(table.segments.view().unindexed.is_empty());
    drop(table);
    db.close().unwrap();
    assert!(fixture.is_good());
}

#[test]
fn a_lookup_finds_what_is_there_while_the_keymap_is_made_anew() {
    let fixture = Fixture::new(1);
    let (_db, table) = fixture.create();
    for number in 0..200 {
        table.put(format!("{number}").as_bytes(), b"value").unwrap();
    }
    seal_all(&table);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut missed = 0;
            while !is_over.load(Ordering::Relaxed) {
                missed += (0..200)
                    .filter(|number| table.entry(format!("{number}").as_bytes()).unwrap().is_none())
                    .count();
            }
            missed
        });
        for _ in 0..300 {
            table.signals.ask_for_rebuild();
            table.upkeep().unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(reader.join().unwrap(), 0);
    });
}

#[test]
fn what_is_below_a_lost_folder_is_lost_with_it() {
    let fixture = Fixture::new(1);
    let (db, table) = fixture.create();
    table.set_shards(1).unwrap();
    table.put(b"kept/file", b"value").unwrap();
    table.flush().unwrap();
    table.put(b"lost/deep/file", b"value").unwrap();
    table.put(b"lost.not", b"value").unwrap();
    let folder = table.entry(b"lost/").unwrap().unwrap().location;
    drop(table);
    db.kill();
    let name = format!("{}-0.values", folder.segment);
    let shard = fixture.segment_files().into_iter().find(|path| path.ends_with(&name)).unwrap();
    let shard = std::fs::File::options().write(true).open(shard).unwrap();
    shard.write_all_at(&[0; 16], folder.offset).unwrap();
    for _ in 0..2 {
        let db = fixture.open();
        let table = db.table("table").unwrap();
        // And whatever came behind it.
        assert_eq!(keys(&table), ["kept/", "kept/file"]);
        assert_eq!(table.get(b"lost/deep/file").unwrap(), None);
        drop(table);
        db.close().unwrap();
    }
    let db = fixture.open();
    let table = db.table("table").unwrap();
    table.put(b"lost/deep/file", b"again").unwrap();
    assert_eq!(table.get(b"lost/deep/file").unwrap().unwrap(), b"again");
}

#[test]
fn the_name_of_a_table_that_could_not_be_dropped_can_be_used_again() {
    for nth in 1.. {
        let mut fixture = Fixture::new(2);
        let faults = fixture.with_faults();
        let (db, table) = fixture.create();
        table.put(b"of the first", b"value").unwrap();
        seal_all(&table);
        drop(table);
        faults.fail_nth(nth, libc::EIO);
        let dropped = db.drop_table("table");
        let is_over = faults.struck().is_empty();
        faults.heal();
        assert!(is_over || dropped.is_err(), "{nth}");
        let attributes = Attributes::new_at_ns(Kind::Folder, 0o755, 0, 0, 0);
        let table = db.create_table_with("table", TableSettings::default(), attributes).unwrap();
        table.put(b"of the second", b"value").unwrap();
        drop(table);
        db.close().unwrap();
        let db = fixture.open();
        assert_eq!(keys(&db.table("table").unwrap()), ["of the second"], "{nth}");
        if is_over {
            break;
        }
    }
}

#[test]
fn every_sync_that_fails_makes_the_table_read_only() {
    let mut failed = 0;
    for nth in 1.. {
        let mut fixture = Fixture::new(1);
        fixture.options.engine.segment_keys_max = 8;
        let faults = fixture.with_faults();
        let (db, table) = fixture.create();
        faults.fail_nth(nth, libc::EIO);
        // Errors come to whoever calls, or stay with the threads of the table.
        for number in 0..12 {
            table.put(format!("{number}").as_bytes(), b"value").unwrap_or_default();
        }
        table.set_ttl(Some(Duration::from_secs(7200))).unwrap_or_default();
        table.upkeep().unwrap_or_default();
        fixture.options.clock.advance(Duration::from_secs(10_000));
        table.upkeep().unwrap_or_default();
        table.upkeep().unwrap_or_default();
        let struck = faults.struck();
        let Some((operation, path)) = struck.first() else { break };
        if *operation == crate::operation::Operation::Sync {
            failed += 1;
            let reason = table.poisoned().unwrap_or_default();
            assert!(reason.contains("sync"), "{nth}: {}: {reason:?}", path.display());
            assert!(matches!(table.put(b"x", b"y"), Err(Error::Poisoned { .. })));
            drop(table);
            assert!(matches!(db.close(), Err(Error::Poisoned { .. })));
        }
    }
    assert!(failed > 15, "only {failed} syncs");
}

#[test]
fn a_dead_record_with_a_torn_header_does_not_keep_its_segment_from_being_sealed() {
    let fixture = Fixture::new(1);
    let (_db, table) = fixture.create();
    table.set_shards(1).unwrap();
    table.put(b"first", b"value").unwrap();
    table.put(b"removed", b"value").unwrap();
    let removed = table.entry(b"removed").unwrap().unwrap();
    table.remove(b"removed").unwrap();
    table.flush().unwrap();
    let active = table.segments.view().active.clone().unwrap();
    let shard = active.packed_file(removed.location.shard.into()).unwrap().unwrap();
    shard.write_all_at(&[0xff; 8], removed.location.offset + 20).unwrap();
    drop(active);
    seal_all(&table);
    assert_eq!(table.poisoned(), None);
    assert_eq!(keys(&table), ["first"]);
}

/// A table with one shard and without upkeep, and the path of that shard.
fn one_shard(fixture: &Fixture) -> (Db, Arc<Table>, PathBuf) {
    let (db, table) = fixture.create();
    table.set_shards(1).unwrap();
    table.put(b"kept", b"value").unwrap();
    let active = table.segments.view().active.clone().unwrap();
    let shard = active.packed_file(0).unwrap().unwrap().path().to_path_buf();
    (db, table, shard)
}

#[test]
fn a_value_is_not_written_where_the_log_still_speaks_of_another() {
    let fixture = Fixture::new(1);
    let (db, table, shard) = one_shard(&fixture);
    table.put(b"removed", b"another value").unwrap();
    table.remove(b"removed").unwrap();
    let bytes = std::fs::metadata(&shard).unwrap().len();
    drop(table);
    db.kill();
    // A power cut takes the bytes, which nobody asks for, and leaves the log.
    let cut = bytes - 104;
    std::fs::File::options().write(true).open(&shard).unwrap().set_len(cut).unwrap();
    let db = fixture.open();
    let table = db.table("table").unwrap();
    assert_eq!(keys(&table), ["kept"]);
    table.put(b"stored later", b"its value").unwrap();
    for _ in 0..2 {
        assert_eq!(table.get(b"stored later").unwrap().unwrap(), b"its value");
        seal_all(&table);
    }
    assert_eq!(keys(&table), ["kept", "stored later"]);
    drop(table);
    db.close().unwrap();
    assert!(fixture.is_good());
}

#[test]
fn a_header_that_was_half_rewritten_costs_nothing() {
    let mut fixture = Fixture::new(1);
    fixture.options.engine.flush_interval = Duration::from_secs(3600);
    let (db, table, shard) = one_shard(&fixture);
    for (name, renamed) in [(&b"first"[..], &b"1st"[..]), (b"large", b"copy")] {
        table.put(name, &vec![name[0]; 100 * name.len() * usize::from(name[0])]).unwrap();
        table.rename(name, renamed, false).unwrap();
    }
    let names = [&b"1st"[..], b"copy"];
    let offsets = names.map(|name| table.entry(name).unwrap().unwrap().location.offset);
    table.flush().unwrap();
    drop(table);
    db.kill();
    // The first half of the new header, with its checksum, in front of the second half of the old.
    let file = std::fs::File::options().write(true).open(&shard).unwrap();
    for offset in offsets {
        file.write_all_at(&[0x5a; 4], offset + 4).unwrap();
    }
    assert!(fixture.is_good(), "a power cut while headers are rewritten leaves this");
    let value = |name: &[u8], length: usize| vec![name[0]; 100 * length * usize::from(name[0])];
    for read_only in [true, false] {
        let options = OpenOptions { read_only, ..fixture.options.clone() };
        let db = Db::open(options).unwrap();
        let table = db.table("table").unwrap();
        let assert_all_there = || {
            assert_eq!(table.get(b"1st").unwrap().unwrap(), value(b"first", 5));
            assert_eq!(table.get_range(b"copy", 70, 9).unwrap().unwrap(), value(b"l", 5)[..9]);
        };
        assert_all_there();
        if !read_only {
            seal_all(&table);
            assert_all_there();
        }
        drop(table);
        db.close().unwrap();
    }
    assert!(fixture.is_good());
}

#[test]
fn a_time_to_live_that_was_made_longer_keeps_what_was_about_to_be_dropped() {
    let fixture = Fixture::new(1);
    let (_db, table) = fixture.create();
    table.set_ttl(Some(Duration::from_secs(60))).unwrap();
    table.put(b"a", b"value").unwrap();
    seal_all(&table);
    let last = *table.segments.view().sealed.keys().next_back().unwrap();
    fixture.options.clock.advance(Duration::from_secs(100));
    assert_eq!(table.get(b"a").unwrap(), None);
    // Upkeep has found that the segment can go; before it does, somebody sets the time to live.
    table.set_ttl(None).unwrap();
    table.drop_up_to(last).unwrap();
    assert_eq!(table.get(b"a").unwrap().unwrap(), b"value");
    table.set_ttl(Some(Duration::from_secs(60))).unwrap();
    table.upkeep().unwrap();
    assert!(table.segments.view().sealed.is_empty());
    table.set_ttl(None).unwrap();
    assert_eq!(table.get(b"a").unwrap(), None);
}

#[test]
fn the_mark_of_a_sync_that_failed_vouches_for_nothing() {
    let mut fixture = Fixture::new(1);
    let faults = fixture.with_faults();
    let (db, table, shard) = one_shard(&fixture);
    table.flush().unwrap();
    table.put(b"later", b"its value").unwrap();
    let later = table.entry(b"later").unwrap().unwrap();
    // The shard is synced, the mark is written, and the log is not synced.
    faults.fail_nth(3, libc::EIO);
    assert!(matches!(table.flush(), Err(error) if error.is_sync()));
    assert!(faults.struck()[0].1.ends_with("1.keys"), "{:?}", faults.struck());
    drop(table);
    db.kill();
    // What the drive never took is gone when the memory of the system is.
    let file = std::fs::File::options().write(true).open(&shard).unwrap();
    file.write_all_at(&[0; 8], later.location.offset + 88).unwrap();
    let db = fixture.open();
    let table = db.table("table").unwrap();
    assert_eq!(keys(&table), ["kept"]);
    assert_eq!(table.get(b"kept").unwrap().unwrap(), b"value");
}

#[test]
fn a_segment_is_sealed_once_although_the_keymap_cannot_be_written() {
    let mut fixture = Fixture::new(1);
    let faults = fixture.with_faults();
    let (db, table, _) = one_shard(&fixture);
    let keymap = fixture.options.roots[0].join("table/keymap");
    let (errno, below) = (libc::EIO, Some(keymap));
    faults.arrange(Fault { nth: 1, errno, lasts: true, below, tears: false });
    let active = table.segments.view().active.clone().unwrap();
    let run = active.other_paths().next().unwrap().to_path_buf();
    table.segments.rotate(&active);
    drop(active);
    table.upkeep().unwrap_err();
    assert!(table.segments.view().sealing.is_empty());
    let sealed = std::fs::read(&run).unwrap();
    // What was given out meanwhile would be in a run that is written again.
    table.put(b"later", b"its value").unwrap();
    table.upkeep().unwrap_err();
    assert!(std::fs::read(&run).unwrap() == sealed, "files of a sealed segment never change");
    assert_eq!(table.get(b"kept").unwrap().unwrap(), b"value");
    assert_eq!(table.poisoned(), None);
    faults.heal();
    table.upkeep().unwrap();
    assert!(table.segments.view().unindexed.is_empty());
    drop(table);
    db.close().unwrap();
    assert!(fixture.is_good());
}

#[test]
fn a_flush_leaves_a_segment_blank_in_which_nothing_was_stored() {
    let fixture = Fixture::new(1);
    let (db, table) = fixture.create();
    table.segments.open_next().unwrap();
    let metadata = table.segments.view().active.as_ref().unwrap().metadata_path().to_path_buf();
    table.flush().unwrap();
    drop(table);
    db.kill();
    // What removing it leaves when the power is cut in the middle.
    std::fs::remove_file(&metadata).unwrap();
    assert!(fixture.is_good());
    let db = fixture.open();
    assert!(db.unavailable_tables().is_empty(), "{:?}", db.unavailable_tables());
}

#[test]
fn every_error_names_the_root_that_it_comes_from() {
    let mut named = [0, 0];
    for nth in 1.. {
        let mut fixture = Fixture::new(2);
        fixture.options.engine.segment_keys_max = 8;
        fixture.options.engine.spill_bytes = 4096;
        let faults = fixture.with_faults();
        let (_db, table) = fixture.create();
        faults.fail_nth(nth, libc::EIO);
        let mut results = Vec::new();
        for number in 0..12_usize {
            results.push(table.put(format!("{number}").as_bytes(), &vec![7; 1000 * number]));
        }
        results.push(table.flush());
        results.push(table.set_ttl(Some(Duration::from_secs(7200))));
        results.push(table.upkeep());
        fixture.options.clock.advance(Duration::from_secs(10_000));
        results.push(table.upkeep());
        results.push(table.close());
        if faults.struck().is_empty() {
            break;
        }
        for error in results.into_iter().filter_map(Result::err) {
            let Error::Io { path, root, .. } = &error else { continue };
            let roots = &fixture.options.roots;
            let expected = roots.iter().position(|root| path.starts_with(root)).unwrap();
            assert_eq!(root.map(RootId::position), Some(expected), "{nth}: {error}");
            named[expected] += 1;
        }
    }
    assert!(named.iter().all(|count| *count > 10), "{named:?}");
}

/// The position of the root of the first shard.
fn root_of(segment: &ActiveSegment) -> usize {
    segment.roots().next().unwrap().position()
}

#[test]
fn new_values_leave_out_a_drive_that_refuses_to_write() {
    // ext4 makes itself read-only when its journal cannot be written.
    for errno in [libc::EIO, libc::EROFS] {
        let mut fixture = Fixture::new(2);
        let faults = fixture.with_faults();
        let (db, table, _) = one_shard(&fixture);
        let root_of_active = || root_of(table.segments.view().active.as_ref().unwrap());
        while root_of_active() == 0 {
            seal_all(&table);
            table.put(format!("{}", faults.seen()).as_bytes(), b"value").unwrap();
        }
        table.flush().unwrap();
        let failed = fixture.options.roots[1].clone();
        let below = Some(failed.clone());
        faults.arrange(Fault { nth: 1, errno, lasts: true, below, tears: false });
        for number in 0..30 {
            table.put(format!("later/{number}").as_bytes(), b"its value").unwrap();
            table.flush().unwrap();
        }
        assert_eq!(root_of_active(), 0);
        assert_eq!(table.get(b"later/29").unwrap().unwrap(), b"its value");
        assert_eq!(table.poisoned(), None);
        let reported: Vec<PathBuf> = db.failed_roots().into_iter().map(|(root, _)| root).collect();
        assert_eq!(reported, [failed]);
        faults.heal();
        drop(table);
        db.close().unwrap();
        assert!(fixture.is_good());
    }
}

#[test]
fn a_segment_in_which_nothing_was_stored_is_no_loss_when_its_drive_fails() {
    let mut fixture = Fixture::new(2);
    let faults = fixture.with_faults();
    let (db, table, _) = one_shard(&fixture);
    let blank = loop {
        seal_all(&table);
        table.segments.open_next().unwrap();
        let active = table.segments.view().active.clone().unwrap();
        if root_of(&active) == 1 {
            break active;
        }
        table.put(format!("{}", faults.seen()).as_bytes(), b"value").unwrap();
    };
    let below = Some(fixture.options.roots[1].clone());
    faults.arrange(Fault { nth: 1, errno: libc::EIO, lasts: true, below, tears: false });
    table.put(b"elsewhere", b"its value").unwrap();
    assert_ne!(table.entry(b"elsewhere").unwrap().unwrap().location.segment, blank.number());
    table.upkeep().unwrap();
    assert!(table.segments.view().sealing.is_empty());
    table.flush().unwrap();
    drop((blank, table));
    db.kill();
    faults.heal();
    assert!(fixture.is_good());
    let db = fixture.open();
    let table = db.table("table").unwrap();
    assert_eq!(table.get(b"elsewhere").unwrap().unwrap(), b"its value");
    seal_all(&table);
    drop(table);
    db.close().unwrap();
    assert!(fixture.is_good());
}

#[test]
fn what_is_left_of_a_blank_segment_in_front_of_others_is_no_damage() {
    let fixture = Fixture::new(1);
    let (db, table, _) = one_shard(&fixture);
    seal_all(&table);
    let gap = table.segments.view().sealed.keys().next_back().unwrap().0 + 1;
    table.segments.note_number(SegmentNumber(gap));
    table.put(b"later", b"value").unwrap();
    drop(table);
    db.close().unwrap();
    let left = fixture.options.roots[0].join(format!("table/segments/{gap}-0.values"));
    std::fs::write(&left, b"").unwrap();
    assert!(fixture.is_good());
    let db = fixture.open();
    assert_eq!(keys(&db.table("table").unwrap()), ["kept", "later"]);
    assert!(!left.exists());
    db.close().unwrap();
    // One with something in it is no blank one.
    std::fs::write(&left, b"bytes").unwrap();
    assert!(!fixture.is_good());
}
