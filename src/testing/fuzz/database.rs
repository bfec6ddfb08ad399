//! A whole database of which one file is damaged: opened, read, written and checked.
//!
//! `fuzz/database` is a small database as an earlier littfs left it when it was killed: two sealed
//! segments, an active one, a keymap, a value in a file of its own. The first byte of an input
//! chooses the file, the second what happens to it, the rest says how.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::check;
use crate::clock::Clock;
use crate::db::{Db, OpenOptions};
use crate::engine_options::EngineOptions;
use crate::format::fuzz::mend_file;
use crate::table::{Scan, Table};

/// When the database was made, ns since the epoch.
pub(super) const MADE_AT_NS: u64 = 3_600_000_000_000_000;
/// Bit of the second byte: checksums are made right again.
const MENDED: u8 = 4;

/// The files of the database by their paths within it.
type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(|| {
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/database");
        let mut files = Files::new();
        let mut folders = vec![base.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("the database is there") {
                let path = entry.expect("it can be listed").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&base).expect("below the base").to_path_buf();
                    files.insert(name, fs::read(&path).expect("it can be read"));
                }
            }
        }
        files
    })
}

/// What was stored under a key.
pub(super) fn value_of(key: &[u8]) -> Vec<u8> {
    let length = if key == b"large" { 70_000 } else { key.len() * 9 };
    key.iter().copied().cycle().take(length).collect()
}

/// One input.
pub(super) fn run(input: &[u8], scratch: &Path) {
    let (Some(&chosen), Some(&how)) = (input.first(), input.get(1)) else { return };
    let rest = &input[2..];
    let files = files();
    let Some((name, bytes)) = files.iter().nth(usize::from(chosen) % files.len()) else { return };
    let mut bytes = bytes.clone();
    change(&mut bytes, how, rest);
    if how & MENDED != 0 {
        mend_file(&name.to_string_lossy(), &mut bytes);
    }
    let root = scratch.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).expect("the last one is removed");
    }
    for (other, original) in files {
        let path = root.join(other);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
        fs::write(path, if other == name { &bytes } else { original }).expect("it is written");
    }
    let is_honest = how & MENDED == 0;
    use_database(&root, is_honest, is_honest && name.starts_with("t/keymap/data"));
}

/// Flips bits, overwrites a stretch, replaces the file or cuts it.
fn change(bytes: &mut Vec<u8>, how: u8, rest: &[u8]) {
    let place = |field: &[u8], length: usize| {
        usize::from(u16::from_le_bytes([field[0], field[1]])) % length.max(1)
    };
    match how % 4 {
        0 => {
            for flip in rest.chunks_exact(3) {
                let at = place(flip, bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= flip[2];
                }
            }
        }
        1 if rest.len() > 2 => {
            let at = place(rest, bytes.len());
            let end = (at + rest.len() - 2).min(bytes.len());
            bytes[at..end].copy_from_slice(&rest[2..2 + end - at]);
        }
        2 => *bytes = rest.to_vec(),
        3 if rest.len() > 1 => bytes.truncate(place(rest, bytes.len())),
        _ => {}
    }
}

/// Whatever is wrong with the database, whoever uses it gets the right bytes or an error. Only
/// made-up checksums can make up a value; and what is wrong with the keymap costs nothing at all.
fn use_database(root: &Path, is_honest: bool, is_whole: bool) {
    let options = OpenOptions {
        roots: vec![root.to_path_buf()],
        engine: EngineOptions { reserve_bytes: 0, ..EngineOptions::default() },
        clock: Clock::manual_ns(MADE_AT_NS),
        ..OpenOptions::default()
    };
    drop(check::check(&options, None, &mut |_| {}));
    let read_only = OpenOptions { read_only: true, ..options.clone() };
    for options in [read_only, options] {
        let Ok(db) = Db::open(options) else {
            assert!(!is_whole, "the keymap can be made anew");
            continue;
        };
        for table in db.tables() {
            use_table(&table, is_honest, is_whole);
        }
        if let Err(error) = db.close() {
            assert!(!is_whole, "{error}");
        }
    }
}

fn use_table(table: &Table, is_honest: bool, is_whole: bool) {
    for key in KEYS {
        match table.get(key) {
            Ok(None) => assert!(!is_whole),
            Ok(Some(value)) => assert!(!is_honest || value == value_of(key)),
            Err(error) => assert!(!is_whole, "{error}"),
        }
        drop(table.get_range(key, 3, 100));
    }
    // An error ends what can be listed.
    if let (Ok(keys), Ok(again)) = (table.scan(Scan::new()), table.scan(Scan::new())) {
        assert!(keys.map_while(Result::ok).take(1000).count() < 1000, "a listing ends");
        assert!(again.rev().map_while(Result::ok).take(1000).count() < 1000, "a listing ends");
    }
    if let (Ok(names), Ok(again)) = (table.list_folder(b"folder/"), table.list_folder(b"folder/")) {
        assert!(names.map_while(Result::ok).take(1000).count() < 1000, "a listing ends");
        assert!(again.rev().map_while(Result::ok).take(1000).count() < 1000, "a listing ends");
    }
    let is_stored = table.put(b"new/key", b"fresh").is_ok();
    if is_stored && is_honest {
        assert_eq!(table.get(b"new/key").ok().flatten().as_deref(), Some(&b"fresh"[..]));
    }
    drop((table.remove(b"folder/2"), table.rename(b"folder/3", b"other", true)));
    drop((table.flush(), table.upkeep()));
    assert!(!is_honest || table.usage().keys < 1000);
}

/// What is in the database.
pub(super) const KEYS: &[&[u8]] = &[
    b"a.b/1",
    b"active",
    b"folder/1",
    b"folder/2",
    b"folder/3",
    b"folder/below/4",
    b"large",
    b"once",
    b"renamed",
];
