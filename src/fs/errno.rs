//! The one place where errors of the engine become errnos.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;

/// What a FUSE reply carries instead of a result: a positive errno.
///
/// To whoever made the request an EIO says nothing more, so the error of the engine goes with it as
/// far as the reply, where it is logged. Errnos are equal when their numbers are.
#[derive(Clone)]
pub(crate) struct Errno {
    number: i32,
    cause: Option<Arc<Error>>,
}

impl Errno {
    /// The number, as the kernel has it.
    pub(crate) fn number(&self) -> i32 {
        self.number
    }

    /// What the log should say of it; `None` when the number says it all, or when it was told before.
    pub(super) fn to_log(&self) -> Option<String> {
        match self.cause.as_deref() {
            // That was told when the database was opened.
            Some(Error::Unavailable { .. }) => None,
            Some(cause) => Some(cause.to_string()),
            None => (*self == Self::EIO).then(|| "Input/output error".to_owned()),
        }
    }

    fn because(self, cause: Error) -> Self {
        Self { cause: Some(Arc::new(cause)), ..self }
    }
}

impl PartialEq for Errno {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Errno {}

/// What every operation of the mount returns.
pub(crate) type Result<T, E = Errno> = std::result::Result<T, E>;

macro_rules! errnos {
    ($($name:ident)*) => {
        impl Errno {
            $(pub(crate) const $name: Self = Self { number: libc::$name, cause: None };)*
        }

        impl fmt::Debug for Errno {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.number {
                    $(libc::$name => formatter.write_str(stringify!($name)),)*
                    other => write!(formatter, "errno {other}"),
                }
            }
        }
    };
}

errnos! {
    EACCES EBADF EBUSY EEXIST EFBIG EINVAL EIO EISDIR ENAMETOOLONG ENFILE ENODATA ENOENT ENOSPC ENOTDIR
    ENOTEMPTY EOPNOTSUPP EPERM EROFS ESTALE EXDEV
}

impl From<Error> for Errno {
    fn from(error: Error) -> Self {
        if error.is_no_space() {
            return Self::ENOSPC;
        }
        if error.is_out_of_descriptors() {
            // Not EMFILE: it is not the caller who has too many.
            return Self::ENFILE.because(error);
        }
        let errno = match &error {
            Error::InvalidKey { .. }
            | Error::InvalidTableName { .. }
            | Error::InvalidSetting { .. } => Self::EINVAL,
            Error::KeyTooLong { .. } => Self::ENAMETOOLONG,
            Error::ValueTooLong { .. }
            | Error::BatchTooLarge { .. }
            | Error::BatchValueTooLong { .. } => Self::EFBIG,
            Error::NoSuchTable { .. } | Error::NotFound { .. } => Self::ENOENT,
            Error::TableExists { .. } | Error::Exists { .. } => Self::EEXIST,
            Error::TableNotEmpty { .. } | Error::FolderNotEmpty { .. } => Self::ENOTEMPTY,
            Error::IsFolder { .. } => Self::EISDIR,
            Error::NotFolder { .. } => Self::ENOTDIR,
            Error::Sealed { .. } => Self::EPERM,
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
            | Error::UnknownRoot { .. }
            | Error::Closed
            | Error::Root { .. }
            | Error::DuplicateFile { .. }
            | Error::MissingFile { .. }
            | Error::Mount { .. } => Self::EIO,
        };
        if errno == Self::EIO { errno.because(error) } else { errno }
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
        assert_eq!(of(Error::KeyTooLong { bytes: 300 }), Errno::ENAMETOOLONG);
        assert_eq!(of(Error::ReadOnly), Errno::EROFS);
        assert_eq!(of(Error::Closed), Errno::EIO);
    }

    #[test]
    fn what_an_errno_does_not_say_is_for_the_log() {
        let broken = || io::Error::from_raw_os_error(libc::EIO);
        let failed = of(Error::io(Operation::Read, Path::new("/x"), None, broken()));
        assert_eq!(failed, Errno::EIO);
        let said = failed.to_log().expect("something");
        assert!(said.starts_with("cannot read /x: "), "{said}");
        assert_eq!(failed.clone().to_log(), Some(said));
        assert_eq!(Errno::EIO.to_log().as_deref(), Some("Input/output error"));
        assert_eq!(of(Error::ReadOnly).to_log(), None);
        let (table, reason) = ("t".to_owned(), "told before".to_owned());
        assert_eq!(of(Error::Unavailable { table, reason }).to_log(), None);
        let too_many = io::Error::from_raw_os_error(libc::EMFILE);
        assert!(of(Error::io(Operation::Open, Path::new("/x"), None, too_many)).to_log().is_some());
    }

    #[test]
    fn full_drives_are_told_from_broken_ones() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let broken = io::Error::other("broken");
        assert_eq!(of(Error::io(Operation::Write, Path::new("/x"), None, full)), Errno::ENOSPC);
        assert_eq!(of(Error::io(Operation::Write, Path::new("/x"), None, broken)), Errno::EIO);
        let too_many = io::Error::from_raw_os_error(libc::EMFILE);
        assert_eq!(of(Error::io(Operation::Open, Path::new("/x"), None, too_many)), Errno::ENFILE);
    }
}
