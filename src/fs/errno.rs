//! The one place where errors of the engine become errnos.

use std::fmt;

use crate::error::Error;

/// What a FUSE reply carries instead of a result: a positive errno.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

/// What every operation of the mount returns.
pub(crate) type Result<T, E = Errno> = std::result::Result<T, E>;

macro_rules! errnos {
    ($($name:ident)*) => {
        impl Errno {
            $(pub(crate) const $name: Self = Self(libc::$name);)*
        }

        impl fmt::Debug for Errno {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$name => formatter.write_str(stringify!($name)),)*
                    Self(other) => write!(formatter, "errno {other}"),
                }
            }
        }
    };
}

errnos! {
    EACCES EBADF EBUSY EEXIST EFBIG EINVAL EIO EISDIR ENAMETOOLONG ENFILE ENODATA ENOENT ENOSPC ENOTDIR ENOTEMPTY
    EOPNOTSUPP EPERM ERANGE EROFS ESTALE EXDEV
}

impl From<Error> for Errno {
    fn from(error: Error) -> Self {
        if error.is_no_space() {
            return Self::ENOSPC;
        }
        if error.is_out_of_descriptors() {
            // Not EMFILE: it is not the caller who has too many.
            log::error!("{error}");
            return Self::ENFILE;
        }
        let errno = match &error {
            Error::InvalidKey { .. }
            | Error::InvalidTableName { .. }
            | Error::InvalidSetting { .. } => Self::EINVAL,
            Error::KeyTooLong { .. } => Self::ENAMETOOLONG,
            Error::ValueTooLong { .. } => Self::EFBIG,
            Error::NoSuchTable { .. } | Error::NotFound { .. } => Self::ENOENT,
            Error::TableExists { .. } | Error::Exists { .. } => Self::EEXIST,
            Error::TableNotEmpty { .. } | Error::FolderNotEmpty { .. } => Self::ENOTEMPTY,
            Error::IsFolder { .. } => Self::EISDIR,
            Error::NotFolder { .. } => Self::ENOTDIR,
            Error::Sealed { .. } => Self::EPERM,
            Error::Busy { .. } => Self::EBUSY,
            Error::ReadOnly => Self::EROFS,
            Error::NoSpace { .. } => Self::ENOSPC,
            Error::Io { .. }
            | Error::Corrupt { .. }
            | Error::FutureVersion { .. }
            | Error::Config { .. }
            | Error::Poisoned { .. }
            | Error::Unavailable { .. }
            | Error::TableDropped { .. }
            | Error::SealFailing { .. }
            | Error::Thread { .. }
            | Error::NoRandom { .. }
            | Error::NoRoots
            | Error::Closed
            | Error::Root { .. }
            | Error::DuplicateFile { .. }
            | Error::MissingFile { .. }
            | Error::Mount { .. } => Self::EIO,
        };
        // The caller sees three letters; whoever runs the mount is told the rest.
        // Of an unavailable table that was done when the database was opened.
        if errno == Self::EIO && !matches!(error, Error::Unavailable { .. }) {
            log::error!("{error}");
        }
        errno
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::operation::Operation;

    fn of(error: Error) -> Errno {
        error.into()
    }

    #[test]
    fn errors_become_what_programs_expect() {
        let key = String::from("a");
        assert_eq!(of(Error::Sealed { key: key.clone() }), Errno::EPERM);
        assert_eq!(of(Error::Exists { key: key.clone() }), Errno::EEXIST);
        assert_eq!(of(Error::NotFound { key: key.clone() }), Errno::ENOENT);
        assert_eq!(of(Error::FolderNotEmpty { key: key.clone() }), Errno::ENOTEMPTY);
        assert_eq!(of(Error::Busy { key }), Errno::EBUSY);
        assert_eq!(of(Error::KeyTooLong { bytes: 300 }), Errno::ENAMETOOLONG);
        assert_eq!(of(Error::ReadOnly), Errno::EROFS);
        assert_eq!(of(Error::Closed), Errno::EIO);
    }

    #[test]
    fn full_drives_are_told_from_broken_ones() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let broken = io::Error::other("broken");
        assert_eq!(of(Error::io(Operation::Write, Path::new("/x"), full)), Errno::ENOSPC);
        assert_eq!(of(Error::io(Operation::Write, Path::new("/x"), broken)), Errno::EIO);
        let too_many = io::Error::from_raw_os_error(libc::EMFILE);
        assert_eq!(of(Error::io(Operation::Open, Path::new("/x"), too_many)), Errno::ENFILE);
    }
}
