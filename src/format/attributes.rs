//! What `ls -l` shows of a file beside its length. 32 bytes wherever it is stored.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | modification time, ns since the epoch, signed |
//! | 8 | 8 | status change time, ns since the epoch, signed |
//! | 16 | 4 | mode: file type and permission bits, as in `st_mode` |
//! | 20 | 4 | owner |
//! | 24 | 4 | group |
//! | 28 | 4 | zero |

use std::time::SystemTime;

use super::Malformed;
use super::bytes::{Fields, Put};
use crate::{cast, clock};

/// Bytes of encoded attributes.
pub(crate) const ATTRIBUTES_BYTES: usize = 32;

const TYPE_MASK: u32 = 0o170_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_FOLDER: u32 = 0o040_000;
const TYPE_SYMLINK: u32 = 0o120_000;
const PERMISSION_MASK: u32 = 0o7777;

/// What a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A value, written once.
    File,
    /// A folder; its key ends in `/`.
    Folder,
    /// A symbolic link; its value is the target.
    Symlink,
}

/// Times, mode and owner of a file, folder or link: what a mount shows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Modification time as set by the user, ns since the Unix epoch.
    pub(crate) mtime_ns: i64,
    /// When the bytes or the attributes last changed, ns since the Unix epoch.
    pub(crate) ctime_ns: i64,
    /// File type and permission bits, as in `st_mode`.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Attributes {
    /// Attributes of a new file, folder or link, made and changed `now`: `permissions` are the low
    /// twelve bits of the mode.
    #[must_use]
    pub fn new(kind: Kind, permissions: u32, uid: u32, gid: u32, now: SystemTime) -> Self {
        Self::new_at_ns(kind, permissions, uid, gid, clock::ns_of(now))
    }

    pub(crate) fn new_at_ns(kind: Kind, permissions: u32, uid: u32, gid: u32, now_ns: u64) -> Self {
        let file_type = match kind {
            Kind::File => TYPE_FILE,
            Kind::Folder => TYPE_FOLDER,
            Kind::Symlink => TYPE_SYMLINK,
        };
        let now = cast::saturate_signed_ns(now_ns);
        Self {
            mtime_ns: now,
            ctime_ns: now,
            mode: file_type | (permissions & PERMISSION_MASK),
            uid,
            gid,
        }
    }

    /// When it was modified, as set by the user.
    #[must_use]
    pub fn modified(&self) -> SystemTime {
        clock::time_of_signed(self.mtime_ns)
    }

    /// When the bytes or the attributes last changed.
    #[must_use]
    pub fn changed(&self) -> SystemTime {
        clock::time_of_signed(self.ctime_ns)
    }

    /// The owner.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The group.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Sets when it was modified.
    pub fn set_modified(&mut self, modified: SystemTime) {
        self.mtime_ns = clock::signed_ns_of(modified);
    }

    /// Gives it to this owner and group.
    pub fn set_owner(&mut self, uid: u32, gid: u32) {
        (self.uid, self.gid) = (uid, gid);
    }

    /// What the mode says this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.mode & TYPE_MASK {
            TYPE_FOLDER => Kind::Folder,
            TYPE_SYMLINK => Kind::Symlink,
            _ => Kind::File,
        }
    }

    /// The low twelve bits of the mode.
    #[must_use]
    pub fn permissions(&self) -> u32 {
        self.mode & PERMISSION_MASK
    }

    /// Replaces the low twelve bits of the mode.
    pub fn set_permissions(&mut self, permissions: u32) {
        self.mode = (self.mode & TYPE_MASK) | (permissions & PERMISSION_MASK);
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_i64(self.mtime_ns);
        out.put_i64(self.ctime_ns);
        out.put_u32(self.mode);
        out.put_u32(self.uid);
        out.put_u32(self.gid);
        out.put_u32(0);
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let start = fields.at() as u64;
        let attributes = Self {
            mtime_ns: fields.i64()?,
            ctime_ns: fields.i64()?,
            mode: fields.u32()?,
            uid: fields.u32()?,
            gid: fields.u32()?,
        };
        fields.zeros(4)?;
        check_mode(attributes.mode, start + 16)?;
        Ok(attributes)
    }
}

/// Refuses modes that are no file, folder or symbolic link.
pub(crate) fn check_mode(mode: u32, at: u64) -> Result<(), Malformed> {
    let known = matches!(mode & TYPE_MASK, TYPE_FILE | TYPE_FOLDER | TYPE_SYMLINK);
    if !known || mode & !(TYPE_MASK | PERMISSION_MASK) != 0 {
        return Err(Malformed::damaged(at, format!("mode {mode:o} is no file, folder or link")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_pinned() {
        let attributes = Attributes {
            mtime_ns: -2,
            ctime_ns: 0x0102_0304_0506_0708,
            mode: 0o100_644,
            uid: 1000,
            gid: 0xdead_beef,
        };
        let mut bytes = Vec::new();
        attributes.encode(&mut bytes);
        let golden = [
            0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 8, 7, 6, 5, 4, 3, 2, 1, 0xa4, 0x81, 0,
            0, 0xe8, 3, 0, 0, 0xef, 0xbe, 0xad, 0xde, 0, 0, 0, 0,
        ];
        assert_eq!(bytes, golden);
        assert_eq!(bytes.len(), ATTRIBUTES_BYTES);
        assert_eq!(Attributes::decode(&mut Fields::new(&bytes)), Ok(attributes));
        assert_eq!(attributes.kind(), Kind::File);
    }

    #[test]
    fn unknown_file_types_are_refused() {
        for mode in [0, 0o060_000, 0o010_644, 0x8000_81a4] {
            assert!(check_mode(mode, 0).is_err(), "{mode:o}");
        }
    }
}
