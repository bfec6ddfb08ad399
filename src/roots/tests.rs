//! Opening, healing, locking and refusing, on real directories.

use std::os::unix::fs::symlink;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::disk::Faults;

const CREATE: RootsOptions =
    RootsOptions { create: true, degraded: false, read_only: false, reserve_bytes: 0 };
const PLAIN: RootsOptions = RootsOptions { create: false, ..CREATE };
const DEGRADED: RootsOptions = RootsOptions { degraded: true, ..CREATE };
const READ_ONLY: RootsOptions = RootsOptions { read_only: true, ..CREATE };

fn id(position: usize) -> RootId {
    RootId::nth(position).expect("a low position")
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary directory"))
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().expect("real path").join(name)
    }
    fn paths(&self, names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(|name| self.path(name)).collect()
    }
    fn open(&self, names: &[&str], options: RootsOptions) -> Result<Roots> {
        Roots::open(&Disk::new(), &self.paths(names), options)
    }
    fn refusal(&self, names: &[&str], options: RootsOptions) -> String {
        self.open(names, options).expect_err("must be refused").to_string()
    }
    fn identity(&self, name: &str) -> RootFile {
        examine::read_identity(&Disk::new(), &self.path(name)).expect("identity")
    }
}

#[test]
fn a_new_database_opens_again_in_any_order() {
    let place = Place::new();
    let id = place.open(&["x/a", "x/b", "c"], CREATE).expect("created").database_id();
    assert_eq!(id.len(), 32);
    let again = place.open(&["c", "x/a", "x/b"], PLAIN).expect("opened");
    assert_eq!(again.database_id(), id);
    assert_eq!(again.paths(), place.paths(&["c", "x/a", "x/b"]));
    assert_eq!(again.ids().count(), 3);
    let mode = fs::metadata(place.path("x/a")).expect("stat").mode();
    assert_eq!(mode & 0o777, ROOT_MODE, "stored files of any mode are private to the database");
    let members = place.identity("c").roots;
    assert_eq!(members.len(), 3);
    assert_eq!(members, place.identity("x/a").roots);
}

#[test]
fn a_database_without_roots_is_refused() {
    let place = Place::new();
    for options in [CREATE, PLAIN, READ_ONLY, DEGRADED] {
        assert!(matches!(place.open(&[], options), Err(Error::NoRoots)), "{options:?}");
    }
}

#[test]
fn table_numbers_rise_and_are_durable_in_every_root() {
    let place = Place::new();
    let roots = place.open(&["a", "b"], CREATE).expect("created");
    assert_eq!(roots.take_table_number().expect("number"), 1);
    assert_eq!(roots.take_table_number().expect("number"), 2);
    drop(roots);
    assert_eq!((place.identity("a").next_table, place.identity("b").next_table), (3, 3));
    let roots = place.open(&["b", "a"], PLAIN).expect("opened");
    assert_eq!(roots.take_table_number().expect("number"), 3);
    roots.shared.lock().next_table = TABLE_NUMBER_END;
    assert!(roots.take_table_number().expect_err("used up").to_string().contains("65535"));
    drop(roots);
    let roots = place.open(&["b", "a"], READ_ONLY).expect("read-only");
    assert!(matches!(roots.take_table_number(), Err(Error::ReadOnly)));
}

#[test]
fn missing_roots_are_refused_by_name_and_accepted_degraded() {
    let place = Place::new();
    drop(place.open(&["a", "b"], CREATE).expect("created"));
    let message = place.refusal(&["a"], CREATE);
    assert!(message.contains(&format!("root {}: ", place.path("b").display())), "{message}");
    assert!(message.contains("was not given"), "{message}");
    fs::rename(place.path("b"), place.path("away")).expect("rename");
    assert!(place.refusal(&["a", "b"], CREATE).contains("does not exist"));
    fs::create_dir(place.path("b")).expect("mkdir");
    assert!(place.refusal(&["a", "b"], CREATE).contains("is empty"));
    let roots = place.open(&["a", "b"], DEGRADED).expect("degraded");
    assert_eq!(roots.paths(), place.paths(&["a"]));
    assert_eq!(roots.missing()[0].path, place.path("b"));
    assert!(!place.path("b").join(ROOT_FILE_NAME).exists(), "an unmounted drive is no new root");
    drop(roots);
    let roots = place.open(&["a", "away"], PLAIN).expect("moved");
    assert!(roots.missing().is_empty());
    drop(roots);
    assert_eq!(place.identity("a").roots[1].path, place.path("away").display().to_string());
}

#[test]
fn a_new_root_joins_only_when_creating() {
    let place = Place::new();
    drop(place.open(&["a"], CREATE).expect("created"));
    assert!(place.refusal(&["a", "b"], PLAIN).contains("does not exist"));
    assert!(place.refusal(&["a", "b"], READ_ONLY).contains("does not exist"));
    assert!(!place.path("b").exists());
    drop(place.open(&["b", "a"], CREATE).expect("joined"));
    assert!(place.refusal(&["a"], PLAIN).contains("was not given"));
}

#[test]
fn a_crash_at_any_step_of_creating_or_joining_is_healed() {
    let cases: [(&[&str], &[&str]); 2] = [(&[], &["a", "b", "c"]), (&["a"], &["c", "b", "a"])];
    for (existing, given) in cases {
        for step in 1.. {
            let place = Place::new();
            drop(place.open(existing, CREATE));
            let faults = Arc::new(Faults::default());
            faults.fail_nth(step, libc::EIO);
            let disk = Disk::with_faults(Arc::clone(&faults));
            let outcome = Roots::open(&disk, &place.paths(given), CREATE);
            let finished = outcome.is_ok() && faults.seen() < step;
            drop(outcome);
            let roots = place.open(given, CREATE);
            let roots = roots.unwrap_or_else(|error| panic!("step {step}: {error}"));
            assert_eq!(roots.ids().count(), 3, "step {step}");
            drop(roots);
            let members = place.identity("a").roots;
            assert_eq!(members.len(), 3, "step {step}");
            assert!(given.iter().all(|name| place.identity(name).roots == members));
            if finished {
                break;
            }
        }
    }
}

#[test]
fn a_database_opens_without_a_root_that_only_began_to_join() {
    let place = Place::new();
    drop(place.open(&["a"], CREATE).expect("created"));
    let before = fs::read(place.path("a").join(ROOT_FILE_NAME)).expect("read");
    drop(place.open(&["a", "b"], CREATE).expect("joined"));
    fs::write(place.path("a").join(ROOT_FILE_NAME), before).expect("write");
    drop(place.open(&["a"], PLAIN).expect("as before the join"));
    let roots = place.open(&["a", "b"], PLAIN).expect("healed");
    drop(roots);
    assert_eq!(place.identity("a").roots.len(), 2);
}

#[test]
fn a_locked_root_is_refused() {
    let place = Place::new();
    let roots = place.open(&["a", "b"], CREATE).expect("created");
    for options in [PLAIN, READ_ONLY, DEGRADED] {
        let message = place.refusal(&["b", "a"], options);
        assert!(message.contains("in use by another littfs"), "{message}");
        assert!(message.contains(&place.path("b").display().to_string()), "{message}");
    }
    drop(roots);
    drop(place.open(&["a", "b"], PLAIN).expect("free again"));
}

#[test]
fn one_directory_cannot_be_two_roots() {
    let place = Place::new();
    fs::create_dir(place.path("a")).expect("mkdir");
    symlink(place.path("a"), place.path("link")).expect("symlink");
    for names in [["a", "a"], ["a", "link"], ["a", "../a"]] {
        let names = if names[1] == "../a" { ["a", "link/../a"] } else { names };
        assert!(place.refusal(&names, CREATE).contains("is the same directory"), "{names:?}");
    }
    assert!(place.refusal(&["a", "a/b"], CREATE).contains("inside one another"));
    assert!(place.refusal(&["new/b", "new"], CREATE).contains("inside one another"));
    assert_eq!(fs::read_dir(place.path("a")).expect("list").count(), 0);
}

#[test]
fn foreign_directories_and_files_are_refused() {
    let place = Place::new();
    fs::create_dir(place.path("home")).expect("mkdir");
    fs::write(place.path("home/letter"), "dear").expect("write");
    let message = place.refusal(&["home"], CREATE);
    assert!(message.contains("letter") && message.contains("empty directory"), "{message}");
    assert!(!place.path("home").join(LOCK_FILE_NAME).exists());
    assert!(place.refusal(&["home/letter"], CREATE).contains("this is a file"));
    assert!(place.refusal(&["home/letter/x"], CREATE).contains("not a directory"));
    fs::create_dir_all(place.path("drive/lost+found")).expect("mkdir");
    drop(place.open(&["drive"], CREATE).expect("a fresh drive"));
}

#[test]
fn two_databases_do_not_mix() {
    let place = Place::new();
    drop(place.open(&["a"], CREATE).expect("one"));
    drop(place.open(&["b"], CREATE).expect("another"));
    let message = place.refusal(&["a", "b"], DEGRADED);
    assert!(message.contains("belongs to another database"), "{message}");
    fs::create_dir(place.path("copy")).expect("mkdir");
    fs::copy(place.path("a").join(ROOT_FILE_NAME), place.path("copy").join(ROOT_FILE_NAME))
        .expect("copy");
    assert!(place.refusal(&["a", "copy"], PLAIN).contains("is a copy of"));
}

#[test]
fn damaged_and_future_identities_are_refused() {
    let place = Place::new();
    drop(place.open(&["a", "b"], CREATE).expect("created"));
    let file = place.path("b").join(ROOT_FILE_NAME);
    let text = fs::read_to_string(&file).expect("read");
    fs::write(&file, text.replace("format = 1", "format = 9")).expect("write");
    assert!(matches!(
        place.open(&["a", "b"], DEGRADED),
        Err(Error::FutureVersion { found: 9, supported: 1, .. })
    ));
    fs::write(&file, text.replace("next_table = 1", "next_table = ?")).expect("write");
    let message = place.refusal(&["a", "b"], PLAIN);
    assert!(message.contains("littfs.root is damaged") && message.contains("line 7"), "{message}");
    let roots = place.open(&["a", "b"], DEGRADED).expect("degraded");
    assert_eq!(roots.ids().count(), 1);
    drop(roots);
    assert!(fs::read_to_string(&file).expect("read").contains('?'), "damage is left for people");
}

#[test]
fn failed_roots_get_no_shards() {
    let place = Place::new();
    let roots = place.open(&["a", "b"], CREATE).expect("created");
    assert_eq!(roots.place(2, 0, 100).expect("room"), [id(0), id(1)]);
    roots.mark_failed(id(0), "sync failed");
    roots.mark_failed(id(0), "later news");
    assert_eq!(roots.failure(id(0)), Some("sync failed"));
    assert_eq!(roots.place(2, 0, 100).expect("room"), [id(1), id(1)]);
    roots.mark_failed(id(1), "gone");
    let error = roots.place(2, 0, 100).expect_err("none");
    assert!(!error.is_no_space(), "nobody can make room there");
    let message = error.to_string();
    assert!(message.contains("has failed (sync failed)"), "{message}");
}

#[test]
fn space_counts_a_drive_once_and_keeps_the_reserve() {
    let place = Place::new();
    let roots = place.open(&["a", "b"], CREATE).expect("created");
    let one = roots.space_of(id(0)).expect("space");
    assert_eq!(roots.space().total, one.total);
    drop(roots);
    let options = RootsOptions { reserve_bytes: u64::MAX, ..CREATE };
    let roots = place.open(&["a", "b"], options).expect("opened");
    assert_eq!(roots.space().available, 0);
    let error = roots.place(1, 0, 1).expect_err("full");
    assert!(error.is_no_space() && error.to_string().contains("are kept free"), "{error}");
}

#[test]
fn a_root_is_given_back_although_a_child_still_has_its_files() {
    let place = Place::new();
    let roots = place.open(&["a"], CREATE).expect("created");
    let lock = roots.locks.lock().pop().expect("a lock");
    let examine::Lock::File(file) = &lock else { panic!("{lock:?}") };
    // As a child has it between fork and exec: the same open file.
    let inherited = file.as_file().try_clone().expect("the same open file");
    assert!(place.refusal(&["a"], PLAIN).contains("in use"));
    drop(lock);
    drop(place.open(&["a"], PLAIN).expect("free, although the file is open"));
    drop((inherited, roots));
}
