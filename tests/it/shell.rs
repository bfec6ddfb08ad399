//! The commands that work on a database which is not mounted.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::program::{Run, littfs, run, run_with_input};

/// A home with a database of one table, made by `put`.
fn home() -> TempDir {
    let home = tempfile::tempdir().expect("temporary directory");
    put(home.path(), "t", "2026/11/b", b"second");
    put(home.path(), "t", "2026/11/a", b"first\n");
    put(home.path(), "t", "2026/10/z", b"");
    put(home.path(), "t", "top", b"top");
    home
}

#[track_caller]
fn succeeds(run: &Run) -> &[u8] {
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    &run.stdout
}

#[track_caller]
fn put(home: &Path, table: &str, key: &str, value: &[u8]) {
    assert_eq!(succeeds(&run_with_input(home, &["put", table, key], value)), b"");
}

#[track_caller]
fn text(home: &TempDir, arguments: &[&str]) -> String {
    String::from_utf8(succeeds(&run(home.path(), arguments)).to_vec()).expect("text")
}

#[test]
fn what_was_put_is_got() {
    let home = home();
    assert_eq!(text(&home, &["get", "t", "2026/11/a"]), "first\n");
    assert_eq!(text(&home, &["get", "t", "2026/10/z"]), "");
    // From a file, of every length, and larger than memory for values.
    let large: Vec<u8> = (0..9_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    fs::write(home.path().join("large"), &large).expect("write");
    assert_eq!(text(&home, &["put", "t", "large", "large"]), "");
    assert!(succeeds(&run(home.path(), &["get", "t", "large"])) == large);
    put(home.path(), "t", "piped", &large);
    assert!(succeeds(&run(home.path(), &["get", "t", "piped"])) == large);
    assert_eq!(text(&home, &["put", "t", "--", "-dash", "large"]), "");
    let run = run_with_input(home.path(), &["put", "t", "minus", "-"], b"stdin");
    assert_eq!(succeeds(&run), b"");
    assert_eq!(text(&home, &["get", "t", "minus"]), "stdin");
}

#[test]
fn what_cannot_be_is_refused() {
    let home = home();
    for (arguments, parts) in [
        (&["put", "t", "top"][..], &["top", "exist"][..]),
        (&["put", "t", "top/below"], &["top"]),
        (&["put", "t", "2026/11"], &["2026/11"]),
        (&["put", "t", "/absolute"], &["absolute"]),
        (&["put", "t", "a/../b"], &["a/../b"]),
        (&["put", "t", "a//b"], &["a//b"]),
        (&["put", "t", ""], &[]),
        (&["put", "t", "slash/"], &["slash/"]),
        (&["put", "bad name", "key"], &["bad name"]),
        (&["get", "t", "none"], &["none"]),
        (&["get", "t", "2026"], &["2026"]),
        (&["get", "none", "top"], &["none"]),
        (&["keys", "none"], &["none"]),
        (&["info", "none"], &["none"]),
    ] {
        let run = run_with_input(home.path(), arguments, b"other");
        run.is_refused(parts);
    }
    assert_eq!(text(&home, &["get", "t", "top"]), "top");
    assert_eq!(text(&home, &["keys", "t"]), "2026/10/z\n2026/11/a\n2026/11/b\ntop\n");
    let empty = tempfile::tempdir().expect("temporary directory");
    for command in [&["ls"][..], &["keys", "t"], &["get", "t", "k"], &["info"]] {
        run(empty.path(), command).is_refused(&[".local/share/littfs"]);
    }
    assert!(!empty.path().join(".local").exists(), "looking makes nothing");
}

#[test]
fn keys_come_in_order_in_both_directions() {
    let home = home();
    let keys = |options: &[&str]| text(&home, &[&["keys", "t"], options].concat());
    assert_eq!(keys(&[]), "2026/10/z\n2026/11/a\n2026/11/b\ntop\n");
    assert_eq!(keys(&["--reverse"]), "top\n2026/11/b\n2026/11/a\n2026/10/z\n");
    assert_eq!(keys(&["--prefix", "2026/11/"]), "2026/11/a\n2026/11/b\n");
    assert_eq!(keys(&["--prefix", "2026/1", "--reverse"]), "2026/11/b\n2026/11/a\n2026/10/z\n");
    assert_eq!(keys(&["--prefix", "none"]), "");
    assert_eq!(keys(&["--prefix", "t", "-0"]), "top\0");
    assert_eq!(keys(&["--folders", "--prefix", "2026/11"]), "2026/11/\n2026/11/a\n2026/11/b\n");
}

#[test]
fn ls_and_info_tell_people_and_scripts() {
    let home = home();
    put(home.path(), "u", "key", b"1");
    let listed = text(&home, &["ls"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(listed.starts_with("TABLE") && listed.contains("none"), "{listed}");
    let json = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&text(&home, arguments)).expect("JSON")
    };
    let tables = json(&["ls", "--json"]);
    assert_eq!(tables[0]["name"], "t");
    assert_eq!((tables[0]["keys"].as_u64(), tables[0]["bytes"].as_u64()), (Some(4), Some(15)));
    assert_eq!((&tables[1]["name"], tables[1]["keys"].as_u64()), (&"u".into(), Some(1)));
    let table = json(&["info", "--json", "t"]);
    assert_eq!(
        (&table["ttl"], &table["grace"], &table["failure"]),
        (&"none".into(), &"5m".into(), &().into())
    );
    let info = json(&["info", "--json"]);
    let root = home.path().join(".local/share/littfs");
    assert_eq!(info["roots"], serde_json::json!([root.to_str()]));
    let available = info["space"]["available_bytes"].as_u64().expect("number");
    assert!(available > 0 && available < info["space"]["total_bytes"].as_u64().expect("number"));
    assert_eq!(info["tables"].as_array().expect("tables").len(), 2);
    assert!(text(&home, &["info"]).contains("available"));
    assert!(text(&home, &["info", "t"]).contains("grace     5m"));
}

#[test]
fn a_reader_that_stops_is_no_error() {
    let home = tempfile::tempdir().expect("temporary directory");
    fs::create_dir(home.path().join("m")).expect("mkdir");
    // More than fits into a pipe.
    let name = "a name that is not quite short ".repeat(8);
    put(home.path(), "t", "large", &vec![7; 1 << 20]);
    for number in 0..3 {
        put(home.path(), "t", &format!("{name}{number}"), b"");
    }
    for arguments in [&["get", "t", "large"][..], &["keys", "t"], &["ls"], &["info"]] {
        let mut child = littfs(home.path())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(0), &b""[..]),
            "{arguments:?}"
        );
    }
    let script =
        "set -o pipefail; \"$0\" keys t | head -n 1; \"$0\" get t large | head -c 1 | wc -c";
    let mut shell = Command::new("bash");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_littfs")]).current_dir(home.path());
    let output = shell.env("HOME", home.path()).env_remove("XDG_DATA_HOME").output().expect("bash");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
}
