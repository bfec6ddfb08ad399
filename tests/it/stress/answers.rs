//! What a step comes to, on the mount as well as in the model.

use std::fmt;

use nix::errno::Errno;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    File,
    Folder,
    Link,
}

/// The bytes of a file, shown as runs of the same byte.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes:", self.0.len())?;
        for (number, run) in self.0.chunk_by(|one, other| one == other).enumerate() {
            if number == 40 {
                return write!(out, " ...");
            }
            write!(out, " {}x{:?}", run.len(), char::from(run[0]))?;
        }
        Ok(())
    }
}

/// What stat shows. What the model does not know is `None` there and equals everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) kind: Kind,
    pub(super) bytes: Option<u64>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) links: Option<u64>,
    pub(super) mtime: Option<i64>,
    /// The inode number; in the model, the number of the file there.
    pub(super) identity: u64,
}

/// The answer to a step.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// There was nothing to do it with.
    Nothing,
    Done,
    Number(u64),
    Bytes(Bytes),
    Text(String),
    Names(Vec<(String, Kind)>),
    Look(Look),
    Refused(Errno),
}

pub(super) type Result<T, E = Errno> = std::result::Result<T, E>;

impl From<Result<Answer>> for Answer {
    fn from(result: Result<Answer>) -> Self {
        result.unwrap_or_else(Self::Refused)
    }
}

impl Answer {
    /// Whether this answer of the model allows that one of the system. Identities are compared
    /// elsewhere.
    pub(super) fn allows(&self, real: &Self) -> bool {
        match (self, real) {
            (Self::Nothing, Self::Nothing) | (Self::Done, Self::Done) => true,
            (Self::Number(one), Self::Number(other)) => one == other,
            (Self::Bytes(one), Self::Bytes(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::Names(one), Self::Names(other)) => one == other,
            (Self::Refused(one), Self::Refused(other)) => one == other,
            (Self::Look(one), Self::Look(other)) => {
                (one.kind, one.mode, one.uid, one.gid)
                    == (other.kind, other.mode, other.uid, other.gid)
                    && (one.bytes.is_none() || one.bytes == other.bytes)
                    && (one.links.is_none() || one.links == other.links)
                    && (one.mtime.is_none() || one.mtime == other.mtime)
            }
            _ => false,
        }
    }
}
