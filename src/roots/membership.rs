//! Which directories make up the database: a decision without any disk access.
//!
//! The members of a database are the union of what the given roots say, so that a crash while a
//! root joined, between writing one `littfs.root` and the next, leaves lists of different length
//! and still one answer. A root is only listed by others after its own file is durable; therefore
//! a listed root that cannot be found is truly missing, never half made.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::format::root_file::{Identity, Member, RootFile};

/// What was found at a given path.
#[derive(Debug)]
pub(super) enum RootContent {
    /// Nothing.
    Nothing,
    /// A directory that could become a root.
    Empty,
    /// A root of some database.
    Root(RootFile),
    /// Something that cannot be read; why.
    Unusable(String),
}

/// A path as it was given, and what is there.
#[derive(Debug)]
pub(super) struct GivenRoot {
    pub(super) path: PathBuf,
    pub(super) found: RootContent,
}

/// What to do with the candidates.
#[derive(Debug)]
pub(super) struct Membership {
    /// The database of the roots that were found; none when it is to be created.
    pub(super) database: Option<Identity>,
    /// The number of the next new table.
    pub(super) next_table: u32,
    /// All members, joining roots not yet among them, with the paths they have now.
    pub(super) members: Vec<Member>,
    /// Candidates, by index, that become new roots.
    pub(super) joining: Vec<usize>,
    /// Members that are not there; only when opened degraded.
    pub(super) missing: Vec<Member>,
}

/// Decides, or says which root is wrong and what helps.
pub(super) fn plan(candidates: &[GivenRoot], create: bool, degraded: bool) -> Result<Membership> {
    refuse_unusable(candidates, degraded)?;
    let found: Vec<(&Path, &RootFile)> = candidates.iter().filter_map(root_file).collect();
    let Some((first_path, first)) = found.first().copied() else {
        return plan_new(candidates, create && !degraded);
    };
    refuse_strangers(first_path, first, &found)?;
    let members = union(&found);
    let missing: Vec<Member> = members
        .iter()
        .filter(|member| !found.iter().any(|(_, file)| file.root == member.id))
        .cloned()
        .collect();
    if !missing.is_empty() && !degraded {
        return Err(missing_error(candidates, &missing));
    }
    let mut joining = Vec::new();
    for (index, candidate) in candidates.iter().enumerate() {
        let place_of_missing = missing.iter().any(|member| member.path == shown(&candidate.path));
        match &candidate.found {
            RootContent::Root(_) | RootContent::Unusable(_) => {}
            RootContent::Nothing | RootContent::Empty if place_of_missing => {}
            RootContent::Nothing | RootContent::Empty if create => joining.push(index),
            RootContent::Nothing => {
                return Err(root_error(candidate, "this directory does not exist"));
            }
            RootContent::Empty => return Err(root_error(candidate, "this is not a littfs root")),
        }
    }
    let next_table = found.iter().map(|(_, file)| file.next_table).max().unwrap_or(1);
    Ok(Membership { database: Some(first.database), next_table, members, joining, missing })
}

/// A path as it is kept in `littfs.root`.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn root_file(candidate: &GivenRoot) -> Option<(&Path, &RootFile)> {
    match &candidate.found {
        RootContent::Root(file) => Some((&candidate.path, file)),
        _ => None,
    }
}

fn root_error(candidate: &GivenRoot, reason: impl Into<String>) -> Error {
    Error::Root { root: candidate.path.clone(), reason: reason.into() }
}

fn refuse_unusable(candidates: &[GivenRoot], degraded: bool) -> Result<()> {
    for candidate in candidates {
        if let RootContent::Unusable(reason) = &candidate.found
            && !degraded
        {
            return Err(root_error(candidate, reason));
        }
    }
    Ok(())
}

/// No candidate is a root yet: a new database, if that is wanted.
fn plan_new(candidates: &[GivenRoot], create: bool) -> Result<Membership> {
    let Some(candidate) = candidates.first() else { return Err(Error::NoRoots) };
    if !create {
        let reason = match &candidate.found {
            RootContent::Nothing => {
                "this directory does not exist, so there is no littfs database in it"
            }
            _ => "there is no littfs database here",
        };
        return Err(root_error(candidate, reason));
    }
    let joining = (0..candidates.len()).collect();
    let (members, missing) = (Vec::new(), Vec::new());
    Ok(Membership { database: None, next_table: 1, members, joining, missing })
}

/// All roots found must be of one database, and each a different one.
fn refuse_strangers(
    first_path: &Path,
    first: &RootFile,
    found: &[(&Path, &RootFile)],
) -> Result<()> {
    for (index, (path, file)) in found.iter().enumerate() {
        if file.database != first.database {
            let reason = format!(
                "it belongs to another database ({}) than {} ({}); open them one at a time",
                file.database,
                first_path.display(),
                first.database
            );
            return Err(Error::Root { root: path.to_path_buf(), reason });
        }
        if let Some((other, _)) = found[..index].iter().find(|(_, other)| other.root == file.root) {
            let reason = format!(
                "it is a copy of {}: both have the identity {}; give only one of them",
                other.display(),
                file.root
            );
            return Err(Error::Root { root: path.to_path_buf(), reason });
        }
    }
    Ok(())
}

/// Every member any root knows of: the longest list first, then what only others know. Roots that
/// were found carry the path they have now.
pub(super) fn union(found: &[(&Path, &RootFile)]) -> Vec<Member> {
    let mut files: Vec<&RootFile> = found.iter().map(|(_, file)| *file).collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.roots.len()));
    let mut members: Vec<Member> = Vec::new();
    for member in files.iter().flat_map(|file| &file.roots) {
        if members.iter().any(|known| known.id == member.id) {
            continue;
        }
        let here = found.iter().find(|(_, file)| file.root == member.id);
        let path = here.map_or_else(|| member.path.clone(), |(path, _)| shown(path));
        members.push(Member { id: member.id, path });
    }
    members
}

fn missing_error(candidates: &[GivenRoot], missing: &[Member]) -> Error {
    let member = &missing[0];
    let given = candidates.iter().find(|candidate| shown(&candidate.path) == member.path);
    let what = match given.map(|candidate| &candidate.found) {
        None => "was not given: add it with --root (this is where it was last)",
        Some(RootContent::Nothing) => "is missing, its directory does not exist: mount its drive",
        Some(_) => "is missing, its directory is empty: mount its drive",
    };
    let others: Vec<&str> = missing[1..].iter().map(|other| other.path.as_str()).collect();
    let more = match others.as_slice() {
        [] => String::new(),
        others => format!("; missing too: {}", others.join(", ")),
    };
    let reason = format!(
        "this root of the database (identity {}) {what}, or open without its files by --degraded{more}",
        member.id
    );
    Error::Root { root: PathBuf::from(&member.path), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> Identity {
        Identity([number; 16])
    }

    fn member(number: u8) -> Member {
        Member { id: id(number), path: format!("/r{number}") }
    }

    fn root(number: u8, knows: &[u8]) -> GivenRoot {
        let file = RootFile {
            format: 1,
            database: id(99),
            root: id(number),
            next_table: u32::from(number),
            roots: knows.iter().map(|&known| member(known)).collect(),
        };
        GivenRoot { path: PathBuf::from(format!("/r{number}")), found: RootContent::Root(file) }
    }

    fn at(path: &str, found: RootContent) -> GivenRoot {
        GivenRoot { path: PathBuf::from(path), found }
    }

    fn numbers(members: &[Member]) -> Vec<u8> {
        members.iter().map(|member| member.id.0[0]).collect()
    }

    #[test]
    fn the_union_of_lists_counts_in_any_order() {
        let given = [root(3, &[1, 2, 3]), root(1, &[1]), root(2, &[1, 2])];
        let plan = plan(&given, true, false).expect("complete");
        assert_eq!(numbers(&plan.members), [1, 2, 3]);
        assert_eq!((plan.next_table, plan.joining.len()), (3, 0));
        assert_eq!(plan.database, Some(id(99)));
    }

    #[test]
    fn missing_roots_are_named_unless_degraded() {
        for (given, part) in [
            (vec![root(1, &[1, 2])], "was not given"),
            (vec![root(1, &[1, 2]), at("/r2", RootContent::Nothing)], "does not exist"),
            (vec![root(1, &[1, 2]), at("/r2", RootContent::Empty)], "is empty"),
        ] {
            let message = plan(&given, true, false).expect_err(part).to_string();
            assert!(message.starts_with("root /r2: "), "{message}");
            assert!(message.contains(part) && message.contains("--degraded"), "{message}");
            assert!(message.contains(&id(2).to_string()), "{message}");
            let open = plan(&given, true, true).expect("degraded");
            assert_eq!(numbers(&open.missing), [2]);
            assert!(open.joining.is_empty(), "an empty place of a missing root must not join");
        }
    }

    #[test]
    fn empty_directories_join_only_when_creating() {
        let given =
            [root(1, &[1]), at("/new", RootContent::Empty), at("/newer", RootContent::Nothing)];
        assert_eq!(plan(&given, true, false).expect("join").joining, [1, 2]);
        let message = plan(&given, false, false).expect_err("no create").to_string();
        assert_eq!(message, "root /new: this is not a littfs root");
    }

    #[test]
    fn strangers_and_copies_are_refused() {
        let mut stranger = root(2, &[2]);
        if let RootContent::Root(file) = &mut stranger.found {
            file.database = id(98);
        }
        let message = plan(&[root(1, &[1]), stranger], true, false).expect_err("two").to_string();
        assert!(message.contains("/r2: it belongs to another database"), "{message}");
        let mut copy = root(1, &[1]);
        copy.path = PathBuf::from("/copy");
        let message = plan(&[root(1, &[1]), copy], true, false).expect_err("copy").to_string();
        assert!(message.contains("/copy: it is a copy of /r1"), "{message}");
    }

    #[test]
    fn nothing_is_created_where_it_was_not_asked_for() {
        let given = [at("/a", RootContent::Nothing)];
        assert!(plan(&given, true, false).is_ok());
        for (create, degraded) in [(false, false), (true, true)] {
            let message = plan(&given, create, degraded).expect_err("absent").to_string();
            assert!(message.contains("no littfs database"), "{message}");
        }
        assert!(plan(&[], false, false).is_err());
    }
}
