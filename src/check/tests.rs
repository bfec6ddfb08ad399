use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::clock::Clock;
use crate::disk::DiskFile;
use crate::engine_options::EngineOptions;
use crate::format::attributes::{Attributes, Kind};
use crate::format::entry::Mention;
use crate::format::location::SegmentNumber;
use crate::format::log_record::LogRecord;
use crate::format::run_header::is_run;
use crate::format::table_file::TableFile;
use crate::layout::TABLE_FILE;
use crate::layout::segment_files::SegmentFile;
use crate::names::Run;
use crate::segment::key_log;
use crate::table::{Table, TableSettings};
use crate::{Db, OpenOptions};

const HOUR: Duration = Duration::from_secs(3600);

struct Fixture {
    _scratch: tempfile::TempDir,
    options: OpenOptions,
}

impl Fixture {
    /// A database with sealed segments and an active one, folders, links, removed and renamed
    /// files, values in files of their own, expired ones and a segment that was dropped.
    fn new(roots: usize) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let roots = (0..roots).map(|root| scratch.path().join(format!("root{root}"))).collect();
        let engine = EngineOptions {
            reserve_bytes: 0,
            segment_keys_max: 12,
            spill_bytes: 70_000,
            ..EngineOptions::default()
        };
        let clock = Clock::manual_ns(1_000_000 * 1_000_000_000);
        let options = OpenOptions { roots, create: true, engine, clock, ..OpenOptions::default() };
        let fixture = Self { _scratch: scratch, options };
        fixture.fill();
        fixture
    }

    fn fill(&self) {
        let db = Db::open(self.options.clone()).unwrap();
        let attributes = Attributes::new_at_ns(Kind::Folder, 0o755, 0, 0, 0);
        let settings =
            TableSettings { shards: 2, ttl: Some(10 * HOUR), ..TableSettings::default() };
        let table = db.create_table_with("table", settings, attributes).unwrap();
        for number in 0..14 {
            table.put(format!("old/{number}").as_bytes(), b"to be dropped").unwrap();
        }
        db.upkeep().unwrap();
        self.options.clock.advance(5 * HOUR);
        fill_segment(&table, "a");
        self.options.clock.advance(6 * HOUR);
        fill_segment(&table, "b");
        db.upkeep().unwrap();
        fill_segment(&table, "b/deep/er");
        db.upkeep().unwrap();
        // The rest stays in the active segment.
        table.put(b"b/last", &[7; 300]).unwrap();
        table.put(b"b/name that is long enough", b"renamed").unwrap();
        table.rename(b"b/name that is long enough", b"b/short", false).unwrap();
        table.put(b"b/gone", b"removed").unwrap();
        table.remove(b"b/gone").unwrap();
        db.flush().unwrap();
        table.put(b"b/large", &vec![9; 75_000]).unwrap();
        db.upkeep().unwrap();
        table.put(b"b/really last", &[7; 300]).unwrap();
        drop(table);
        db.close().unwrap();
    }

    fn check(&self) -> Report {
        check(&self.options, None, &mut |_| {}).unwrap()
    }

    /// Every file of the table, with its content.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut dirs: Vec<PathBuf> =
            self.options.roots.iter().map(|root| root.join("table")).collect();
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    let content = std::fs::read(&path).unwrap();
                    files.insert(path, content);
                }
            }
        }
        files
    }

    fn modified(&self) -> BTreeMap<PathBuf, SystemTime> {
        let modified = |path: PathBuf| {
            let time = std::fs::metadata(&path).unwrap().modified().unwrap();
            (path, time)
        };
        let mut paths: Vec<PathBuf> = self.files().into_keys().collect();
        for root in &self.options.roots {
            paths.push(root.clone());
            paths.push(root.join("table"));
            paths.push(root.join("table/segments"));
            paths.push(root.join("littfs.root"));
            paths.push(root.join("littfs.lock"));
        }
        paths.into_iter().map(modified).collect()
    }

    /// Shard, offset and length of all records of a segment that names refer to, found the way the
    /// engine reads names.
    fn extents(&self, number: SegmentNumber, keys: &Path) -> Vec<(u8, u64, u64)> {
        let file = Arc::new(self.options.disk.open(keys).unwrap());
        let mut start = [0; 8];
        file.read_exact_at(&mut start, 0).unwrap();
        let mentions = if is_run(&start) {
            run_mentions(&file, self.table_id(), number)
        } else {
            log_mentions(&file)
        };
        let put = |mention| match mention {
            Mention::Put(entry) => Some(entry),
            Mention::Removed { .. } => None,
        };
        let extent = |entry: crate::Entry| {
            (entry.location.shard, entry.location.offset, u64::from(entry.record_bytes))
        };
        mentions.into_iter().filter_map(put).map(extent).collect()
    }

    fn table_id(&self) -> [u8; 16] {
        let bytes = std::fs::read(self.options.roots[0].join("table/table.metadata")).unwrap();
        TableFile::decode(&bytes).unwrap().id()
    }

    /// Offset and length of all records of a packed shard that names refer to; `None` for other
    /// files.
    fn used(&self, path: &Path) -> Option<Vec<(u64, u64)>> {
        let Some(SegmentFile::Values(number, shard @ (0 | 1))) =
            SegmentFile::parse(path.file_name().unwrap())
        else {
            return None;
        };
        let keys = format!("table/segments/{number}.keys");
        let keys = self.options.roots.iter().map(|root| root.join(&keys)).find(|p| p.exists());
        let extents = self.extents(number, &keys.unwrap()).into_iter();
        let of_shard = extents.filter(|extent| u32::from(extent.0) == shard);
        Some(of_shard.map(|(_, at, bytes)| (at, bytes)).collect())
    }

    /// Whether a byte of a file belongs to nothing that can be read.
    fn is_unused(&self, path: &Path, offset: u64) -> bool {
        self.used(path).is_some_and(|used| {
            !used.into_iter().any(|(at, bytes)| (at..at + bytes).contains(&offset))
        })
    }

    /// Whether a file is a shard of which nothing can be read: what it held was removed.
    fn holds_nothing(&self, path: &Path) -> bool {
        matches!(self.used(path).as_deref(), Some([]))
    }
}

fn fill_segment(table: &Table, folder: &str) {
    let put = |name: &str, value: &[u8]| {
        table.put(format!("{folder}/{name}").as_bytes(), value).unwrap();
    };
    for number in 0..3 {
        put(&format!("file{number}"), &vec![number; usize::from(number) * 50 + 3]);
    }
    let (file, other) = (format!("{folder}/file2"), format!("{folder}/file1"));
    let mut attributes = table.entry(file.as_bytes()).unwrap().unwrap().attributes;
    attributes.set_permissions(0o600);
    table.change_attributes(file.as_bytes(), attributes).unwrap();
    table.rename(other.as_bytes(), format!("{folder}/moved").as_bytes(), false).unwrap();
    put("empty", b"");
    put("blocks", &(0..66_000_u32).map(|n| (n % 251) as u8).collect::<Vec<u8>>());
    put("alone", &(0..80_000_u32).map(|n| (n % 241) as u8).collect::<Vec<u8>>());
    put("removed", b"soon gone");
    table.remove(format!("{folder}/removed").as_bytes()).unwrap();
    for number in 0..4 {
        put(&format!("more/{number}"), b"below");
    }
}

fn run_mentions(file: &Arc<DiskFile>, table: [u8; 16], number: SegmentNumber) -> Vec<Mention> {
    let held = Arc::clone(file);
    let source = move || Ok(Arc::clone(&held));
    let run = Run::open(Box::new(source), Arc::new(BlockCache::default()), table, number).unwrap();
    let mut scan = run.scan_all().unwrap();
    let mut mentions = Vec::new();
    while let Some((_, mention)) = scan.next().unwrap() {
        mentions.push(mention);
    }
    mentions
}

/// The newest mention of each name in a log.
fn log_mentions(file: &DiskFile) -> Vec<Mention> {
    let mut newest: BTreeMap<Vec<u8>, Mention> = BTreeMap::new();
    let replayed = key_log::replay(file, |record, _| {
        let parts = match record {
            LogRecord::Mention(key, mention) => vec![(key, mention)],
            LogRecord::Batch(parts) => parts,
            LogRecord::Synced(_) => Vec::new(),
        };
        newest.extend(parts.into_iter().map(|(key, mention)| (key.to_vec(), mention)));
        Ok(())
    });
    assert_eq!(replayed.unwrap().cut_bytes, 0);
    newest.into_values().collect()
}

fn names(report: &Report, path: &Path) -> bool {
    report
        .findings
        .iter()
        .any(|finding| finding.severity == Severity::Damage && finding.file == path)
}

fn shown(report: &Report) -> String {
    let lines = report
        .findings
        .iter()
        .map(|finding| format!("{:?} {} {:?}", finding.severity, finding.file.display(), finding));
    lines.collect::<Vec<String>>().join("\n")
}

fn file_name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Whether losing the file, or the end of it, is nothing that a crash could not leave as well.
fn is_replaceable(path: &Path) -> bool {
    let name = file_name(path);
    path.components().any(|part| part.as_os_str() == "keymap") || name == TABLE_FILE
}

#[test]
fn a_healthy_database_is_good_and_is_not_touched() {
    let fixture = Fixture::new(2);
    let (files, modified) = (fixture.files(), fixture.modified());
    let report = fixture.check();
    assert!(report.is_good() && report.notes == 0, "{}", shown(&report));
    assert_eq!((fixture.files(), fixture.modified()), (files.clone(), modified));
    let counts = report.counts;
    assert!(counts.tables == 1 && counts.segments >= 4, "{counts:?}");
    assert!(counts.values > 25 && counts.keymap_pages > 0, "{counts:?}");
    assert!(counts.keymap_lookups > 20 && counts.unreferenced_bytes > 0, "{counts:?}");
    let all: usize = files.values().map(Vec::len).sum();
    assert!(counts.bytes * 100 > all as u64 * 95, "{counts:?} of {all}");
    // What was checked is still what was stored.
    let db = Db::open(fixture.options.clone()).unwrap();
    let table = db.table("table").unwrap();
    assert_eq!(table.get(b"b/large").unwrap().unwrap(), vec![9; 75_000]);
    db.close().unwrap();
    assert!(fixture.check().is_good());
}

#[test]
fn a_killed_database_is_good() {
    let fixture = Fixture::new(2);
    let mut options = fixture.options.clone();
    // Nothing is to be sealed behind the back of the check.
    options.engine.segment_keys_max = 1000;
    let db = Db::open(options).unwrap();
    let table = db.table("table").unwrap();
    db.upkeep().unwrap();
    fill_segment(&table, "killed");
    // As a kill would: no flush, no close; only the locks go.
    db.context().roots.release();
    let report = fixture.check();
    assert!(report.is_good(), "{}", shown(&report));
    drop(table);
    std::mem::forget(db);
}

#[test]
fn one_table_of_several_is_checked() {
    let fixture = Fixture::new(1);
    let db = Db::open(fixture.options.clone()).unwrap();
    let attributes = Attributes::new_at_ns(Kind::Folder, 0o755, 0, 0, 0);
    db.create_table_with("other", TableSettings::default(), attributes).unwrap();
    let in_use = check(&fixture.options, None, &mut |_| {}).unwrap_err();
    assert!(in_use.to_string().contains("in use"), "{in_use}");
    db.close().unwrap();
    let path = fixture.options.roots[0].join("table/table.metadata");
    std::fs::write(&path, b"nonsense").unwrap();
    assert!(check(&fixture.options, Some("other"), &mut |_| {}).unwrap().is_good());
    assert!(names(&fixture.check(), &path));
    let missing = check(&fixture.options, Some("no"), &mut |_| {}).unwrap_err();
    assert!(matches!(missing, Error::NoSuchTable { .. }));
}

#[test]
fn no_flipped_byte_goes_unnoticed() {
    let fixture = Fixture::new(2);
    let mut flips = 0;
    let mut unused = 0;
    for (path, content) in fixture.files() {
        // Every byte of small things in turn, some of long ones; odd steps meet all fields.
        let stride = if content.len() < 1_000 { 7 } else { 1_499 };
        for index in (0..content.len()).step_by(stride) {
            let mut bytes = content.clone();
            bytes[index] ^= 1 << (index % 8);
            std::fs::write(&path, &bytes).unwrap();
            let report = fixture.check();
            flips += 1;
            if !names(&report, &path) && !is_written_anew(&report, &path) {
                std::fs::write(&path, &content).unwrap();
                let is_unused = fixture.is_unused(&path, index as u64);
                assert!(is_unused, "{} at {index}: {}", path.display(), shown(&report));
                unused += 1;
            }
            assert!(report.counts.tables == 1);
        }
        std::fs::write(&path, &content).unwrap();
    }
    assert!(flips > 400 && unused < flips / 5, "{flips} flips, {unused} of them of unused bytes");
    assert!(fixture.check().is_good());
}

#[test]
fn lost_and_cut_and_extended_files_are_named() {
    let fixture = Fixture::new(2);
    let active = fixture.active_keys();
    for (path, content) in fixture.files() {
        let is_empty_shard = content.is_empty();
        std::fs::remove_file(&path).unwrap();
        let report = fixture.check();
        let found = names(&report, &path) || same_name(&report, &path) || is_replaceable(&path);
        assert!(found, "{} removed: {}", path.display(), shown(&report));
        assert!(report.damage + report.notes > 0, "{}", path.display());
        for cut in [0, 1, content.len() / 2, content.len().saturating_sub(1)] {
            std::fs::write(&path, &content[..cut.min(content.len())]).unwrap();
            let report = fixture.check();
            // A crash cuts a log off like this.
            let found = names(&report, &path)
                || is_empty_shard
                || (path == active && report.notes > 0)
                || fixture.is_unused_from(&path, &content, cut);
            assert!(found, "{} cut at {cut}: {}", path.display(), shown(&report));
        }
        let mut longer = content.clone();
        longer.extend_from_slice(b"something more");
        std::fs::write(&path, &longer).unwrap();
        let report = fixture.check();
        assert!(report.damage + report.notes > 0, "{} extended", path.display());
        std::fs::write(&path, vec![0; content.len()]).unwrap();
        let report = fixture.check();
        let is_nothing = content.iter().all(|&byte| byte == 0);
        assert!(names(&report, &path) || is_nothing, "{} zeroed", path.display());
        std::fs::write(&path, &content).unwrap();
    }
    assert!(fixture.check().is_good());
}

impl Fixture {
    fn active_keys(&self) -> PathBuf {
        let files = self.files();
        let mut logs = files.iter().filter(|(path, content)| {
            path.extension().is_some_and(|end| end == "keys") && content.starts_with(b"LFL")
        });
        logs.next().unwrap().0.clone()
    }

    /// Whether nothing that can be read stands behind a place of a file.
    fn is_unused_from(&self, path: &Path, content: &[u8], cut: usize) -> bool {
        let shorter = std::fs::read(path).unwrap();
        std::fs::write(path, content).unwrap();
        let is_unused = (cut..content.len()).all(|at| self.is_unused(path, at as u64));
        std::fs::write(path, shorter).unwrap();
        is_unused
    }
}

/// The header of a record that was renamed or changed is written anew when its segment is sealed.
fn is_written_anew(report: &Report, path: &Path) -> bool {
    let mut of_file = report.findings.iter().filter(|finding| finding.file == path);
    of_file.any(|finding| finding.what.contains("the next open does it again"))
}

/// A missing file is named where it would usually be.
fn same_name(report: &Report, path: &Path) -> bool {
    report.findings.iter().any(|finding| {
        finding.severity == Severity::Damage && finding.file.file_name() == path.file_name()
    })
}

#[test]
fn swapped_files_are_named() {
    let fixture = Fixture::new(2);
    let files = fixture.files();
    let kind = |path: &Path| path.extension().map(std::ffi::OsStr::to_owned);
    for (one, content) in &files {
        for (other, other_content) in &files {
            let is_pair = one < other && kind(one) == kind(other) && content != other_content;
            // The salt of the table, and with it what is in which shard, is another one each time.
            let is_nothing = fixture.holds_nothing(one) && fixture.holds_nothing(other);
            if !is_pair || is_nothing || is_replaceable(one) || is_replaceable(other) {
                continue;
            }
            std::fs::write(one, other_content).unwrap();
            std::fs::write(other, content).unwrap();
            let report = fixture.check();
            let found = [one, other].into_iter().any(|path| names(&report, path));
            assert!(found, "{} and {}: {}", one.display(), other.display(), shown(&report));
            std::fs::write(one, content).unwrap();
            std::fs::write(other, other_content).unwrap();
        }
    }
}

#[test]
fn leftovers_and_doubles_are_told() {
    let fixture = Fixture::new(2);
    let segments = fixture.options.roots[0].join("table/segments");
    let other = fixture.options.roots[1].join("table/segments");
    let notes = ["1-0.values", "1.keys", "spill-9.tmp", "7.keys.tmp", "readme", "4-77.values"];
    for name in notes {
        std::fs::write(segments.join(name), b"left").unwrap();
    }
    let report = fixture.check();
    assert!(report.is_good() && report.notes == notes.len() as u64, "{}", shown(&report));
    for name in notes {
        assert!(report.findings.iter().any(|finding| finding.file == segments.join(name)));
    }
    let keys = fixture.active_keys();
    let double = if keys.starts_with(&segments) { &other } else { &segments };
    std::fs::copy(&keys, double.join(keys.file_name().unwrap())).unwrap();
    assert!(same_name(&fixture.check(), &keys));
}

#[test]
fn a_keymap_without_some_names_is_told() {
    let fixture = Fixture::new(1);
    let db = Db::open(fixture.options.clone()).unwrap();
    db.close().unwrap();
    let table = fixture.options.roots[0].join("table");
    let map = std::fs::read_dir(table.join("keymap/data")).unwrap().next().unwrap();
    let map = map.unwrap().path();
    let (disk, dir) = (fixture.options.disk.clone(), table.join("keymap"));
    let (keymap, _) = crate::keymap::Keymap::open(&disk, &dir, fixture.table_id()).unwrap();
    let complete = keymap.complete_up_to();
    keymap.clear().unwrap();
    keymap.mark_complete(complete).unwrap();
    drop(keymap);
    assert!(!map.exists());
    let report = fixture.check();
    let finding = report.findings.iter().find(|finding| finding.severity == Severity::Damage);
    let finding = finding.unwrap();
    assert!(finding.what.contains("not found through the keymap"), "{finding:?}");
    assert!(finding.what.contains("delete the folder"), "{finding:?}");
    assert!(finding.keys.count > 10 && finding.keys.sample.len() == SAMPLE_KEYS, "{finding:?}");
}

#[test]
fn any_bytes_are_no_panic_and_no_endless_search() {
    let fixture = Fixture::new(2);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    let files = fixture.files();
    for (path, content) in &files {
        if content.is_empty() {
            continue;
        }
        for _ in 0..8 {
            let mut bytes = content.clone();
            let length = bytes.len() as u64;
            for _ in 0..=next() % 20 {
                let at = usize::try_from(next() % length).unwrap();
                bytes[at] = next().to_le_bytes()[0];
            }
            let from = usize::try_from(next() % length).unwrap();
            let to = usize::try_from(next() % length).unwrap();
            let end = (from + 100).min(bytes.len());
            let piece = bytes[from..end].to_vec();
            let end = (to + piece.len()).min(bytes.len());
            bytes[to..end].copy_from_slice(&piece[..end - to]);
            std::fs::write(path, &bytes).unwrap();
            drop(fixture.check());
        }
        std::fs::write(path, content).unwrap();
    }
    assert!(fixture.check().is_good());
}

#[test]
fn a_damaged_block_of_a_run_costs_only_its_own_names() {
    let scratch = tempfile::tempdir().unwrap();
    let engine =
        EngineOptions { reserve_bytes: 0, segment_keys_max: 6000, ..EngineOptions::default() };
    let roots = vec![scratch.path().join("root")];
    let options = OpenOptions { roots, create: true, engine, ..OpenOptions::default() };
    let db = Db::open(options.clone()).unwrap();
    let attributes = Attributes::new_at_ns(Kind::Folder, 0o755, 0, 0, 0);
    let table = db.create_table_with("t", TableSettings::default(), attributes).unwrap();
    for number in 0..6000 {
        table.put(format!("f/{number:05}").as_bytes(), b"value").unwrap();
    }
    db.upkeep().unwrap();
    drop(table);
    db.close().unwrap();
    let good = check(&options, None, &mut |_| {}).unwrap();
    assert!(good.is_good(), "{}", shown(&good));
    let path = options.roots[0].join("t/segments/1.keys");
    let mut bytes = std::fs::read(&path).unwrap();
    assert!(bytes.len() > 50_000, "one block is {} bytes", bytes.len());
    bytes[20_000] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let report = check(&options, None, &mut |_| {}).unwrap();
    assert!(report.damage == 1 && names(&report, &path), "{}", shown(&report));
    let lost = good.counts.records - report.counts.records;
    assert!((1..4000).contains(&lost), "{lost} records were not looked at");
}

#[test]
fn a_table_that_was_never_made_to_the_end_is_no_damage() {
    let scratch = tempfile::tempdir().unwrap();
    let roots: Vec<_> = ["a", "b"].iter().map(|root| scratch.path().join(root)).collect();
    let options = OpenOptions { roots, create: true, ..OpenOptions::default() };
    Db::open(options.clone()).unwrap().close().unwrap();
    let segments = options.roots[0].join("half/segments");
    std::fs::create_dir_all(&segments).unwrap();
    let report = check(&options, None, &mut |_| {}).unwrap();
    assert!(report.is_good() && report.notes == 1, "{report:?}");
    // With something in it, it is one that has lost its settings.
    std::fs::write(segments.join("1.keys"), b"LFL").unwrap();
    let report = check(&options, None, &mut |_| {}).unwrap();
    assert!(!report.is_good(), "{report:?}");
    std::fs::remove_file(segments.join("1.keys")).unwrap();
    // And it is in nobody's way.
    let db = Db::open(options).unwrap();
    let owner = Attributes::new_at_ns(Kind::Folder, 0o755, 0, 0, 0);
    db.create_table_with("half", TableSettings::default(), owner).unwrap().put(b"k", b"v").unwrap();
}

#[test]
fn a_table_of_which_the_dropping_was_interrupted_is_no_damage() {
    let scratch = tempfile::tempdir().unwrap();
    let roots: Vec<_> = ["a", "b"].iter().map(|root| scratch.path().join(root)).collect();
    let options = OpenOptions { roots, create: true, ..OpenOptions::default() };
    let db = Db::open(options.clone()).unwrap();
    let owner = Attributes::new_at_ns(Kind::Folder, 0o755, 0, 0, 0);
    let table = db.create_table_with("t", TableSettings::default(), owner).unwrap();
    table.put(b"k", &vec![7; 100_000]).unwrap();
    let id = table.id_hex();
    drop(table);
    db.close().unwrap();
    // A kill between the two roots.
    let dropped = options.roots[0].join(format!(".dropped-{id}"));
    std::fs::rename(options.roots[0].join("t"), dropped).unwrap();
    let report = check(&options, None, &mut |_| {}).unwrap();
    assert!(report.is_good() && report.notes > 0, "{report:?}");
    let db = Db::open(options.clone()).unwrap();
    assert!(db.tables().is_empty());
    assert!(!options.roots[1].join("t").exists());
}
