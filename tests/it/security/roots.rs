//! Database directories that somebody else had a hand in.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::Mode;

use crate::mounted::{Mounted, errno};

/// Everything that must be a regular file.
const FILES: [&str; 8] = [
    "littfs.root",
    "littfs.lock",
    "t/table.metadata",
    "t/segments/1.metadata",
    "t/segments/1.keys",
    "t/segments/1-0.values",
    "t/keymap/keymap-type.txt",
    "t/keymap/data/1.map",
];

/// A database with one table and one value, not mounted, and a file beside it.
fn prepared() -> Mounted {
    let home = Mounted::new();
    home.sh("echo value > m/t/f; echo secret > outside");
    home.umount();
    home
}

fn replace(path: &Path, what: &str, outside: &Path) {
    fs::remove_file(path).expect("it was there");
    match what {
        "link" => symlink(outside, path).expect("symlink"),
        "dangling link" => symlink(outside.with_extension("new"), path).expect("symlink"),
        "pipe" => nix::unistd::mkfifo(path, Mode::S_IRWXU).expect("mkfifo"),
        _ => fs::create_dir(path).expect("mkdir"),
    }
}

/// A link would lead the daemon, often root, to a file of the attacker's choice; a pipe would keep
/// it waiting for ever.
#[test]
fn what_is_no_regular_file_is_refused_by_name_and_nothing_behind_it_is_touched() {
    let home = prepared();
    let outside = home.base().join("outside");
    for what in ["link", "dangling link", "pipe", "folder"] {
        for name in FILES {
            let path = home.roots()[0].join(name);
            let kept = home.base().join("kept");
            fs::copy(&path, &kept).expect("copy");
            replace(&path, what, &outside);
            let run = home.try_mount(&[]);
            let said = if name.starts_with("t/") {
                // Only its table cannot be used.
                assert_eq!((run.code, errno(fs::read(home.at("t/f")))), (0, Errno::EIO), "{name}");
                home.umount();
                fs::read_to_string(home.roots()[0].join("littfs.log")).expect("a log")
            } else {
                assert_eq!(run.code, 2, "{what} for {name}: {run:?}");
                run.stderr
            };
            assert!(said.contains(path.to_str().expect("text")), "{what} for {name}: {said}");
            let check = home.littfs("check", &[]);
            assert_ne!(check.code, 0, "{what} for {name}: {check:?}");
            home.sh("test \"$(cat outside)\" = secret && test ! -e outside.new");
            home.sh(&format!("rm -rf r0/{name} && mv kept r0/{name}"));
        }
    }
    home.mount();
    assert_eq!(home.sh("cat m/t/f"), "value\n", "nothing of it was lost");
}

#[test]
fn the_log_is_written_to_a_regular_file_only() {
    let home = prepared();
    let (log, outside) = (home.roots()[0].join("littfs.log"), home.base().join("outside"));
    for what in ["link", "dangling link", "pipe", "folder"] {
        replace(&log, what, &outside);
        let run = home.try_mount(&[]);
        assert_eq!(run.code, 0, "it serves without a log: {run:?}");
        assert!(run.stderr.contains("there will be no log"), "{what}: {run:?}");
        assert_eq!(home.sh("cat m/t/f"), "value\n");
        home.umount();
        home.sh("test \"$(cat outside)\" = secret && test ! -e outside.new");
        home.sh("rm -rf r0/littfs.log && touch r0/littfs.log");
    }
}

/// Leftovers of atomic replacement are in the way: a planted one must not be written through.
#[test]
fn planted_temporary_files_are_not_written_through() {
    let home = prepared();
    for name in ["littfs.root.tmp", "t/table.metadata.tmp", "t/segments/1.keys.tmp"] {
        symlink(home.base().join("outside"), home.roots()[0].join(name)).expect("symlink");
    }
    home.mount();
    home.sh("setfattr -n user.littfs.ttl -v 7d m/t; mkdir m/other; echo more > m/t/g");
    home.remount();
    assert_eq!(home.sh("cat outside m/t/f m/t/g"), "secret\nvalue\nmore\n");
}

/// Files that are swapped under a mount: it goes on with those it has open, and what it opens later
/// must be what was stored.
#[test]
fn files_swapped_under_a_mount_are_not_taken_for_values() {
    let home = Mounted::new();
    home.sh("head -c 5000000 /dev/zero | tr '\\0' a > m/t/large; sync m/t/large; \
        head -c 5000000 /dev/zero | tr '\\0' b > other");
    let dedicated = home.sh("find r0/t/segments -size +4000k");
    let file = dedicated.trim();
    for swap in ["ln -s $PWD/other", "cp other", "mkdir"] {
        home.sh(&format!("rm -r {file}; {swap} {file}"));
        home.sh("! timeout 180 cmp -s m/t/large other 2> /dev/null");
        home.remount();
        home.refuses("timeout 180 cmp m/t/large other", "Input/output error");
        home.sh("echo fine > m/t/next && rm m/t/next");
    }
}

#[test]
fn stored_bytes_are_for_their_owner_only_whatever_the_folder_allows() {
    let home = Mounted::unmounted(1, "");
    home.sh("chmod 755 .; umask 0; mkdir -m 755 r0");
    home.mount_with(&["-o", "allow_other"]);
    home.sh("umask 0; mkdir m/t; echo secret > m/t/f; chmod 600 m/t/f; \
        head -c 5000000 /dev/zero > m/t/large; sync m/t/large; : > m/t/pending");
    let open = "find r0 -type f ! -name littfs.log -perm /077";
    assert_eq!(home.sh(open), "", "files that others can open");
    assert_eq!(home.sh("stat -c %a r0/littfs.log"), "640\n");
    let bob = "setpriv --reuid=1002 --regid=1002 --clear-groups";
    assert_eq!(home.sh(&format!("{bob} grep -rs secret r0; true")), "");
    assert_eq!(home.sh("find r0 -type d -perm /022"), "", "folders that others can write to");
    // A root that littfs makes itself cannot even be entered.
    let own = Mounted::new();
    assert_eq!(own.sh("stat -c %a r0"), "700\n");
}

#[test]
fn a_root_that_everybody_can_write_to_is_warned_of() {
    let home = prepared();
    let root = &home.roots()[0];
    let warnings = || {
        let log = fs::read_to_string(root.join("littfs.log")).expect("log");
        log.lines().filter(|line| line.contains("chmod o-w")).count()
    };
    assert_eq!(warnings(), 0);
    fs::set_permissions(root, fs::Permissions::from_mode(0o777)).expect("chmod");
    home.mount();
    assert_eq!(warnings(), 1);
}

/// The path of a root may be a link: whoever gives it means what is behind it. One root given twice
/// that way is refused.
#[test]
fn a_root_may_be_given_by_a_link_but_only_once() {
    let home = prepared();
    home.sh("mv r0 elsewhere; ln -s elsewhere r0");
    home.mount();
    assert_eq!(home.sh("cat m/t/f"), "value\n");
    home.umount();
    let elsewhere = home.base().join("elsewhere");
    let run = home.try_mount(&["--root", elsewhere.to_str().expect("text")]);
    run.is_refused(&["the same directory"]);
}
