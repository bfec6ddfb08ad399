//! A small database with every kind of file, and what must be in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use littfs::Clock;
use littfs::{Attributes, Db, EngineOptions, Kind, OpenOptions, Table, TableSettings};

const HOUR: Duration = Duration::from_secs(3600);

/// Values by key.
pub(crate) type Values = BTreeMap<Vec<u8>, Vec<u8>>;

/// What is known of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// What can be read.
    pub(crate) live: Values,
    /// Every value that any key ever had, with what is gone.
    pub(crate) ever: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
}

impl Model {
    fn put(&mut self, table: &Table, key: &str, value: &[u8]) {
        table.put(key.as_bytes(), value).expect(key);
        self.note(key, value);
    }

    fn note(&mut self, key: &str, value: &[u8]) {
        self.live.insert(key.into(), value.to_vec());
        self.ever.entry(key.into()).or_default().insert(value.to_vec());
    }

    fn remove(&mut self, table: &Table, key: &str) {
        table.remove(key.as_bytes()).expect(key);
        self.live.remove(key.as_bytes());
    }

    fn rename(&mut self, table: &Table, from: &str, to: &str) {
        table.rename(from.as_bytes(), to.as_bytes(), false).expect(from);
        let value = self.live.remove(from.as_bytes()).expect("it was there");
        self.note(to, &value);
    }
}

/// The database as it is copied for each case.
pub(crate) struct Fixture {
    folder: tempfile::TempDir,
    /// The tables `t`, with every kind of file, and `other`.
    pub(crate) models: BTreeMap<&'static str, Model>,
    clock: Clock,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let mut fixture = Self {
            folder: scratch(),
            models: BTreeMap::from([("t", Model::default()), ("other", Model::default())]),
            clock: Clock::manual(UNIX_EPOCH + Duration::from_secs(1_000_000)),
        };
        fixture.fill();
        fixture
    }

    /// The roots of the copy in this folder.
    pub(crate) fn roots(folder: &Path) -> Vec<PathBuf> {
        vec![folder.join("r0"), folder.join("r1")]
    }

    /// How the copy in a folder is opened.
    pub(crate) fn options(&self, folder: &Path) -> OpenOptions {
        let mut engine = EngineOptions::default();
        engine.reserve_bytes = 0;
        engine.segment_keys_max = 16;
        engine.spill_bytes = 70_000;
        OpenOptions::new(Self::roots(folder)).engine(engine).clock(self.clock.clone())
    }

    fn fill(&mut self) {
        let now = self.folder.path().join("now");
        let db = Db::open(self.options(&now).create(true)).expect("open");
        let owner = Attributes::new(Kind::Folder, 0o755, 0, 0, UNIX_EPOCH);
        let settings = TableSettings::default().with_ttl(10 * HOUR).with_shards(2);
        let t = db.create_table_with("t", settings, owner).expect("t");
        let other = db.create_table_with("other", settings, owner).expect("other");
        let mut model = Model::default();
        for number in 0..20 {
            model.put(&t, &format!("expired/{number}"), b"to be dropped");
        }
        db.upkeep().expect("upkeep");
        self.clock.advance(6 * HOUR);
        fill_segment(&t, &mut model, "a");
        db.upkeep().expect("upkeep");
        // Expired for readers from now on, in files that may still be there.
        self.clock.advance(5 * HOUR);
        model.live.retain(|key, _| !key.starts_with(b"expired/"));
        fill_segment(&t, &mut model, "a/deep/er");
        db.upkeep().expect("upkeep");
        copy_tree(&now, &self.folder.path().join("old"));
        fill_segment(&t, &mut model, "b");
        // Changes of what is sealed already.
        model.remove(&t, "b/file0");
        model.rename(&t, "a/deep/er/file0", "b/renamed");
        db.upkeep().expect("upkeep");
        model.put(&t, "b/last", &[7; 300]);
        model.put(&t, "b/a name that is long", b"renamed");
        model.rename(&t, "b/a name that is long", "b/short");
        model.put(&t, "b/gone", b"removed");
        model.remove(&t, "b/gone");
        db.flush().expect("flush");
        model.put(&t, "b/large", &vec![9; 75_000]);
        model.put(&t, "b/really last", &[8; 200]);
        let mut others = Model::default();
        fill_segment(&other, &mut others, "x");
        db.upkeep().expect("upkeep");
        others.put(&other, "y", b"why");
        self.models = BTreeMap::from([("t", model), ("other", others)]);
        drop((t, other));
        db.close().expect("close");
    }

    /// A copy of the database, for one case.
    pub(crate) fn copy(&self) -> tempfile::TempDir {
        let folder = scratch();
        copy_tree(&self.folder.path().join("now"), folder.path());
        folder
    }

    /// An earlier state of a file, by its path in the copy.
    pub(crate) fn older(&self, relative: &Path) -> Option<Vec<u8>> {
        fs::read(self.folder.path().join("old").join(relative)).ok()
    }

    /// Every file of the database but locks and logs, in order, with its content.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let base = self.folder.path().join("now");
        let mut files = BTreeMap::new();
        collect(&base, &base, &mut files);
        files.retain(|path, _| path.file_name().is_some_and(|name| name != "littfs.lock"));
        files
    }
}

fn fill_segment(table: &Table, model: &mut Model, folder: &str) {
    for number in 0..3_u8 {
        let value = vec![number; usize::from(number) * 90 + 3];
        model.put(table, &format!("{folder}/file{number}"), &value);
    }
    model.rename(table, &format!("{folder}/file1"), &format!("{folder}/moved"));
    model.put(table, &format!("{folder}/empty"), b"");
    let blocks: Vec<u8> = (0..66_000_u32).map(|n| (n % 251) as u8).collect();
    model.put(table, &format!("{folder}/blocks"), &blocks);
    let alone: Vec<u8> = (0..80_000_u32).map(|n| (n % 241) as u8).collect();
    model.put(table, &format!("{folder}/alone"), &alone);
    let link = Attributes::new(Kind::Symlink, 0o777, 0, 0, UNIX_EPOCH);
    let name = format!("{folder}/link");
    table.put_with(name.as_bytes(), b"file0", link).expect("a link");
    model.note(&name, b"file0");
    model.put(table, &format!("{folder}/removed"), b"soon gone");
    model.remove(table, &format!("{folder}/removed"));
    for number in 0..5 {
        model.put(table, &format!("{folder}/more/{number}"), b"below");
    }
}

/// A folder in memory where there is such a place: the campaign syncs a lot.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("temporary directory")
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("mkdir");
    for entry in fs::read_dir(from).expect("list") {
        let entry = entry.expect("entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copy");
        }
    }
}

fn collect(base: &Path, folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("list") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            collect(base, &path, files);
        } else {
            let relative = path.strip_prefix(base).expect("below").to_path_buf();
            files.insert(relative, fs::read(&path).expect("read"));
        }
    }
}
