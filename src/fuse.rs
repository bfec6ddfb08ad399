//! STUB of the mount (the real one is being written; signatures are the contract).
#![allow(missing_docs, clippy::unused_self, clippy::needless_pass_by_value)]
use std::path::Path;

use crate::{Db, Error, Result};

/// How a database is mounted.
#[derive(Clone, Debug, Default)]
pub struct MountOptions {
    pub read_only: bool,
    pub allow_other: bool,
    pub default_permissions: bool,
    pub threads: usize,
}

/// A mounted database.
#[derive(Debug)]
pub struct Mount {}

/// Ends a mount from another thread.
#[derive(Clone, Debug)]
pub struct Unmounter {}

impl Mount {
    pub fn new(db: Db, mountpoint: &Path, options: MountOptions) -> Result<Self> {
        let reason = format!("{db:?} cannot be mounted by this build ({options:?})");
        Err(Error::Mount { mountpoint: mountpoint.to_path_buf(), reason })
    }

    #[must_use]
    pub fn unmounter(&self) -> Unmounter {
        Unmounter {}
    }

    /// Serves until unmounted.
    pub fn run(self) -> Result<()> {
        Ok(())
    }
}

impl Unmounter {
    pub fn unmount(&mut self) -> Result<()> {
        Ok(())
    }
}
