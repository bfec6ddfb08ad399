//! A database of its own for each test, mounted in the background as a person does it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use tempfile::TempDir;

use crate::limits::Drive;
use crate::program::{Run, daemon_of, is_mounted, run, wait_until};

/// A folder with the roots `r0`, `r1`, ... and the mountpoint `m`. In the end, also when the test
/// fails, the daemon is killed and the mount taken away.
pub(crate) struct Mounted {
    // Dropped after `Drop` has read the log from them and ended the daemon.
    drives: Vec<Drive>,
    // Dropped after everything that is mounted in it was taken away.
    folder: TempDir,
    roots: Vec<PathBuf>,
    config: Option<PathBuf>,
}

impl Mounted {
    /// A mount with one root and the table `t`.
    pub(crate) fn new() -> Self {
        Self::with(1, "")
    }

    /// A mount with this many roots, this configuration, and the table `t`.
    pub(crate) fn with(roots: usize, config: &str) -> Self {
        let home = Self::unmounted(roots, config);
        home.mount();
        fs::create_dir(home.at("t")).expect("a table");
        home
    }

    /// A database with this many roots and this configuration, before its first mount.
    pub(crate) fn unmounted(roots: usize, config: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary directory");
        let base = folder.path().canonicalize().expect("real path");
        fs::create_dir(base.join("m")).expect("mkdir");
        let roots = (0..roots).map(|number| base.join(format!("r{number}"))).collect();
        let config = (!config.is_empty()).then(|| {
            let file = base.join("config.toml");
            fs::write(&file, config).expect("write the configuration");
            file
        });
        Self { drives: Vec::new(), folder, roots, config }
    }

    /// As `unmounted`, with the first roots on drives of their own of so many MiB.
    pub(crate) fn on_drives(roots: usize, drives_mib: &[u32], config: &str) -> Self {
        let mut home = Self::unmounted(roots, config);
        let drive = |(root, mib): (&PathBuf, &u32)| Drive::new(root, *mib);
        home.drives = home.roots.iter().zip(drives_mib).map(drive).collect();
        home
    }

    /// From now on the drive of this root refuses everything.
    pub(crate) fn break_down(&self, root: usize) {
        self.drives[root].break_down();
    }

    /// The folder with everything, as a real path.
    pub(crate) fn base(&self) -> PathBuf {
        self.folder.path().canonicalize().expect("real path")
    }

    /// A path in the mount.
    pub(crate) fn at(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.base().join("m").join(name.as_ref())
    }

    pub(crate) fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// Runs `littfs` with these arguments and the options that name the database.
    pub(crate) fn littfs(&self, command: &str, arguments: &[&str]) -> Run {
        let mut all = vec![command];
        for root in &self.roots {
            all.extend(["--root", root.to_str().expect("text")]);
        }
        if let Some(config) = &self.config {
            all.extend(["--config", config.to_str().expect("text")]);
        }
        all.extend(arguments);
        run(self.folder.path(), &all)
    }

    #[track_caller]
    pub(crate) fn mount(&self) {
        self.mount_with(&[]);
    }

    #[track_caller]
    pub(crate) fn mount_with(&self, options: &[&str]) {
        let run = self.try_mount(options);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "mount");
    }

    pub(crate) fn try_mount(&self, options: &[&str]) -> Run {
        self.littfs("mount", &[options, &["m"]].concat())
    }

    #[track_caller]
    pub(crate) fn umount(&self) {
        let run = run(self.folder.path(), &["umount", "m"]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "umount");
    }

    #[track_caller]
    pub(crate) fn remount(&self) {
        self.umount();
        self.mount();
    }

    /// Kills the daemon without any warning, takes the dead mount away and mounts again.
    #[track_caller]
    pub(crate) fn crash(&self) {
        self.crash_with(&[]);
    }

    /// A `crash` with these options for the new mount.
    #[track_caller]
    pub(crate) fn crash_with(&self, options: &[&str]) {
        self.kill();
        self.umount();
        self.mount_with(options);
    }

    /// Kills the daemon without any warning.
    #[track_caller]
    pub(crate) fn kill(&self) {
        let daemon = daemon_of(&self.roots[0]).expect("a daemon that holds the lock");
        kill(daemon, Signal::SIGKILL).expect("kill");
        // The lock goes with the last thread of the process.
        wait_until("the killed daemon is still there", || daemon_of(&self.roots[0]).is_none());
    }

    /// A line of the daemon in `/proc/PID/status`, in KiB.
    pub(crate) fn memory_kib(&self, line: &str) -> u64 {
        let daemon = daemon_of(&self.roots[0]).expect("a daemon that holds the lock");
        let status = fs::read_to_string(format!("/proc/{daemon}/status")).expect("status");
        let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        let kib = found.and_then(|text| text.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse().ok()).expect("a line in kB")
    }

    /// The output of a shell script that must succeed without a word of complaint. It runs in the
    /// folder that holds the mountpoint.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> String {
        let output = self.shell(script);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && errors.is_empty(),
            "{script}: {:?}: {errors}",
            output.status
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A shell script that must fail and complain with these words.
    #[track_caller]
    pub(crate) fn refuses(&self, script: &str, words: &str) {
        let output = self.shell(script);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{script} succeeds: {output:?}");
        assert!(errors.contains(words), "{script}: no {words:?} in {errors}");
    }

    pub(crate) fn shell(&self, script: &str) -> Output {
        let mut command = Command::new("bash");
        command.env("LC_ALL", "C").env("TZ", "UTC").current_dir(self.folder.path());
        command.arg("-c").arg(script).stdin(Stdio::null()).output().expect("a shell")
    }

    /// The names of the files in the `segments` folders of the table `t`, one list for each root.
    pub(crate) fn segment_files(&self) -> Vec<Vec<String>> {
        let list = |root: &PathBuf| {
            let mut names = names_in(&root.join("t/segments"));
            names.sort_unstable();
            names
        };
        self.roots.iter().map(list).collect()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.roots[0].join("littfs.log"));
            eprintln!("the log of the mount: {}", log.unwrap_or_else(|error| error.to_string()));
        }
        if let Some(daemon) = daemon_of(&self.roots[0]) {
            // It may have ended on its own by now.
            kill(daemon, Signal::SIGKILL).unwrap_or_default();
        }
        let mountpoint = self.at("");
        let mountpoint = mountpoint.components().as_path();
        if is_mounted(mountpoint) {
            drop(Command::new("umount").arg("-l").arg(mountpoint).status());
        }
    }
}

/// The names in a folder; none when it does not exist.
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry.expect("list").file_name().into_string().expect("text")
    };
    entries.map(name).collect()
}

/// The error number that something failed with.
#[track_caller]
pub(crate) fn errno<T>(result: std::io::Result<T>) -> nix::errno::Errno {
    let error = result.err().expect("it must fail");
    nix::errno::Errno::from_raw(error.raw_os_error().expect("an error of the system"))
}
