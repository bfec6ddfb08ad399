//! Files that were damaged or lost while nothing was mounted: what still works, and what is said.

use std::fs;

use nix::errno::Errno;

use crate::mounted::{Mounted, errno, names_in};

/// A mount with the tables `a`, `bad` and `c`, of which `bad` has lost the metadata of its segment.
fn with_a_damaged_table() -> Mounted {
    let home = Mounted::unmounted(2, "");
    home.mount();
    home.sh("for t in a bad c; do mkdir -p m/$t/d; echo $t > m/$t/d/f; done");
    home.umount();
    home.sh("rm r*/bad/segments/*.metadata");
    home
}

#[test]
fn a_damaged_table_keeps_no_other_from_working() {
    let home = with_a_damaged_table();
    let before = home.sh("find r*/bad -type f | sort | xargs md5sum");
    let said = "table bad is unavailable: 1.metadata of table \"bad\" is missing in every root";
    home.mount();
    assert_eq!(home.sh("ls m; cat m/a/d/f m/c/d/f"), "a\nbad\nc\na\nc\n");
    home.sh("echo more > m/a/d/more; rm m/c/d/f; mkdir m/new; rmdir m/new");
    for script in ["ls m/bad", "cat m/bad/d/f", "mkdir m/bad", "rmdir m/bad", "echo > m/bad/x"] {
        home.refuses(script, "Input/output error");
    }
    let listed = home.shell("ls -l m");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("bad"), "{listed:?}");
    assert_eq!(errno(fs::read_dir(home.at("bad"))), Errno::EIO);
    assert_eq!(
        home.sh("python3 -c 'import os; print(sorted(os.listdir(\"m\")))'"),
        "['a', 'bad', 'c']\n"
    );
    let log = fs::read_to_string(home.roots()[0].join("littfs.log")).expect("the log");
    assert_eq!(log.matches(said).count(), 1, "{log}");
    home.umount();
    for command in ["ls", "info"] {
        let run = home.littfs(command, &[]);
        let out = String::from_utf8_lossy(&run.stdout).into_owned();
        assert!(run.code == 0 && out.contains(said) && out.contains("check --repair"), "{run:?}");
        assert!(out.contains("\na ") || out.starts_with("a "), "{out}");
    }
    let json: serde_json::Value =
        serde_json::from_slice(&home.littfs("ls", &["--json"]).stdout).expect("JSON");
    assert!(json[0]["unavailable"].is_null(), "{json}");
    assert_eq!(json[2]["name"], "bad");
    assert!(
        json[2]["unavailable"].as_str().is_some_and(|why| why.contains("1.metadata")),
        "{json}"
    );
    for arguments in [&["get", "bad", "d/f"][..], &["put", "bad", "x"], &["info", "bad"]] {
        let run = home.littfs(arguments[0], &arguments[1..]);
        assert_eq!((run.code, run.stdout.len()), (2, 0), "{run:?}");
        assert!(run.stderr.contains("is unavailable: 1.metadata"), "{run:?}");
    }
    assert_eq!(home.littfs("get", &["a", "d/more"]).stdout, b"more\n");
    // A table that is refused is left as it was found.
    assert_eq!(home.sh("find r*/bad -type f | sort | xargs md5sum"), before);
}

#[test]
fn a_copied_table_is_refused_with_its_original_and_no_other() {
    let home = Mounted::new();
    home.sh("echo one > m/t/f; mkdir m/u; echo two > m/u/f");
    home.umount();
    home.sh("cp -a r0/t r0/copy");
    home.mount();
    assert_eq!(home.sh("ls m; cat m/u/f"), "copy\nt\nu\ntwo\n");
    home.refuses("cat m/t/f", "Input/output error");
    home.refuses("cat m/copy/f", "Input/output error");
    home.umount();
    let run = home.littfs("ls", &[]);
    let out = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(out.contains("table copy is unavailable: it is the same table as t; move"), "{out}");
    home.sh("rm -r r0/copy");
    home.mount();
    assert_eq!(home.sh("cat m/t/f"), "one\n");
}

#[test]
fn a_folder_of_segments_without_settings_is_a_table_that_cannot_be_opened() {
    let home = Mounted::new();
    home.sh("echo one > m/t/f; mkdir m/u");
    home.umount();
    home.sh("rm r0/t/table.metadata; mkdir -p r0/half/segments");
    home.mount();
    assert_eq!(home.sh("ls m"), "t\nu\n");
    home.refuses("mkdir m/t", "Input/output error");
    assert!(!names_in(&home.roots()[0].join("t")).contains(&"table.metadata".to_owned()));
}
