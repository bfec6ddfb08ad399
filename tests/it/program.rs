//! The littfs program, as a person or a script starts it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

/// How long anything that has to happen is waited for: longer than a machine takes that has much
/// else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Run {
    fn new(output: Output) -> Self {
        Self {
            code: output.status.code().expect("the program was killed"),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).expect("stderr is text"),
        }
    }

    /// Wrong usage or environment: exit code 2, nothing on stdout, one line on stderr with all
    /// these parts.
    #[track_caller]
    pub(crate) fn is_refused(&self, parts: &[&str]) {
        assert_eq!(self.code, 2, "{self:?}");
        assert_eq!(self.stdout, b"", "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "one line: {self:?}");
        assert!(self.stderr.starts_with("littfs: ") && self.stderr.ends_with('\n'), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{:?} without {part:?}", self.stderr);
        }
    }
}

/// The program with a home of its own, so that no test meets the database of a person.
pub(crate) fn littfs(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_littfs"));
    command.env("HOME", home).env_remove("XDG_DATA_HOME").env_remove("RUST_LOG").current_dir(home);
    command
}

/// Runs `littfs` with these arguments.
pub(crate) fn run(home: &Path, arguments: &[&str]) -> Run {
    let output = littfs(home).args(arguments).stdin(Stdio::null()).output();
    Run::new(output.expect("the program starts"))
}

/// Runs `littfs` with these arguments and this on its standard input.
pub(crate) fn run_with_input(home: &Path, arguments: &[&str], input: &[u8]) -> Run {
    let mut child = littfs(home)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    std::thread::scope(|scope| {
        // A program that refuses its arguments does not read its input: that is no error here.
        scope.spawn(move || drop(stdin.write_all(input)));
        Run::new(child.wait_with_output().expect("the program ends"))
    })
}

/// Polls until something holds; fails with these words when it never does.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether something is mounted on this path, which must be a real one.
pub(crate) fn is_mounted(mountpoint: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    mounts.lines().any(|line| line.split(' ').nth(4) == mountpoint.to_str())
}

/// The process that holds the lock of a root, which must be a real path.
pub(crate) fn daemon_of(root: &Path) -> Option<Pid> {
    let lock = root.join("littfs.lock");
    let holds = |process: &Path| {
        fs::read_dir(process.join("fd")).is_ok_and(|handles| {
            handles.flatten().any(|handle| fs::read_link(handle.path()).is_ok_and(|to| to == lock))
        })
    };
    let processes = fs::read_dir("/proc").expect("proc").flatten().map(|entry| entry.path());
    // Not this process: it holds the locks of databases that are open in it.
    let others = processes.filter_map(|process| {
        let pid = process.file_name()?.to_str()?.parse::<i32>().ok()?;
        (pid != Pid::this().as_raw()).then_some((process, pid))
    });
    others.into_iter().find(|(process, _)| holds(process)).map(|(_, pid)| Pid::from_raw(pid))
}
