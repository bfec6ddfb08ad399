//! What an open folder remembers from one page of its listing to the next.
//!
//! `directories.rs` moves it on; here is what there is to move.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::attributes::Answer;
use super::errno::Result;
use super::open_file::OpenFile;
use super::positions::{PARENT_OFFSET, Positions};
use crate::format::attributes::Kind;
use crate::format::entry::Entry;
use crate::table::{FolderIter, Table};

/// One entry of a listing.
#[derive(Debug)]
pub(crate) struct DirEntry<'a> {
    /// The inode number.
    pub(crate) ino: u64,
    /// The offset that continues behind this entry.
    pub(crate) offset: u64,
    /// The name.
    pub(crate) name: &'a [u8],
    /// What it is.
    pub(crate) kind: Kind,
    /// What a lookup would have answered; not for `.`, `..` and tables that cannot be opened.
    pub(crate) found: Option<Answer>,
}

/// An open folder.
pub(super) struct FolderHandle {
    ino: u64,
    listing: Box<Mutex<ListingProgress>>,
}

impl FolderHandle {
    pub(super) fn new(ino: u64) -> Self {
        Self { ino, listing: Box::new(Mutex::new(ListingProgress::new())) }
    }

    pub(super) fn ino(&self) -> u64 {
        self.ino
    }

    /// How far its listing has come, for the one who lists.
    pub(super) fn listing(&self) -> MutexGuard<'_, ListingProgress> {
        self.listing.lock()
    }
}

/// A name and what it stands for.
pub(super) type Named = (Vec<u8>, ListedName);

/// How far a listing has come.
pub(super) struct ListingProgress {
    pub(super) positions: Positions,
    /// The offset of the last entry handed out.
    pub(super) at: u64,
    /// What comes next is at or above this.
    pub(super) from: Vec<u8>,
    /// What is merged next is at or above this: some entries were merged ahead.
    pub(super) reached: Vec<u8>,
    pub(super) source: Option<StoredNames>,
    /// The source has no more, and is not asked again: what is stored from now on may belong
    /// before the names of open files that were handed out since.
    pub(super) source_ended: bool,
    /// The next entry of the source.
    pub(super) peeked: Option<Named>,
    /// Merged entries that come next: one did not fit the last page, one was behind it.
    pub(super) ahead: VecDeque<Named>,
    /// Names of open files that come next.
    pub(super) open: BTreeSet<Box<[u8]>>,
    /// The folder's count of changes when the source was opened.
    pub(super) changes: u64,
}

/// Where stored names come from.
pub(super) enum StoredNames {
    Tables(std::vec::IntoIter<(Vec<u8>, ListedName)>),
    Stored(FolderIter),
}

/// What a listed name stands for.
pub(super) enum ListedName {
    Table(Arc<Table>),
    /// A table that could not be opened: it has a name and nothing else.
    Unavailable {
        ino: u64,
    },
    Stored(Entry),
    Open(Arc<OpenFile>),
}

impl ListingProgress {
    fn new() -> Self {
        Self {
            positions: Positions::new(),
            at: PARENT_OFFSET,
            from: Vec::new(),
            reached: Vec::new(),
            source: None,
            source_ended: false,
            peeked: None,
            ahead: VecDeque::new(),
            open: BTreeSet::new(),
            changes: 0,
        }
    }

    /// Reads the next entry of the source, if it was not read yet.
    pub(super) fn peek(&mut self) -> Result<()> {
        if self.peeked.is_none()
            && !self.source_ended
            && let Some(source) = &mut self.source
        {
            self.peeked = match source {
                StoredNames::Tables(tables) => tables.next(),
                StoredNames::Stored(entries) => entries
                    .next()
                    .transpose()?
                    .map(|(name, entry)| (name, ListedName::Stored(entry))),
            };
            self.source_ended = self.peeked.is_none();
        }
        Ok(())
    }
}
