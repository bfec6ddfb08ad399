//! What files and folders are there, in memory.
//!
//! The rules for single steps are in `rules.rs`. With `write_once` unset the model is that of an
//! ordinary file system, which is how the model itself is tested.

use std::collections::BTreeMap;

use nix::errno::Errno;

use super::answers::{Answer, Kind, Look, Result};
use super::real::LINK_TARGET;
use super::steps::SLOTS;

/// A file, folder or link. Numbered by its place in [`Model::files`].
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Known only when it was set.
    pub(super) mtime: Option<i64>,
    /// Writes leave the mtime alone, for the writer or somebody else has set it.
    pub(super) mtime_stays: bool,
    /// How many names stand for it.
    pub(super) names: u64,
    /// Handles that may write, however many duplicates they have.
    pub(super) writers: u32,
    /// The bytes that may be there after a kill while it has a writer; none of them when it may
    /// not be there at all.
    pub(super) versions: Vec<Vec<u8>>,
    /// A duplicate of its writer was closed, and nothing was written since.
    pub(super) is_half_closed: bool,
    /// It was closed empty and opened for writing once more.
    pub(super) was_reopened: bool,
}

impl Node {
    pub(super) fn new(kind: Kind, mode: u32) -> Self {
        let bytes = if kind == Kind::Link { LINK_TARGET.as_bytes().to_vec() } else { Vec::new() };
        Self {
            kind,
            bytes,
            mode,
            uid: 0,
            gid: 0,
            mtime: None,
            mtime_stays: false,
            names: 1,
            writers: 0,
            versions: Vec::new(),
            is_half_closed: false,
            was_reopened: false,
        }
    }

    /// Its bytes were changed.
    pub(super) fn touch(&mut self) {
        self.is_half_closed = false;
        if !self.mtime_stays {
            self.mtime = None;
        }
    }

    /// What its writer has so far is stored.
    pub(super) fn store(&mut self) {
        if self.names == 0 {
            return;
        }
        if !self.versions.contains(&self.bytes) {
            self.versions.push(self.bytes.clone());
        }
    }
}

/// What duplicates of a handle share.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an open flag of its own")]
pub(super) struct Handle {
    pub(super) node: usize,
    pub(super) reads: bool,
    pub(super) writes: bool,
    pub(super) appends: bool,
    /// It counts as a writer of its file: also one that only created it.
    pub(super) is_writer: bool,
    pub(super) position: usize,
    pub(super) duplicates: u32,
}

/// Everything there is.
#[derive(Clone, Debug)]
pub(super) struct Model {
    /// Whether files are fixed when they are closed.
    pub(super) write_once: bool,
    pub(super) names: BTreeMap<String, usize>,
    pub(super) nodes: Vec<Node>,
    pub(super) handles: Vec<Handle>,
    pub(super) slots: [Option<usize>; SLOTS],
    /// For `t` and `u`.
    pub(super) is_grace_long: [bool; 2],
    pub(super) is_ttl_long: [bool; 2],
    pub(super) was_without_grace: [bool; 2],
}

/// What a kill left of a pending file.
pub(super) struct Survivor {
    pub(super) bytes: Vec<u8>,
    pub(super) look: Look,
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

/// The number of a table.
pub(super) fn table(path: &str) -> usize {
    usize::from(path.starts_with('u'))
}

impl Model {
    pub(super) fn new(write_once: bool) -> Self {
        let folder = Node::new(Kind::Folder, 0o755);
        Self {
            write_once,
            names: [("t".to_owned(), 0), ("u".to_owned(), 1)].into(),
            nodes: vec![folder.clone(), folder],
            handles: Vec::new(),
            slots: [None; SLOTS],
            is_grace_long: [true; 2],
            is_ttl_long: [false; 2],
            was_without_grace: [false; 2],
        }
    }

    /// What a path leads to; None when only its last name is missing.
    pub(super) fn find(&self, path: &str) -> Result<Option<usize>> {
        if let Some(parent) = parent(path) {
            let folder = self.find(parent)?.ok_or(Errno::ENOENT)?;
            match self.nodes[folder].kind {
                Kind::Folder => {}
                Kind::File => return Err(Errno::ENOTDIR),
                // They all point to nothing.
                Kind::Link => return Err(Errno::ENOENT),
            }
        }
        Ok(self.names.get(path).copied())
    }

    pub(super) fn existing(&self, path: &str) -> Result<usize> {
        self.find(path)?.ok_or(Errno::ENOENT)
    }

    /// What a path names for calls that follow links.
    pub(super) fn followed(&self, path: &str) -> Result<usize> {
        let node = self.existing(path)?;
        if self.nodes[node].kind == Kind::Link { Err(Errno::ENOENT) } else { Ok(node) }
    }

    pub(super) fn absent(&self, path: &str) -> Result<()> {
        if self.find(path)?.is_some() { Err(Errno::EEXIST) } else { Ok(()) }
    }

    pub(super) fn add(&mut self, path: &str, node: Node) -> usize {
        self.nodes.push(node);
        self.names.insert(path.to_owned(), self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    pub(super) fn remove(&mut self, path: &str) {
        if let Some(node) = self.names.remove(path) {
            self.nodes[node].names -= 1;
        }
    }

    /// A name, and everything below it, becomes another.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        self.remove(to);
        let below = format!("{from}/");
        let is_moved = |name: &&String| **name == from || name.starts_with(&below);
        let moved: Vec<String> = self.names.keys().filter(is_moved).cloned().collect();
        for name in moved {
            let node = self.names.remove(&name).expect("it is there");
            self.names.insert(format!("{to}{}", &name[from.len()..]), node);
        }
    }

    pub(super) fn is_empty_folder(&self, path: &str) -> bool {
        let below = format!("{path}/");
        !self.names.keys().any(|name| name.starts_with(&below))
    }

    /// Whether nothing about it changes any more; `path` tells the table.
    pub(super) fn is_sealed(&self, path: &str, node: usize) -> bool {
        let node = &self.nodes[node];
        self.write_once
            && node.kind != Kind::Folder
            && node.names > 0
            && node.writers == 0
            && !self.is_grace_long[table(path)]
    }

    pub(super) fn refuse_sealed(&self, path: &str, node: usize) -> Result<()> {
        if self.is_sealed(path, node) { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Some name of a node.
    pub(super) fn name_of(&self, node: usize) -> Option<&str> {
        self.names.iter().find(|(_, of)| **of == node).map(|(name, _)| name.as_str())
    }

    /// Closed files that are sealed, or will be as soon as their last close is told.
    pub(super) fn sealed_files(&self) -> Vec<String> {
        self.closed_files().into_iter().filter(|name| !self.is_grace_long[table(name)]).collect()
    }

    pub(super) fn closed_files(&self) -> Vec<String> {
        let is_closed = |node: &Node| node.kind == Kind::File && node.writers == 0;
        let names = self.names.iter().filter(|(_, node)| is_closed(&self.nodes[**node]));
        names.map(|(name, _)| name.clone()).collect()
    }

    /// Files with a name and a writer.
    pub(super) fn pending_files(&self) -> Vec<String> {
        let names = self.names.iter().filter(|(_, node)| self.nodes[**node].writers > 0);
        names.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn list(&self, path: &str) -> Answer {
        let below = format!("{path}/");
        let names = self.names.range(below.clone()..).map_while(|(name, node)| {
            let name = name.strip_prefix(&below)?;
            Some((name, self.nodes[*node].kind))
        });
        let direct = names.filter(|(name, _)| !name.contains('/'));
        Answer::Names(direct.map(|(name, kind)| (name.to_owned(), kind)).collect())
    }

    pub(super) fn look(&self, node: usize) -> Look {
        let identity = node as u64;
        let node = &self.nodes[node];
        let is_folder = node.kind == Kind::Folder;
        let (bytes, links) = match (is_folder, self.write_once) {
            (true, true) => (Some(0), Some(1)),
            (true, false) => (None, None),
            (false, _) => (Some(node.bytes.len() as u64), Some(node.names)),
        };
        Look {
            kind: node.kind,
            bytes,
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            links,
            mtime: node.mtime,
            identity,
        }
    }

    /// All handles are gone with the daemon. What was pending is what `survivor` says, which is
    /// asked for every such name; returns a name with which that cannot be.
    pub(super) fn kill(&mut self, survivor: impl Fn(&str) -> Option<Survivor>) -> Option<String> {
        for name in self.pending_files() {
            let node = &mut self.nodes[self.names[&name]];
            let found = survivor(&name);
            let is_possible = match &found {
                None => node.versions.is_empty(),
                Some(found) => node.versions.contains(&found.bytes),
            };
            if !is_possible {
                return Some(name);
            }
            match found {
                None => self.remove(&name),
                Some(found) => {
                    node.bytes = found.bytes;
                    node.mtime = None;
                    if self.was_without_grace[table(&name)] {
                        // What is stored is sealed then, and takes no attributes until the close.
                        (node.mode, node.uid, node.gid) =
                            (found.look.mode, found.look.uid, found.look.gid);
                    }
                }
            }
        }
        for node in &mut self.nodes {
            node.writers = 0;
            node.versions.clear();
        }
        self.handles.clear();
        self.slots = [None; SLOTS];
        None
    }
}
