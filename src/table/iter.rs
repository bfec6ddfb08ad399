//! Listing folders and walking over keys, in order, either way.
//!
//! Keys come component by component: `/` counts as lower than every other byte, so that the names
//! of a folder are in byte order and a folder stands directly before what is below it.

use std::ops::Bound;
use std::sync::Arc;

use super::Table;
use super::sealed::SealedSegment;
use crate::error::{Error, Result};
use crate::format::entry::{Entry, Mention};
use crate::names::{Choice, FolderListing, Keys, Layer};

pub use crate::names::Direction;

type Choose = Box<dyn FnMut(&Mention, usize) -> Choice + Send>;

/// The live entries directly in a folder: names without a slash, and what they stand for.
pub struct FolderIter {
    table: Arc<Table>,
    folder: Vec<u8>,
    direction: Direction,
    listing: FolderListing<Choose>,
    /// Where to go on when the segment that is being read is dropped.
    next: Bound<Vec<u8>>,
}

/// Live keys and what they stand for.
pub struct KeyIter {
    table: Arc<Table>,
    prefix: Vec<u8>,
    direction: Direction,
    keys: Keys<Choose>,
    last: Option<Vec<u8>>,
}

impl Table {
    /// The live entries directly in a folder, in byte order of names: all, or those strictly
    /// behind the name `after`. The empty key is the table itself; other folders end in `/`.
    ///
    /// The listing goes on while others write: entries that neither come nor go meanwhile appear
    /// exactly once.
    pub fn list_folder(
        &self,
        folder: &[u8],
        after: Option<&[u8]>,
        direction: Direction,
    ) -> Result<FolderIter> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.list_folder_from(folder, from, direction)
    }

    /// The live entries directly in a folder from anywhere: all, or those at or strictly behind `from`,
    /// which need not be a name that is there.
    pub(crate) fn list_folder_from(
        &self,
        folder: &[u8],
        from: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<FolderIter> {
        self.health.check_open()?;
        if !folder.is_empty() {
            super::key::check_folder(folder)?;
        }
        let table = self.shared()?;
        let listing = table.listing(folder, from, direction)?;
        let next = from.map(<[u8]>::to_vec);
        Ok(FolderIter { table, folder: folder.to_vec(), direction, listing, next })
    }

    /// The live keys (files, links and folders) that begin with `prefix`, from `from` on.
    pub fn scan(
        &self,
        prefix: &[u8],
        from: Option<&[u8]>,
        direction: Direction,
    ) -> Result<KeyIter> {
        self.health.check_open()?;
        let table = self.shared()?;
        let bound = from.map_or(Bound::Unbounded, Bound::Included);
        let keys = table.keys(prefix, bound, direction)?;
        Ok(KeyIter { table, prefix: prefix.to_vec(), direction, keys, last: None })
    }

    fn listing(
        &self,
        folder: &[u8],
        from: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<FolderListing<Choose>> {
        let (layers, choose) = self.layers()?;
        FolderListing::new(&layers, folder, self.identity.hash(folder), direction, from, choose)
    }

    fn keys(
        &self,
        prefix: &[u8],
        from: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<Keys<Choose>> {
        let (layers, choose) = self.layers()?;
        Keys::new(&layers, prefix, from, direction, choose)
    }

    /// What knows names, newest first, and the judge of what is alive.
    fn layers(&self) -> Result<(Vec<Layer>, Choose)> {
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

impl FolderIter {
    /// Remembers a name without an allocation for each.
    fn note_last(&mut self, name: &[u8]) {
        if let Bound::Excluded(last) = &mut self.next {
            last.clear();
            last.extend_from_slice(name);
        } else {
            self.next = Bound::Excluded(name.to_vec());
        }
    }
}

impl Iterator for FolderIter {
    type Item = Result<(Vec<u8>, Entry)>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut next = self.listing.next();
        if next.as_ref().is_err_and(is_dropped) {
            let from = self.next.as_ref().map(Vec::as_slice);
            next = self.table.listing(&self.folder, from, self.direction).and_then(|listing| {
                self.listing = listing;
                self.listing.next()
            });
        }
        let listed = next.transpose()?;
        Some(listed.map(|listed| {
            self.note_last(&listed.name);
            (listed.name, listed.entry)
        }))
    }
}

impl Iterator for KeyIter {
    type Item = Result<(Vec<u8>, Entry)>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut next = self.keys.next().transpose();
        if next.as_ref().is_err_and(is_dropped) {
            let from = self.last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            next = self.table.keys(&self.prefix, from, self.direction).and_then(|keys| {
                self.keys = keys;
                self.keys.next().transpose()
            });
        }
        let live = next.transpose()?;
        Some(live.map(|live| {
            self.last = Some(live.key.clone());
            (live.key, live.entry)
        }))
    }
}

impl std::fmt::Debug for FolderIter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FolderIter").field("next", &self.next).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for KeyIter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("KeyIter").field("last", &self.last).finish_non_exhaustive()
    }
}
