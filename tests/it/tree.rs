//! A whole tree of files through ordinary tools, a crash, and other things that happen to a
//! database with three roots.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::mounted::Mounted;

const FILES: usize = 3000;

/// Bytes that differ from file to file and are easy to make.
fn bytes(number: usize, length: usize) -> Vec<u8> {
    let line = format!("file {number}, needle {}\n", number % 7);
    line.bytes().cycle().take(length).collect()
}

/// Every shape of file and name that a tree of a person can have.
fn make_tree(at: &Path) {
    let lengths = [0, 1, 2, 100, 1000, 4095, 4096, 4097, 65_535, 65_536, 65_537];
    let mut deep = at.to_path_buf();
    for level in 0..10 {
        deep.push(format!("level {level}"));
        fs::create_dir_all(&deep).expect("mkdir");
        fs::write(deep.join("file"), bytes(level, level * 1000)).expect("write");
    }
    for number in 0..FILES {
        let folder = at.join(format!("folder-{}", number % 40));
        fs::create_dir_all(&folder).expect("mkdir");
        // Mostly short ones, as in real trees.
        let length = if number % 10 == 0 { lengths[number / 10 % 11] } else { number % 700 };
        fs::write(folder.join(format!("{number}.txt")), bytes(number, length)).expect("write");
    }
    let odd = at.join("odd names");
    fs::create_dir(&odd).expect("mkdir");
    let longest = "x".repeat(255);
    for name in [
        ".hidden",
        "...",
        "-rf",
        "~",
        "a b  c",
        "tab\there",
        "line\nbreak",
        "quote'\"",
        "\\",
        "grüße",
        "日本語",
        "é",
        "e\u{301}",
        "👾",
        "*",
        "?",
        "%s",
        longest.as_str(),
    ] {
        fs::write(odd.join(name), name).expect("write");
    }
    fs::write(odd.join(std::ffi::OsStr::from_bytes(b"no \xff text")), "x").expect("write");
    fs::create_dir_all(at.join("empty/folder")).expect("mkdir");
    for number in 0..2 {
        let mut file = File::create(at.join(format!("large-{number}"))).expect("create");
        file.write_all(&bytes(number, (5 << 20) + number)).expect("write");
    }
    symlink("folder-1/1.txt", at.join("link")).expect("symlink");
    symlink("nowhere/ü", at.join("dangling link")).expect("symlink");
}

/// Copies of the tree in three roots, made with `cp -a`, `cp -r` and `tar`.
fn copied() -> Mounted {
    let home = Mounted::with(3, "");
    make_tree(&home.base().join("source"));
    home.sh("cp -a source m/t/a && cp -r source m/t/r");
    home
}

fn assert_unchanged(home: &Mounted) {
    home.sh("diff -r --no-dereference source m/t/a && diff -r --no-dereference source m/t/r");
}

#[test]
fn tools_see_the_same_in_the_copy_as_in_the_source() {
    let home = copied();
    assert_unchanged(&home);
    for look in [
        "find . | LC_ALL=C sort",
        "find . | wc -l",
        "ls -1aR",
        "ls -lR --time-style=full-iso | grep '^[-l]' | tr -s ' '",
        "find . ! -type d -printf '%p %y %s %m %U %G %T@ %n %l\\n' | sort",
        "find . -type d -printf '%p %m %U %G %T@\\n' | sort",
        "find . -type f -size +1M | sort",
        "find . ! -newer large-0 -name '*9.txt' | sort | head -20",
        "find . -type f -print0 | sort -z | xargs -0 md5sum",
        "find . -type f -print0 | sort -z | xargs -0 cat | sha1sum",
        "find . -type f -print0 | du -b -c --files0-from=- | tail -1",
        "grep -rc 'needle 3' . | sort",
        "head -c 1000 large-1 | md5sum",
        "tail -c 100000 large-1 | md5sum",
        "tail -n 2 large-0; tail -c 1 large-0",
        "cat folder-7/7.txt 'odd names/-rf'",
        "dd if=large-0 bs=1000 skip=5000 count=7 status=none | md5sum",
        "tar -c --sort=name . | tar -t | sort",
        "readlink link 'dangling link'; cat link",
        "test -d empty/folder && ls -A empty/folder",
    ] {
        let source = home.sh(&format!("cd source && {look}"));
        let copy = home.sh(&format!("cd m/t/a && {look}"));
        // Not the texts: they are long.
        let difference = source.lines().zip(copy.lines()).find(|(source, copy)| source != copy);
        assert!(source == copy, "{look}: {difference:?}");
        assert!(!source.is_empty() || look.contains("-A"), "{look}");
    }
}

#[test]
fn everything_is_there_after_a_kill_a_lost_keymap_and_a_move() {
    let home = copied();
    // Nothing is waited for, not even the flush that runs every second.
    home.crash();
    assert_unchanged(&home);

    home.umount();
    home.sh("rm -r r?/t/keymap");
    home.mount();
    assert_unchanged(&home);

    home.umount();
    let before = home.segment_files();
    let move_all = "for file in r0/t/segments/*; do mv -n $file r1/t/segments/; done; \
        for file in r1/t/segments/*.values; do mv -n $file r2/t/segments/; done";
    home.sh(move_all);
    assert_ne!(home.segment_files(), before);
    home.mount();
    assert_unchanged(&home);
    home.sh("echo more > m/t/more");
    home.remount();
    assert_eq!(home.sh("cat m/t/more"), "more\n");
}

#[test]
fn tar_and_rsync_bring_a_tree_in_and_out() {
    let home = Mounted::with(3, "");
    make_tree(&home.base().join("source"));
    home.sh("mkdir m/t/tar out && tar -C source -c . | tar -C m/t/tar -x");
    home.sh("diff -r --no-dereference source m/t/tar");
    home.sh("rsync -a source/ m/t/rsync && diff -r --no-dereference source m/t/rsync");
    home.sh("rsync -a m/t/rsync/ out && diff -r --no-dereference source out");
    assert_eq!(home.sh("rsync -ai source/ m/t/rsync; rsync -aic source/ m/t/tar"), "");
    // A dated backup that shares nothing with the first but its bytes.
    home.sh("rsync -a --link-dest=../rsync source/ m/t/again && diff -r --no-dereference source m/t/again");
    home.remount();
    home.sh("diff -r --no-dereference source m/t/tar && diff -r --no-dereference source m/t/again");
}

#[test]
fn every_root_has_shards_of_every_segment() {
    let home = Mounted::with(3, "segment_keys_max = 500\n");
    home.sh("for i in $(seq 1200); do echo $i > m/t/$i; done");
    home.umount();
    let files = home.segment_files();
    for segment in 1..=3 {
        for (root, names) in files.iter().enumerate() {
            let is_shard = |name: &&String| {
                name.starts_with(&format!("{segment}-")) && name.ends_with(".values")
            };
            assert!(names.iter().any(|name| is_shard(&name)), "{segment} in {root}: {names:?}");
        }
    }
    // Only the first root has keys.
    assert!(files[0].iter().any(|name| name == "1.keys"), "{files:?}");
    assert!(!files[1..].concat().iter().any(|name| name.contains(".keys")), "{files:?}");
}

#[test]
fn the_same_file_in_two_roots_is_refused_and_both_are_named() {
    let home = Mounted::with(2, "");
    home.sh("for i in $(seq 100); do echo $i > m/t/$i; done");
    home.umount();
    let name = home.segment_files()[1].first().expect("a shard").clone();
    home.sh(&format!("cp r1/t/segments/{name} r0/t/segments/"));
    let (first, second) = (format!("/r0/t/segments/{name}"), format!("/r1/t/segments/{name}"));
    home.mount();
    home.refuses("cat m/t/1", "Input/output error");
    home.umount();
    let run = home.littfs("get", &["t", "1"]);
    assert!(run.code == 2 && run.stdout.is_empty(), "{run:?}");
    assert!(run.stderr.contains(&first) && run.stderr.contains(&second), "{run:?}");
    home.sh(&format!("rm r0/t/segments/{name}"));
    home.mount();
    assert_eq!(home.sh("cat m/t/* | wc -l"), "100\n");
}
