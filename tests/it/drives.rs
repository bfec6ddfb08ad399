//! Several drives: one that fails, one that is missing, one too many, one that is full.

use std::fs;

use nix::errno::Errno;

use crate::limits::fill;
use crate::mounted::Mounted;
use crate::program::{daemon_of, run, wait_until};

/// Which of the numbered files of a table can be read, and which answer EIO. None may answer
/// anything else.
fn readable(home: &Mounted, files: usize) -> (Vec<usize>, Vec<usize>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let source = fs::read(home.base().join("source")).expect("the source");
    for number in 1..=files {
        let path = home.at(format!("t/{}-{number}", source.len()));
        match fs::read(&path) {
            Ok(bytes) => {
                assert!(bytes == source, "wrong bytes in {number}");
                good.push(number);
            }
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(Errno::EIO as i32), "{number}: {error}");
                bad.push(number);
            }
        }
    }
    (good, bad)
}

#[test]
fn a_drive_that_fails_takes_its_values_with_it_and_no_others() {
    // Only what is asked for is synced.
    let config = "reserve_bytes = \"0B\"\nspill_bytes = \"64KiB\"\nflush_interval = \"1h\"\n";
    let home = Mounted::on_drives(2, &[64, 64], config);
    home.mount();
    fs::create_dir(home.at("t")).expect("a table");
    assert_eq!(fill(&home, 40_000, 60), 60);
    home.remount();
    let on_it = fs::read_dir(home.roots()[1].join("t/segments")).expect("list").count();
    assert!(on_it > 3, "{on_it} files on the drive");
    // Some of these are on the drive and not synced when it fails.
    home.sh("for i in $(seq 20); do echo $i > m/t/late-$i; done");
    home.break_down(1);
    let (good, bad) = readable(&home, 60);
    assert!(good.len() > 5 && bad.len() > 5, "{good:?} can be read, {bad:?} cannot");
    let listed = home.sh("ls m/t | wc -l");
    assert_eq!(listed, "80\n");
    // Whoever writes is told. A drive whose sync failed makes the table read-only: what it holds of
    // the last values is not known.
    let log = || fs::read_to_string(home.roots()[0].join("littfs.log")).expect("the log");
    let failed =
        format!("root {} has failed and gets no new files: cannot", home.roots()[1].display());
    let mut tried = 0;
    wait_until("nobody tells of the drive", || {
        tried += 1;
        drop(fs::write(home.at(format!("t/new{tried}")), b"new"));
        log().contains(&failed) && log().contains("table t: read-only from now on: cannot sync")
    });
    assert_eq!(log().matches(&failed).count(), 1);
    let info = home.littfs("info", &[]);
    let text = String::from_utf8_lossy(&info.stdout).into_owned();
    let failed_root = format!("failed root  {}: cannot", home.roots()[1].display());
    assert!(text.contains("table t is read-only: cannot sync"), "{text} {}", info.stderr);
    assert!(text.contains(&failed_root), "{text}");
    assert_eq!(readable(&home, 60).0, good);
    home.sh("umount -l m");
    wait_until("the daemon stays", || daemon_of(&home.roots()[0]).is_none());
    // Without it the rest is there as before, and nothing is written beside the gap.
    let refused = home.try_mount(&[]);
    refused.is_refused(&[&home.roots()[1].display().to_string(), "Input/output error"]);
    home.mount_with(&["-o", "degraded"]);
    assert_eq!(readable(&home, 60), (good, bad));
    home.refuses("echo > m/t/x", "Read-only file system");
    home.umount();
    let info = home.littfs("info", &["--degraded"]);
    let text = String::from_utf8_lossy(&info.stdout).into_owned();
    assert!(text.contains(&format!("missing root  {}", home.roots()[1].display())), "{text}");
}

#[test]
fn new_values_go_elsewhere_when_a_drive_fails() {
    let config = "reserve_bytes = \"0B\"\nsegment_keys_max = 20\ntable_shards = 1\n";
    let home = Mounted::on_drives(2, &[64, 64], config);
    home.mount();
    // The first segment is on the drive that fails, the one that takes writes is not.
    home.sh("mkdir m/t; for i in $(seq 25); do echo $i > m/t/$i; done; sync m/t/1");
    let segments = home.roots()[1].join("t/segments");
    // The metadata, which are replaced last, say so.
    let is_sealed = || fs::read(segments.join("1.metadata")).is_ok_and(|bytes| bytes[28] == 1);
    wait_until("the first segment is not sealed there", is_sealed);
    // Whatever was about to be synced or renamed is so then.
    home.remount();
    assert_eq!(crate::mounted::names_in(&segments).len(), 3, "its shard, run and metadata");
    home.break_down(1);
    home.sh("for i in $(seq 26 150); do echo $i > m/t/$i || exit 1; done; sync m/t/150");
    assert_eq!(home.sh("cat m/t/25 m/t/100 m/t/150"), "25\n100\n150\n");
    home.refuses("cat m/t/1", "Input/output error");
    // Settings are kept where they can be.
    home.sh("setfattr -n user.littfs.ttl -v 7d m/t");
    let info = home.littfs("info", &[]);
    let text = String::from_utf8_lossy(&info.stdout).into_owned();
    assert!(text.contains("150") && !text.contains("read-only"), "{text}");
}

#[test]
fn space_runs_out_only_when_every_drive_is_full() {
    let config =
        "reserve_bytes = \"4MiB\"\nspill_bytes = \"64KiB\"\nsegment_bytes_max = \"4MiB\"\n";
    let home = Mounted::on_drives(2, &[48, 64], config);
    home.mount();
    fs::create_dir(home.at("t")).expect("a table");
    // Together they have about 90 MiB of room.
    let files = fill(&home, 3_000_000, 60);
    assert!((22..33).contains(&files), "{files} files of 3 MB");
    assert_eq!(readable(&home, files).0.len(), files);
    for root in ["r0", "r1"] {
        let free = home.sh(&format!("df --output=avail -B1 {root} | tail -1"));
        assert!(free.trim().parse::<u64>().expect("number") < 9 << 20, "{root} has {free} left");
    }
    home.sh("setfattr -n user.littfs.ttl -v 1s m/t");
    wait_until("they stay full", || {
        let available = home.sh("df --output=avail -B1 m | tail -1");
        available.trim().parse::<u64>().expect("number") > 60 << 20
    });
    home.sh("setfattr -n user.littfs.ttl -v none m/t");
    assert_eq!(fill(&home, 3_000_001, 15), 15);
    home.umount();
}

#[test]
fn a_database_is_known_by_its_roots_and_not_by_their_places() {
    let home = Mounted::with(2, "spill_bytes = \"4KiB\"\n");
    assert_eq!(fill(&home, 10_000, 8), 8);
    home.sh("for i in $(seq 20); do echo $i > m/t/$i; done");
    home.umount();
    let littfs = |roots: &[&str], command: &[&str]| {
        let roots = roots.iter().flat_map(|root| ["--root", root]);
        run(&home.base(), &[command, &roots.collect::<Vec<_>>()].concat())
    };
    // In another order, and at another place.
    home.sh("mv r0 moved");
    for roots in [["r1", "moved"], ["moved", "r1"]] {
        assert_eq!(littfs(&roots, &["get", "t", "7"]).stdout, b"7\n");
    }
    // One that is missing is named; the rest can be had read-only.
    home.sh("mv r1 away");
    littfs(&["moved"], &["get", "t", "7"]).is_refused(&["/r1: ", "was not given", "--degraded"]);
    littfs(&["moved", "r1"], &["ls"]).is_refused(&["/r1: ", "does not exist: mount its drive"]);
    let keys = littfs(&["moved"], &["keys", "t", "--degraded"]);
    assert_eq!(String::from_utf8_lossy(&keys.stdout).lines().count(), 28, "{keys:?}");
    let got: Vec<i32> = (1..=20)
        .map(|i| littfs(&["moved"], &["get", "t", &i.to_string(), "--degraded"]).code)
        .collect();
    assert!(got.contains(&0) && got.contains(&2), "{got:?}");
    assert_eq!(littfs(&["moved"], &["check", "--degraded"]).code, 1);
    littfs(&["moved"], &["check", "--repair"]).is_refused(&["/r1: ", "was not given"]);
    littfs(&["moved"], &["check", "--repair", "--degraded"])
        .is_refused(&["--degraded", "--repair"]);
    // A copy beside its original, and a root of somebody else.
    home.sh("mv away r1; cp -a r1 copy");
    littfs(&["moved", "r1", "copy"], &["ls"]).is_refused(&["/copy: ", "is a copy of ", "/r1"]);
    home.sh("mkdir other");
    assert_eq!(littfs(&["other/root"], &["put", "t", "k", "config.toml"]).code, 0);
    littfs(&["moved", "r1", "other/root"], &["ls"]).is_refused(&[
        "/other/root: ",
        "belongs to another database",
        "/moved",
    ]);
    assert_eq!(littfs(&["r1", "moved"], &["check"]).code, 0);
}
