//! What stat shows, and for how long the kernel may believe it.
//!
//! All changes come through the one mount, so the kernel may keep names and attributes for long;
//! only expiry happens behind its back, and so no answer outlives the expiry of what it describes.

use std::time::Duration;

use crate::cast;
use crate::format::attributes::{Attributes, Kind};
use crate::format::entry::Entry;
use crate::table::Table;

/// How long the kernel may keep what does not expire sooner.
pub(super) const VALID_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Taken off a validity that ends with an expiry: the kernel rounds up to its tick (up to 10 ms),
/// counts the tick in which it ends, and receives the answer a little after it was computed.
const TICK_MARGIN_NS: u64 = 25_000_000;
/// How long the attributes of a folder hold while files in it are still being written: when they
/// are stored its mtime moves, which the kernel is not told.
pub(super) const VALID_BUSY_FOLDER: Duration = Duration::from_millis(100);

/// `st_blksize`: what `cp` and stdio take as the size of their buffers. A power of two.
pub(crate) const BLOCK_BYTES: u32 = 4096;
/// `st_blksize` of folders: what libraries list them by. A page of it holds some seven hundred
/// names with their attributes; the kernel fetches those for the first page without being asked.
const FOLDER_BLOCK_BYTES: u32 = 128 << 10;

/// What stat shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The inode number.
    pub(crate) ino: u64,
    /// Length in bytes.
    pub(crate) size: u64,
    /// 1, or 0 when the name is gone and only open handles keep the file.
    pub(crate) links: u32,
    /// Times, type, mode, owner.
    pub(crate) attributes: Attributes,
}

impl Stat {
    pub(super) fn of_entry(ino: u64, entry: &Entry, links: u32) -> Self {
        let size = if entry.kind() == Kind::Folder { 0 } else { entry.value_bytes };
        Self { ino, size, links, attributes: entry.attributes }
    }

    pub(super) fn of_folder(ino: u64, attributes: Attributes) -> Self {
        Self { ino, size: 0, links: 1, attributes }
    }

    /// The size of buffer that suits reading it, a power of two.
    pub(crate) fn block_bytes(&self) -> u32 {
        match self.attributes.kind() {
            Kind::Folder => FOLDER_BLOCK_BYTES,
            Kind::File | Kind::Symlink => BLOCK_BYTES,
        }
    }

    /// Blocks of 512 bytes, from the length.
    pub(crate) fn blocks(&self) -> u64 {
        self.size.div_ceil(512)
    }
}

/// A name or an inode as it is answered to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// What stat shows of it.
    pub(crate) stat: Stat,
    /// For how long the name stands for it.
    pub(crate) name_valid: Duration,
    /// For how long the attributes hold.
    pub(crate) stat_valid: Duration,
}

impl Answer {
    /// The shorter of both validities, for replies that carry only one.
    pub(crate) fn valid(&self) -> Duration {
        self.name_valid.min(self.stat_valid)
    }
}

/// For how long the kernel may keep an entry.
pub(super) fn entry_valid(table: &Table, entry: &Entry, now_ns: u64) -> Duration {
    match table.expires_at_ns(entry) {
        None => VALID_MAX,
        Some(at_ns) => capped(at_ns.saturating_sub(now_ns)),
    }
}

/// For how long the kernel may keep a file that is not stored yet: its time to live will be
/// counted from a close that is still to come.
pub(super) fn unstored_valid(table: &Table) -> Duration {
    match table.settings().ttl {
        None => VALID_MAX,
        Some(ttl) => capped(cast::saturate_ns(ttl)),
    }
}

fn capped(left_ns: u64) -> Duration {
    Duration::from_nanos(left_ns.saturating_sub(TICK_MARGIN_NS)).min(VALID_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_ends_before_expiry() {
        assert_eq!(capped(0), Duration::ZERO);
        assert_eq!(capped(TICK_MARGIN_NS), Duration::ZERO);
        assert_eq!(capped(TICK_MARGIN_NS + 5), Duration::from_nanos(5));
        assert_eq!(capped(u64::MAX), VALID_MAX);
    }
}
