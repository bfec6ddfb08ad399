//! Listing folders and walking over keys, in order, from either end.
//!
//! Keys come component by component: `/` counts as lower than every other byte, so that the names
//! of a folder are in byte order and a folder stands directly before what is below it.
//!
//! Each end of an iterator is a walk of its own, opened when it is first asked. A walk gives each
//! name once, in order, and an end stops where the other one has been: together they give each name
//! once, whatever is stored meanwhile.

use std::ops::Bound;
use std::sync::Arc;

use super::Table;
use super::scan::{Scan, is_behind};
use super::sealed::SealedSegment;
use crate::error::{Error, Result};
use crate::format::attributes::Kind;
use crate::format::entry::{Entry, Mention};
use crate::names::{Choice, FolderListing, Keys, Layer};

pub(crate) use crate::names::Direction;

type Choose = Box<dyn FnMut(&Mention, usize) -> Choice + Send>;

/// The live entries directly in a folder: names without a slash, and what they stand for. Made by
/// [`Table::list_folder`].
pub struct FolderIter {
    table: Arc<Table>,
    folder: Vec<u8>,
    /// Where the front goes.
    direction: Direction,
    /// Where it begins.
    from: Bound<Vec<u8>>,
    front: Option<Box<FolderWalk>>,
    back: Option<Box<FolderWalk>>,
    is_done: bool,
}

/// Live keys and what they stand for. Made by [`Table::scan`].
pub struct KeyIter {
    table: Arc<Table>,
    scan: Scan,
    front: Option<Box<KeyWalk>>,
    back: Option<Box<KeyWalk>>,
    is_done: bool,
}

/// Live keys and their values. Made by [`KeyIter::values`].
#[derive(Debug)]
pub struct ValueIter(KeyIter);

/// One end of a listing.
struct FolderWalk {
    listing: FolderListing<Choose>,
    direction: Direction,
    /// Where to go on when the segment that is being read is dropped.
    next: Bound<Vec<u8>>,
    /// Whether the last name was that of a folder.
    was_folder: bool,
}

/// One end of an iteration.
struct KeyWalk {
    keys: Keys<Choose>,
    direction: Direction,
    last: Option<Vec<u8>>,
}

impl Table {
    /// The live entries directly in a folder, in byte order of names, or from the last one by
    /// [`Iterator::rev`]. The empty key is the table itself; other folders end in `/`.
    ///
    /// The listing goes on while others write: entries that neither come nor go meanwhile appear
    /// exactly once.
    pub fn list_folder(&self, folder: &[u8]) -> Result<FolderIter> {
        self.folder_iter(folder, Bound::Unbounded, Direction::Forward)
    }

    /// The live entries directly in a folder that come behind a name, which need not be there: to
    /// go on with a listing where it was left.
    pub fn list_folder_behind(&self, folder: &[u8], name: &[u8]) -> Result<FolderIter> {
        self.folder_iter(folder, Bound::Excluded(name), Direction::Forward)
    }

    /// The live entries directly in a folder from anywhere: all, or those at or strictly behind
    /// `from`, which need not be a name that is there. What is stored later may be left out.
    #[cfg(any(test, feature = "mount"))]
    pub(crate) fn list_folder_from(
        &self,
        folder: &[u8],
        from: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<FolderIter> {
        let mut iter = self.folder_iter(folder, from, direction)?;
        iter.front = Some(iter.walk(true)?);
        Ok(iter)
    }

    fn folder_iter(
        &self,
        folder: &[u8],
        from: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<FolderIter> {
        self.health.check_open()?;
        if !folder.is_empty() {
            super::key::check_folder(folder)?;
        }
        let (table, from) = (self.shared()?, from.map(<[u8]>::to_vec));
        let (front, back, folder) = (None, None, folder.to_vec());
        Ok(FolderIter { table, folder, direction, from, front, back, is_done: false })
    }

    /// The live keys that a [`Scan`] asks for, in its order, or from the last one by
    /// [`Iterator::rev`].
    ///
    /// The scan goes on while others write: keys that neither come nor go meanwhile appear exactly
    /// once.
    pub fn scan(&self, scan: Scan) -> Result<KeyIter> {
        self.health.check_open()?;
        Ok(KeyIter { table: self.shared()?, scan, front: None, back: None, is_done: false })
    }

    fn listing(
        &self,
        folder: &[u8],
        from: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<FolderListing<Choose>> {
        let (layers, choose) = self.layers(false)?;
        FolderListing::new(&layers, folder, self.identity.hash(folder), direction, from, choose)
    }

    fn keys(&self, scan: &Scan, from: Bound<&[u8]>, direction: Direction) -> Result<Keys<Choose>> {
        let (layers, choose) = self.layers(scan.files_only)?;
        Keys::new(&layers, &scan.prefix, from, direction, choose)
    }

    /// What knows names, newest first, and the judge of what is alive and asked for.
    fn layers(&self, files_only: bool) -> Result<(Vec<Layer>, Choose)> {
        let view = self.segments.view();
        let memtables =
            view.unsealed().map(|segment| Layer::Memtable(Arc::clone(segment.memtable())));
        let mut layers: Vec<Layer> = memtables.collect();
        for segment in view.sealed.values().rev() {
            if !self.lifetime.is_past(segment.summary.last_written_at_ns) {
                layers.extend(self.run_layer(segment)?);
            }
        }
        let table = self.shared()?;
        let choose = move |mention: &Mention, _: usize| match mention {
            Mention::Put(entry) if files_only && entry.kind() == Kind::Folder => Choice::Hide,
            Mention::Put(entry) if table.is_expired(entry) => Choice::Hide,
            _ => Choice::Take,
        };
        Ok((layers, Box::new(choose)))
    }

    /// The run of a segment; none when the segment was dropped meanwhile.
    fn run_layer(&self, segment: &SealedSegment) -> Result<Option<Layer>> {
        match self.index.run(segment) {
            Ok(run) => Ok(Some(Layer::Run(run))),
            Err(Error::MissingFile { .. }) if segment.number < self.segments.lowest_live() => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether a file went away because its segment was dropped while it was being read.
fn is_dropped(error: &Error) -> bool {
    matches!(error, Error::MissingFile { .. })
}

impl FolderWalk {
    fn next(&mut self, table: &Table, folder: &[u8]) -> Result<Option<(Vec<u8>, Entry)>> {
        let mut next = self.listing.next();
        if next.as_ref().is_err_and(is_dropped) {
            let from = self.next.as_ref().map(Vec::as_slice);
            self.listing = table.listing(folder, from, self.direction)?;
            next = self.listing.next();
        }
        let Some(listed) = next? else { return Ok(None) };
        self.note_last(&listed.name);
        self.was_folder = listed.entry.kind() == Kind::Folder;
        Ok(Some((listed.name, listed.entry)))
    }

    /// Remembers a name without an allocation for each.
    fn note_last(&mut self, name: &[u8]) {
        if let Bound::Excluded(last) = &mut self.next {
            last.clear();
            last.extend_from_slice(name);
        } else {
            self.next = Bound::Excluded(name.to_vec());
        }
    }

    /// Whether a name is behind what this walk has given, in its direction.
    fn leaves(&self, name: &[u8], is_folder: bool) -> bool {
        // A file and a folder of one name, which only damage leaves, are two entries.
        let Bound::Excluded(last) = &self.next else { return true };
        match self.direction {
            Direction::Forward => (name, is_folder) > (last, self.was_folder),
            Direction::Backward => (name, is_folder) < (last, self.was_folder),
        }
    }
}

impl FolderIter {
    /// A walk from one end.
    fn walk(&self, is_front: bool) -> Result<Box<FolderWalk>> {
        let (direction, next) = if is_front {
            (self.direction, self.from.clone())
        } else {
            (self.direction.opposite(), Bound::Unbounded)
        };
        let from = next.as_ref().map(Vec::as_slice);
        let listing = self.table.listing(&self.folder, from, direction)?;
        Ok(Box::new(FolderWalk { listing, direction, next, was_folder: false }))
    }

    fn step(&mut self, is_front: bool) -> Result<Option<(Vec<u8>, Entry)>> {
        let mut walk = match if is_front { self.front.take() } else { self.back.take() } {
            Some(walk) => walk,
            None => self.walk(is_front)?,
        };
        let other = if is_front { &self.back } else { &self.front };
        let listed = walk.next(&self.table, &self.folder)?.filter(|(name, entry)| {
            let is_folder = entry.kind() == Kind::Folder;
            let from = self.from.as_ref().map(Vec::as_slice);
            other.as_ref().is_none_or(|other| other.leaves(name, is_folder))
                && (is_front || self.direction.reaches(name, from))
        });
        let end = if is_front { &mut self.front } else { &mut self.back };
        *end = Some(walk);
        Ok(listed)
    }

    fn give(&mut self, is_front: bool) -> Option<Result<(Vec<u8>, Entry)>> {
        if self.is_done {
            return None;
        }
        let listed = self.step(is_front).transpose();
        self.is_done = !matches!(listed, Some(Ok(_)));
        listed
    }
}

impl Iterator for FolderIter {
    type Item = Result<(Vec<u8>, Entry)>;

    /// The next name. An error ends the listing.
    fn next(&mut self) -> Option<Self::Item> {
        self.give(true)
    }
}

impl DoubleEndedIterator for FolderIter {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.give(false)
    }
}

impl KeyWalk {
    fn next(&mut self, table: &Table, scan: &Scan) -> Result<Option<(Vec<u8>, Entry)>> {
        let mut next = self.keys.next().transpose();
        if next.as_ref().is_err_and(is_dropped) {
            let begin = scan.begin(self.direction);
            let from = self.last.as_deref().map_or(begin, Bound::Excluded);
            self.keys = table.keys(scan, from, self.direction)?;
            next = self.keys.next().transpose();
        }
        let Some(live) = next? else { return Ok(None) };
        self.last = Some(live.key.clone());
        Ok(Some((live.key, live.entry)))
    }

    /// Whether a key is behind what this walk has given, in its direction.
    fn leaves(&self, key: &[u8]) -> bool {
        self.last.as_ref().is_none_or(|last| is_behind(self.direction, key, last))
    }
}

impl KeyIter {
    /// Reads the values of the keys on the way, each as a whole into memory; folders, which have
    /// none, are left out. Where values are large, [`Table::open_value`] reads them piece by piece.
    #[must_use]
    pub fn values(mut self) -> ValueIter {
        self.scan.files_only = true;
        ValueIter(self)
    }

    fn step(&mut self, direction: Direction) -> Result<Option<(Vec<u8>, Entry)>> {
        let (end, other) = match direction {
            Direction::Forward => (&mut self.front, &self.back),
            Direction::Backward => (&mut self.back, &self.front),
        };
        if end.is_none() {
            let begin = self.scan.begin(direction);
            let keys = self.table.keys(&self.scan, begin, direction)?;
            *end = Some(Box::new(KeyWalk { keys, direction, last: None }));
        }
        let Some(walk) = end else { return Ok(None) };
        let live = walk.next(&self.table, &self.scan)?;
        Ok(live.filter(|(key, _)| {
            self.scan.holds(direction, key) && other.as_ref().is_none_or(|other| other.leaves(key))
        }))
    }

    fn give(&mut self, direction: Direction) -> Option<Result<(Vec<u8>, Entry)>> {
        if self.is_done {
            return None;
        }
        let live = self.step(direction).transpose();
        self.is_done = !matches!(live, Some(Ok(_)));
        live
    }
}

impl Iterator for KeyIter {
    type Item = Result<(Vec<u8>, Entry)>;

    /// The next key. An error ends the iteration.
    fn next(&mut self) -> Option<Self::Item> {
        self.give(Direction::Forward)
    }
}

impl DoubleEndedIterator for KeyIter {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.give(Direction::Backward)
    }
}

impl ValueIter {
    fn give(&mut self, direction: Direction) -> Option<Result<(Vec<u8>, Vec<u8>)>> {
        loop {
            let (key, entry) = match self.0.give(direction)? {
                Ok(live) => live,
                Err(error) => return Some(Err(error)),
            };
            if entry.kind() == Kind::Folder {
                // From a walk that was under way.
                continue;
            }
            match self.0.table.value_of(&entry) {
                // Its segment was dropped since the key was seen.
                Err(_) if self.0.table.is_expired(&entry) => {}
                read => return Some(read.map(|value| (key, value))),
            }
        }
    }
}

impl Iterator for ValueIter {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    /// The next key and its value. A value that cannot be read is an error in its place, and the
    /// iteration goes on; an error in reading keys ends it.
    fn next(&mut self) -> Option<Self::Item> {
        self.give(Direction::Forward)
    }
}

impl DoubleEndedIterator for ValueIter {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.give(Direction::Backward)
    }
}

impl std::fmt::Debug for FolderIter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FolderIter").field("from", &self.from).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for KeyIter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("KeyIter").field("scan", &self.scan).finish_non_exhaustive()
    }
}
