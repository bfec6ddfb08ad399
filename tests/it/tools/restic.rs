//! restic with its repository on the mount.

use std::fs;
use std::process::{Command, Stdio};

use super::{fails, seal, succeeds, with_source};
use crate::mounted::{Mounted, names_in};
use crate::program::wait_until;

/// The repository, its password, and a cache that goes with the test.
const SETTINGS: &str =
    "export RESTIC_REPOSITORY=$PWD/m/t/repo RESTIC_PASSWORD=secret RESTIC_CACHE_DIR=$PWD/cache";

#[track_caller]
fn restic(home: &Mounted, script: &str) -> String {
    home.sh(&format!("set -e; {SETTINGS}; {script}"))
}

#[test]
fn a_repository_works_and_can_be_pruned_within_the_grace() {
    let home = with_source();
    assert_eq!(
        restic(
            &home,
            "restic -q init; restic -q backup source; echo new > source/new; \
                restic -q backup source; restic -q check"
        ),
        ""
    );
    assert_eq!(names_in(&home.at("t/repo/snapshots")).len(), 2);
    assert_eq!(names_in(&home.at("t/repo/locks")), [""; 0], "restic takes its locks away");
    home.crash();
    assert_eq!(
        restic(
            &home,
            "restic -q check --read-data; restic -q restore latest --target back; diff -r source back/source"
        ),
        ""
    );
    // Sealed: everything but removing.
    seal(&home, "t", &["repo/config"]);
    let snapshot = names_in(&home.at("t/repo/snapshots")).remove(0);
    fails(&home, &format!("rm -f m/t/repo/snapshots/{snapshot}"), 1, "Operation not permitted");
    assert_eq!(
        restic(&home, "restic -q --no-lock check; restic --no-lock -q snapshots | grep -c source"),
        "2\n"
    );
    // A table whose files stay removable long enough.
    succeeds(&home, "setfattr -n user.littfs.grace -v 30d m/t", "");
    assert_eq!(
        restic(
            &home,
            "restic -q forget --keep-last 1 --prune; restic -q check --read-data; \
                restic -q backup source; restic -q check"
        ),
        ""
    );
    assert_eq!(names_in(&home.at("t/repo/snapshots")).len(), 2);
    assert_eq!(
        restic(
            &home,
            "rm -r back; restic -q restore latest --target back; diff -r source back/source"
        ),
        ""
    );
}

#[test]
fn a_lock_that_a_killed_restic_leaves_is_taken_away() {
    let home = with_source();
    restic(&home, "restic -q init");
    let mut backup = Command::new("bash");
    backup.args(["-c", &format!("{SETTINGS}; exec restic -q backup --stdin")]);
    backup.current_dir(home.base()).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut backup = backup.spawn().expect("restic");
    let locks = home.at("t/repo/locks");
    let finished = |name: &String| !name.contains("-tmp-");
    wait_until("there is no lock", || names_in(&locks).iter().any(finished));
    backup.kill().expect("kill");
    backup.wait().expect("it ends");
    let refused = format!("{SETTINGS}; restic -q check");
    fails(&home, &refused, 1, "repository is already locked by PID");
    assert_eq!(restic(&home, "restic -q backup source; restic -q unlock; restic -q check"), "");
    assert_eq!(fs::read_dir(&locks).expect("list").count(), 0);
}
