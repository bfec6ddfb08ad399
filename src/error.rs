//! The one error of the crate.
//!
//! Messages are sentences for a person: they name the thing that is wrong and, where there is one,
//! the way out. The mount translates each variant to an errno in exactly one place (`fs/errno.rs`).

use std::io;
use std::path::{Path, PathBuf};

use crate::operation::Operation;
use crate::root_id::RootId;

/// What every fallible operation of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call to the operating system failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: Operation,
        /// The file or folder it was tried on.
        path: PathBuf,
        /// The root that it is in; `None` for what is in no root.
        root: Option<RootId>,
        /// What the operating system answered.
        source: io::Error,
    },

    /// Bytes on disk are not what they must be.
    #[error("{} is damaged at byte {offset}: {reason}; `littfs check` shows what suffers, \
        `littfs check --repair` mends what can be mended", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What was expected and what was found.
        reason: String,
    },

    /// A file was written by a later version of this program.
    #[error("{} has format version {found}, but this littfs reads only up to version {supported}; \
        use a newer littfs", path.display())]
    FutureVersion {
        /// The file.
        path: PathBuf,
        /// The version it says it has.
        found: u32,
        /// The newest version this program reads.
        supported: u32,
    },

    /// A key is longer, emptier or stranger than keys may be.
    #[error("invalid key {key:?}: {reason}")]
    InvalidKey {
        /// The key, made printable.
        key: String,
        /// Which rule it breaks.
        reason: &'static str,
    },

    /// A key, or one component of it, is too long.
    #[error("a key may have 4095 bytes and each component 255; this one has {bytes}")]
    KeyTooLong {
        /// The length of the whole key or of the component that is too long.
        bytes: usize,
    },

    /// A value is longer than a value may be.
    #[error("a value may have up to {max} bytes")]
    ValueTooLong {
        /// The longest allowed value, in bytes.
        max: u64,
    },

    /// A batch holds more names than are stored in one step.
    #[error(
        "a batch may have {max} bytes of keys and entries, and these {keys} keys have {bytes}; \
            split it, or `put` the values one by one"
    )]
    BatchTooLarge {
        /// How many keys it has.
        keys: usize,
        /// What they take, in bytes.
        bytes: u64,
        /// What they may take, in bytes.
        max: u64,
    },

    /// A value is too long to be one of a batch.
    #[error(
        "the value of {key:?} has {bytes} bytes, and a value in a batch may have {max}; `put` it by itself"
    )]
    BatchValueTooLong {
        /// The key, made printable.
        key: String,
        /// The length of the value, in bytes.
        bytes: u64,
        /// The longest value that a batch takes, in bytes.
        max: u64,
    },

    /// A table name breaks the rule for table names.
    #[error(
        "invalid table name {name:?}: use 1 to 128 letters, digits, '-', '_' and '.', not starting with '.'"
    )]
    InvalidTableName {
        /// The name as it was given.
        name: String,
    },

    /// A setting has a value that is not allowed.
    #[error("invalid {setting} {value:?}: {allowed}")]
    InvalidSetting {
        /// Which setting: "ttl", "grace", "shards".
        setting: &'static str,
        /// The value as it was given.
        value: String,
        /// What would be right.
        allowed: &'static str,
    },

    /// The configuration file cannot be used.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// Which line, what is wrong, what is allowed.
        reason: String,
    },

    /// No table of this name exists.
    #[error("there is no table {name:?}; `littfs ls` shows the tables")]
    NoSuchTable {
        /// The name as it was given.
        name: String,
    },

    /// The table is there, but its files do not let it be opened; the other tables work.
    #[error("table {table:?} is unavailable: {reason}")]
    Unavailable {
        /// The table.
        table: String,
        /// Why it could not be opened, and what helps.
        reason: String,
    },

    /// A table of this name exists already.
    #[error("table {name:?} exists already")]
    TableExists {
        /// The name.
        name: String,
    },

    /// A table that holds live keys cannot be removed as if it were empty.
    #[error("table {name:?} is not empty")]
    TableNotEmpty {
        /// The name.
        name: String,
    },

    /// A live key of this name exists; values are written once.
    #[error("key {key:?} exists already; a value is written once")]
    Exists {
        /// The key, made printable.
        key: String,
    },

    /// There is no live key of this name.
    #[error("there is no key {key:?}")]
    NotFound {
        /// The key, made printable.
        key: String,
    },

    /// The key names a folder where a file is needed.
    #[error("{key:?} is a folder")]
    IsFolder {
        /// The key, made printable.
        key: String,
    },

    /// The key, or a parent of it, names a file where a folder is needed.
    #[error("{key:?} is a file, not a folder")]
    NotFolder {
        /// The key, made printable.
        key: String,
    },

    /// The folder still has entries.
    #[error("folder {key:?} is not empty")]
    FolderNotEmpty {
        /// The key, made printable.
        key: String,
    },

    /// The file is sealed: nothing about it changes until it expires.
    #[error("{key:?} is sealed; it changes no more until it expires")]
    Sealed {
        /// The key, made printable.
        key: String,
    },

    /// An earlier sync failed, so the table takes no more writes.
    #[error(
        "table {table:?} is read-only since a write to its drive failed ({reason}); check the drive, \
            then reopen the database"
    )]
    Poisoned {
        /// The table.
        table: String,
        /// The failure that made it read-only.
        reason: String,
    },

    /// The database was opened read-only.
    #[error("the database is open read-only")]
    ReadOnly,

    /// The table was dropped while this handle of it was still in use.
    #[error("table {name:?} was dropped")]
    TableDropped {
        /// The name it had.
        name: String,
    },

    /// The database has been closed.
    #[error("the database is closed")]
    Closed,

    /// Closed segments cannot be sealed, and as many of them wait as fit memory.
    #[error("cannot seal what was written to table {table:?}: {reason}")]
    SealFailing {
        /// The table.
        table: String,
        /// Why sealing does not go on; it is tried again every second.
        reason: String,
    },

    /// A thread that works for a table could not be started.
    #[error("cannot start a thread for table {table:?}: {source}")]
    Thread {
        /// The table.
        table: String,
        /// What the operating system answered.
        source: io::Error,
    },

    /// The operating system gave no random bytes.
    #[error("cannot read random bytes from getrandom(2): {source}")]
    NoRandom {
        /// What it answered.
        source: io::Error,
    },

    /// No root was named, and a database needs at least one.
    #[error("a database needs at least one root; give one with --root DIR")]
    NoRoots,

    /// No root has room for more.
    #[error("no root has space left: {roots}")]
    NoSpace {
        /// The roots and their free space.
        roots: String,
    },

    /// Something was to be put into a root that is not among the open ones.
    #[error("the open database has no root number {root}")]
    UnknownRoot {
        /// The root that was asked for.
        root: RootId,
    },

    /// A root cannot be used; the message says why and what to do.
    #[error("root {}: {reason}", root.display())]
    Root {
        /// The root directory as it was given.
        root: PathBuf,
        /// Why it cannot be used and what helps.
        reason: String,
    },

    /// One file name was found in two roots.
    #[error("{} and {} have the same name; a file may be in one root only: remove the copy that is \
        not wanted", first.display(), second.display())]
    DuplicateFile {
        /// The first of the two.
        first: PathBuf,
        /// The second of the two.
        second: PathBuf,
    },

    /// A file that a table needs is in none of the roots.
    #[error(
        "{name} of table {table:?} is missing in every root; put it back, \
            or let `littfs check --repair` keep what is left"
    )]
    MissingFile {
        /// The table.
        table: String,
        /// The file name, such as `7-1.values`.
        name: String,
    },

    /// The mount cannot be made; the message says why and what to do.
    #[error("cannot mount on {}: {reason}", mountpoint.display())]
    Mount {
        /// The mountpoint as it was given.
        mountpoint: PathBuf,
        /// Why, and what helps.
        reason: String,
    },
}

impl Error {
    /// An [`Error::Io`] of the last call on `path`.
    pub(crate) fn io(
        operation: Operation,
        path: &Path,
        root: Option<RootId>,
        source: io::Error,
    ) -> Self {
        Self::Io { operation, path: path.to_path_buf(), root, source }
    }

    /// An [`Error::Corrupt`].
    pub(crate) fn corrupt(path: &Path, offset: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_path_buf(), offset, reason: reason.into() }
    }

    /// Whether the drive has no room for what was written.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::NoSpace { .. } => true,
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// Whether it was a sync that failed: what the drive holds is then unknown.
    #[must_use]
    pub fn is_sync(&self) -> bool {
        matches!(self, Self::Io { operation: Operation::Sync, .. })
    }

    /// Whether this process, or the machine, has too many files open. It says nothing about what
    /// was to be opened.
    #[must_use]
    pub fn is_out_of_descriptors(&self) -> bool {
        let errno = match self {
            Self::Io { source, .. } => source.raw_os_error(),
            _ => None,
        };
        matches!(errno, Some(libc::EMFILE | libc::ENFILE))
    }
}

/// For what reads and writes through [`io::Read`] and [`io::Write`]. The error itself is inside.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io { source, .. } => source.kind(),
            Error::NoSpace { .. } => io::ErrorKind::StorageFull,
            Error::Corrupt { .. } => io::ErrorKind::InvalidData,
            Error::ValueTooLong { .. } => io::ErrorKind::FileTooLarge,
            Error::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// A key as it is shown in messages: lossy UTF-8.
pub(crate) fn printable(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}
