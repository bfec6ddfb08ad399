//! What is asked of the operating system: the word for it in messages, and the type by which code tells
//! a failed sync or a failed write from the rest.

use std::fmt;

/// An operation on a file or a folder. Its [`Display`](fmt::Display) is a verb that completes
/// "cannot ... FILE".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Opening a file, or creating it when it is missing.
    Open,
    /// Creating a file that must not exist yet.
    Create,
    /// Creating a folder and those above it that are missing.
    CreateFolder,
    /// Asking what a file or folder, or the file system it is in, is like.
    Stat,
    /// Asking whether a name exists.
    LookFor,
    /// Making a path absolute.
    Find,
    /// Reading the names in a folder.
    List,
    /// Reading from a file.
    Read,
    /// Mapping a file into memory.
    Map,
    /// Writing to a file.
    Write,
    /// Cutting or extending a file.
    Resize,
    /// Reserving disk space for a file.
    Reserve,
    /// Making the bytes of a file, or the names in a folder, durable.
    Sync,
    /// Giving a file or folder another name.
    Rename,
    /// Giving a file a second name.
    Link,
    /// Removing a file or a folder.
    Remove,
    /// Locking a file or folder against other processes.
    Lock,
    /// Setting the mode of a folder.
    SetMode,
}

impl Operation {
    /// Whether it asks the drive for what is there and changes nothing. Opening a file does not count:
    /// it may create it.
    #[must_use]
    pub fn is_read(self) -> bool {
        matches!(self, Self::Stat | Self::LookFor | Self::List | Self::Read)
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Create | Self::CreateFolder => "create",
            Self::Stat => "stat",
            Self::LookFor => "look for",
            Self::Find => "find",
            Self::List => "list",
            Self::Read => "read",
            Self::Map => "map",
            Self::Write => "write",
            Self::Resize => "resize",
            Self::Reserve => "reserve space for",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Remove => "remove",
            Self::Lock => "lock",
            Self::SetMode => "set the mode of",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.verb())
    }
}
