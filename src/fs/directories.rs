//! OPENDIR, READDIR, READDIRPLUS, RELEASEDIR, FSYNCDIR.
//!
//! A listing merges the names of open files with what the engine has, in byte order; where both
//! have a name, the open file is it. The names of open files are taken anew at the start of every
//! page and before the engine is asked, so that a file which is stored meanwhile is seen by at
//! least one of the two, and once.
//!
//! The engine's iterator is kept from page to page while nothing in the folder changes. After a
//! change a new one goes on behind the last name: a name that was taken away must not be handed
//! out from what an iterator had read ahead, for the kernel would believe it for a day.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::cookies::{Cookies, PARENT_COOKIE, Position, SELF_COOKIE};
use super::handles::Handle;
use super::open_file::OpenFile;
use super::{Errno, Folder, Found, Fs, Known, Result, TOP_INO, ino_of};
use crate::format::attributes::Kind;
use crate::format::entry::Entry;
use crate::format::location::ValueId;
use crate::table::{Direction, FolderIter, Table};

/// One entry of a listing.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    /// The inode number.
    pub(crate) ino: u64,
    /// The offset that continues behind this entry.
    pub(crate) cookie: u64,
    /// The name.
    pub(crate) name: &'a [u8],
    /// What it is.
    pub(crate) kind: Kind,
    /// What a lookup would have answered; not for `.` and `..`.
    pub(crate) found: Option<Found>,
}

/// An open folder.
pub(super) struct FolderHandle {
    ino: u64,
    listing: Box<Mutex<Listing>>,
}

impl FolderHandle {
    pub(super) fn ino(&self) -> u64 {
        self.ino
    }
}

/// How far a listing has come.
struct Listing {
    cookies: Cookies,
    /// The number and the name of the last entry handed out.
    at: u64,
    after: Option<Box<[u8]>>,
    source: Option<Source>,
    /// The source has no more, and is not asked again: what is stored from now on may belong
    /// before the names of open files that were handed out since.
    source_ended: bool,
    /// The next entry of the source.
    peeked: Option<(Vec<u8>, Candidate)>,
    /// An entry that did not fit the last page.
    held: Option<(Vec<u8>, Candidate)>,
    /// Names of open files that come after `after`.
    open: BTreeSet<Box<[u8]>>,
    /// The folder's count of changes when the source was opened.
    changes: u64,
}

/// Where stored names come from.
enum Source {
    Tables(std::vec::IntoIter<Arc<Table>>),
    Stored(FolderIter),
}

/// What a listed name stands for.
enum Candidate {
    Table(Arc<Table>),
    Stored(Entry),
    Open(Arc<OpenFile>),
}

impl Listing {
    fn new() -> Self {
        Self {
            cookies: Cookies::new(),
            at: PARENT_COOKIE,
            after: None,
            source: None,
            source_ended: false,
            peeked: None,
            held: None,
            open: BTreeSet::new(),
            changes: 0,
        }
    }

    fn peek(&mut self) -> Result<Option<&[u8]>> {
        if self.peeked.is_none()
            && !self.source_ended
            && let Some(source) = &mut self.source
        {
            self.peeked = match source {
                Source::Tables(tables) => tables
                    .next()
                    .map(|table| (table.name().as_bytes().to_vec(), Candidate::Table(table))),
                Source::Stored(entries) => entries
                    .next()
                    .transpose()?
                    .map(|(name, entry)| (name, Candidate::Stored(entry))),
            };
            self.source_ended = self.peeked.is_none();
        }
        Ok(self.peeked.as_ref().map(|(name, _)| &name[..]))
    }
}

impl Fs {
    /// Opens a folder for listing.
    pub(crate) fn opendir(&self, ino: u64) -> Result<u64> {
        self.folder(ino)?;
        let handle = FolderHandle { ino, listing: Box::new(Mutex::new(Listing::new())) };
        Ok(self.handles.insert(Handle::Folder(handle)))
    }

    /// Closes a folder.
    pub(crate) fn releasedir(&self, handle: u64) {
        self.handles.remove(handle);
    }

    /// Makes everything durable that was closed in the folder before.
    pub(crate) fn fsyncdir(&self, handle: u64) -> Result<()> {
        match &*self.handles.get(handle)? {
            Handle::Folder(folder) => self.fsync_folder(folder.ino),
            _ => Err(Errno::EBADF),
        }
    }

    pub(super) fn fsync_folder(&self, ino: u64) -> Result<()> {
        if ino == TOP_INO { Ok(self.db.flush()?) } else { Ok(self.table_of(ino)?.flush()?) }
    }

    /// Hands out entries behind `offset` until `add` says that one does not fit. With `plus`, each
    /// entry that fits (but `.` and `..`) counts as a lookup.
    pub(crate) fn readdir(
        &self,
        handle: u64,
        offset: u64,
        plus: bool,
        add: &mut dyn FnMut(&Item<'_>) -> bool,
    ) -> Result<()> {
        let handle = self.handles.get(handle)?;
        let Handle::Folder(open_folder) = &*handle else { return Err(Errno::EBADF) };
        let ino = open_folder.ino;
        let folder = match self.folder(ino) {
            Ok(folder) => folder,
            // Removed while it was open: there is nothing in it.
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let mut listing = open_folder.listing.lock();
        if offset == 0 {
            *listing = Listing::new();
        }
        if offset < PARENT_COOKIE && Self::add_dots(ino, &folder, offset, add) {
            return Ok(());
        }
        self.resume(ino, &folder, &mut listing, offset.max(PARENT_COOKIE))?;
        let mut added = false;
        loop {
            let (name, candidate) = match self.next(ino, &folder, &mut listing) {
                Ok(Some(next)) => next,
                Ok(None) => return Ok(()),
                Err(errno) => {
                    // What was gathered is handed out; the next page meets the error again.
                    listing.source = None;
                    return if added { Ok(()) } else { Err(errno) };
                }
            };
            let cookie = listing.cookies.next();
            if self.hand_out(&folder, &name, &candidate, cookie, plus, add) {
                listing.held = Some((name, candidate));
                return Ok(());
            }
            added = true;
            listing.cookies.push(&name);
            listing.at = cookie;
            listing.after = Some(name.into_boxed_slice());
        }
    }

    /// Adds `.` and `..` as far as they are behind `offset`; whether one did not fit.
    fn add_dots(
        ino: u64,
        folder: &Folder,
        offset: u64,
        add: &mut dyn FnMut(&Item<'_>) -> bool,
    ) -> bool {
        let parent = match folder {
            Folder::Top => TOP_INO,
            Folder::In { key, .. } if key.is_empty() => TOP_INO,
            // Nobody relies on the number of `..`; a wrong one is better than no listing.
            Folder::In { table, key, .. } => Self::parent_ino(table, key).unwrap_or(ino),
        };
        let dots = [(SELF_COOKIE, ino, &b"."[..]), (PARENT_COOKIE, parent, &b".."[..])];
        dots.into_iter().filter(|(cookie, ..)| *cookie > offset).any(|(cookie, ino, name)| {
            add(&Item { ino, cookie, name, kind: Kind::Folder, found: None })
        })
    }

    /// Puts the listing behind `offset`.
    fn resume(&self, ino: u64, folder: &Folder, listing: &mut Listing, offset: u64) -> Result<()> {
        // The order matters: changes, then open names, then stored names; see above.
        let changes = self.name_locks.changes(ino);
        let goes_on = offset == listing.at;
        let position = if goes_on {
            Position { after: listing.after.take(), skip: 0 }
        } else {
            listing.cookies.position(offset).ok_or(Errno::EINVAL)?
        };
        listing.open.clear();
        self.names.names_after(ino, position.after.as_deref(), &mut listing.open);
        listing.after = position.after;
        if goes_on && listing.source.is_some() && listing.changes == changes {
            if let Some((held, _)) = &listing.held {
                listing.open.remove(&held[..]);
            }
            return Ok(());
        }
        listing.held = None;
        listing.peeked = None;
        listing.source = Some(self.source(folder, listing.after.as_deref())?);
        listing.source_ended = false;
        listing.changes = changes;
        listing.at = offset;
        for _ in 0..position.skip {
            match self.next(ino, folder, listing)? {
                Some((name, _)) => listing.after = Some(name.into_boxed_slice()),
                None => break,
            }
        }
        Ok(())
    }

    fn source(&self, folder: &Folder, after: Option<&[u8]>) -> Result<Source> {
        match folder {
            Folder::Top => {
                let mut tables = self.db.tables();
                tables.retain(|table| after.is_none_or(|after| table.name().as_bytes() > after));
                Ok(Source::Tables(tables.into_iter()))
            }
            Folder::In { table, key, .. } => {
                Ok(Source::Stored(table.list_folder(key, after, Direction::Forward)?))
            }
        }
    }

    /// The next entry of the merged listing.
    fn next(
        &self,
        ino: u64,
        folder: &Folder,
        listing: &mut Listing,
    ) -> Result<Option<(Vec<u8>, Candidate)>> {
        if let Some(held) = listing.held.take() {
            return Ok(Some(held));
        }
        loop {
            let stored = listing.peek()?.map(<[u8]>::to_vec);
            let open_is_next = match (listing.open.first(), &stored) {
                (None, None) => return Ok(None),
                (Some(open), Some(stored)) => **open <= **stored,
                (open, None) => open.is_some(),
                (None, Some(_)) => false,
            };
            if !open_is_next {
                if let Some((name, candidate)) = listing.peeked.take()
                    && is_live(folder, &candidate)
                {
                    return Ok(Some((name, candidate)));
                }
                continue;
            }
            let Some(name) = listing.open.pop_first() else { continue };
            let same = stored.as_deref() == Some(&*name);
            if let Some(file) = self.names.get(ino, &name) {
                if same {
                    listing.peeked = None;
                }
                return Ok(Some((name.into_vec(), Candidate::Open(file))));
            }
            // Stored or unlinked since the page began.
            if !same && let Some(entry) = Self::entry_in(folder, &name)? {
                return Ok(Some((name.into_vec(), Candidate::Stored(entry))));
            }
        }
    }

    fn entry_in(folder: &Folder, name: &[u8]) -> Result<Option<Entry>> {
        match folder {
            Folder::Top => Ok(None),
            Folder::In { table, key, .. } => Ok(table.entry(&[key, name].concat())?),
        }
    }

    /// Hands one entry out; whether it did not fit.
    fn hand_out(
        &self,
        folder: &Folder,
        name: &[u8],
        candidate: &Candidate,
        cookie: u64,
        plus: bool,
        add: &mut dyn FnMut(&Item<'_>) -> bool,
    ) -> bool {
        match candidate {
            Candidate::Table(table) => {
                let ino = ino_of(table.number(), ValueId(0));
                let found = plus.then(|| self.found_table(table));
                add(&Item { ino, cookie, name, kind: Kind::Folder, found })
            }
            Candidate::Open(file) => {
                let found = plus.then(|| Self::found_open(file));
                let item = Item { ino: file.ino(), cookie, name, kind: Kind::File, found };
                let is_full = add(&item);
                if plus && !is_full {
                    self.inodes.learn_open(file);
                }
                is_full
            }
            Candidate::Stored(entry) => {
                let Folder::In { table, key, .. } = folder else { return false };
                let ino = ino_of(table.number(), entry.id);
                let kind = entry.kind();
                let found = plus.then(|| self.found_listed(table, ino, entry));
                let is_full = add(&Item { ino, cookie, name, kind, found });
                if plus && !is_full {
                    let slash: &[u8] = if kind == Kind::Folder { b"/" } else { b"" };
                    let key = [key, name, slash].concat();
                    self.inodes.learn_entry(ino, table, &key, entry);
                }
                is_full
            }
        }
    }

    /// What a lookup would say, not counted.
    fn found_listed(&self, table: &Table, ino: u64, entry: &Entry) -> Found {
        match self.inodes.peek(ino) {
            Some(Known::Open(file)) => Self::found_open(&file),
            Some(Known::Stored(known, _)) if entry.kind() != Kind::Folder => {
                self.found_entry(table, &known, true)
            }
            _ => self.found_entry(table, entry, true),
        }
    }
}

/// Whether an entry that was read ahead has not expired since.
fn is_live(folder: &Folder, candidate: &Candidate) -> bool {
    match (folder, candidate) {
        (Folder::In { table, .. }, Candidate::Stored(entry)) => {
            entry.kind() == Kind::Folder || !table.is_expired(entry)
        }
        _ => true,
    }
}
