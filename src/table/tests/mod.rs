//! The engine as a whole: tables in scratch folders, with a clock that stands still.

mod budgets;
mod clock;
mod concurrency;
mod face;
mod found;
mod model;
mod power;
mod recovery;
#[cfg(shuttle)]
mod schedules;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Scan, Table, TableSettings};
use crate::clock::Clock;
use crate::engine_options::EngineOptions;
use crate::error::{Error, Result};
use crate::format::attributes::{Attributes, Kind};
use crate::format::location::SegmentNumber;
use crate::{Db, OpenOptions};

const HOUR_NS: u64 = 3_600_000_000_000;

/// A database in scratch folders, with a clock that stands still.
struct Fixture {
    _scratch: tempfile::TempDir,
    options: OpenOptions,
}

impl Fixture {
    fn new(roots: usize) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let roots = (0..roots).map(|root| scratch.path().join(format!("root{root}"))).collect();
        let engine = EngineOptions { reserve_bytes: 0, ..EngineOptions::default() };
        let clock = Clock::manual_ns(1_000 * HOUR_NS);
        let options = OpenOptions { roots, create: true, engine, clock, ..OpenOptions::default() };
        Self { _scratch: scratch, options }
    }

    fn open(&self) -> Db {
        Db::open(self.options.clone()).unwrap()
    }

    fn create(&self) -> (Db, Arc<Table>) {
        let db = self.open();
        let attributes = Attributes::new_at_ns(Kind::Folder, 0o755, 0, 0, 0);
        let settings = TableSettings { shards: 4, ..TableSettings::default() };
        let table = db.create_table_with("table", settings, attributes).unwrap();
        (db, table)
    }

    fn segment_files(&self) -> Vec<PathBuf> {
        let dirs = self.options.roots.iter().map(|root| root.join("table").join("segments"));
        let mut files: Vec<PathBuf> = dirs
            .flat_map(|dir| std::fs::read_dir(dir).unwrap())
            .map(|e| e.unwrap().path())
            .collect();
        files.sort();
        files
    }
}

fn seal_all(table: &Table) {
    let active = table.segments.view().active.clone();
    if let Some(active) = active {
        table.segments.rotate(&active);
    }
    table.upkeep().unwrap();
    assert!(table.segments.view().sealing.is_empty());
}

fn keys(table: &Table) -> Vec<String> {
    let iter = table.scan(Scan::new()).unwrap();
    iter.map(|live| String::from_utf8(live.unwrap().0).unwrap()).collect()
}

fn names(table: &Table, folder: &[u8]) -> Vec<String> {
    let iter = table.list_folder(folder).unwrap();
    iter.map(|live| String::from_utf8(live.unwrap().0).unwrap()).collect()
}

#[test]
fn what_is_put_is_read_before_and_after_sealing_and_reopening() {
    let fixture = Fixture::new(3);
    let (db, table) = fixture.create();
    let value = |number: usize| vec![number as u8; number * 37 % 200_000];
    for number in 0..500 {
        table.put(format!("k/{number}").as_bytes(), &value(number)).unwrap();
    }
    let check = |table: &Table| {
        for number in 0..500 {
            let key = format!("k/{number}");
            assert_eq!(table.get(key.as_bytes()).unwrap().as_ref(), Some(&value(number)), "{key}");
        }
        assert_eq!(table.get(b"k/500").unwrap(), None);
        assert_eq!(table.usage().keys, 500);
        assert_eq!(names(table, b""), ["k"]);
        assert_eq!(names(table, b"k/").len(), 500);
    };
    check(&table);
    seal_all(&table);
    check(&table);
    drop(table);
    db.close().unwrap();
    for round in 0..3 {
        if round == 2 {
            std::fs::remove_dir_all(fixture.options.roots[0].join("table/keymap")).unwrap();
        }
        let db = fixture.open();
        check(&db.table("table").unwrap());
        db.close().unwrap();
    }
}

#[test]
fn a_live_key_is_put_once() {
    let fixture = Fixture::new(1);
    let (_db, table) = fixture.create();
    table.put(b"a", b"first").unwrap();
    for _ in 0..2 {
        assert!(matches!(table.put(b"a", b"second"), Err(Error::Exists { .. })));
        assert!(matches!(table.put(b"a/b", b"below a file"), Err(Error::NotFolder { .. })));
        assert_eq!(table.get(b"a").unwrap().unwrap(), b"first");
        seal_all(&table);
    }
    table.put(b"f/x", b"").unwrap();
    for _ in 0..2 {
        assert!(matches!(table.put(b"f", b"over a folder"), Err(Error::IsFolder { .. })));
        seal_all(&table);
    }
}

#[test]
fn values_expire_exactly_and_their_segments_go() {
    let fixture = Fixture::new(2);
    let (db, table) = fixture.create();
    let clock = &fixture.options.clock;
    table.set_ttl(Some(Duration::from_secs(3600))).unwrap();
    table.put(b"old/a", &[1; 5000]).unwrap();
    seal_all(&table);
    clock.advance(Duration::from_secs(1800));
    table.put(b"new/b", &[2; 5000]).unwrap();
    seal_all(&table);
    let entry = table.entry(b"old/a").unwrap().unwrap();
    let reader = table.open_value(&entry).unwrap();
    clock.advance(Duration::from_nanos(1_800_000_000_000 - 1));
    assert!(table.exists(b"old/a").unwrap());
    assert_eq!(keys(&table), ["new/", "new/b", "old/", "old/a"]);
    clock.advance(Duration::from_nanos(1));
    assert!(!table.exists(b"old/a").unwrap() && !table.exists(b"old/").unwrap());
    assert_eq!(keys(&table), ["new/", "new/b"]);
    table.upkeep().unwrap();
    assert!(fixture.segment_files().iter().all(|path| !name(path).starts_with('1')));
    let mut buffer = [0; 5000];
    assert_eq!(reader.read_at(0, &mut buffer).unwrap(), 5000);
    assert_eq!(buffer, [1; 5000]);
    assert_eq!(table.usage().keys, 1);
    table.put(b"old/a", b"again").unwrap();
    clock.advance(Duration::from_secs(3600));
    table.upkeep().unwrap();
    assert_eq!(fixture.segment_files(), Vec::<PathBuf>::new());
    table.put(b"x", b"1").unwrap();
    drop(table);
    db.close().unwrap();
    let db = fixture.open();
    assert_eq!(keys(&db.table("table").unwrap()), ["x"]);
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn settling_files_change_in_the_active_and_in_sealed_segments() {
    for seal_first in [false, true] {
        let fixture = Fixture::new(1);
        let (db, table) = fixture.create();
        table.put(b"d/.long.temporary.name", b"bytes").unwrap();
        table.put(b"d/short", b"other").unwrap();
        table.put(b"gone", b"x").unwrap();
        let id = table.entry(b"d/.long.temporary.name").unwrap().unwrap().id;
        if seal_first {
            seal_all(&table);
        }
        assert_eq!(table.rename(b"d/.long.temporary.name", b"d/final", false).unwrap().id, id);
        table.rename(b"d/short", b"d/a.much.longer.name.than.before", false).unwrap();
        assert!(matches!(table.rename(b"d/final", b"gone", false), Err(Error::Exists { .. })));
        let mut attributes = table.entry(b"d/final").unwrap().unwrap().attributes;
        attributes.mtime_ns = 42;
        attributes.set_permissions(0o600);
        table.change_attributes(b"d/final", attributes).unwrap();
        table.remove(b"gone").unwrap();
        let linked = table.link(b"d/final", b"d/linked").unwrap();
        assert_ne!(linked.id, id);
        let check = |table: &Table| {
            assert_eq!(names(table, b"d/"), ["a.much.longer.name.than.before", "final", "linked"]);
            let entry = table.entry(b"d/final").unwrap().unwrap();
            assert_eq!((entry.id, entry.attributes.mtime_ns), (id, 42));
            assert_eq!(entry.attributes.permissions(), 0o600);
            assert_eq!(table.get(b"d/final").unwrap().unwrap(), b"bytes");
            assert_eq!(table.get(b"d/linked").unwrap().unwrap(), b"bytes");
            assert_eq!(table.get(b"d/a.much.longer.name.than.before").unwrap().unwrap(), b"other");
            assert_eq!(table.get(b"d/short").unwrap(), None);
            assert_eq!(table.get(b"gone").unwrap(), None);
            assert_eq!(table.usage().keys, 3);
        };
        check(&table);
        db.kill();
        let db = fixture.open();
        let table = db.table("table").unwrap();
        check(&table);
        seal_all(&table);
        check(&table);
        fixture.options.clock.advance(Duration::from_secs(301));
        assert!(matches!(table.remove(b"d/final"), Err(Error::Sealed { .. })));
        assert!(matches!(table.rename(b"d/final", b"z", true), Err(Error::Sealed { .. })));
        assert!(matches!(
            table.change_attributes(b"d/final", attributes),
            Err(Error::Sealed { .. })
        ));
        check(&table);
    }
}

#[test]
fn folders_are_made_removed_and_remembered() {
    let fixture = Fixture::new(1);
    let (_db, table) = fixture.create();
    let attributes = Attributes::new_at_ns(Kind::Folder, 0o700, 5, 6, 7);
    assert!(matches!(table.create_folder(b"a/b/", attributes), Err(Error::NotFound { .. })));
    let id = table.create_folder(b"a/", attributes).unwrap().id;
    table.create_folder(b"a/b/", attributes).unwrap();
    assert!(matches!(table.create_folder(b"a/", attributes), Err(Error::Exists { .. })));
    seal_all(&table);
    table.put(b"a/b/c", b"1").unwrap();
    let entry = table.entry(b"a/").unwrap().unwrap();
    assert_eq!((entry.id, entry.attributes.uid), (id, 5));
    assert!(matches!(table.remove_folder(b"a/b/"), Err(Error::FolderNotEmpty { .. })));
    assert!(matches!(table.rename(b"a/b/", b"z/", false), Err(Error::FolderNotEmpty { .. })));
    seal_all(&table);
    table.remove(b"a/b/c").unwrap();
    table.rename(b"a/b/", b"z/", false).unwrap();
    table.remove_folder(b"a/").unwrap();
    assert_eq!(keys(&table), ["z/"]);
    seal_all(&table);
    assert_eq!(keys(&table), ["z/"]);
    assert_eq!(table.entry(b"a/").unwrap(), None);
}

#[test]
fn batches_are_stored_whole_or_not_at_all() {
    let fixture = Fixture::new(1);
    let (_db, table) = fixture.create();
    table.put(b"taken", b"").unwrap();
    let refused = table.put_batch(&[(b"x/1", b"a"), (b"taken", b"b"), (b"x/2", b"c")]);
    assert!(matches!(refused, Err(Error::Exists { .. })));
    assert_eq!(table.get(b"x/1").unwrap(), None);
    table.put_batch(&[(b"x/1", b"a"), (b"x/2", b"c")]).unwrap();
    assert_eq!(table.get(b"x/2").unwrap().unwrap(), b"c");
    assert!(table.put_batch(&[(b"y", b"a"), (b"y", b"b")]).is_err());
    assert_eq!(table.get(b"y").unwrap(), None);
}

#[test]
fn a_writer_stores_again_as_it_grows_also_across_segments() {
    let fixture = Fixture::new(2);
    let (db, table) = fixture.create();
    let attributes = table.context.default_attributes(Kind::File);
    let mut small = table.writer().unwrap();
    let mut large = table.writer().unwrap();
    let part = vec![3; 3_000_000];
    let mut expected = Vec::new();
    for round in 0..4 {
        small.write_at(round, &[round as u8]).unwrap();
        large.write_at(expected.len() as u64, &part).unwrap();
        expected.extend_from_slice(&part);
        small.store(b"small", attributes).unwrap();
        large.store(b"large", attributes).unwrap();
        assert_eq!(table.get(b"large").unwrap().unwrap(), expected);
        assert_eq!(table.usage().keys, 2);
        seal_all(&table);
        assert_eq!(table.get(b"small").unwrap().unwrap().len(), round as usize + 1);
        assert_eq!(table.get(b"large").unwrap().unwrap(), expected);
    }
    assert!(matches!(table.put(b"small", b""), Err(Error::Exists { .. })));
    large.discard(b"large").unwrap();
    assert_eq!(table.get(b"large").unwrap(), None);
    drop((small, large, table));
    db.close().unwrap();
    let db = fixture.open();
    assert_eq!(keys(&db.table("table").unwrap()), ["small"]);
    assert_eq!(db.context().pending_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn a_dropped_table_is_gone_and_its_name_free() {
    let fixture = Fixture::new(2);
    let (db, table) = fixture.create();
    table.put(b"a", b"1").unwrap();
    assert!(matches!(db.remove_table("table"), Err(Error::TableNotEmpty { .. })));
    table.put(b"b", b"still writable").unwrap();
    table.remove(b"a").unwrap();
    table.remove(b"b").unwrap();
    db.remove_table("table").unwrap();
    assert!(matches!(table.put(b"c", b""), Err(Error::TableDropped { .. })));
    let (number, attributes) = (table.number(), table.attributes());
    let again = db.create_table_with("table", TableSettings::default(), attributes).unwrap();
    assert_ne!(again.number(), number);
    assert_eq!(keys(&again), Vec::<String>::new());
    again.put(b"a", b"2").unwrap();
    db.drop_table("table").unwrap();
    assert!(fixture.options.roots.iter().all(|root| !root.join("table").exists()));
}

#[test]
fn segments_rotate_by_keys_and_the_keymap_finds_everything() {
    let mut fixture = Fixture::new(2);
    fixture.options.engine.segment_keys_max = 100;
    let (db, table) = fixture.create();
    let mut model = BTreeMap::new();
    for number in 0..2500_u32 {
        let key = format!("f{}/{number}", number % 7);
        table.put(key.as_bytes(), &number.to_le_bytes()).unwrap();
        model.insert(key, number);
    }
    let check = |table: &Table| {
        for (key, number) in &model {
            let value = table.get(key.as_bytes()).unwrap();
            assert_eq!(value.as_deref(), Some(&number.to_le_bytes()[..]), "{key}");
        }
        let files: Vec<String> =
            keys(table).into_iter().filter(|key| !key.ends_with('/')).collect();
        assert_eq!(files.len(), model.len());
        assert!(files.iter().all(|key| model.contains_key(key)));
    };
    check(&table);
    table.upkeep().unwrap();
    assert!(table.segments.view().sealed.len() > 20);
    check(&table);
    drop(table);
    db.close().unwrap();
    let db = fixture.open();
    check(&db.table("table").unwrap());
}

#[test]
fn sealed_headers_carry_the_attributes_last_set() {
    let fixture = Fixture::new(1);
    let (_db, table) = fixture.create();
    table.put(b"a/k", b"").unwrap();
    fixture.options.clock.advance(Duration::from_secs(30));
    let mut attributes = table.entry(b"a/k").unwrap().unwrap().attributes;
    attributes.set_permissions(0);
    table.change_attributes(b"a/k", attributes).unwrap();
    seal_all(&table);
    let entry = table.entry(b"a/k").unwrap().unwrap();
    assert_eq!(entry.attributes.permissions(), 0);
    table.put(b"b/other", b"").unwrap();
    let renamed = table.rename(b"a/k", b"k", false).unwrap();
    assert_eq!(renamed.attributes.permissions(), 0);
    assert_eq!(table.entry(b"k").unwrap().unwrap().attributes.permissions(), 0);
}

#[test]
fn a_writer_goes_on_after_what_it_stored_has_expired() {
    let fixture = Fixture::new(1);
    let (_db, table) = fixture.create();
    table.set_ttl(Some(Duration::from_secs(3600))).unwrap();
    let attributes = table.context.default_attributes(Kind::File);
    let mut writer = table.writer().unwrap();
    let mut expected = vec![7; 5 << 20];
    writer.write_at(0, &expected).unwrap();
    writer.store(b"long", attributes).unwrap();
    seal_all(&table);
    fixture.options.clock.advance(Duration::from_secs(2 * 3600));
    table.upkeep().unwrap();
    assert!(!fixture.segment_files().iter().any(|path| name(path).starts_with("1-")));
    writer.write_at(expected.len() as u64, b"end").unwrap();
    expected.extend_from_slice(b"end");
    writer.store(b"long", attributes).unwrap();
    assert!(table.get(b"long").unwrap().unwrap() == expected);
}
