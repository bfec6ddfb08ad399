//! rsync, into the mount and out of it.

use super::{every_way_stores_the_same, fails, seal, succeeds, with_source};
use crate::mounted::Mounted;

/// What rsync transferred, by its own count.
#[track_caller]
fn transferred(home: &Mounted, arguments: &str) -> String {
    home.sh(&format!(
        "set -o pipefail; rsync --stats {arguments} | sed -n 's/Number of regular files transferred: //p'"
    ))
}

/// `source` with folders, a symbolic and a hard link, other owners, old times.
fn with_tree() -> Mounted {
    let home = with_source();
    home.sh("mkdir -p source/d/e; ln -s ../short source/d/link; ln source/long source/d/hard; \
        chown 12:34 source/short; chmod 700 source/d/e; touch -d 2001-02-03 source/d/e source/d source");
    home
}

#[test]
fn whatever_rsync_does_stores_the_same() {
    let home = with_source();
    every_way_stores_the_same(
        &home,
        &[
            "rsync -a source/ m/t/d",
            "rsync -rW --no-times source/ m/t/d",
            "rsync -aHAX source/ m/t/d",
            "rsync -a --inplace source/ m/t/d",
            "rsync -a --fsync source/ m/t/d",
            "rsync -a --delay-updates source/ m/t/d",
            "rsync -a --sparse source/ m/t/d",
            "rsync -a --preallocate source/ m/t/d",
            "rsync -a --preallocate --inplace source/ m/t/d",
            "mkdir m/t/tmp; rsync -a --temp-dir=$PWD/m/t/tmp source/ m/t/d",
            "mkdir m/u; rsync -a --temp-dir=$PWD/m/u source/ m/t/d; rmdir m/u",
            "rsync -a --partial --partial-dir=.partial source/ m/t/d",
            "rsync -a --append source/ m/t/d",
            "rsync -a --backup source/ m/t/d",
        ],
    );
}

#[test]
fn a_second_run_transfers_nothing() {
    let home = with_tree();
    for options in [
        "-a",
        "-aAX",
        "-a --inplace",
        "-a --fsync",
        "-a --delay-updates",
        "-a --preallocate",
        "-a --temp-dir=$PWD/m/t",
        "-ac",
    ] {
        let copy = format!("{options} source/ m/t/d");
        assert_eq!(transferred(&home, &copy), "4\n", "{options}");
        // Not even attributes are left to put right.
        succeeds(&home, &format!("rsync --itemize-changes {copy}"), "");
        assert_eq!(transferred(&home, &copy), "0\n", "{options}");
        succeeds(
            &home,
            "rsync -aic --delete --dry-run source/ m/t/d; readlink m/t/d/d/link",
            "../short\n",
        );
        succeeds(
            &home,
            "stat -c '%a %u %g %Y' m/t/d/short m/t/d/d m/t/d/d/e",
            "751 12 34 946684799\n755 0 0 981158400\n700 0 0 981158400\n",
        );
        home.sh("rm -r m/t/d");
    }
}

#[test]
fn hard_links_become_files_and_should_be_copied_as_such() {
    let home = with_tree();
    assert_eq!(transferred(&home, "-aH source/ m/t/d"), "3\n");
    succeeds(
        &home,
        "diff -r --no-dereference source m/t/d; stat -c %h m/t/d/long m/t/d/d/hard",
        "1\n1\n",
    );
    // Since they are two files, rsync wants to link them at each run, which a seal forbids.
    succeeds(&home, "rsync -aHi source/ m/t/d", "hf          d/hard => long\n");
    seal(&home, "t", &["d/long", "d/d/hard"]);
    fails(&home, "rsync -aH source/ m/t/d", 23, "failed: Operation not permitted (1)");
    succeeds(&home, "rsync -ai source/ m/t/d; cmp m/t/d/long m/t/d/d/hard", "");
    succeeds(
        &home,
        "rsync -aH --link-dest=../d source/ m/t/e; diff -r --no-dereference source m/t/e",
        "",
    );
}

#[test]
fn attributes_that_are_not_kept_are_named() {
    let home = with_source();
    home.sh("setfattr -n user.comment -v text source/short; setfacl -m u:5:r source/long");
    fails(
        &home,
        "rsync -aX source/ m/t/d",
        23,
        "\"user.comment\") failed: Operation not supported (95)",
    );
    fails(&home, "rsync -aA source/ m/t/d", 23, "ACL_TYPE_ACCESS): Operation not supported (95)");
    fails(
        &home,
        "cp -p source/long m/t/f",
        1,
        "cp: preserving permissions for 'm/t/f': Operation not supported",
    );
    fails(&home, "setfacl -m u:5:r m/t/d/long", 1, "setfacl: m/t/d/long: Operation not supported");
    // Contents, times and modes are those of the source all the same.
    succeeds(
        &home,
        "cp -a source/short m/t/g; rsync -aic source/ m/t/d; diff -r source m/t/d; getfacl -cp m/t/d/long",
        "user::rw-\ngroup::r--\nother::r--\n\n",
    );
}

#[test]
fn a_second_run_after_the_grace_transfers_what_is_new() {
    let home = with_tree();
    home.sh("rsync -a source/ m/t/d");
    home.remount();
    seal(&home, "t", &["d/long", "d/short", "d/empty", "d/d/hard"]);
    succeeds(
        &home,
        "rsync -ai source/ m/t/d; rsync -aic source/ m/t/d; rsync -ai --inplace source/ m/t/d",
        "",
    );
    home.sh("setfattr -n user.littfs.grace -v 5m m/t; echo new > source/new");
    succeeds(&home, "rsync -ai source/ m/t/d | grep -v /$", ">f+++++++++ new\n");
}

#[test]
fn changed_files_are_replaced_while_they_settle() {
    let home = with_source();
    home.sh("rsync -a source/ m/t/d; echo other > source/short; touch -d 2011-01-01 source/short");
    succeeds(&home, "rsync -ai source/ m/t/d; cat m/t/d/short", ">f..t...... short\nother\n");
    home.sh("echo longer still > source/short");
    fails(
        &home,
        "rsync -a --inplace source/ m/t/d",
        23,
        "short\" failed: Operation not permitted (1)",
    );
    succeeds(
        &home,
        "cat m/t/d/short; rsync -a source/ m/t/d; cat m/t/d/short",
        "other\nlonger still\n",
    );
    succeeds(
        &home,
        "rm source/empty; rsync -ai --delete source/ m/t/d | grep -v /$",
        "*deleting   empty\n",
    );
    seal(&home, "t", &["d/long", "d/short"]);
    home.sh("setfattr -n user.littfs.grace -v 0 m/t; echo third > source/short");
    fails(&home, "rsync -a source/ m/t/d", 23, "Operation not permitted (1)");
    home.sh("rm source/long");
    fails(
        &home,
        "rsync -a --delete --exclude short source/ m/t/d",
        23,
        "long) failed: Operation not permitted (1)",
    );
    succeeds(&home, "cat m/t/d/short; ls m/t/d | grep -v '^\\.'", "longer still\nlong\nshort\n");
}

#[test]
fn dated_backups_share_what_did_not_change() {
    let home = with_tree();
    home.sh("setfattr -n user.littfs.ttl -v 30d m/t");
    let backup = |day: &str, last: &str| {
        home.sh(&format!("rsync -ai --link-dest=../{last} source/ m/t/{day} | grep -v ' ./$'"))
    };
    home.sh("rsync -a source/ m/t/1");
    home.sh("echo new > source/new; echo changed > source/short; rm source/empty");
    assert_eq!(backup("2", "1"), "created directory m/t/2\n>f+++++++++ new\n>f.st...... short\n");
    assert_eq!(backup("3", "2"), "created directory m/t/3\n");
    succeeds(
        &home,
        "diff -r --no-dereference source m/t/2; diff -r --no-dereference source m/t/3; ls m/t/1; \
            cat m/t/1/short",
        "d\nempty\nlong\nshort\nshort\n",
    );
    // A link is a file with a time to live of its own.
    succeeds(&home, "stat -c %i m/t/1/long m/t/2/long m/t/3/long | sort -u | wc -l", "3\n");
    home.crash();
    succeeds(
        &home,
        "diff -r --no-dereference source m/t/2; diff -r --no-dereference source m/t/3",
        "",
    );
    // The path is taken from the target, not from where rsync is started.
    let missing = home.shell("rsync -a --link-dest=m/t/3 source/ m/t/4");
    assert!(
        String::from_utf8_lossy(&missing.stderr).contains("--link-dest arg does not exist: "),
        "{missing:?}"
    );
    seal(&home, "t", &["3/long"]);
    home.sh("setfattr -n user.littfs.grace -v 5m m/t");
    succeeds(
        &home,
        "rsync -a --link-dest=../3 source/ m/t/5; diff -r --no-dereference source m/t/5",
        "",
    );
}

#[test]
fn what_is_stored_comes_back() {
    let home = with_tree();
    home.sh("rsync -a source/ m/t/d");
    home.remount();
    seal(&home, "t", &["d/long"]);
    assert_eq!(transferred(&home, "-ac m/t/d/ back"), "4\n");
    succeeds(
        &home,
        "rsync -aic source/ back; rsync -aic m/t/d/ back; diff -r --no-dereference source back",
        "",
    );
    assert_eq!(transferred(&home, "-aHAX m/t/d/ back"), "0\n");
    succeeds(
        &home,
        "echo damaged > back/short; touch -r source/short back/short; rsync -aci m/t/d/ back; cat back/short",
        ">fcs....... short\nshort\n",
    );
}
