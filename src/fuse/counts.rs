//! How many requests of each kind the kernel has sent: what an operation costs is part of its
//! contract, so tests count and the benchmark shows.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! requests {
    ($($variant:ident $name:literal)*) => {
        /// A kind of request, in the kernel's words.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the kernel's names say it")]
        pub enum Request {
            $($variant,)*
        }

        impl Request {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The kernel's name, such as "LOOKUP".
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

requests! {
    Lookup "LOOKUP"
    Forget "FORGET"
    GetAttr "GETATTR"
    SetAttr "SETATTR"
    ReadLink "READLINK"
    Symlink "SYMLINK"
    Mknod "MKNOD"
    Mkdir "MKDIR"
    Unlink "UNLINK"
    Rmdir "RMDIR"
    Rename "RENAME"
    Link "LINK"
    Open "OPEN"
    Read "READ"
    Write "WRITE"
    StatFs "STATFS"
    Release "RELEASE"
    Fsync "FSYNC"
    SetXattr "SETXATTR"
    GetXattr "GETXATTR"
    ListXattr "LISTXATTR"
    RemoveXattr "REMOVEXATTR"
    Flush "FLUSH"
    OpenDir "OPENDIR"
    ReadDir "READDIR"
    ReleaseDir "RELEASEDIR"
    FsyncDir "FSYNCDIR"
    GetLk "GETLK"
    SetLk "SETLK"
    Access "ACCESS"
    Create "CREATE"
    Bmap "BMAP"
    Ioctl "IOCTL"
    Poll "POLL"
    Fallocate "FALLOCATE"
    ReadDirPlus "READDIRPLUS"
    Lseek "LSEEK"
    CopyFileRange "COPY_FILE_RANGE"
}

/// Counts since the mount was made.
#[derive(Debug)]
pub struct RequestCounts {
    counts: Vec<AtomicU64>,
}

impl RequestCounts {
    pub(super) fn new() -> Self {
        Self { counts: Request::ALL.iter().map(|_| AtomicU64::new(0)).collect() }
    }

    pub(super) fn count(&self, request: Request) {
        self.counts[request as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests of a kind there were.
    #[must_use]
    pub fn get(&self, request: Request) -> u64 {
        self.counts[request as usize].load(Ordering::Relaxed)
    }

    /// How many requests there were of the kind that the kernel calls `name`; 0 for names it does not
    /// have.
    #[must_use]
    pub fn by_name(&self, name: &str) -> u64 {
        let request = Request::ALL.iter().find(|request| request.name() == name);
        request.map_or(0, |request| self.get(*request))
    }

    /// Every kind that was counted at all, with its name.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
        let all = Request::ALL.iter().map(|request| (request.name(), self.get(*request)));
        all.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_kind() {
        let counts = RequestCounts::new();
        counts.count(Request::Lookup);
        counts.count(Request::CopyFileRange);
        counts.count(Request::CopyFileRange);
        assert_eq!(counts.snapshot(), [("LOOKUP", 1), ("COPY_FILE_RANGE", 2)]);
        assert_eq!(counts.by_name("COPY_FILE_RANGE"), 2);
        assert_eq!(counts.by_name("FLUSH"), 0);
        assert_eq!(counts.by_name("NONE"), 0);
    }
}
