//! What can be wrong before a mount is even tried, each with the way out.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::mountinfo;
use super::{Failure, fail};

const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";
const FUSE_CONFIG: &str = "/etc/fuse.conf";

fn refuse<T>(mountpoint: &Path, reason: impl std::fmt::Display) -> Result<T, Failure> {
    fail(format!("cannot mount on {}: {reason}", mountpoint.display()))
}

/// Checks the mountpoint and what mounting needs, and returns the real path of the mountpoint.
pub(crate) fn check(
    mountpoint: &Path,
    roots: &[PathBuf],
    allow_other: bool,
) -> Result<PathBuf, Failure> {
    let real = check_mountpoint(mountpoint)?;
    check_apart(mountpoint, &real, roots)?;
    check_device(mountpoint)?;
    if !nix::unistd::geteuid().is_root() {
        check_helper(mountpoint)?;
        if allow_other {
            check_allow_other(mountpoint)?;
        }
    }
    Ok(real)
}

fn check_mountpoint(mountpoint: &Path) -> Result<PathBuf, Failure> {
    let shown = mountpoint.display();
    let metadata = match fs::metadata(mountpoint) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return refuse(
                mountpoint,
                format!("it does not exist; make it with `mkdir -p {shown}`"),
            );
        }
        Err(error) if error.raw_os_error() == Some(nix::libc::ENOTCONN) => {
            return refuse(
                mountpoint,
                format!(
                    "a mount whose program has died is in the way; remove it with `littfs umount {shown}`"
                ),
            );
        }
        Err(error) => return refuse(mountpoint, error),
    };
    if !metadata.is_dir() {
        return refuse(mountpoint, "it is not a directory");
    }
    let real = fs::canonicalize(mountpoint).or_else(|error| refuse(mountpoint, error))?;
    if let Some(root) = mountinfo::find(&real)?.and_then(|mounted| mounted.first_root()) {
        return refuse(
            mountpoint,
            format!(
                "it is busy: the database in {} is mounted there already; `littfs umount {shown}` ends that",
                root.display()
            ),
        );
    }
    Ok(real)
}

/// A database below its own mountpoint would wait for itself; a mount inside a root would look
/// like a part of the database.
fn check_apart(mountpoint: &Path, real: &Path, roots: &[PathBuf]) -> Result<(), Failure> {
    for root in roots {
        let root = real_path(root);
        if root.starts_with(real) || real.starts_with(&root) {
            return refuse(
                mountpoint,
                format!(
                    "it and the root {} are inside one another; choose a directory apart from it",
                    root.display()
                ),
            );
        }
    }
    Ok(())
}

/// The real path of what may not exist yet: that of its nearest existing ancestor, and the rest.
pub(crate) fn real_path(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(real) = fs::canonicalize(ancestor) {
            return path.strip_prefix(ancestor).map_or_else(
                |_| real.clone(),
                |rest| match rest {
                    rest if rest.as_os_str().is_empty() => real.clone(),
                    rest => real.join(rest),
                },
            );
        }
    }
    path.to_path_buf()
}

fn check_device(mountpoint: &Path) -> Result<(), Failure> {
    match OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => refuse(
            mountpoint,
            format!(
                "there is no {DEVICE}; load the module with `modprobe fuse`, or start the container with `--device {DEVICE} --cap-add SYS_ADMIN`"
            ),
        ),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            refuse(mountpoint, format!("{DEVICE} may not be opened by this user: {error}"))
        }
        Err(error) => refuse(mountpoint, format!("{DEVICE} cannot be opened: {error}")),
    }
}

fn check_helper(mountpoint: &Path) -> Result<(), Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(HELPER).is_file()) {
        return Ok(());
    }
    refuse(
        mountpoint,
        format!(
            "{HELPER} is not installed, which users other than root need; install the package fuse3"
        ),
    )
}

fn check_allow_other(mountpoint: &Path) -> Result<(), Failure> {
    let config = fs::read_to_string(FUSE_CONFIG).unwrap_or_default();
    if config.lines().any(|line| line.trim() == "user_allow_other") {
        return Ok(());
    }
    refuse(
        mountpoint,
        format!("allow_other needs the line `user_allow_other` in {FUSE_CONFIG}, or root"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<PathBuf, Failure>) -> String {
        match result {
            Err(Failure::Message(message)) => message,
            other => panic!("{other:?} where a message was expected"),
        }
    }

    #[test]
    fn mountpoints_are_refused_with_the_way_out() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let missing = folder.path().join("missing");
        assert!(message(check(&missing, &[], false)).contains("mkdir -p"));
        let file = folder.path().join("file");
        fs::write(&file, "").expect("write");
        assert!(message(check(&file, &[], false)).contains("not a directory"));
        let below = folder.path().join("a/b");
        assert!(message(check(folder.path(), &[below], false)).contains("inside one another"));
        let inside = folder.path().join("inside");
        fs::create_dir(&inside).expect("mkdir");
        let roots = [folder.path().to_path_buf()];
        assert!(message(check(&inside, &roots, false)).contains("inside one another"));
    }
}
