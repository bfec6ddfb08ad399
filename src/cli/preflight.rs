//! What can be wrong before a mount is even tried, so that a refused mount leaves no trace.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use littfs::fuse::check_mountpoint;

use super::mount_plan::MountPlan;
use super::mountinfo::Mounted;
use super::{Failure, fail, mountinfo, say, umount};

/// How long a mount that is ending is waited for.
const ENDING_WAIT: Duration = Duration::from_secs(10);

/// Checks the roots, the mountpoint and what mounting needs, and makes the mountpoint a real path.
/// A mount of littfs that has died there is taken away: nothing is lost with it.
pub(super) fn check(mut plan: MountPlan) -> Result<MountPlan, Failure> {
    if plan.options.existing_roots && !plan.options.degraded {
        check_existing(&plan.config.roots)?;
    }
    take_dead_mount_away(&plan.mountpoint);
    if let Ok(real) = fs::canonicalize(&plan.mountpoint) {
        check_apart(&plan.mountpoint, &real, &plan.config.roots)?;
    }
    plan.mountpoint = check_mountpoint(&plan.mountpoint, plan.options.allow_other)?;
    wait_for_ending_mount(&plan.config.roots);
    Ok(plan)
}

/// A mount that umount(8) took away may still be making everything durable: it is waited for, so
/// that mounting again right behind it works. One that is in the mount table goes on, and then there
/// is nothing to wait for; who uses the roots is told when they are opened.
fn wait_for_ending_mount(roots: &[PathBuf]) {
    let roots: Vec<PathBuf> = roots.iter().map(|root| real_path(root)).collect();
    let is_one_of_them = |mounted: &Mounted| {
        let first = umount::first_root(&mounted.source).map(|root| real_path(&root));
        mounted.is_ours() && first.is_some_and(|first| roots.contains(&first))
    };
    if mountinfo::all().is_ok_and(|mounts| !mounts.iter().any(is_one_of_them)) {
        let started = Instant::now();
        for root in &roots {
            umount::is_released(root, ENDING_WAIT.saturating_sub(started.elapsed()));
        }
    }
}

/// A root that is not there is most likely on a drive that is not mounted; a database made in its
/// place would fill the drive of the system.
fn check_existing(roots: &[PathBuf]) -> Result<(), Failure> {
    match roots.iter().find(|root| !root.is_dir()) {
        None => Ok(()),
        Some(root) => fail(format!(
            "root {0}: there is no such directory; is its drive mounted? For a new database make it \
                with `mkdir -p {0}`",
            root.display()
        )),
    }
}

fn take_dead_mount_away(mountpoint: &Path) {
    let is_dead = || {
        let error = fs::read_dir(mountpoint).err();
        error.is_some_and(|error| error.raw_os_error() == Some(nix::libc::ENOTCONN))
    };
    // One may hide another.
    while is_dead() {
        match mountinfo::find(&umount::resolve(mountpoint)) {
            Ok(Some(mounted)) if mounted.is_ours() && umount::detach(&mounted.mountpoint) => {
                say(&format!(
                    "note: on {} was a mount whose program had died; it is taken away",
                    mountpoint.display()
                ));
            }
            // What it is and what helps is told by whoever meets it next.
            _ => return,
        }
    }
}

/// A database below its own mountpoint would wait for itself; a mount inside a root would look
/// like a part of the database.
fn check_apart(mountpoint: &Path, real: &Path, roots: &[PathBuf]) -> Result<(), Failure> {
    for root in roots {
        let root = real_path(root);
        if root.starts_with(real) || real.starts_with(&root) {
            return fail(format!(
                "cannot mount on {}: it and the root {} are inside one another; \
                    choose a directory apart from it",
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
    use littfs::config::Config;
    use littfs::config::mount_options::Options;

    use super::*;

    #[test]
    fn mountpoint_and_roots_are_kept_apart() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let plan = |mountpoint: &Path, root: &Path| MountPlan {
            config: Config { roots: vec![root.to_path_buf()], ..Config::default() },
            options: Options::default(),
            mountpoint: mountpoint.to_path_buf(),
            source: None,
        };
        let message = |mountpoint: &Path, root: &Path| match check(plan(mountpoint, root)) {
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
