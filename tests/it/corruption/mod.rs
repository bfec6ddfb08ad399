//! Damages every kind of file in every way, and demands of each case: no panic, no wrong bytes, no
//! invented names, no error that `check` does not explain, no harm to another table, and after a
//! repair every value whose own bytes were not hit.
//!
//! Cases come from a seed, which failures name: `LITTFS_SEED` runs another one,
//! `LITTFS_CORRUPTION_ROUNDS` as many rounds as it says.

mod damage;
mod fixture;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use littfs::check::{Report, check};
use littfs::repair::{Repair, repair};
use littfs::testing::{Disk, Faults};
use littfs::{Db, Error, Scan, Table};

use self::damage::{Case, Random, Spared};
use self::fixture::{Fixture, Model};

/// What a campaign met.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Cases.
    pub(crate) cases: u64,
    /// Cases in which a reader met an error.
    pub(crate) stumbled: u64,
    /// Cases in which a repair mended something.
    pub(crate) mended: u64,
}

/// Runs so many rounds, each of which damages every file in every way at places of its own.
pub(crate) fn campaign(seed: u64, rounds: u64) -> Counts {
    let fixture = Fixture::new();
    let mut random = Random(seed | 1);
    let mut counts = Counts::default();
    let mut failed = Vec::new();
    for _ in 0..rounds {
        let cases = damage::cases(&fixture, &mut random);
        let pairs = damage::pairs(&cases, &mut random);
        for case in cases.into_iter().map(|case| vec![case]).chain(pairs) {
            let run = AssertUnwindSafe(|| run(&fixture, &Blow(&case), &mut counts));
            // What went wrong was printed; the other cases are tried all the same.
            if catch_unwind(run).is_err() {
                failed.push(format!("{case:?}"));
            }
        }
    }
    let (count, list) = (failed.len(), failed.join("\n"));
    assert!(failed.is_empty(), "seed {seed}: {count} of {} cases failed:\n{list}", counts.cases);
    counts
}

/// What is damaged at once.
struct Blow<'c>(&'c [Case]);

impl Blow<'_> {
    fn apply(&self, fixture: &Fixture, folder: &Path) {
        self.0.iter().for_each(|case| case.apply(fixture, folder));
    }

    /// Whether it may keep the whole database from opening.
    fn is_of_root(&self) -> bool {
        self.0.iter().any(Case::is_of_root)
    }

    /// Whether a table may suffer.
    fn hits(&self, table: &str) -> bool {
        self.0.iter().any(|case| case.hits(table))
    }

    /// What a repair must give back. Of two files each may be what the other was to be rebuilt from.
    fn spared(&self) -> Spared {
        if let [case] = self.0 { case.spared() } else { Spared::Nothing }
    }
}

fn run(fixture: &Fixture, case: &Blow<'_>, counts: &mut Counts) {
    counts.cases += 1;
    let copy = fixture.copy();
    case.apply(fixture, copy.path());
    let options = fixture.options(copy.path());
    let is_root_hit = case.is_of_root();
    let found = check(&options, None, &mut |_| {});
    assert!(found.is_ok() || is_root_hit, "check: {found:?}");
    let found = found.unwrap_or_default();
    for read_only in [true, false] {
        let options = options.clone().read_only(read_only);
        match Db::open(options) {
            Err(error) => assert!(is_root_hit, "open: {error}"),
            Ok(db) => {
                let read = read_all(fixture, &db, case);
                counts.stumbled += u64::from(!read.is_whole());
                read.explained_by(&found, None, case);
                db.close().expect("close");
            }
        }
    }
    // As it was damaged, not as the opening left it.
    let copy = fixture.copy();
    case.apply(fixture, copy.path());
    let options = fixture.options(copy.path());
    let done = repair(&options, None).expect("repair");
    counts.mended += u64::from(!done.mended.is_empty());
    assert_kept(&done);
    let after = check(&options, None, &mut |_| {}).expect("check");
    let db = Db::open(options.clone()).expect("open after a repair");
    // A flipped version looks like that of a later littfs, whose files are left alone.
    let is_later = done.lost.iter().any(|step| step.what.contains("newer littfs"));
    assert!(is_later || db.unavailable_tables().is_empty(), "{done:?}");
    let read = read_all(fixture, &db, case);
    read.explained_by(&after, Some(&done), case);
    if !is_later {
        read.mended_but_for(case, &done, &after);
    }
    db.close().expect("close");
    let again = repair(&options, None).expect("repair again");
    assert!(again.mended.is_empty(), "mended twice: {again:?} after {done:?}");
}

/// Everything that was replaced is kept where it is said to be.
fn assert_kept(done: &Repair) {
    for kept in done.mended.iter().filter_map(|step| step.kept.as_ref()) {
        assert!(kept.exists(), "{} is not kept", kept.display());
        assert!(done.kept.iter().any(|folder| kept.starts_with(folder)), "{done:?}");
    }
}

/// What readers met.
#[derive(Debug, Default)]
struct Read {
    /// Keys that answered with an error.
    refused: BTreeSet<String>,
    /// Keys that were not there any more.
    absent: BTreeSet<String>,
    /// Names that were gone and are there again.
    back: BTreeSet<String>,
    /// Listings that ended with an error.
    listings: u64,
    errors: Vec<String>,
}

impl Read {
    fn is_whole(&self) -> bool {
        self.refused.is_empty() && self.absent.is_empty() && self.listings == 0
    }

    /// Nothing surprises a reader that a check does not name.
    fn explained_by(&self, found: &Report, done: Option<&Repair>, case: &Blow<'_>) {
        if case.is_of_root() {
            return;
        }
        let is_quiet = self.refused.is_empty() && self.listings == 0;
        assert!(is_quiet || found.damage > 0, "unexplained: {self:?}\n{found:?}");
        let is_complete = self.absent.is_empty() && self.back.is_empty();
        let is_said = done.is_some_and(|done| !done.mended.is_empty());
        assert!(is_complete || is_said || found.damage + found.notes > 0, "unexplained: {self:?}");
    }

    /// After a repair only what was hit itself is lost.
    fn mended_but_for(&self, case: &Blow<'_>, done: &Repair, after: &Report) {
        let lost = self.refused.len() + self.absent.len();
        let allowed = match case.spared() {
            Spared::AllValues => 0,
            Spared::ButFew(count) => count,
            Spared::Nothing => usize::MAX,
        };
        assert!(lost <= allowed, "{lost} keys are lost: {self:?}\n{done:?}\n{after:?}");
        assert_eq!(self.listings, 0, "{self:?}\n{done:?}");
    }
}

fn read_all(fixture: &Fixture, db: &Db, case: &Blow<'_>) -> Read {
    let mut read = Read::default();
    for (name, model) in &fixture.models {
        let is_hit = case.hits(name);
        match db.table(name) {
            Ok(table) => {
                let mut here = Read::default();
                read_table(&table, model, &mut here);
                assert!(is_hit || (here.is_whole() && here.back.is_empty()), "{name}: {here:?}");
                read.refused.extend(here.refused);
                read.absent.extend(here.absent);
                read.back.extend(here.back);
                read.listings += here.listings;
                read.errors.extend(here.errors);
            }
            Err(Error::Unavailable { reason, .. }) => {
                assert!(is_hit, "{name} suffers too: {reason}");
                read.refused.extend(model.live.keys().map(|key| shown(key)));
                read.errors.push(reason);
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
    read
}

fn read_table(table: &Table, model: &Model, read: &mut Read) {
    for (key, values) in &model.ever {
        let is_live = model.live.contains_key(key);
        match table.get(key) {
            Ok(Some(value)) => {
                assert!(values.contains(&value), "wrong bytes of {}", shown(key));
                if let Some(live) = model.live.get(key) {
                    assert_eq!(&value, live, "older bytes of {}", shown(key));
                } else {
                    read.back.insert(shown(key));
                }
            }
            Ok(None) if is_live => drop(read.absent.insert(shown(key))),
            Ok(None) => {}
            Err(error) => {
                assert!(!error.to_string().is_empty());
                if is_live {
                    read.refused.insert(shown(key));
                    read.errors.push(error.to_string());
                }
            }
        }
    }
    list(table, model, read);
}

/// Lists all names; none may be there that never was.
fn list(table: &Table, model: &Model, read: &mut Read) {
    let listed = match table.scan(Scan::new()) {
        Ok(listed) => listed,
        Err(error) => {
            read.listings += 1;
            read.errors.push(error.to_string());
            return;
        }
    };
    let mut names = BTreeSet::new();
    for entry in listed {
        match entry {
            Ok((key, _)) if key.ends_with(b"/") => {}
            Ok((key, _)) => {
                assert!(model.ever.contains_key(&key), "{} is invented", shown(&key));
                names.insert(key);
            }
            Err(error) => {
                read.listings += 1;
                read.errors.push(error.to_string());
                return;
            }
        }
    }
    for key in model.live.keys().filter(|key| !names.contains(*key)) {
        read.absent.insert(shown(key));
    }
}

fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn damage_costs_only_what_it_hit_and_repair_gives_back_the_rest() {
    let seed = from_environment("LITTFS_SEED", 20_261_120);
    let counts = campaign(seed, from_environment("LITTFS_CORRUPTION_ROUNDS", 1));
    assert!(counts.cases > 300 && counts.stumbled > 50 && counts.mended > 100, "{counts:?}");
}

/// Copies are for reading only what stands in them.
/// A repair that is cut short at any step leaves what the next one finishes.
#[test]
fn a_repair_that_ends_early_can_be_started_again() {
    let fixture = Fixture::new();
    let files = fixture.files();
    let hit = |name: &str| files.keys().find(|path| path.ends_with(name)).cloned();
    let victims: Vec<_> = ["r1/littfs.root", "t/table.metadata", "2.metadata", "2.keys", "6.keys"]
        .iter()
        .map(|name| hit(name).expect(name))
        .collect();
    let mut step = 1;
    loop {
        let copy = fixture.copy();
        for victim in &victims {
            let path = copy.path().join(victim);
            let mut bytes = fs::read(&path).expect("read");
            // Of the log the header: a record may be a rename, which stands nowhere else.
            let at = if bytes.starts_with(b"LFL") { 10 } else { bytes.len() / 2 };
            bytes[at] ^= 4;
            fs::write(&path, bytes).expect("write");
        }
        let faults = Arc::new(Faults::default());
        faults.fail_nth(step, nix::errno::Errno::EIO as i32);
        let disk = Disk::with_faults(Arc::clone(&faults));
        let options = fixture.options(copy.path());
        let cut_short = repair(&options.clone().disk(disk), None);
        let is_finished = faults.seen() < step;
        drop(cut_short);
        repair(&options, None).unwrap_or_else(|error| panic!("step {step}: {error}"));
        let report = check(&options, None, &mut |_| {}).expect("check");
        assert!(report.is_good(), "step {step}: {report:?}");
        let db = Db::open(options).expect("open");
        for (name, model) in &fixture.models {
            let mut read = Read::default();
            read_table(&db.table(name).expect("open"), model, &mut read);
            assert!(read.is_whole(), "step {step}, {name}: {read:?}");
        }
        db.close().expect("close");
        if is_finished {
            break;
        }
        // Steps are tried one by one where files are replaced, and every few otherwise.
        step += if step < 40 { 1 } else { 7 };
    }
    assert!(step > 300, "{step}");
}

#[test]
fn the_database_of_the_campaign_is_good_and_has_every_kind_of_file() {
    let fixture = Fixture::new();
    let names: Vec<String> =
        fixture.files().keys().map(|path| path.display().to_string()).collect();
    for part in [
        "r0/littfs.root",
        "r1/littfs.root",
        "t/table.metadata",
        "keymap-type.txt",
        ".map",
        ".metadata",
        ".keys",
        "-0.values",
        "-1.values",
        "-2.values",
    ] {
        assert!(names.iter().any(|name| name.contains(part)), "no {part} in {names:?}");
    }
    let copy = fixture.copy();
    let options = fixture.options(copy.path());
    let report = check(&options, None, &mut |_| {}).expect("check");
    assert!(report.is_good(), "{report:?}");
    let done = repair(&options, None).expect("repair");
    assert!(done.mended.is_empty() && done.lost.is_empty() && done.kept.is_empty(), "{done:?}");
    assert!(fs::read_dir(copy.path().join("r0")).expect("list").flatten().all(|entry| {
        !Path::new(&entry.file_name()).display().to_string().starts_with(".replaced")
    }));
}
