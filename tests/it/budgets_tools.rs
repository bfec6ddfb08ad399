//! What tools cost in FUSE requests for each file of a tree of small files.
//!
//! rsync and tar ask for what they ask; the numbers here are what is left for the mount to answer.
//! Requests for folders, and those that come once, vanish in the division by the number of files.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::budgets::{Counted, succeeds};

const FOLDERS: usize = 10;
const FILES: u64 = 1000;

/// A mount beside which the folder `source` holds a tree of small files.
fn with_source() -> Counted {
    let mut counted = Counted::new();
    let source = counted.base().join("source");
    for folder in 0..FOLDERS {
        fs::create_dir_all(source.join(format!("folder-{folder}"))).expect("mkdir");
    }
    for file in 0..FILES {
        let path = source.join(format!("folder-{}/file-{file}", file % FOLDERS as u64));
        fs::write(path, format!("{file}")).expect("write");
    }
    counted.start_cold();
    counted
}

/// Requests by kind, of a cost as it is shown.
fn by_kind(cost: &str) -> BTreeMap<&str, u64> {
    let request = |part| match str::split_once(part, '=') {
        Some((kind, count)) => (kind, count.parse().expect("a number")),
        None => (part, 1),
    };
    cost.split(' ').map(request).collect()
}

/// A shell command, run beside the mountpoint `m`, sends for each file at most these requests.
/// Versions of a tool differ, so a kind may come less often; none may come that is not named.
#[track_caller]
fn costs_per_file(counted: &Counted, command: &str, most: &str) {
    let cost = counted.cost(|| {
        succeeds(Command::new("bash").args(["-c", command]).current_dir(counted.base()));
    });
    let most = by_kind(most);
    for (kind, count) in by_kind(&cost) {
        let allowed = most.get(kind).copied().unwrap_or(0);
        assert!(count / FILES <= allowed, "{command}: {kind} for each file, of {cost}");
    }
    // Nothing was left out.
    let copy = command.rsplit(' ').next().expect("a target");
    let compared = format!("diff -r source {copy}");
    succeeds(Command::new("bash").args(["-c", &compared]).current_dir(counted.base()));
}

#[test]
fn rsync_of_a_fresh_tree() {
    let counted = with_source();
    // The final name, the temporary one, and the final one again: the kernel looks up names that
    // are not there at each use. GETATTR: the write made the times old, and so does the renaming, after
    // which some versions with security fixes (Debian's 3.2.7-1+deb12u5) look at the file once more.
    costs_per_file(
        &counted,
        "rsync -a source/ m/t/rsync",
        "LOOKUP=3 CREATE SETATTR=3 WRITE FLUSH GETATTR=2 OPEN RELEASE=2 RENAME",
    );
    costs_per_file(
        &counted,
        "rsync -a --inplace source/ m/t/inplace",
        "LOOKUP CREATE SETATTR=3 WRITE FLUSH GETXATTR OPEN RELEASE=2",
    );
    costs_per_file(
        &counted,
        "rsync -a --fsync source/ m/t/fsync",
        "LOOKUP=3 CREATE SETATTR=3 WRITE FSYNC FLUSH GETATTR=2 OPEN RELEASE=2 RENAME",
    );
}

#[test]
fn rsync_of_an_unchanged_tree_beside_the_last() {
    let mut counted = with_source();
    let source = format!("{}/", counted.base().join("source").display());
    succeeds(Command::new("rsync").args(["-a", &source]).arg(counted.at("1")));
    // The next night the kernel knows nothing. GETATTR: of the folder, whose time each link moves.
    counted.start_cold();
    costs_per_file(&counted, "rsync -a --link-dest=../1 source/ m/t/2", "LOOKUP=3 LINK GETATTR");
}

#[test]
fn tar_of_a_fresh_tree() {
    let counted = with_source();
    succeeds(Command::new("tar").args(["-cf", "a.tar", "source"]).current_dir(counted.base()));
    // Times, owner and mode; the kernel asks for capabilities before it changes an owner.
    costs_per_file(
        &counted,
        "tar -xf a.tar -C m/t; : m/t/source",
        "LOOKUP CREATE WRITE SETATTR=3 GETXATTR FLUSH RELEASE",
    );
}

#[test]
fn cp_of_a_fresh_tree() {
    let counted = with_source();
    costs_per_file(&counted, "cp -r source m/t/r", "LOOKUP CREATE WRITE FLUSH RELEASE");
    // Times and mode; access lists are tried first.
    let attributes = "LOOKUP CREATE WRITE SETATTR=2 SETXATTR FLUSH RELEASE";
    costs_per_file(&counted, "cp -a source m/t/a", attributes);
}
