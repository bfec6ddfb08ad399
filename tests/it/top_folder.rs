//! Tables as folders, the limits of names, and what kinds of things can be made.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};

use nix::errno::Errno;

use crate::mounted::{Mounted, errno};

#[test]
fn the_top_folder_holds_tables_only() {
    let home = Mounted::new();
    let no = "Operation not permitted";
    let longest = "t".repeat(128);
    for name in ["A", "a-b_c.d", "0", "-dash", "_x", longest.as_str()] {
        home.sh(&format!("mkdir -- m/{name}; echo x > m/{name}/f; cat m/{name}/f"));
    }
    let too_long = "t".repeat(129);
    for name in [".hidden", "a b", "ü", "a:b", "a+b", "~", too_long.as_str()] {
        home.refuses(&format!("mkdir -- 'm/{name}'"), "Invalid argument");
    }
    home.refuses("mkdir m/t", "File exists");
    home.refuses("echo x > m/file", no);
    home.refuses("touch m/file", no);
    home.refuses("ln -s t m/link", no);
    home.refuses("mkfifo m/fifo", no);
    home.refuses("cp /etc/hostname m/", no);
    home.refuses("mv m/t m/u", no);
    home.refuses("mv m/A m/t/", "");
    home.refuses("rmdir m/A", "Directory not empty");
    home.refuses("rm -d m/A", "Directory not empty");
    home.refuses("rmdir m/none", "No such file or directory");
    home.refuses("cat m/none/x", "No such file or directory");
    home.sh("rmdir m/t && mkdir m/t && rm m/A/f && rmdir m/A");
    let listed = home.sh("ls -1 m");
    assert_eq!(listed, format!("-dash\n0\n_x\na-b_c.d\nt\n{longest}\n"));
    home.remount();
    assert_eq!(home.sh("ls -1 m"), listed);
    assert_eq!(home.sh("cat m/0/f"), "x\n");
    assert_eq!(home.sh("ls -A r0 | grep -c -x -e A -e .dropped.* || true"), "0\n");
}

#[test]
fn a_table_that_was_removed_is_new_when_made_again() {
    let home = Mounted::new();
    for round in 0..5 {
        home.sh("ls -l m/t; setfattr -n user.littfs.ttl -v 1d m/t");
        fs::write(home.at("t/f"), round.to_string()).expect("write");
        assert_eq!(fs::read_to_string(home.at("t/f")).expect("read"), round.to_string());
        home.sh("rm m/t/f && rmdir m/t && mkdir m/t");
        assert_eq!(home.sh("ls -A m/t; getfattr --only-values -n user.littfs.ttl m/t"), "none");
        assert_eq!(errno(File::open(home.at("t/f"))), Errno::ENOENT);
    }
}

#[test]
fn tables_are_apart() {
    let home = Mounted::new();
    home.sh("mkdir m/u; echo one > m/t/f; echo two > m/u/f; mkdir m/t/d");
    assert_eq!(errno(fs::rename(home.at("t/f"), home.at("u/g"))), Errno::EXDEV);
    assert_eq!(errno(fs::rename(home.at("t/d"), home.at("u/d"))), Errno::EXDEV);
    assert_eq!(errno(fs::hard_link(home.at("t/f"), home.at("u/g"))), Errno::EXDEV);
    assert_eq!(
        home.sh("cat m/t/f m/u/f; mv m/t/f m/u/g; cat m/u/g; ls m/t m/u"),
        "one\ntwo\none\nm/t:\nd\n\nm/u:\nf\ng\n"
    );
}

#[test]
fn names_have_the_usual_limits() {
    let home = Mounted::new();
    let long = |length: usize| home.at("t").join("n".repeat(length));
    fs::write(long(255), "x").expect("write");
    assert_eq!(errno(File::create(long(256))), Errno::ENAMETOOLONG);
    assert_eq!(errno(fs::create_dir(long(256))), Errno::ENAMETOOLONG);
    assert_eq!(errno(fs::metadata(long(256))), Errno::ENAMETOOLONG);
    assert_eq!(errno(fs::rename(long(255), long(256))), Errno::ENAMETOOLONG);
    // Down to where a key has no room any more; a path this long is entered step by step.
    let script = "cd m/t; n=$(printf 'd%.0s' $(seq 255)); \
        for i in $(seq 15); do mkdir $n && cd $n || exit 1; done; \
        echo deep > $(printf 'f%.0s' $(seq 255)) || exit 1; \
        cat f*; rm f*; \
        mkdir $(printf 'e%.0s' $(seq 255)) 2>&1 | grep -o 'File name too long'; \
        mkdir $(printf 'e%.0s' $(seq 254)) && cd e* && \
        (: > f) 2>&1 | grep -o 'File name too long'";
    assert_eq!(home.sh(script), "deep\nFile name too long\nFile name too long\n");
    for name in [&b"\x01"[..], b"\xff\xfe", b"a\nb", b" ", b"..."] {
        let path = home.at("t").join(std::ffi::OsStr::from_bytes(name));
        fs::write(&path, name).expect("write");
        assert_eq!(fs::read(&path).expect("read"), name);
    }
    home.remount();
    assert_eq!(home.sh("find m/t -type d | wc -l"), "17\n");
}

#[test]
fn folders_are_real() {
    let home = Mounted::new();
    assert_eq!(errno(File::create(home.at("t/a/b"))), Errno::ENOENT);
    fs::DirBuilder::new().mode(0o750).create(home.at("t/a")).expect("mkdir");
    home.sh("mkdir -p m/t/a/b/c; touch -d 2001-01-01 m/t/a/b; chown 5:6 m/t/a/b; echo x > m/t/a/f");
    home.crash();
    assert_eq!(
        home.sh("stat -c '%A %a' m/t/a; stat -c '%u %g %Y' m/t/a/b"),
        "drwxr-x--- 750\n5 6 978307200\n"
    );
    let before = fs::metadata(home.at("t/a/b")).expect("stat").mtime();
    home.sh("echo x > m/t/a/b/f");
    assert!(fs::metadata(home.at("t/a/b")).expect("stat").mtime() > before, "mtime moves");
    home.refuses("rmdir m/t/a", "Directory not empty");
    home.refuses("rmdir m/t/a/f", "Not a directory");
    home.refuses("rm m/t/a/b", "Is a directory");
    home.refuses("cat m/t/a", "Is a directory");
    home.refuses("echo x > m/t/a", "Is a directory");
    home.refuses("cat m/t/a/f/x", "Not a directory");
    home.refuses("mkdir m/t/a/f", "File exists");
    // An empty folder can be renamed, one with entries cannot.
    home.sh("mv m/t/a/b/c m/t/c && test -d m/t/c && mkdir m/t/e && mv -T m/t/e m/t/c");
    home.refuses("mv m/t/a/b m/t/b", "Operation not permitted");
    home.sh("rmdir m/t/c; rm -r m/t/a; test -z \"$(ls -A m/t)\"");
    home.remount();
    assert_eq!(home.sh("ls -A m/t"), "");
}

#[test]
fn links_of_both_kinds() {
    let home = Mounted::new();
    let target = format!("../{}", "x".repeat(4000));
    std::os::unix::fs::symlink(&target, home.at("t/long")).expect("symlink");
    assert_eq!(fs::read_link(home.at("t/long")).expect("readlink").to_str(), Some(target.as_str()));
    home.sh("echo f > m/t/f; ln -s f m/t/s; ln -s ../../other m/t/out; echo o > other");
    assert_eq!(home.sh("cat m/t/s m/t/out; stat -c '%F %s' m/t/s"), "f\no\nsymbolic link 1\n");
    home.sh(
        "head -c 6M /dev/urandom > m/t/large; ln m/t/large m/t/linked; cmp m/t/large m/t/linked; \
        ln m/t/f m/t/g; test m/t/f -ef m/t/g && exit 1; rm m/t/f; cat m/t/g",
    );
    assert_eq!(home.sh("stat -c %h m/t/g m/t/large m/t/linked"), "1\n1\n1\n");
    home.refuses("ln m/t/g m/t/large", "File exists");
    home.crash();
    assert_eq!(
        home.sh("cat m/t/g; cmp m/t/large m/t/linked; readlink m/t/s m/t/out"),
        "f\nf\n../../other\n"
    );
    home.sh("rm m/t/large; cp -a m/t m2; cmp m/t/linked m2/linked");
}

#[test]
fn a_read_only_mount_refuses_every_change() {
    let home = Mounted::new();
    home.sh("echo f > m/t/f; mkdir m/t/d");
    home.umount();
    home.mount_with(&["-o", "ro"]);
    for change in [
        "echo x > m/t/new",
        "echo x >> m/t/f",
        "touch m/t/f",
        "rm -f m/t/f",
        "mv m/t/f m/t/g",
        "mkdir m/t/e",
        "mkdir m/u",
        "rmdir m/t/d",
        "rmdir m/t",
        "chmod 600 m/t/f",
        "ln m/t/f m/t/g",
        "ln -s f m/t/g",
        "truncate -s 0 m/t/f",
        "setfattr -n user.littfs.ttl -v 1s m/t",
    ] {
        home.refuses(change, "Read-only file system");
    }
    assert_eq!(
        home.sh("cat m/t/f; ls m/t; getfattr --only-values -n user.littfs.ttl m/t"),
        "f\nd\nf\nnone"
    );
    home.sh("df m; findmnt -n -o OPTIONS m | grep -qw ro");
}

#[test]
fn ls_and_info_of_a_mounted_database_are_what_they_are_without_a_mount() {
    let home = Mounted::with(2, "");
    home.sh("mkdir m/other; setfattr -n user.littfs.ttl -v 7d m/other; echo five > m/t/a; echo > m/other/b");
    let commands = [
        &["ls"][..],
        &["ls", "--json"],
        &["info"],
        &["info", "--json"],
        &["info", "other", "--json"],
    ];
    let ask = |command: &[&str]| {
        let run = home.littfs(command[0], &command[1..]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{command:?}");
        // Where files lie moves the space a little.
        let text = String::from_utf8_lossy(&run.stdout).into_owned();
        let lines = text.lines().filter(|line| !line.contains("space") && !line.contains("_bytes"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let mounted: Vec<_> = commands.iter().map(|command| ask(command)).collect();
    assert!(mounted[0].iter().any(|line| line.contains("other") && line.contains("7d")));
    // It is for the command, and nothing that copies attributes meets it.
    assert_eq!(home.sh("getfattr -m - m m/t | grep -c littfs.info || true"), "0\n");
    home.refuses("setfattr -n user.littfs.info -v x m/t", "Operation not permitted");
    home.littfs("info", &["none"]).is_refused(&["there is no table \"none\""]);
    home.umount();
    for (command, mounted) in commands.iter().zip(mounted) {
        assert_eq!(ask(command), mounted, "{command:?}");
    }
}
