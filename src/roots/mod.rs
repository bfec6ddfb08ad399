//! The drives: which directories make up the database, who may use them, and how full they are.
//!
//! Every root carries `littfs.root` (its identity and that of the whole database) and
//! `littfs.lock`. Opening looks at each directory, takes its lock, decides in `membership.rs`
//! what belongs together, and heals what a crash left unfinished. Creating a database is the same
//! as letting roots join an existing one, one by one: the file of a new root is durable before any
//! other root mentions it, so a crash at any point leaves a database that opens.
//!
//! The lock is exclusive, for reading too: an open database is written in places (key logs,
//! headers of an active segment) and unlinked in others (expiry) without telling other processes,
//! so a reader beside a writer would report damage that is none.
//!
//! This floor knows nothing of tables.

mod examine;
mod membership;
pub(crate) mod mend;
mod space;
#[cfg(test)]
mod tests;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use parking_lot::Mutex;

pub use self::examine::{LOCK_FILE_NAME, LOG_FILE_NAME};

use self::examine::Lock;
use self::membership::{GivenRoot, Membership, RootContent, shown};
use crate::disk::{Disk, DiskPath};
use crate::error::{Error, Result};
use crate::format::root_file::{
    Identity, Member, ROOT_FILE_NAME, ROOT_FORMAT, RootFile, TABLE_NUMBER_END,
};
use crate::operation::Operation;
use crate::root_id::RootId;

/// The mode of a root directory that is made here.
const ROOT_MODE: u32 = 0o700;
/// A root with this permission is warned of.
const OTHERS_WRITE: u32 = 0o002;

/// How roots are opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RootsOptions {
    /// Make a database, or let new roots join, where there is none.
    pub(crate) create: bool,
    /// Open although roots are missing or cannot be read.
    pub(crate) degraded: bool,
    /// Change nothing. Implies not to create.
    pub(crate) read_only: bool,
    /// Bytes to keep free on every drive.
    pub(crate) reserve_bytes: u64,
}

/// A root of the database that is not there; only in a database opened degraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MissingRoot {
    /// Its identity, 32 hexadecimal digits.
    pub(crate) id: String,
    /// Where it was last.
    pub(crate) path: PathBuf,
}

#[derive(Debug)]
struct Root {
    dir: DiskPath,
    identity: Identity,
    device: u64,
    failure: OnceLock<String>,
}

/// The content of `littfs.root` that all roots share.
#[derive(Debug)]
struct SharedIdentity {
    next_table: u32,
    members: Vec<Member>,
}

/// The open roots of one database, locked until dropped.
#[derive(Debug)]
pub(crate) struct Roots {
    database: Identity,
    open: Vec<Root>,
    missing: Vec<MissingRoot>,
    shared: Mutex<SharedIdentity>,
    read_only: bool,
    reserve_bytes: u64,
    /// In the order of `open`. Given back from the last to the first: whoever waits for the
    /// first root waits for all.
    locks: Mutex<Vec<Lock>>,
}

impl Drop for Roots {
    fn drop(&mut self) {
        self.release();
    }
}

impl Roots {
    /// Gives the roots back before this value goes: whoever still holds it can write no more.
    pub(crate) fn release(&self) {
        let mut locks = self.locks.lock();
        while locks.pop().is_some() {}
    }

    /// Opens the roots at `paths`, in any order. See the module for what is checked and healed.
    pub(crate) fn open(disk: &Disk, paths: &[PathBuf], options: RootsOptions) -> Result<Self> {
        let create = options.create && !options.read_only;
        let paths = absolute(paths)?;
        refuse_overlap(&paths)?;
        let mut candidates = Vec::with_capacity(paths.len());
        let mut locks: Vec<Option<Lock>> = Vec::with_capacity(paths.len());
        for path in paths {
            let (found, lock) = examine::examine(disk, &path, options.read_only)?;
            candidates.push(GivenRoot { path, found });
            locks.push(lock);
        }
        let plan = membership::plan(&candidates, create, options.degraded)?;
        let opening = Opening { disk, candidates, locks, options };
        opening.finish(plan)
    }

    /// The directory of a root, and the way there.
    pub(crate) fn dir(&self, root: RootId) -> &DiskPath {
        &self.root(root).dir
    }

    /// The directories of all open roots, failed ones included, in the order they were given.
    pub(crate) fn dirs(&self) -> impl ExactSizeIterator<Item = &DiskPath> {
        self.open.iter().map(|root| &root.dir)
    }

    /// All open roots, failed ones included.
    pub(crate) fn ids(&self) -> impl Iterator<Item = RootId> {
        self.open.iter().filter_map(|root| root.dir.root())
    }

    /// The directories of all open roots, in the order they were given.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.dirs().map(|dir| dir.to_path_buf()).collect()
    }

    /// Ids are given out by this floor alone, one to each root.
    fn root(&self, root: RootId) -> &Root {
        &self.open[root.position()]
    }

    /// The identity of the database, 32 hexadecimal digits.
    pub(crate) fn database_id(&self) -> String {
        self.database.to_string()
    }

    /// The roots that are not there.
    pub(crate) fn missing(&self) -> &[MissingRoot] {
        &self.missing
    }

    fn device(&self, root: RootId) -> u64 {
        self.root(root).device
    }

    /// Leaves a root out of placement from now on. Logged once.
    pub(crate) fn mark_failed(&self, root: RootId, reason: &str) {
        let root = self.root(root);
        if root.failure.set(reason.to_owned()).is_ok() {
            log::error!("root {} has failed and gets no new files: {reason}", root.dir.display());
        }
    }

    /// Whether a root was marked failed.
    pub(crate) fn is_failed(&self, root: RootId) -> bool {
        self.failure(root).is_some()
    }

    /// Why a root was marked failed.
    pub(crate) fn failure(&self, root: RootId) -> Option<&str> {
        self.root(root).failure.get().map(String::as_str)
    }

    /// A table number that was never used before, 1..=65535. Durable in every root on return.
    pub(crate) fn take_table_number(&self) -> Result<u16> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        let mut shared = self.shared.lock();
        let Ok(number) = u16::try_from(shared.next_table) else {
            let reason = format!(
                "all {} table numbers of this database are used up; make a new database",
                TABLE_NUMBER_END - 1
            );
            return Err(Error::Root { root: self.dir(RootId::FIRST).to_path_buf(), reason });
        };
        // Counted up before writing: a number whose writing failed half way is not given again.
        shared.next_table += 1;
        for root in self.open.iter().filter(|root| root.failure.get().is_none()) {
            write_identity(&root.dir, &identity_file(self.database, root.identity, &shared))?;
        }
        Ok(number)
    }
}

fn write_identity(root: &DiskPath, file: &RootFile) -> Result<()> {
    root.join(ROOT_FILE_NAME).write_atomically(file.encode().as_bytes())
}

fn identity_file(database: Identity, root: Identity, shared: &SharedIdentity) -> RootFile {
    RootFile {
        format: ROOT_FORMAT,
        database,
        root,
        next_table: shared.next_table,
        roots: shared.members.clone(),
    }
}

/// What was found, on the way to open roots.
struct Opening<'a> {
    disk: &'a Disk,
    candidates: Vec<GivenRoot>,
    locks: Vec<Option<Lock>>,
    options: RootsOptions,
}

impl Opening<'_> {
    /// Makes joining directories into roots, brings every `littfs.root` up to date.
    fn finish(mut self, plan: Membership) -> Result<Roots> {
        let database = match plan.database {
            Some(database) => database,
            None => new_identity()?,
        };
        let mut shared = SharedIdentity { next_table: plan.next_table, members: plan.members };
        for &index in &plan.joining {
            self.join(index, database, &mut shared)?;
        }
        let mut roots = Vec::new();
        let mut locks = Vec::new();
        for (candidate, lock) in self.candidates.into_iter().zip(self.locks) {
            match (candidate.found, lock) {
                (RootContent::Root(file), Some(lock)) => {
                    let current = identity_file(database, file.root, &shared);
                    let root = open_root(self.disk, roots.len(), candidate.path, file.root)?;
                    if !self.options.read_only && file != current {
                        write_identity(&root.dir, &current)?;
                    }
                    roots.push(root);
                    locks.push(lock);
                }
                (RootContent::Unusable(reason), _) => {
                    log::warn!("opened without root {}: {reason}", candidate.path.display());
                }
                // The empty place of a missing root, which is warned of below.
                _ => {}
            }
        }
        let missing: Vec<MissingRoot> = plan
            .missing
            .into_iter()
            .map(|member| MissingRoot { id: member.id.to_string(), path: member.path.into() })
            .collect();
        for root in &missing {
            let place = root.path.display();
            log::warn!("opened without root {place} (identity {}): it is missing", root.id);
        }
        Ok(Roots {
            database,
            open: roots,
            missing,
            shared: Mutex::new(shared),
            read_only: self.options.read_only,
            reserve_bytes: self.options.reserve_bytes,
            locks: Mutex::new(locks),
        })
    }

    /// Makes the directory a root: durable in itself before any other root mentions it.
    fn join(
        &mut self,
        index: usize,
        database: Identity,
        shared: &mut SharedIdentity,
    ) -> Result<()> {
        let path = self.candidates[index].path.clone();
        create_directory(self.disk, &path)?;
        self.locks[index] = Some(examine::lock(self.disk, &path, false)?);
        if self.disk.exists(&path.join(ROOT_FILE_NAME))? {
            let reason = "another littfs made a root of it just now; try again".to_owned();
            return Err(Error::Root { root: path, reason });
        }
        let id = new_identity()?;
        shared.members.push(Member { id, path: shown(&path) });
        let file = identity_file(database, id, shared);
        write_identity(&DiskPath::new(self.disk, &path), &file)?;
        log::info!("root {} has joined the database", path.display());
        self.candidates[index].found = RootContent::Root(file);
        Ok(())
    }
}

/// Creates a directory with its parents, each durable in the one above, also when an earlier
/// attempt ended before they were. Others cannot look into a new root: the modes of stored files
/// only hold where the mount enforces them.
fn create_directory(disk: &Disk, path: &Path) -> Result<()> {
    let mut created = Vec::new();
    for ancestor in path.ancestors() {
        if disk.exists(ancestor)? {
            break;
        }
        created.push(ancestor);
    }
    disk.create_dir_all(path)?;
    if !created.is_empty() {
        fs::set_permissions(path, fs::Permissions::from_mode(ROOT_MODE))
            .map_err(|source| Error::io(Operation::SetMode, path, None, source))?;
    }
    for directory in path.ancestors().filter(|directory| directory.parent().is_some()) {
        match disk.sync_parent(directory) {
            // Not everybody may open what others have made.
            Err(Error::Io { source, .. })
                if !created.contains(&directory) && source.raw_os_error() != Some(libc::EIO) => {}
            other => other?,
        }
    }
    Ok(())
}

fn open_root(disk: &Disk, position: usize, path: PathBuf, identity: Identity) -> Result<Root> {
    let Some(root) = RootId::nth(position) else {
        let reason = format!("a database may have {} roots, and this is one too many", 1 << 16);
        return Err(Error::Root { root: path, reason });
    };
    let metadata = fs::metadata(&path)
        .map_err(|source| Error::io(Operation::Stat, &path, Some(root), source))?;
    if metadata.mode() & OTHERS_WRITE != 0 {
        let shown = path.display();
        log::warn!("anybody on this machine can take files away from {shown}: use chmod o-w on it");
    }
    let dir = DiskPath::new(&disk.in_root(root), path);
    Ok(Root { dir, identity, device: metadata.dev(), failure: OnceLock::new() })
}

fn new_identity() -> Result<Identity> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|error| Error::NoRandom { source: error.into() })?;
    Ok(Identity(bits))
}

fn absolute(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let absolute = |path: &PathBuf| {
        std::path::absolute(path).map_err(|source| Error::io(Operation::Find, path, None, source))
    };
    paths.iter().map(absolute).collect()
}

/// A path that was compared already: as given, without symbolic links, by device and inode.
struct ComparedPath<'a> {
    path: &'a Path,
    real: PathBuf,
    place: Option<(u64, u64)>,
}

/// One directory given twice, also through a symbolic link, or one root inside another.
fn refuse_overlap(paths: &[PathBuf]) -> Result<()> {
    let mut seen: Vec<ComparedPath<'_>> = Vec::new();
    for path in paths {
        let place = fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        for other in &seen {
            let same = other.real == real || (place.is_some() && place == other.place);
            let shown = other.path.display();
            let reason = if same {
                format!("it is the same directory as {shown}; give each root once")
            } else if real.starts_with(&other.real) || other.real.starts_with(&real) {
                format!("{shown} and it are inside one another; roots must be apart")
            } else {
                continue;
            };
            return Err(Error::Root { root: path.clone(), reason });
        }
        seen.push(ComparedPath { path, real, place });
    }
    Ok(())
}
