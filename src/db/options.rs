//! How a database is opened.

use std::path::PathBuf;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::engine_options::EngineOptions;

/// How a database is opened: where its roots are, and what else is asked for.
///
/// ```no_run
/// use littfs::{Db, OpenOptions};
///
/// let db = Db::open(OpenOptions::new(["/mnt/a/frames", "/mnt/b/frames"]).create(true))?;
/// # Ok::<(), littfs::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    pub(crate) roots: Vec<PathBuf>,
    pub(crate) read_only: bool,
    pub(crate) degraded: bool,
    pub(crate) create: bool,
    pub(crate) engine: EngineOptions,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
}

impl OpenOptions {
    /// Opens the database in these root directories, all of which must be named, in any order.
    #[must_use]
    pub fn new<P: Into<PathBuf>>(roots: impl IntoIterator<Item = P>) -> Self {
        Self { roots: roots.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Whether to refuse every change and create nothing.
    #[must_use]
    pub fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// Whether to open although a root is missing: read-only, and without the values on it.
    #[must_use]
    pub fn degraded(self, degraded: bool) -> Self {
        Self { degraded, ..self }
    }

    /// Whether to create the database where the roots are empty or missing, and to let new roots
    /// join.
    #[must_use]
    pub fn create(self, create: bool) -> Self {
        Self { create, ..self }
    }

    /// Limits and sizes other than the usual ones.
    #[must_use]
    pub fn engine(self, engine: EngineOptions) -> Self {
        Self { engine, ..self }
    }

    /// The clock that expiry goes by, for tests of what is to expire; otherwise that of the machine.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The way to the file system.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    #[must_use]
    pub fn disk(self, disk: Disk) -> Self {
        Self { disk, ..self }
    }
}
