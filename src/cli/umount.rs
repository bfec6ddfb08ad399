//! `littfs umount`: unmounts, then waits until the daemon has made everything durable.
//!
//! A daemon holds the lock of each root until its database is closed, and gives back the first
//! root's last. The mount table says which root that is, so no process is looked for by name.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use littfs::config::Config;
use littfs::{LOCK_FILE_NAME, LOG_FILE_NAME};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use super::args::UmountArguments;
use super::mountinfo::{self, Mounted};
use super::{Failure, Outcome, database, fail};

const HELPER: &str = "fusermount3";
const WAIT_MAX: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Runs `littfs umount`.
pub(super) fn run(arguments: &UmountArguments) -> Outcome {
    let mounted = find(&arguments.mountpoint)?;
    unmount(&mounted.mountpoint)?;
    wait_for_end(&mounted)
}

/// Waits until the daemon of a mount that was taken away has made everything durable.
pub(super) fn wait_for_end(mounted: &Mounted) -> Outcome {
    match first_root(&mounted.source) {
        Some(root) => wait_for_release(&mounted.mountpoint, &root, WAIT_MAX),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// The first root of a database by the source of its mount: the root, or what mount(8) was given,
/// which is several of them or a configuration file.
pub(super) fn first_root(source: &OsStr) -> Option<PathBuf> {
    let whole = PathBuf::from(source);
    if whole.is_dir() {
        return Some(whole);
    }
    if whole.is_file() {
        let config = Config::read(&whole).ok()?;
        return config.roots.first().cloned();
    }
    let first = source.as_bytes().split(|byte| *byte == b':').next()?;
    Some(PathBuf::from(OsStr::from_bytes(first)))
}

/// The mount on this path. The path is first taken as it was typed, so that a mount whose daemon
/// has died, and which therefore answers nothing, is found too.
pub(super) fn find(typed: &Path) -> Result<Mounted, Failure> {
    let path = database::absolute(typed)?;
    let found = match mountinfo::find(&without_trailing_slash(&path))? {
        Some(mounted) => Some(mounted),
        None => mountinfo::find(&resolve(&path))?,
    };
    match found {
        Some(mounted) if mounted.is_ours() => Ok(mounted),
        Some(mounted) => fail(format!(
            "{} is not a littfs mount, but one of {} ({}); use umount",
            mounted.mountpoint.display(),
            mounted.source.display(),
            mounted.kind
        )),
        None if std::fs::symlink_metadata(&path)
            .is_err_and(|e| e.kind() == ErrorKind::NotFound) =>
        {
            fail(format!("{} does not exist", typed.display()))
        }
        None => fail(format!("{} is not mounted", typed.display())),
    }
}

fn without_trailing_slash(path: &Path) -> PathBuf {
    path.components().collect()
}

/// The path without symbolic links. Of a dead mount only the folder above it can be asked.
pub(super) fn resolve(path: &Path) -> PathBuf {
    if let Ok(real) = std::fs::canonicalize(path) {
        return real;
    }
    match (path.parent().map(std::fs::canonicalize), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => path.to_path_buf(),
    }
}

pub(super) fn unmount(mountpoint: &Path) -> Result<(), Failure> {
    if nix::unistd::geteuid().is_root() {
        match umount2(mountpoint, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => return Ok(()),
            Err(Errno::EBUSY) => return busy(mountpoint),
            // Root in a container may lack the right; the helper may have it.
            Err(Errno::EPERM) => {}
            Err(error) => return fail(format!("cannot unmount {}: {error}", mountpoint.display())),
        }
    }
    unmount_by_helper(mountpoint)
}

fn unmount_by_helper(mountpoint: &Path) -> Result<(), Failure> {
    let output = match Command::new(HELPER).arg("-u").arg("--").arg(mountpoint).output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return fail(format!(
                "{HELPER} is not installed, which users other than root need; install the package fuse3"
            ));
        }
        Err(error) => return fail(format!("cannot run {HELPER}: {error}")),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(());
    }
    if said.contains("busy") {
        return busy(mountpoint);
    }
    fail(format!("cannot unmount {}: {}", mountpoint.display(), said.trim()))
}

fn busy<T>(mountpoint: &Path) -> Result<T, Failure> {
    let shown = mountpoint.display();
    fail(format!(
        "{shown} is busy: a program has a file open in it or works in it; `fuser -vm {shown}` shows which"
    ))
}

/// Takes a busy mount out of the tree; it ends when the last program lets go of it. Whether that
/// worked.
pub(super) fn detach(mountpoint: &Path) -> bool {
    let detached = umount2(mountpoint, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    if detached.is_ok() {
        return true;
    }
    match Command::new(HELPER).args(["-u", "-z", "--"]).arg(mountpoint).output() {
        Ok(output) if output.status.success() => return true,
        Ok(output) => log::warn!("{}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => log::warn!("cannot run {HELPER}: {error}"),
    }
    false
}

fn wait_for_release(mountpoint: &Path, root: &Path, wait_max: Duration) -> Outcome {
    if is_released(root, wait_max) {
        return Ok(ExitCode::SUCCESS);
    }
    fail(format!(
        "{} is unmounted, but its littfs is still busy with {} after {} s; see {}",
        mountpoint.display(),
        root.display(),
        wait_max.as_secs(),
        root.join(LOG_FILE_NAME).display()
    ))
}

/// Waits until nobody holds the lock of a root; false when that takes longer than this.
pub(super) fn is_released(root: &Path, wait_max: Duration) -> bool {
    // Without it the drive is gone, or it is another user's: there is nothing to wait for. Nor is at
    // a pipe in its place, where a plain open would wait.
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let Ok(lock) = options.open(root.join(LOCK_FILE_NAME)) else { return true };
    let started = Instant::now();
    loop {
        match lock.try_lock_shared() {
            Err(TryLockError::WouldBlock) if started.elapsed() < wait_max => {
                std::thread::sleep(POLL_INTERVAL);
            }
            Err(TryLockError::WouldBlock) => return false,
            Ok(()) | Err(TryLockError::Error(_)) => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_mounted_is_named() {
        let folder = tempfile::tempdir().expect("temporary directory");
        for (path, part) in [
            (folder.path().to_path_buf(), "is not mounted"),
            (folder.path().join("x"), "does not exist"),
        ] {
            match run(&UmountArguments { mountpoint: path }) {
                Err(Failure::Message(message)) => assert!(message.contains(part), "{message}"),
                other => panic!("{other:?} where {part:?} was expected"),
            }
        }
    }

    #[test]
    fn other_file_systems_are_left_alone() {
        match run(&UmountArguments { mountpoint: PathBuf::from("/proc") }) {
            Err(Failure::Message(message)) => assert!(message.contains("not a littfs mount")),
            other => panic!("{other:?} where a refusal was expected"),
        }
    }

    #[test]
    fn waiting_is_bounded() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let wait = || wait_for_release(Path::new("/m"), folder.path(), Duration::from_millis(30));
        assert!(wait().is_ok(), "no lock file, nothing to wait for");
        let lock = std::fs::File::create(folder.path().join(LOCK_FILE_NAME)).expect("create");
        lock.lock().expect("lock");
        match wait() {
            Err(Failure::Message(message)) => assert!(message.contains("still busy"), "{message}"),
            other => panic!("{other:?} where a message was expected"),
        }
        drop(lock);
        assert!(wait().is_ok());
    }
}
