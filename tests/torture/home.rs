//! A database, its daemon and its mount, which are all gone in the end.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::statvfs;
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long anything that has to happen is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a killed daemon may take to go.
const KILL_PATIENCE: Duration = Duration::from_secs(3);

/// Why a campaign cannot go on, in words.
pub(crate) type Trouble = String;

/// A folder with the roots, the mountpoint `m`, the configuration and the log of every daemon.
pub(crate) struct Home {
    daemon: Option<Child>,
    roots: Vec<PathBuf>,
    base: PathBuf,
    // Dropped last, and kept when something was lost.
    folder: Option<TempDir>,
}

impl Home {
    pub(crate) fn new(roots: usize, config: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("littfs-torture-").tempdir();
        let folder = folder.expect("a temporary directory");
        let base = folder.path().canonicalize().expect("a real path");
        fs::create_dir(base.join("m")).expect("mkdir");
        fs::write(base.join("config.toml"), config).expect("write the configuration");
        let roots = (0..roots).map(|number| base.join(format!("r{number}"))).collect();
        Self { daemon: None, roots, base, folder: Some(folder) }
    }

    pub(crate) fn mountpoint(&self) -> PathBuf {
        self.base.join("m")
    }

    pub(crate) fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// Leaves the folder where it is, for whoever looks for the cause.
    pub(crate) fn keep(&mut self) -> PathBuf {
        if let Some(folder) = self.folder.take() {
            drop(folder.keep());
        }
        self.base.clone()
    }

    /// `littfs` with this command and the options that name the database.
    fn littfs(&self, command: &str) -> Command {
        let mut littfs = Command::new(env!("CARGO_BIN_EXE_littfs"));
        littfs.arg(command).arg("--config").arg(self.base.join("config.toml"));
        for root in &self.roots {
            littfs.arg("--root").arg(root);
        }
        littfs.current_dir(&self.base).env("HOME", &self.base).env_remove("RUST_LOG");
        littfs.stdin(Stdio::null());
        littfs
    }

    /// Starts a daemon and does not wait for anything.
    pub(crate) fn start(&mut self) -> Result<(), Trouble> {
        let log = OpenOptions::new().create(true).append(true).open(self.base.join("log"));
        let log = log.map_err(|error| format!("the log: {error}"))?;
        let mut command = self.littfs("mount");
        command.args(["-f", "m"]).stdout(Stdio::null()).stderr(log);
        let daemon = command.spawn().map_err(|error| format!("littfs: {error}"))?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Starts a daemon and waits until the mount answers.
    pub(crate) fn mount(&mut self) -> Result<(), Trouble> {
        self.start()?;
        self.await_mount()
    }

    /// Waits until the daemon that was started answers.
    pub(crate) fn await_mount(&mut self) -> Result<(), Trouble> {
        let mountpoint = self.mountpoint();
        let started = Instant::now();
        while !is_mounted(&mountpoint) {
            if let Some(status) = self.has_ended() {
                return Err(format!("the mount ended at once, {status}: {}", self.last_words()));
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("there is no mount: {}", self.last_words()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        statvfs(&mountpoint)
            .map(drop)
            .map_err(|errno| format!("the mount does not answer: {errno}"))
    }

    fn has_ended(&mut self) -> Option<ExitStatus> {
        self.daemon.as_mut()?.try_wait().ok()?
    }

    /// Kills the daemon without any warning. What is left of the mount stays until `clear`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // It may have ended on its own by now; in any case it is waited for.
            drop(daemon.kill());
            let started = Instant::now();
            while matches!(daemon.try_wait(), Ok(None)) {
                if started.elapsed() > KILL_PATIENCE {
                    // A thread of it can hang in the kernel, telling of an entry that has gone while
                    // whoever looks it up waits for the daemon. Only an abort ends that.
                    umount2(&self.mountpoint(), MntFlags::MNT_FORCE).unwrap_or_default();
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Takes the mount of a daemon away that is gone.
    pub(crate) fn clear(&self) {
        while is_mounted(&self.mountpoint()) {
            if umount2(&self.mountpoint(), MntFlags::MNT_DETACH).is_err() {
                return;
            }
        }
    }

    /// Tells the daemon to end and waits until it has.
    pub(crate) fn end(&mut self) -> Result<ExitStatus, Trouble> {
        let Some(daemon) = &self.daemon else { return Err("no daemon".to_owned()) };
        let pid = Pid::from_raw(i32::try_from(daemon.id()).expect("a process id"));
        kill(pid, Signal::SIGTERM).map_err(|errno| format!("SIGTERM: {errno}"))?;
        let started = Instant::now();
        loop {
            if let Some(status) = self.has_ended() {
                self.daemon = None;
                return Ok(status);
            }
            if started.elapsed() > PATIENCE {
                return Err("the daemon was told to end and does not".to_owned());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Runs `littfs check`; an error when it finds damage or cannot run.
    pub(crate) fn check(&self) -> Result<(), Trouble> {
        let output = self.littfs("check").output().map_err(|error| format!("check: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (found, said) = (text(&output.stdout), text(&output.stderr));
        Err(format!("littfs check, {}: {said}{found}", output.status))
    }

    /// All that the daemons have logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.base.join("log")).unwrap_or_default()
    }

    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }

    /// Removes the keymap of every table, which the next open makes anew. Nothing may be mounted.
    pub(crate) fn delete_keymaps(&self) {
        for root in &self.roots {
            for table in fs::read_dir(root).into_iter().flatten().flatten() {
                drop(fs::remove_dir_all(table.path().join("keymap")));
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.kill();
        self.clear();
    }
}

/// Whether something is mounted on this path, which must be a real one.
pub(crate) fn is_mounted(mountpoint: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    mounts.lines().any(|line| line.split(' ').nth(4) == mountpoint.to_str())
}
