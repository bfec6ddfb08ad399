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
//!
//! An offset says between which names it lies (`positions.rs`), so each entry is handed out when
//! the one behind it is known.

use std::cmp::Ordering;
use std::ops::Bound;

use super::handles::Handle;
use super::ino::UNAVAILABLE_INO_MIN;
use super::listing::{DirEntry, FolderHandle, ListedName, ListingProgress, Named, StoredNames};
use super::positions::{PARENT_OFFSET, SELF_OFFSET, set_behind};
use super::{Answer, Errno, Folder, Fs, Known, Result, TOP_INO, ino_of};
use crate::format::attributes::Kind;
use crate::format::entry::Entry;
use crate::format::location::ValueId;
use crate::table::{Direction, Table};

impl Fs {
    /// Opens a folder for listing.
    pub(crate) fn opendir(&self, ino: u64) -> Result<u64> {
        self.folder(ino)?;
        Ok(self.handles.insert(Handle::Folder(FolderHandle::new(ino))))
    }

    /// Closes a folder.
    pub(crate) fn releasedir(&self, handle: u64) {
        self.handles.remove(handle);
    }

    /// Makes everything durable that was closed in the folder before.
    pub(crate) fn fsyncdir(&self, handle: u64) -> Result<()> {
        match &*self.handles.get(handle)? {
            Handle::Folder(folder) => self.fsync_folder(folder.ino()),
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
        add: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<()> {
        let handle = self.handles.get(handle)?;
        let Handle::Folder(open_folder) = &*handle else { return Err(Errno::EBADF) };
        let ino = open_folder.ino();
        let folder = match self.folder(ino) {
            Ok(folder) => folder,
            // Removed while it was open: there is nothing in it.
            Err(errno) if errno == Errno::ENOENT => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let mut listing = open_folder.listing();
        if offset == 0 {
            listing.source = None;
        }
        if offset < PARENT_OFFSET && Self::add_dots(ino, &folder, offset, add) {
            return Ok(());
        }
        self.resume(ino, &folder, &mut listing, offset.max(PARENT_OFFSET))?;
        let mut added = false;
        let mut next = self.next(ino, &folder, &mut listing);
        loop {
            let (name, candidate) = match next {
                Ok(Some(next)) => next,
                Ok(None) => return Ok(()),
                Err(errno) => {
                    // What was gathered is handed out; the next page meets the error again.
                    listing.source = None;
                    return if added { Ok(()) } else { Err(errno) };
                }
            };
            next = self.next(ino, &folder, &mut listing);
            let following = next.as_ref().ok().and_then(Option::as_ref).map(|(name, _)| &name[..]);
            let offset = listing.positions.between(&name, following);
            let handed_out = self.hand_out(&folder, &name, &candidate, offset, plus, add);
            if let Err(errno) = handed_out {
                listing.source = None;
                return if added { Ok(()) } else { Err(errno) };
            }
            if handed_out == Ok(true) {
                listing.ahead.push_back((name, candidate));
                match next {
                    Ok(following) => listing.ahead.extend(following),
                    Err(_) => listing.source = None,
                }
                return Ok(());
            }
            added = true;
            listing.at = offset;
            set_behind(&mut listing.from, &name);
        }
    }

    /// Adds `.` and `..` as far as they are behind `offset`; whether one did not fit.
    fn add_dots(
        ino: u64,
        folder: &Folder,
        offset: u64,
        add: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> bool {
        let parent = match folder {
            Folder::Top => TOP_INO,
            Folder::In { key, .. } if key.is_empty() => TOP_INO,
            // Nobody relies on the number of `..`; a wrong one is better than no listing.
            Folder::In { table, key, .. } => Self::parent_ino(table, key).unwrap_or(ino),
        };
        let dots = [(SELF_OFFSET, ino, &b"."[..]), (PARENT_OFFSET, parent, &b".."[..])];
        dots.into_iter().filter(|(own, ..)| *own > offset).any(|(offset, ino, name)| {
            add(&DirEntry { ino, offset, name, kind: Kind::Folder, found: None })
        })
    }

    /// Puts the listing behind `offset`.
    fn resume(
        &self,
        ino: u64,
        folder: &Folder,
        listing: &mut ListingProgress,
        offset: u64,
    ) -> Result<()> {
        // The order matters: changes, then open names, then stored names; see above.
        let changes = self.name_locks.changes(ino);
        let goes_on = offset == listing.at;
        if !goes_on {
            listing.from = listing.positions.start(offset).ok_or(Errno::EINVAL)?;
            listing.at = offset;
        }
        listing.open.clear();
        self.names.names_from(ino, &listing.from, &mut listing.open);
        // A file that was created before entries that were merged ahead comes before them.
        let is_overtaken = match (listing.open.first(), listing.ahead.back()) {
            (Some(open), Some((ahead, _))) => **open < **ahead,
            _ => false,
        };
        if goes_on && !is_overtaken && listing.source.is_some() && listing.changes == changes {
            for (ahead, _) in &listing.ahead {
                listing.open.remove(&ahead[..]);
            }
            return Ok(());
        }
        listing.ahead.clear();
        listing.peeked = None;
        listing.reached.clone_from(&listing.from);
        listing.source = Some(self.source(folder, &listing.from)?);
        listing.source_ended = false;
        listing.changes = changes;
        Ok(())
    }

    fn source(&self, folder: &Folder, from: &[u8]) -> Result<StoredNames> {
        match folder {
            Folder::Top => {
                let open = self.db.tables().into_iter();
                let open = open.map(|table| (table.name().into(), ListedName::Table(table)));
                let unavailable = (UNAVAILABLE_INO_MIN..).zip(self.db.unavailable_tables());
                let unavailable = unavailable
                    .map(|(ino, (name, _))| (name.into_bytes(), ListedName::Unavailable { ino }));
                let mut tables: Vec<(Vec<u8>, ListedName)> = open.chain(unavailable).collect();
                tables.retain(|(name, _)| &name[..] >= from);
                tables.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
                Ok(StoredNames::Tables(tables.into_iter()))
            }
            Folder::In { table, key, .. } => {
                let from = Bound::Included(from);
                Ok(StoredNames::Stored(table.list_folder_from(key, from, Direction::Forward)?))
            }
        }
    }

    /// The next entry of the listing.
    fn next(
        &self,
        ino: u64,
        folder: &Folder,
        listing: &mut ListingProgress,
    ) -> Result<Option<Named>> {
        while let Some((name, candidate)) = listing.ahead.pop_front() {
            if is_live(folder, &candidate) {
                return Ok(Some((name, candidate)));
            }
        }
        let merged = self.merge(ino, folder, listing)?;
        if let Some((name, _)) = &merged {
            set_behind(&mut listing.reached, name);
        }
        Ok(merged)
    }

    /// The next entry of what is stored and what is open.
    fn merge(
        &self,
        ino: u64,
        folder: &Folder,
        listing: &mut ListingProgress,
    ) -> Result<Option<Named>> {
        loop {
            listing.peek()?;
            let order = match (&listing.peeked, listing.open.first()) {
                (None, None) => return Ok(None),
                (Some((stored, _)), Some(open)) => stored[..].cmp(open),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            };
            if order == Ordering::Less {
                // What is stored while the listing is under way can come from the engine behind
                // its place.
                if let Some((name, candidate)) = listing.peeked.take()
                    && name >= listing.reached
                    && is_live(folder, &candidate)
                {
                    return Ok(Some((name, candidate)));
                }
                continue;
            }
            let Some(name) = listing.open.pop_first() else { continue };
            let same = order == Ordering::Equal;
            if let Some(file) = self.names.get(ino, &name) {
                if same {
                    listing.peeked = None;
                }
                return Ok(Some((name.into_vec(), ListedName::Open(file))));
            }
            // Stored or unlinked since the page began.
            if !same && let Some(entry) = Self::entry_in(folder, &name)? {
                return Ok(Some((name.into_vec(), ListedName::Stored(entry))));
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
        candidate: &ListedName,
        offset: u64,
        plus: bool,
        add: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<bool> {
        let is_full = match candidate {
            ListedName::Table(table) => {
                let ino = ino_of(table.number(), ValueId(0));
                let found = plus.then(|| self.found_table(table));
                add(&DirEntry { ino, offset, name, kind: Kind::Folder, found })
            }
            ListedName::Unavailable { ino } => {
                add(&DirEntry { ino: *ino, offset, name, kind: Kind::Folder, found: None })
            }
            ListedName::Open(file) if !plus => {
                add(&DirEntry { ino: file.ino(), offset, name, kind: Kind::File, found: None })
            }
            ListedName::Open(file) => {
                let Some(state) = file.while_written() else {
                    // It was stored, or unlinked, since it was met.
                    let Some(entry) = Self::entry_in(folder, name)? else { return Ok(false) };
                    let stored = ListedName::Stored(entry);
                    return self.hand_out(folder, name, &stored, offset, plus, add);
                };
                let found = Some(Self::found_as(file, &state));
                let item = DirEntry { ino: file.ino(), offset, name, kind: Kind::File, found };
                let is_full = add(&item);
                if !is_full {
                    self.inodes.learn_open(file);
                }
                is_full
            }
            ListedName::Stored(entry) => {
                let Folder::In { table, key, .. } = folder else { return Ok(false) };
                let ino = ino_of(table.number(), entry.id);
                let kind = entry.kind();
                let found = plus.then(|| self.found_listed(table, ino, entry));
                let is_full = add(&DirEntry { ino, offset, name, kind, found });
                if plus && !is_full {
                    let slash: &[u8] = if kind == Kind::Folder { b"/" } else { b"" };
                    let key = [key, name, slash].concat();
                    self.inodes.learn_entry(ino, table, &key, entry);
                }
                is_full
            }
        };
        Ok(is_full)
    }

    /// What a lookup would say, not counted.
    fn found_listed(&self, table: &Table, ino: u64, entry: &Entry) -> Answer {
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
fn is_live(folder: &Folder, candidate: &ListedName) -> bool {
    match (folder, candidate) {
        (Folder::In { table, .. }, ListedName::Stored(entry)) => {
            entry.kind() == Kind::Folder || !table.is_expired(entry)
        }
        _ => true,
    }
}
