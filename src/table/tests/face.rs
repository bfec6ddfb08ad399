//! What programs that embed the engine call, where nothing else calls it that way.

use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};

use super::*;

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
