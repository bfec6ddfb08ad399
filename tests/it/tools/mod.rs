//! The tools that people have, each on a real mount: what it stores, what it says, its exit code.

mod archives;
mod copying;
mod fetching;
mod finding;
mod moving;
mod python;
mod recipes;
mod restic;
mod rsync;
mod together;
mod writing;

use crate::mounted::Mounted;
use crate::program::wait_until;

/// What tools say of EPERM.
const NO: &str = "Operation not permitted";

/// A script that must end with 0, print exactly this, and complain about nothing.
#[track_caller]
fn succeeds(home: &Mounted, script: &str, stdout: &str) {
    assert_eq!(home.sh(&format!("set -e; {script}")), stdout, "{script}");
}

/// A script that must end with this exit code and complain with these words.
#[track_caller]
fn fails(home: &Mounted, script: &str, code: i32, words: &str) {
    let output = home.shell(script);
    // zip complains on stdout.
    let said = [output.stderr, output.stdout].concat();
    let errors = String::from_utf8_lossy(&said);
    assert_eq!(output.status.code(), Some(code), "{script}: {errors}");
    assert!(errors.contains(words), "{script}: no {words:?} in {errors}");
}

/// Ends the grace of a table: these files of it are sealed from now on.
#[track_caller]
fn seal(home: &Mounted, table: &str, files: &[&str]) {
    home.sh(&format!("setfattr -n user.littfs.grace -v 0 m/{table}"));
    for file in files {
        // A file is pending until the kernel has released its last handle.
        wait_until("it is not sealed", || {
            home.sh(&format!("getfattr --only-values -n user.littfs.sealed m/{table}/{file}"))
                == "true"
        });
    }
}

/// A mount whose segments are small, and beside it the folder `source`: files long, short and
/// empty, one of them with a mode and a time of its own.
fn with_source() -> Mounted {
    let home = Mounted::with(2, "segment_keys_max = 100\n");
    home.sh(
        "mkdir source; seq 100000 > source/long; echo short > source/short; : > source/empty; \
        chmod 751 source/short; touch -d '1999-12-31 23:59:59.5' source/short",
    );
    home
}

/// Runs scripts, each of which is a way to bring the files of `source` into the folder `m/t/d`.
#[track_caller]
fn every_way_stores_the_same(home: &Mounted, ways: &[&str]) {
    for way in ways {
        home.sh("mkdir m/t/d");
        succeeds(home, way, "");
        assert_eq!(home.sh("diff -r source m/t/d"), "", "{way}");
        home.sh("rm -r m/t/*");
    }
}
