//! What operations cost, counted where the files are read, written and synced.

use crate::disk::Faults;

use super::*;

fn counted(fixture: &mut Fixture) -> Arc<Faults> {
    let faults = Arc::new(Faults::default());
    fixture.options.disk = crate::disk::Disk::with_faults(Arc::clone(&faults));
    faults
}

#[test]
fn a_get_is_one_read_of_the_record_and_an_absent_key_none() {
    let mut fixture = Fixture::new(2);
    let (db, table) = fixture.create();
    for number in 0..2000 {
        table.put(format!("k{number}").as_bytes(), &[7; 1024]).unwrap();
    }
    table.put(b"long", &vec![8; 300_000]).unwrap();
    seal_all(&table);
    drop(table);
    db.close().unwrap();
    let faults = counted(&mut fixture);
    let db = fixture.open();
    let table = db.table("table").unwrap();
    let reads_of = |key: &[u8]| {
        let before = faults.reads();
        let value = table.get(key).unwrap();
        (value.map(|value| value.len()), faults.reads() - before)
    };
    // The page of the keymap is read through a mapping: a page fault, and no call.
    for number in [3, 1999, 3] {
        assert_eq!(reads_of(format!("k{number}").as_bytes()), (Some(1024), 1));
    }
    assert_eq!(reads_of(b"absent"), (None, 0));
    // The start of the record, the bytes, and their block checksums.
    assert_eq!(reads_of(b"long"), (Some(300_000), 3));
    let entry = table.entry(b"k5").unwrap().unwrap();
    let reader = table.open_value(&entry).unwrap();
    let before = faults.reads();
    let mut buffer = [0; 2048];
    assert_eq!(reader.read_at(0, &mut buffer).unwrap(), 1024);
    assert_eq!(faults.reads() - before, 1);
}

#[test]
fn a_put_is_one_write_to_a_shard_and_one_to_the_key_log() {
    let mut fixture = Fixture::new(2);
    // No flush of its own comes in between.
    fixture.options.engine.flush_interval = Duration::from_secs(3600);
    let faults = counted(&mut fixture);
    let (_db, table) = fixture.create();
    // Opens the segment and mentions the folder.
    table.put(b"f/first", b"x").unwrap();
    table.flush().unwrap();
    let before = faults.seen();
    table.put(b"f/second", &[1; 10_000]).unwrap();
    assert_eq!(faults.seen() - before, 2, "no sync, no stat, no read");
}

#[test]
fn opening_reads_no_runs_and_no_keymap_pages() {
    let mut fixture = Fixture::new(1);
    fixture.options.engine.segment_keys_max = 50;
    let (db, table) = fixture.create();
    for number in 0..1000 {
        table.put(format!("k{number}").as_bytes(), b"x").unwrap();
    }
    seal_all(&table);
    let segments = table.segments.view().sealed.len() as u64;
    drop(table);
    db.close().unwrap();
    let faults = counted(&mut fixture);
    let _db = fixture.open();
    // The metadata of each segment, and a fixed number beside it.
    assert!(faults.reads() < segments + 40, "{} reads for {segments} segments", faults.reads());
}
