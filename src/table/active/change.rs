//! What happens to a name.

use crate::format::attributes::Kind;
use crate::format::entry::{Entry, Mention};
use crate::format::key_hash::KeyHash;
use crate::format::location::{Location, SegmentNumber};

/// What happens to a name in the active segment.
#[derive(Clone, Copy, Debug)]
pub(in crate::table) struct NameChange<'a> {
    pub(super) hash: KeyHash,
    pub(super) key: &'a [u8],
    pub(super) mention: Mention,
    /// Bytes of the value in an earlier segment that goes away with it.
    pub(super) superseded_bytes: u64,
}

impl<'a> NameChange<'a> {
    /// The name stands for this entry from now on.
    pub(in crate::table) fn put(hash: KeyHash, key: &'a [u8], entry: Entry) -> Self {
        let superseded_bytes = entry.value_bytes;
        Self { hash, key, mention: Mention::Put(entry), superseded_bytes }
    }

    /// The name of this entry is taken away.
    pub(in crate::table) fn remove(
        hash: KeyHash,
        key: &'a [u8],
        entry: &Entry,
        active: SegmentNumber,
    ) -> Self {
        let supersedes = entry.supersedes_in(active);
        let mention = Mention::Removed { supersedes };
        Self { hash, key, mention, superseded_bytes: entry.value_bytes }
    }

    /// What a log says.
    pub(in crate::table) fn replayed(hash: KeyHash, key: &'a [u8], mention: Mention) -> Self {
        match mention {
            Mention::Put(entry) => Self::put(hash, key, entry),
            Mention::Removed { .. } => Self { hash, key, mention, superseded_bytes: 0 },
        }
    }

    /// It takes the place of this entry.
    pub(in crate::table) fn instead_of(self, target: Option<&Entry>) -> Self {
        Self { superseded_bytes: target.map_or(0, |target| target.value_bytes), ..self }
    }
}

/// The record in an earlier segment that a mention takes the place of or removes.
pub(super) fn supersedes(mention: &Mention) -> Option<Location> {
    match mention {
        Mention::Put(entry) => entry.supersedes,
        Mention::Removed { supersedes } => *supersedes,
    }
}

/// Whether a mention shows a file or link, which count as keys; folders do not.
pub(super) fn is_value(mention: &Mention) -> bool {
    matches!(mention, Mention::Put(entry) if entry.kind() != Kind::Folder)
}
