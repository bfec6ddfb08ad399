//! Which keys an iteration gives.

use std::ops::{Bound, RangeBounds};

use crate::format::sort_key::sort_key;
use crate::names::Direction;

/// Which keys [`Table::scan`](super::Table::scan) gives: all, unless methods narrow it.
///
/// Keys are in the order of listings, component by component: `a/z` comes before `a-b`, since
/// the folder `a/` comes before both. Where no name holds a byte below `/` that is the order of bytes.
///
/// ```
/// # let scratch = tempfile::tempdir()?;
/// # let db = littfs::Db::open(littfs::OpenOptions::new([scratch.path()]).create(true))?;
/// use littfs::{Scan, TableSettings};
///
/// let table = db.create_table("frames", TableSettings::default())?;
/// for key in ["cam1/0001", "cam1/0002", "cam1/0003", "cam2/0001"] {
///     table.put(key.as_bytes(), b"pixels")?;
/// }
/// let last_two = table.scan(Scan::new().prefix(b"cam1/").range("cam1/0002"..).files_only())?;
/// let keys: Vec<Vec<u8>> = last_two.rev().map(|live| live.map(|(key, _)| key)).collect::<Result<_, _>>()?;
/// assert_eq!(keys, [b"cam1/0003", b"cam1/0002"]);
/// for live in table.scan(Scan::new())?.values() {
///     let (_key, value) = live?;
///     assert_eq!(value, b"pixels");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Scan {
    pub(super) prefix: Vec<u8>,
    start: Bound<Vec<u8>>,
    end: Bound<Vec<u8>>,
    pub(super) files_only: bool,
}

impl Default for Scan {
    fn default() -> Self {
        let (start, end) = (Bound::Unbounded, Bound::Unbounded);
        Self { prefix: Vec::new(), start, end, files_only: false }
    }
}

impl Scan {
    /// All live keys: files, links and folders.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only keys that begin with this. A folder and all below it begin with its key, such as `a/`.
    #[must_use]
    pub fn prefix(self, prefix: &[u8]) -> Self {
        Self { prefix: prefix.to_vec(), ..self }
    }

    /// Only keys in this range of the order above; its ends need not be there.
    #[must_use]
    pub fn range<K: AsRef<[u8]>>(self, range: impl RangeBounds<K>) -> Self {
        let key = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        Self { start: key(range.start_bound()), end: key(range.end_bound()), ..self }
    }

    /// Only files and links: no folders.
    #[must_use]
    pub fn files_only(self) -> Self {
        Self { files_only: true, ..self }
    }

    /// Where a walk in this direction begins.
    pub(super) fn begin(&self, direction: Direction) -> Bound<&[u8]> {
        let begin = match direction {
            Direction::Forward => &self.start,
            Direction::Backward => &self.end,
        };
        begin.as_ref().map(Vec::as_slice)
    }

    /// Whether a walk in this direction that has come to this key is still within the range.
    pub(super) fn holds(&self, direction: Direction, key: &[u8]) -> bool {
        let end = match direction {
            Direction::Forward => &self.end,
            Direction::Backward => &self.start,
        };
        match end {
            Bound::Unbounded => true,
            Bound::Included(end) => !is_behind(direction, key, end),
            Bound::Excluded(end) => is_behind(direction, end, key),
        }
    }
}

/// Whether a key comes behind another one in this direction.
pub(super) fn is_behind(direction: Direction, key: &[u8], other: &[u8]) -> bool {
    direction.reaches(&sort_key(key), Bound::Excluded(&sort_key(other)))
}
