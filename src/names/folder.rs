//! The names directly in a folder, in byte order, either way, from any name on.
//!
//! In the order of sort keys a sub-folder stands directly in front of everything below it. Going
//! forwards, its entry is shown and everything below is skipped with one seek; going backwards,
//! its deepest key comes first, and one seek leads to its entry. What stands below a folder whose
//! own entry is missing, removed or expired is skipped without being shown, and without being
//! read: listing beside a removed tree costs one seek, however large the tree was. Runs that hold nothing
//! of the folder are left out by their bloom filters.
//!
//! It does not say whether the folder itself exists, and does not expire anything by itself.

use std::ops::Bound;

use crate::error::{Error, Result};
use crate::format::entry::{Entry, Mention};
use crate::format::key_hash::KeyHash;
use crate::format::sort_key::{SORT_SEPARATOR, sort_key};
use crate::names::Direction;
use crate::names::merge::{Choice, Layer, Merge, MergedName};

/// The byte above the separator of sort keys, which comes behind all that is below a folder.
const BEHIND_SEPARATOR: u8 = SORT_SEPARATOR + 1;

/// Something directly in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its name, without the path and without a `/`.
    pub(crate) name: Vec<u8>,
    /// What it is.
    pub(crate) entry: Entry,
}

/// A listing under way. `choose` is asked about mentions with the number of their layer, counted from
/// the newest; see [`Choice`].
pub(crate) struct FolderListing<F> {
    merge: Merge,
    /// The sort key of the folder: empty, or with a separator at its end.
    folder: Vec<u8>,
    choose: F,
}

/// Whether a layer can hold names of the folder. A damaged filter is no reason to hide names.
fn may_hold(layer: &Layer, folder: KeyHash) -> Result<bool> {
    match layer {
        Layer::Memtable(_) => Ok(true),
        Layer::Run(run) => match run.may_hold_folder(folder) {
            Err(error @ Error::Corrupt { .. }) => {
                log::warn!("listing without the help of a bloom filter: {error}");
                Ok(true)
            }
            other => other,
        },
    }
}

impl<F: FnMut(&Mention, usize) -> Choice> FolderListing<F> {
    /// Lists `folder` (empty, or ending in `/`), whose hash is `hash`, over layers from the newest
    /// to the oldest: all names, or those at or strictly behind `from` in the direction.
    pub(crate) fn new(
        layers: &[Layer],
        folder: &[u8],
        hash: KeyHash,
        direction: Direction,
        from: Bound<&[u8]>,
        choose: F,
    ) -> Result<Self> {
        let mut held = Vec::new();
        for (number, layer) in layers.iter().enumerate() {
            if may_hold(layer, hash)? {
                held.push((number, layer.clone()));
            }
        }
        let mut listing =
            Self { merge: Merge::new(direction, held), folder: sort_key(folder), choose };
        listing.seek(from)?;
        Ok(listing)
    }

    /// Starts over, with all names or those at or strictly behind `from`.
    pub(crate) fn seek(&mut self, from: Bound<&[u8]>) -> Result<()> {
        let mut limit = self.folder.clone();
        match (self.merge.direction(), from) {
            // The key of the folder itself is shorter than any name in it.
            (Direction::Forward, Bound::Unbounded) => self.merge.seek(Bound::Excluded(&limit)),
            (Direction::Forward, Bound::Included(name)) => {
                limit.extend_from_slice(name);
                self.merge.seek(Bound::Included(&limit))
            }
            (Direction::Forward, Bound::Excluded(name)) => {
                limit.extend_from_slice(name);
                limit.push(BEHIND_SEPARATOR);
                self.merge.seek(Bound::Included(&limit))
            }
            (Direction::Backward, Bound::Included(name)) => {
                limit.extend_from_slice(name);
                limit.push(BEHIND_SEPARATOR);
                self.merge.seek(Bound::Excluded(&limit))
            }
            (Direction::Backward, Bound::Excluded(name)) => {
                limit.extend_from_slice(name);
                self.merge.seek(Bound::Excluded(&limit))
            }
            (Direction::Backward, Bound::Unbounded) => {
                if limit.pop().is_none() {
                    return self.merge.seek(Bound::Unbounded);
                }
                limit.push(BEHIND_SEPARATOR);
                self.merge.seek(Bound::Excluded(&limit))
            }
        }
    }

    /// The next name. After an error only [`FolderListing::seek`] goes on.
    pub(crate) fn next(&mut self) -> Result<Option<Listed>> {
        while let Some(seen) = self.merge.step(&mut self.choose)? {
            let Some(rest) = self.merge.key().strip_prefix(&self.folder[..]) else { break };
            let name_bytes = rest.iter().position(|&byte| byte == SORT_SEPARATOR);
            let is_below = name_bytes.is_some_and(|bytes| bytes + 1 < rest.len());
            let name = rest[..name_bytes.unwrap_or(rest.len())].to_vec();
            if name.is_empty() {
                // The folder itself; going backwards nothing of it is in front.
                continue;
            }
            if name_bytes.is_some() {
                self.leave_sub_folder(&name, is_below)?;
            }
            if let (false, MergedName::Live(entry)) = (is_below, seen) {
                return Ok(Some(Listed { name, entry }));
            }
        }
        Ok(None)
    }

    /// Skips to behind everything below a sub-folder; backwards that is its own entry.
    fn leave_sub_folder(&mut self, name: &[u8], is_below: bool) -> Result<()> {
        let mut limit = self.folder.clone();
        limit.extend_from_slice(name);
        match self.merge.direction() {
            Direction::Forward => {
                limit.push(BEHIND_SEPARATOR);
                self.merge.skip_to(Bound::Included(&limit))
            }
            Direction::Backward if is_below => {
                limit.push(SORT_SEPARATOR);
                self.merge.skip_to(Bound::Included(&limit))
            }
            Direction::Backward => Ok(()),
        }
    }
}
