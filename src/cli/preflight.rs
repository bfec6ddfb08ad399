//! What can be wrong before a mount is even tried, so that a refused mount leaves no trace.

use std::fs;
use std::path::{Path, PathBuf};

use littfs::fuse::check_mountpoint;

use super::{Failure, fail};

/// Checks the mountpoint and what mounting needs, and returns the real path of the mountpoint.
pub(crate) fn check(
    mountpoint: &Path,
    roots: &[PathBuf],
    allow_other: bool,
) -> Result<PathBuf, Failure> {
    if let Ok(real) = fs::canonicalize(mountpoint) {
        check_apart(mountpoint, &real, roots)?;
    }
    Ok(check_mountpoint(mountpoint, allow_other)?)
}

/// A database below its own mountpoint would wait for itself; a mount inside a root would look
/// like a part of the database.
fn check_apart(mountpoint: &Path, real: &Path, roots: &[PathBuf]) -> Result<(), Failure> {
    for root in roots {
        let root = real_path(root);
        if root.starts_with(real) || real.starts_with(&root) {
            return fail(format!(
                "cannot mount on {}: it and the root {} are inside one another; choose a directory apart from it",
                mountpoint.display(),
                root.display()
            ));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountpoint_and_roots_are_kept_apart() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let message = |mountpoint: &Path, root: &Path| match check(
            mountpoint,
            &[root.to_path_buf()],
            false,
        ) {
            Err(Failure::Message(message)) => message,
            other => panic!("{other:?} where a message was expected"),
        };
        let below = folder.path().join("a/b");
        assert!(message(folder.path(), &below).contains("inside one another"));
        let inside = folder.path().join("inside");
        fs::create_dir(&inside).expect("mkdir");
        assert!(message(&inside, folder.path()).contains("inside one another"));
        assert!(message(&below, &inside).contains("mkdir -p"));
    }
}
