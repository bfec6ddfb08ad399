//! Mounting and unmounting as scripts do it: what returns when, with which exit code, and what is
//! left behind.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::program::{Run, daemon_of, is_mounted, littfs, run, wait_until};

/// A home with a mountpoint `m`; whatever is still mounted there is taken away at the end.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().expect("temporary directory"));
        fs::create_dir(home.path().join("m")).expect("mkdir");
        home
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn mountpoint(&self) -> PathBuf {
        self.path().canonicalize().expect("real path").join("m")
    }
    fn run(&self, arguments: &[&str]) -> Run {
        run(self.path(), arguments)
    }
    #[track_caller]
    fn succeeds(&self, arguments: &[&str]) {
        let run = self.run(arguments);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{arguments:?}");
        assert_eq!(run.stdout, b"", "{arguments:?}");
    }
    fn is_mounted(&self) -> bool {
        is_mounted(&self.mountpoint())
    }
    fn log(&self) -> String {
        fs::read_to_string(self.path().join(".local/share/littfs/littfs.log")).expect("log")
    }
    /// The process that holds the lock of the default root.
    fn daemon(&self) -> Pid {
        let root = self.path().canonicalize().expect("real path").join(".local/share/littfs");
        daemon_of(&root).expect("a daemon that holds the lock")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.is_mounted() {
            drop(Command::new("umount").arg("-l").arg(self.mountpoint()).status());
        }
    }
}

#[test]
fn a_mount_answers_when_mount_returns_and_is_gone_when_umount_returns() {
    let home = Home::new();
    for _ in 0..2 {
        home.succeeds(&["mount", "m"]);
        assert!(home.is_mounted());
        fs::metadata(home.mountpoint()).expect("the mount answers");
        home.run(&["mount", "m"]).is_refused(&["it is busy", "littfs umount"]);
        home.run(&["keys", "t"])
            .is_refused(&["in use by another littfs", "the mounted folder offers"]);
        assert_eq!(home.run(&["ls"]).code, 0, "the mount answers");
        home.succeeds(&["umount", "m"]);
        assert!(!home.is_mounted());
        assert_eq!(home.run(&["check"]).code, 0, "the roots are free");
        home.run(&["umount", "m"]).is_refused(&["m is not mounted"]);
    }
    assert!(home.log().contains("is mounted"));
}

#[test]
fn whoever_reads_the_output_of_mount_sees_its_end() {
    let home = Home::new();
    // `output` reads both pipes to their end, which comes only when the daemon has let go of them.
    let output = littfs(home.path()).args(["mount", "m"]).stdin(Stdio::null()).output();
    assert!(output.expect("started").status.success());
    home.succeeds(&["umount", "m"]);
}

#[test]
fn a_mount_in_the_background_keeps_nothing_of_its_starter_open() {
    let home = Home::new();
    let script = "exec 9> lock && flock -n 9 && \"$0\" mount m";
    let mut command = Command::new("bash");
    command.args(["-c", script, env!("CARGO_BIN_EXE_littfs")]).env("HOME", home.path());
    command.env_remove("XDG_DATA_HOME").current_dir(home.path()).stdin(Stdio::null());
    assert!(command.status().expect("a shell").success());
    let lock = fs::File::open(home.path().join("lock")).expect("open");
    lock.try_lock().expect("the lock of the script ended with it");
    home.succeeds(&["umount", "m"]);
}

#[test]
fn signals_end_a_mount_in_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let home = Home::new();
        home.succeeds(&["mount", "m"]);
        kill(home.daemon(), signal).expect("signal");
        wait_until("the daemon does not end", || !home.is_mounted());
        wait_until("the roots are not given back", || home.run(&["ls"]).code == 0);
        assert!(home.log().contains("is unmounted"), "{}", home.log());
    }
}

#[test]
fn a_dead_mount_is_taken_away_by_the_next_mount_or_by_umount() {
    let home = Home::new();
    let die = || {
        kill(home.daemon(), Signal::SIGKILL).expect("signal");
        // Not by a stat, which the kernel answers from what it remembers.
        wait_until("it still answers", || fs::read_dir(home.mountpoint()).is_err());
        wait_until("the roots are not given back", || home.run(&["ls"]).code == 0);
    };
    home.succeeds(&["mount", "m"]);
    die();
    home.succeeds(&["umount", "m"]);
    assert!(!home.is_mounted());

    home.succeeds(&["mount", "m"]);
    die();
    let run = home.run(&["mount", "m"]);
    assert_eq!((run.code, run.stderr.lines().count()), (0, 1), "{run:?}");
    assert!(run.stderr.contains("whose program had died; it is taken away"), "{run:?}");
    fs::read_dir(home.mountpoint()).expect("the new mount answers");
    home.succeeds(&["umount", "m"]);
    assert!(!home.is_mounted(), "nothing is left under it");

    // The dead mount of another file system is not ours to take away.
    let script =
        "mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 other m 3<> /dev/fuse";
    let mounted = Command::new("bash").args(["-c", script]).current_dir(home.path()).status();
    assert!(mounted.expect("a shell").success());
    home.run(&["mount", "m"]).is_refused(&["whose program has died"]);
    assert!(home.is_mounted());
}

#[test]
fn a_signal_ends_no_other_mount_on_the_same_directory() {
    let home = Home::new();
    home.succeeds(&["mount", "--root", "a", "m"]);
    // It lives on as long as somebody uses it.
    let used = fs::File::open(home.mountpoint()).expect("open");
    let lazily = Command::new("umount").arg("-l").arg(home.mountpoint()).status();
    assert!(lazily.expect("umount").success());
    home.succeeds(&["mount", "--root", "b", "m"]);
    fs::create_dir(home.mountpoint().join("t")).expect("mkdir");
    let root = |name: &str| home.path().canonicalize().expect("real path").join(name);
    kill(daemon_of(&root("a")).expect("a daemon"), Signal::SIGTERM).expect("signal");
    let log = || fs::read_to_string(root("a").join("littfs.log")).expect("log");
    wait_until("nobody is cut off", || log().contains("is still in use"));
    drop(used);
    wait_until("the first does not end", || daemon_of(&root("a")).is_none());
    fs::read_dir(home.mountpoint().join("t")).expect("the second answers");
    home.succeeds(&["umount", "m"]);
}

#[test]
fn a_busy_mount_is_not_taken_away_by_umount() {
    let home = Home::new();
    home.succeeds(&["mount", "m"]);
    let open = fs::File::open(home.mountpoint()).expect("open");
    home.run(&["umount", "m"]).is_refused(&["m is busy", "fuser -vm"]);
    assert!(home.is_mounted());
    drop(open);
    home.succeeds(&["umount", "m"]);
}

#[test]
fn roots_that_cannot_be_used_are_named_and_left_as_they_are() {
    let home = Home::new();
    fs::create_dir(home.path().join("letters")).expect("mkdir");
    fs::write(home.path().join("letters/dear"), "").expect("write");
    home.run(&["mount", "--root", "letters", "m"]).is_refused(&["/letters: it holds other files"]);
    let names = fs::read_dir(home.path().join("letters")).expect("list").count();
    assert_eq!(names, 1, "nothing is added to a directory that is refused");

    home.succeeds(&["mount", "--root", "a", "--root", "b", "m"]);
    home.succeeds(&["umount", "m"]);
    home.run(&["mount", "--root", "a", "m"]).is_refused(&["/b: ", "was not given", "--degraded"]);
    fs::rename(home.path().join("b"), home.path().join("c")).expect("rename");
    let both = ["mount", "--root", "a", "--root", "b", "m"];
    home.run(&both).is_refused(&["/b: ", "does not exist", "--degraded"]);
    home.succeeds(&["mount", "-o", "degraded,ro", "--root", "a", "m"]);
    home.succeeds(&["umount", "m"]);
    home.succeeds(&["mount", "--root", "c", "--root", "a", "m"]);
    home.succeeds(&["umount", "m"]);
}

#[test]
fn a_foreground_mount_logs_to_stderr() {
    let home = Home::new();
    let mut child = littfs(home.path())
        .args(["mount", "-f", "m"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut log = String::new();
    // Not before it says so: what it asks of its own mount first makes that busy.
    while !log.contains("is mounted") {
        assert_ne!(stderr.read_line(&mut log).expect("text"), 0, "it ends: {log}");
    }
    home.succeeds(&["umount", "m"]);
    stderr.read_to_string(&mut log).expect("text");
    assert!(child.wait().expect("ended").success());
    assert!(log.contains("is unmounted"), "{log}");
    assert!(!home.path().join(".local/share/littfs/littfs.log").exists());
}
