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

#[test]
fn check_repairs_what_stands_twice_and_says_what_it_did() {
    let home = Mounted::with(2, "segment_keys_max = 40\n");
    home.sh("mkdir m/t/d; for i in $(seq 100); do echo $i > m/t/d/$i; done; ls m/t/d | wc -l");
    home.littfs("check", &["--repair"]).is_refused(&["in use by another littfs"]);
    home.umount();
    let good = home.littfs("check", &["--repair"]);
    assert_eq!((good.code, good.stdout.len()), (0, 0), "{good:?}");
    assert!(
        good.stderr.contains("0 files mended\n") && good.stderr.contains("all good"),
        "{good:?}"
    );
    let flip = "python3 -c 'import sys; p = sys.argv[1]; b = bytearray(open(p, \"rb\").read()); \
        b[len(b) // 2] ^= 16; open(p, \"wb\").write(b)'";
    home.sh(&format!(
        "for f in r1/littfs.root r0/t/table.metadata r*/t/segments/1.keys; do {flip} $f; done"
    ));
    home.sh("rm r*/t/segments/2.keys r*/t/segments/1.metadata; \
        cp r0/t/keymap/data/*.map r0/t/keymap/data/99.map");
    let before = home
        .sh("md5sum r1/littfs.root r0/t/table.metadata r*/t/segments/1.keys | cut -c-32 | sort");
    let refused = home.try_mount(&[]);
    refused.is_refused(&["r1/littfs.root is damaged at byte", "`littfs check --repair`"]);
    let run = home.littfs("check", &["--repair"]);
    let out = String::from_utf8(run.stdout).expect("text");
    assert_eq!(run.code, 0, "{out}{}", run.stderr);
    for part in [
        "r1/littfs.root: written again",
        "table.metadata: written again",
        "1.keys: rebuilt",
        "2.keys: rebuilt",
        "1.metadata: written again",
    ] {
        assert!(out.contains("mended: ") && out.contains(part), "no {part} in {out}");
    }
    assert!(run.stderr.contains("may be deleted"), "{}", run.stderr);
    // What was there is kept, and nothing of it is needed.
    let kept = home
        .sh("find r0/.replaced-1 r1/.replaced-1 -name littfs.root -o -name table.metadata \
        -o -name 1.keys | xargs md5sum | cut -c-32 | sort");
    assert_eq!(kept, before);
    home.sh("rm -r r0/.replaced-1 r1/.replaced-1");
    home.mount();
    assert_eq!(home.sh("ls m/t/d | wc -l; cat m/t/d/* | sort -n | tail -1"), "100\n100\n");
    home.sh("echo new > m/t/d/new");
    home.umount();
    assert_eq!(home.littfs("check", &[]).stdout, b"");
}

#[test]
fn what_cannot_be_repaired_is_named() {
    let home = Mounted::with(2, "segment_keys_max = 30\n");
    // Each stored once: a shell closes a duplicate before it writes, which stores an empty file.
    home.sh("mkdir source; for i in $(seq 100); do echo $i > source/$i; done; cp source/* m/t");
    home.umount();
    home.sh("rm r*/t/segments/1-3.values; rm r*/t/segments/2*.values r*/t/segments/2.keys");
    let run = home.littfs("check", &["--repair", "--json"]);
    assert_eq!(run.code, 1, "{run:?}");
    let json: serde_json::Value = serde_json::from_slice(&run.stdout).expect("JSON");
    let lost = json["repair"]["lost"].to_string();
    assert!(lost.contains("1-3.values") && lost.contains("2-0.values"), "{lost}");
    assert!(lost.contains("names of the segment"), "{lost}");
    assert!(json["damage"].as_u64().is_some_and(|count| count > 0), "{json}");
    home.mount();
    let listed = home.sh("ls m/t");
    let read = home.shell("cat m/t/* | wc -l");
    let errors = String::from_utf8_lossy(&read.stderr).into_owned();
    let bad = errors.lines().filter(|line| line.ends_with("Input/output error")).count();
    let good: usize = String::from_utf8_lossy(&read.stdout).trim().parse().expect("number");
    assert_eq!(good + bad, listed.lines().count(), "{errors}");
    assert!(good > 50 && bad > 0 && bad < 15, "{good} good, {bad} bad");
}

#[test]
fn one_root_alone_is_repaired_too() {
    let home = Mounted::new();
    home.sh("for i in $(seq 20); do echo $i > m/t/$i; done; setfattr -n user.littfs.ttl -v 7d m/t");
    home.umount();
    home.sh("echo nonsense > r0/littfs.root; rm r0/t/table.metadata; cp -a r0 spare");
    let run = home.littfs("check", &["--repair"]);
    let out = String::from_utf8(run.stdout).expect("text");
    assert_eq!(run.code, 0, "{out}{}", run.stderr);
    assert!(out.contains("littfs.root: made anew, with a new identity"), "{out}");
    assert!(out.contains("table.metadata: made anew from the segments"), "{out}");
    home.mount();
    assert_eq!(
        home.sh("cat m/t/* | wc -l; getfattr --only-values -n user.littfs.ttl m/t"),
        "20\nnone"
    );
    home.sh("mkdir m/u; echo x > m/u/x");
    home.umount();
    assert_eq!(home.littfs("check", &[]).code, 0);
}

#[test]
fn a_name_whose_record_is_another_is_damaged_and_not_absent() {
    let home = Mounted::with(1, "segment_keys_max = 30\n");
    // Of one length, so that records stand at the same places.
    home.sh("mkdir source; for i in $(seq 100 199); do echo $i > source/$i; done; cp source/* m/t");
    home.umount();
    home.sh("cd r0/t/segments; mv 1-0.values x; mv 2-0.values 1-0.values; mv x 2-0.values");
    home.mount();
    let read = home.shell("for i in $(seq 100 199); do cat m/t/$i; done | sort | uniq -d");
    let errors = String::from_utf8_lossy(&read.stderr).into_owned();
    assert!(errors.lines().count() > 1, "{errors}");
    assert!(errors.lines().all(|line| line.ends_with("Input/output error")), "{errors}");
    assert_eq!(read.stdout, b"", "no value stands for two names");
    let log = fs::read_to_string(home.roots()[0].join("littfs.log")).expect("the log");
    let told = log.lines().filter(|line| line.contains("\" in table \"t\" failed: ")).count();
    assert_eq!(told, errors.lines().count(), "each once: {log}");
    let taken = errors.split('/').nth(2).and_then(|rest| rest.split(':').next()).expect("a name");
    home.refuses(&format!("echo other > m/t/{taken}"), "Input/output error");
}
