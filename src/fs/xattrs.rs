//! Extended attributes: the settings of a table on its folder, the state of a file on the file.
//!
//! Namespaces that are not kept (`security.*`, `system.*`, `trusted.*`) are "not supported" in both
//! directions, and that is what every answer here may be: "not implemented" would make the kernel
//! stop asking for the whole mount.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::{Caller, Errno, Fs, Known, Node, Result, TOP_INO, is_table_folder, table_number};
use crate::cast;
use crate::format::attributes::Kind;
use crate::info::{DatabaseInfo, TableInfo};
use crate::settings::{duration_text, parse_grace, parse_shards, parse_ttl, ttl_text};
use crate::table::Table;

/// What setxattr asks for beyond setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetMode {
    /// Create or replace.
    Any,
    /// `XATTR_CREATE`: the attribute must not exist.
    Create,
    /// `XATTR_REPLACE`: the attribute must exist.
    Replace,
}

impl SetMode {
    /// The mode of setxattr flags.
    pub(crate) fn from_flags(flags: i32) -> Result<Self> {
        match flags {
            0 => Ok(Self::Any),
            libc::XATTR_CREATE => Ok(Self::Create),
            libc::XATTR_REPLACE => Ok(Self::Replace),
            _ => Err(Errno::EINVAL),
        }
    }
}

const PREFIX: &[u8] = b"user.littfs.";
/// What listxattr names on a table folder, in the form it has there.
const TABLE_LIST: &[u8] =
    b"user.littfs.ttl\0user.littfs.grace\0user.littfs.shards\0user.littfs.keys\0user.littfs.bytes\0";

/// An attribute that some inode has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum XattrName {
    Ttl,
    Grace,
    Shards,
    Keys,
    Bytes,
    /// Everything, for `littfs info`; not listed.
    Info,
    Expires,
    Sealed,
}

impl XattrName {
    /// ENODATA for names nobody has, EOPNOTSUPP for namespaces that are not kept.
    fn parse(name: &[u8]) -> Result<Self> {
        if !name.starts_with(b"user.") {
            return Err(Errno::EOPNOTSUPP);
        }
        match name.strip_prefix(PREFIX) {
            Some(b"ttl") => Ok(Self::Ttl),
            Some(b"grace") => Ok(Self::Grace),
            Some(b"shards") => Ok(Self::Shards),
            Some(b"keys") => Ok(Self::Keys),
            Some(b"bytes") => Ok(Self::Bytes),
            Some(b"info") => Ok(Self::Info),
            Some(b"expires") => Ok(Self::Expires),
            Some(b"sealed") => Ok(Self::Sealed),
            _ => Err(Errno::ENODATA),
        }
    }

    fn is_of_tables(self) -> bool {
        match self {
            Self::Ttl | Self::Grace | Self::Shards | Self::Keys | Self::Bytes | Self::Info => true,
            Self::Expires | Self::Sealed => false,
        }
    }
}

/// Who has attributes.
enum XattrOwner {
    Top,
    Table(Arc<Table>),
    File(u64),
    Nobody,
}

impl Fs {
    /// The value of an attribute.
    pub(crate) fn getxattr(&self, ino: u64, name: &[u8]) -> Result<Vec<u8>> {
        let name = XattrName::parse(name)?;
        let text = match self.owner(ino)? {
            XattrOwner::Top if name == XattrName::Info => {
                json(&DatabaseInfo::without_tables(&self.db))
            }
            XattrOwner::Table(table) if name.is_of_tables() => table_value(&table, name),
            XattrOwner::File(ino) if !name.is_of_tables() => self.file_value(ino, name)?,
            _ => return Err(Errno::ENODATA),
        };
        Ok(text.into_bytes())
    }

    /// The names of the attributes, each with a final NUL.
    pub(crate) fn listxattr(&self, ino: u64) -> Result<&'static [u8]> {
        match self.owner(ino)? {
            XattrOwner::Table(_) => Ok(TABLE_LIST),
            // `cp -a` and `rsync -X` would try to set what is listed.
            XattrOwner::Top | XattrOwner::File(_) | XattrOwner::Nobody => Ok(b""),
        }
    }

    /// Changes a setting. What does not parse changes nothing.
    pub(crate) fn setxattr(
        &self,
        caller: Caller,
        ino: u64,
        name: &[u8],
        value: &[u8],
        mode: SetMode,
    ) -> Result<()> {
        self.writable()?;
        let name = XattrName::parse(name).map_err(|_unknown| Errno::EOPNOTSUPP)?;
        let table = match self.owner(ino)? {
            XattrOwner::Table(table) if name.is_of_tables() => table,
            XattrOwner::File(_) if !name.is_of_tables() => return Err(Errno::EPERM),
            _ => return Err(Errno::EOPNOTSUPP),
        };
        // Whoever may make files in a table must not be able to let those of others expire. The
        // kernel asks only for the right to write to the folder, as for any `user.` attribute.
        if caller.uid != 0 && caller.uid != table.attributes().uid {
            return Err(Errno::EPERM);
        }
        if mode == SetMode::Create {
            return Err(Errno::EEXIST);
        }
        let text = std::str::from_utf8(value).map_err(|_not_text| Errno::EINVAL)?;
        match name {
            XattrName::Ttl => {
                // The kernel, whose memory was capped by the old expiry, hears of it from the table.
                Ok(table.set_ttl(parse_ttl(text)?)?)
            }
            XattrName::Grace => Ok(table.set_grace(parse_grace(text)?)?),
            XattrName::Shards => Ok(table.set_shards(parse_shards(text)?)?),
            XattrName::Keys
            | XattrName::Bytes
            | XattrName::Info
            | XattrName::Expires
            | XattrName::Sealed => Err(Errno::EPERM),
        }
    }

    /// Settings cannot be removed, and there is nothing else.
    pub(crate) fn removexattr(&self, ino: u64, name: &[u8]) -> Result<()> {
        self.writable()?;
        let name = XattrName::parse(name)?;
        match self.owner(ino)? {
            XattrOwner::Table(_) if name.is_of_tables() => Err(Errno::EPERM),
            XattrOwner::File(_) if !name.is_of_tables() => Err(Errno::EPERM),
            _ => Err(Errno::ENODATA),
        }
    }

    fn owner(&self, ino: u64) -> Result<XattrOwner> {
        if ino == TOP_INO {
            return Ok(XattrOwner::Top);
        }
        if is_table_folder(ino) {
            return Ok(XattrOwner::Table(self.table_of(ino)?));
        }
        self.inodes.with(ino, |inode| match &inode.node {
            Node::Stored { entry, .. } if entry.kind() != Kind::File => XattrOwner::Nobody,
            Node::Stored { .. } | Node::Open(_) => XattrOwner::File(ino),
        })
    }

    fn file_value(&self, ino: u64, name: XattrName) -> Result<String> {
        let known = self.inodes.peek(ino).ok_or(Errno::ESTALE)?;
        let table = table_number(ino).and_then(|number| self.db.table_by_number(number));
        let table = table.ok_or(Errno::ESTALE)?;
        let stored = match known {
            Known::Stored(entry, _) => Some(entry),
            Known::Open(_) => None,
        };
        if name == XattrName::Sealed {
            return Ok(stored.is_some_and(|entry| table.is_sealed(&entry)).to_string());
        }
        let expires_at_ns = match stored {
            Some(entry) => table.expires_at_ns(&entry),
            // What a close right now would make it.
            None => {
                table.settings().ttl.map(|ttl| self.now_ns().saturating_add(cast::saturate_ns(ttl)))
            }
        };
        Ok(expires_at_ns.map_or_else(|| "never".to_owned(), rfc3339))
    }
}

fn rfc3339(at_ns: u64) -> String {
    // 64 bits of nanoseconds end in the year 2554, within what the format can show.
    humantime::format_rfc3339(UNIX_EPOCH + Duration::from_nanos(at_ns)).to_string()
}

/// Plain data always becomes JSON.
fn json(info: &impl serde::Serialize) -> String {
    serde_json::to_string(info).unwrap_or_default()
}

fn table_value(table: &Table, name: XattrName) -> String {
    match name {
        XattrName::Ttl => ttl_text(table.settings().ttl),
        XattrName::Grace => duration_text(table.settings().grace),
        XattrName::Shards => table.settings().shards.to_string(),
        XattrName::Keys => table.usage().keys.to_string(),
        XattrName::Bytes => table.usage().bytes.to_string(),
        XattrName::Info => json(&TableInfo::new(table)),
        XattrName::Expires | XattrName::Sealed => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_into_namespaces() {
        let errno = |name: &[u8]| XattrName::parse(name).err();
        assert_eq!(errno(b"user.littfs.ttl"), None);
        assert_eq!(errno(b"user.littfs.other"), Some(Errno::ENODATA));
        assert_eq!(errno(b"user.comment"), Some(Errno::ENODATA));
        assert_eq!(errno(b"security.capability"), Some(Errno::EOPNOTSUPP));
        assert_eq!(errno(b"system.posix_acl_access"), Some(Errno::EOPNOTSUPP));
        assert_eq!(errno(b"trusted.x"), Some(Errno::EOPNOTSUPP));
        assert!(
            TABLE_LIST
                .split(|byte| *byte == 0)
                .filter(|name| !name.is_empty())
                .all(|name| errno(name).is_none())
        );
    }

    #[test]
    fn set_modes() {
        assert_eq!(SetMode::from_flags(0), Ok(SetMode::Any));
        assert_eq!(SetMode::from_flags(libc::XATTR_CREATE), Ok(SetMode::Create));
        assert_eq!(SetMode::from_flags(libc::XATTR_REPLACE), Ok(SetMode::Replace));
        assert_eq!(SetMode::from_flags(7), Err(Errno::EINVAL));
    }
}
