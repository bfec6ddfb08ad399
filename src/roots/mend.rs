//! Which identities roots must have had that lost theirs: a decision, and the text to be written.

use std::path::{Path, PathBuf};

use super::examine::{self, Lock};
use super::membership::{shown, union};
use super::{LOCK_FILE_NAME, absolute, new_identity, refuse_overlap};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::root_file::{
    Identity, Member, ROOT_FILE_BYTES_MAX, ROOT_FILE_NAME, ROOT_FORMAT, RootFile,
};

/// A `littfs.root` to be written.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) root: PathBuf,
    pub(crate) path: PathBuf,
    pub(crate) content: String,
    pub(crate) what: &'static str,
}

/// What is to be written. The roots stay locked as long as it is there.
#[derive(Debug)]
pub(crate) struct Mending {
    pub(crate) writes: Vec<Write>,
    _locks: Vec<Lock>,
}

/// What is left of the identity of a root.
struct RootRemains {
    path: PathBuf,
    file: Option<RootFile>,
    /// What the damaged file still says.
    remains: String,
}

/// Finds the identities of roots that have no good `littfs.root`; `None` when all have one.
/// `next_table` tells a number that no table in a root has.
pub(crate) fn plan(
    disk: &Disk,
    paths: &[PathBuf],
    next_table: impl Fn(&Path) -> u32,
) -> Result<Option<Mending>> {
    let paths = absolute(paths)?;
    refuse_overlap(&paths)?;
    let mut locks = Vec::new();
    let mut roots = Vec::new();
    for path in paths {
        if !was_root(disk, &path) {
            continue;
        }
        locks.push(examine::lock(disk, &path, false)?);
        let file = match examine::read_identity(disk, &path) {
            Ok(file) => Some(file),
            Err(error @ Error::FutureVersion { .. }) => return Err(error),
            Err(_) => None,
        };
        let remains = disk.read_small(&path.join(ROOT_FILE_NAME), ROOT_FILE_BYTES_MAX);
        let remains = String::from_utf8_lossy(&remains.unwrap_or_default()).into_owned();
        roots.push(RootRemains { path, file, remains });
    }
    let good: Vec<(&Path, &RootFile)> =
        roots.iter().filter_map(|root| Some((root.path.as_path(), root.file.as_ref()?))).collect();
    let bad: Vec<&RootRemains> = roots.iter().filter(|root| root.file.is_none()).collect();
    if bad.is_empty() {
        return Ok(None);
    }
    let found = roots.iter().map(|root| next_table(&root.path)).max().unwrap_or(1);
    let writes = match good.first() {
        Some((_, first)) => of_others(&good, first, &bad, found)?,
        None => anew(&bad, found)?,
    };
    Ok(Some(Mending { writes, _locks: locks }))
}

/// Whether a directory is a root, or was one before it lost its identity.
fn was_root(disk: &Disk, path: &Path) -> bool {
    [ROOT_FILE_NAME, LOCK_FILE_NAME]
        .iter()
        .any(|name| disk.exists(&path.join(name)).unwrap_or(false))
}

/// The other roots know who is missing.
fn of_others(
    good: &[(&Path, &RootFile)],
    first: &RootFile,
    bad: &[&RootRemains],
    next_table: u32,
) -> Result<Vec<Write>> {
    let mut members = union(good);
    let missing: Vec<Identity> = members
        .iter()
        .map(|member| member.id)
        .filter(|id| !good.iter().any(|(_, file)| file.root == *id))
        .collect();
    let mut found = Vec::new();
    for root in bad {
        let is_at = |id: &&Identity| {
            members.iter().any(|member| member.id == **id && member.path == shown(&root.path))
        };
        let says = |id: &&Identity| root.remains.contains(&format!("root = \"{id}\""));
        let only = || missing.first().filter(|_| missing.len() == 1 && bad.len() == 1);
        let id = missing.iter().find(says).or_else(|| missing.iter().find(is_at)).or_else(only);
        let Some(id) = id else {
            let reason = "it has lost its littfs.root, and the other roots do not tell which one \
                          it is: give all roots, at the places where they were last";
            return Err(Error::Root { root: root.path.clone(), reason: reason.to_owned() });
        };
        found.push((root.path.clone(), *id));
    }
    for (path, id) in &found {
        if let Some(member) = members.iter_mut().find(|member| member.id == *id) {
            member.path = shown(path);
        }
    }
    let known = good.iter().map(|(_, file)| file.next_table).max().unwrap_or(1);
    let next_table = known.max(next_table);
    let what = "written again from what the other roots know";
    let write = |(path, id)| write_of(path, first.database, id, next_table, &members, what);
    Ok(found.into_iter().map(write).collect())
}

/// No root knows anything: a new identity, unless something says that roots are missing.
fn anew(bad: &[&RootRemains], next_table: u32) -> Result<Vec<Write>> {
    for root in bad {
        let listed = root.remains.lines().filter(|line| line.trim() == "[[roots]]").count();
        if listed > bad.len() {
            let reason = format!(
                "its littfs.root is damaged and lists {listed} roots; give all of them, since any \
                 other may know its identity"
            );
            return Err(Error::Root { root: root.path.clone(), reason });
        }
    }
    let database = new_identity()?;
    let mut members = Vec::new();
    for root in bad {
        members.push(Member { id: new_identity()?, path: shown(&root.path) });
    }
    let what = "made anew, with a new identity of the database";
    let write = |(root, member): (&&RootRemains, &Member)| {
        write_of(root.path.clone(), database, member.id, next_table, &members, what)
    };
    Ok(bad.iter().zip(&members).map(write).collect())
}

fn write_of(
    root: PathBuf,
    database: Identity,
    id: Identity,
    next_table: u32,
    members: &[Member],
    what: &'static str,
) -> Write {
    let file =
        RootFile { format: ROOT_FORMAT, database, root: id, next_table, roots: members.to_vec() };
    Write { path: root.join(ROOT_FILE_NAME), content: file.encode(), what, root }
}
