//! The directory that a benchmark works in, and ending early without leaving it behind.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::database::default_root;
use crate::cli::signals::Signals;
use crate::cli::{Failure, fail, say};

/// Whether the person has had enough. Cheap to ask and to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asked for by SIGINT, SIGTERM and SIGHUP from now on.
    pub(super) fn on_signals() -> Result<Self, Failure> {
        let stop = Self::default();
        let asked = stop.clone();
        Signals::watch()?.on_end(move || asked.0.store(true, Ordering::Relaxed));
        Ok(stop)
    }

    /// An error once it was asked for.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.0.load(Ordering::Relaxed) { fail("the benchmark was interrupted") } else { Ok(()) }
    }
}

/// A directory of its own, removed with everything in it when this is dropped.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes the directory in `parent`, or on the drive of the default database.
    pub(super) fn new(parent: Option<&Path>) -> Result<Self, Failure> {
        let parent = if let Some(parent) = parent {
            parent.to_path_buf()
        } else {
            let root = default_root()?;
            root.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/")).to_path_buf()
        };
        let path = parent.join(format!("littfs-bench-{}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self(path)),
            Err(error) => fail(format!(
                "cannot make {}: {error}; name a directory you may write to with --dir",
                path.display()
            )),
        }
    }

    /// The root of the scratch database.
    pub(super) fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    /// The directory itself.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            say(&format!("cannot remove {}: {error}", self.0.display()));
        }
    }
}

/// What all files below a directory take on the drive together.
pub(super) fn bytes_on_disk(dir: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        // Blocks are of 512 bytes whatever the file system's own are.
        bytes += metadata.blocks() * 512;
        if metadata.is_dir() {
            bytes += bytes_on_disk(&entry.path())?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_goes_with_everything_in_it() {
        let parent = tempfile::tempdir().expect("temporary directory");
        let scratch = Scratch::new(Some(parent.path())).expect("scratch");
        let inner = scratch.root().join("a/b");
        fs::create_dir_all(&inner).expect("folders");
        fs::write(inner.join("file"), vec![1; 8192]).expect("file");
        assert!(bytes_on_disk(scratch.path()).expect("sizes") >= 8192);
        drop(scratch);
        assert_eq!(fs::read_dir(parent.path()).expect("list").count(), 0);
    }

    #[test]
    fn a_directory_that_is_missing_is_named_with_the_option() {
        let error = Scratch::new(Some(Path::new("/nowhere/at/all"))).expect_err("missing");
        let Failure::Message(message) = error else { panic!("{error:?}") };
        assert!(message.contains("/nowhere/at/all") && message.contains("--dir"), "{message}");
    }
}
