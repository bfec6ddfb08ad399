//! What the program says when it cannot do what was asked: exit code 2 and one clear line.

use std::fs;

use tempfile::TempDir;

use crate::program::run;

fn home() -> TempDir {
    tempfile::tempdir().expect("temporary directory")
}

#[test]
fn wrong_usage_is_one_line_that_helps() {
    let home = home();
    for (arguments, parts) in [
        (&["mout"][..], &["unrecognized subcommand 'mout'", "'mount'"][..]),
        (&["mount"], &["<MOUNTPOINT>", "see `littfs mount --help`"]),
        (&["mount", "a", "b"], &["unexpected argument 'b'"]),
        (&["mount", "--root"], &["a value is required for '--root <DIR>'"]),
        (&["umount"], &["<MOUNTPOINT>", "see `littfs umount --help`"]),
        (&["put", "t"], &["<KEY>"]),
        (&["get", "t"], &["<KEY>"]),
        (&["keys"], &["<TABLE>"]),
        (&["ls", "--jsn"], &["'--jsn'", "'--json'"]),
        (&["check", "a", "b"], &["unexpected argument 'b'"]),
        (&["bench", "--keys", "0"], &["'--keys <N>'"]),
        (&["bench", "--value-bytes", "much"], &["KiB"]),
    ] {
        run(home.path(), arguments).is_refused(parts);
    }
}

#[test]
fn help_and_version_are_data() {
    let home = home();
    for arguments in [
        &["--help"][..],
        &["-h"],
        &["--version"],
        &["mount", "--help"],
        &["umount", "--help"],
        &["ls", "--help"],
        &["info", "--help"],
        &["check", "--help"],
        &["put", "--help"],
        &["get", "--help"],
        &["keys", "--help"],
        &["bench", "--help"],
    ] {
        let run = run(home.path(), arguments);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(run.stdout.starts_with(b"littfs ") || run.stdout.len() > 200, "{arguments:?}");
    }
    let help = run(home.path(), &["mount", "--help"]).stdout;
    let help = String::from_utf8(help).expect("text");
    for part in ["segment_bytes_max", "allow_other", "fusermount3", "Examples:"] {
        assert!(help.contains(part), "{part}");
    }
    assert!(!help.contains("background-child"), "internal flags are not shown");
    let nothing = run(home.path(), &[]);
    assert_eq!((nothing.code, nothing.stdout.as_slice()), (2, &b""[..]));
    assert!(nothing.stderr.contains("Usage: littfs"), "{nothing:?}");
}

#[test]
fn bad_configuration_files_are_named_with_line_and_remedy() {
    let home = home();
    let file = home.path().join("c.toml");
    let name = file.to_str().expect("text");
    let commands = [&["mount", "--config", name, "m"][..], &["ls", "--config", name]];
    for command in commands {
        run(home.path(), command).is_refused(&["c.toml: ", "cannot be read", "No such file"]);
    }
    for (text, parts) in [
        ("\nthread = 4", &["c.toml: line 2: unknown entry \"thread\"; allowed are", "threads"][..]),
        ("threads = \"four\"", &["line 1: entry \"threads\" takes a number from 1 to 64"]),
        ("roots = [\"a\"]", &["entry \"roots\" takes a list of absolute directory names"]),
        ("# \n# \nspill_bytes = \"4 MB!\"", &["line 3", "\"spill_bytes\" takes a size", "KiB"]),
        ("flush_interval = \"soon\"", &["a duration such as \"1s\""]),
        ("threads = ", &["c.toml: line 1: "]),
    ] {
        fs::write(&file, text).expect("write");
        for command in commands {
            run(home.path(), command).is_refused(parts);
        }
    }
    fs::write(&file, b"\xff\xfe").expect("write");
    run(home.path(), commands[0]).is_refused(&["not UTF-8"]);
}

#[test]
fn bad_mount_options_are_named_with_what_is_allowed() {
    let home = home();
    fs::create_dir(home.path().join("m")).expect("mkdir");
    for (options, parts) in [
        ("bananas", &["unknown option \"bananas\" for -o", "allowed are ro, rw, allow_other"][..]),
        ("noatime,nosuid,ro=1", &["unknown option \"ro=1\""]),
        ("threads=none", &["threads=N takes a number from 1 to 64"]),
        ("flush=1", &["flush=DURATION"]),
    ] {
        run(home.path(), &["mount", "-o", options, "m"]).is_refused(parts);
        run(home.path(), &["mount", "-f", "-o", options, "m"]).is_refused(parts);
    }
    assert!(!home.path().join(".local").exists(), "nothing was created");
}

#[test]
fn bad_mountpoints_are_named_with_the_way_out() {
    let home = home();
    for foreground in [&["mount"][..], &["mount", "-f"]] {
        let mount = |rest: &[&str]| run(home.path(), &[foreground, rest].concat());
        mount(&["m i"]).is_refused(&["/m i: it does not exist; make it with `mkdir -p "]);
        fs::write(home.path().join("file"), "").expect("write");
        mount(&["file"]).is_refused(&["/file: it is not a directory"]);
        mount(&["file/x"]).is_refused(&["/file/x: "]);
        fs::create_dir_all(home.path().join("full/x")).expect("mkdir");
        mount(&["full"]).is_refused(&["/full: it is not empty", "choose an empty directory"]);
        mount(&["--root", "r", "."]).is_refused(&["inside one another"]);
        mount(&["--root", ".", "--", "."]).is_refused(&["inside one another"]);
    }
    assert!(!home.path().join(".local").exists(), "nothing was created");
    assert!(!home.path().join("r").exists(), "nothing was created");
}

#[test]
fn umount_of_what_is_not_mounted_is_refused() {
    let home = home();
    run(home.path(), &["umount", "."]).is_refused(&[". is not mounted"]);
    run(home.path(), &["umount", "x"]).is_refused(&["x does not exist"]);
    run(home.path(), &["umount", "/proc"]).is_refused(&["not a littfs mount", "use umount"]);
}

#[test]
fn put_looks_at_what_was_typed_before_it_makes_anything() {
    let home = home();
    run(home.path(), &["put", "t", "k", "missing"])
        .is_refused(&["cannot read missing: No such file"]);
    run(home.path(), &["put", "t", "k", "."]).is_refused(&[". is a directory"]);
    run(home.path(), &["put", "a b", "k"]).is_refused(&["invalid table name \"a b\"", "letters"]);
    for (key, part) in
        [("", "it is empty"), ("a/../b", "\"..\""), ("a//b", "empty"), ("a/", "folder")]
    {
        run(home.path(), &["put", "t", key]).is_refused(&[part]);
    }
    assert!(!home.path().join(".local").exists(), "nothing was created");
}
