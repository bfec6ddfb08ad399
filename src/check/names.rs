//! The names of all segments together, in order, the newest mention of each.
//!
//! One merged walk over all runs and logs: every name must have its folder, no name may be both a
//! file and a folder, and what is sealed must be found through the keymap. In this order a folder
//! stands directly in front of what is below it, so the folders above a name are a stack.

use std::ops::Bound;
use std::path::PathBuf;

use super::keymap::Lookups;
use super::{AffectedKeys, Checker, Finding, TableFacts};
use crate::error::{Error, Result};
use crate::format::entry::Mention;
use crate::format::key_hash::{KeyHash, Salt};
use crate::format::location::{Location, SegmentNumber};
use crate::format::sort_key::{SORT_SEPARATOR, plain_key};
use crate::layout::segment_files::{keys_name, values_name};
use crate::names::merge::Merge;
use crate::names::run_writer::parent_sort_key;
use crate::names::{Choice, Direction, Layer};
use crate::segment::value::RecordBytes;

/// The names of the segments, oldest first.
#[derive(Default)]
pub(super) struct Layers {
    held: Vec<LayerOf>,
    /// Segments whose names cannot be read in order.
    left_out: u64,
}

#[derive(Clone)]
struct LayerOf {
    segment: SegmentNumber,
    is_sealed: bool,
    layer: Layer,
}

impl Layers {
    /// Adds the names of the next segment, unless they cannot be read in order.
    pub(super) fn add(&mut self, segment: SegmentNumber, layer: Option<Layer>, is_sealed: bool) {
        match layer {
            Some(layer) => self.held.push(LayerOf { segment, is_sealed, layer }),
            None => self.left_out += 1,
        }
    }
}

/// What the walk knows of the names before.
#[derive(Default)]
struct Tree {
    /// The folders above the last name that are there, outermost first.
    folders: Vec<Vec<u8>>,
    /// The last file or link that is live.
    file: Vec<u8>,
    homeless: AffectedKeys,
}

impl Checker<'_> {
    /// Walks the names of all segments.
    pub(super) fn check_names(
        &mut self,
        facts: &TableFacts,
        mut layers: Layers,
        mut lookups: Option<Lookups>,
    ) {
        let segments_dir = facts.dirs.first();
        let mut tree = Tree::default();
        let mut behind: Option<Vec<u8>> = None;
        loop {
            let newest_first: Vec<LayerOf> = layers.held.iter().rev().cloned().collect();
            let walked =
                self.walk_names(facts, &newest_first, &mut behind, &mut tree, lookups.as_mut());
            let Err(error) = walked else { break };
            // The names of that segment are left out, and the walk goes on behind the last name.
            self.add(Finding::of_error(&error, segments_dir));
            let path = damaged_path(&error);
            let before = layers.held.len();
            layers.held.retain(|one| match &one.layer {
                Layer::Run(run) => path.as_deref() != Some(run.path()),
                Layer::Memtable(_) => true,
            });
            layers.left_out += 1;
            if layers.held.len() == before {
                break;
            }
        }
        if layers.left_out > 0 {
            let what = format!(
                "the names of {} segments cannot be read in order, so folders and keymap were \
                 compared with the names of the others only",
                layers.left_out
            );
            self.add(Finding::note(segments_dir, what));
        } else if tree.homeless.count > 0 {
            let what = "the folder of these names is not there, so no listing shows them";
            self.add(Finding::damage(segments_dir, what).affecting(tree.homeless));
        }
        if let Some(lookups) = lookups {
            self.finish_lookups(facts, lookups, |location| key_at(facts, location));
        }
    }

    fn walk_names(
        &mut self,
        facts: &TableFacts,
        newest_first: &[LayerOf],
        behind: &mut Option<Vec<u8>>,
        tree: &mut Tree,
        mut lookups: Option<&mut Lookups>,
    ) -> Result<()> {
        let layers = newest_first.iter().map(|one| one.layer.clone()).enumerate();
        let mut merge = Merge::new(Direction::Forward, layers);
        match behind {
            None => merge.seek(Bound::Unbounded)?,
            Some(key) => merge.seek(Bound::Excluded(key))?,
        }
        loop {
            let mut newest = None;
            let step = merge.step(&mut |mention, source| {
                newest = Some((*mention, source));
                Choice::Take
            })?;
            let (Some(_), Some((mention, source))) = (step, newest) else { return Ok(()) };
            let sort_key = merge.key();
            let held = behind.get_or_insert_default();
            held.clear();
            held.extend_from_slice(sort_key);
            let Some(layer) = newest_first.get(source) else { continue };
            if let Some(what) = tree.place(facts, sort_key, &mention) {
                let path = facts.usual_path(&keys_name(layer.segment));
                let keys = AffectedKeys::one(&plain_key(sort_key));
                self.add(Finding::damage(&path, what).affecting(keys));
            }
            if let Some(lookups) = lookups.as_deref_mut()
                && layer.is_sealed
                && lookups.covers(layer.segment)
            {
                self.look_name_up(facts, lookups, sort_key, &mention);
            }
        }
    }

    fn look_name_up(
        &mut self,
        facts: &TableFacts,
        lookups: &mut Lookups,
        sort_key: &[u8],
        mention: &Mention,
    ) {
        let hash = KeyHash::new(Salt(facts.file.salt()), &plain_key(sort_key));
        let earlier = match mention {
            Mention::Put(entry) => {
                if !facts.is_expired(entry) {
                    self.look_up(lookups, hash.fingerprint(), entry.location, true);
                }
                entry.supersedes
            }
            Mention::Removed { supersedes } => *supersedes,
        };
        let is_live = |location: &Location| location.segment.0 >= facts.file.lowest_segment;
        if let Some(location) = earlier.filter(is_live) {
            self.look_up(lookups, hash.fingerprint(), location, false);
        }
    }
}

impl Tree {
    /// Puts the next name in its place; what is wrong with it, if it is live.
    fn place(
        &mut self,
        facts: &TableFacts,
        sort_key: &[u8],
        mention: &Mention,
    ) -> Option<&'static str> {
        while self.folders.last().is_some_and(|folder| !sort_key.starts_with(folder)) {
            self.folders.pop();
        }
        let Mention::Put(entry) = mention else { return None };
        let is_live = !facts.is_expired(entry);
        let parent = parent_sort_key(sort_key);
        let has_parent =
            parent.is_empty() || self.folders.last().is_some_and(|folder| folder == parent);
        if !has_parent && is_live {
            self.homeless.add(&plain_key(sort_key));
        }
        if let Some(name) = sort_key.strip_suffix(&[SORT_SEPARATOR]) {
            self.folders.push(sort_key.to_vec());
            return (is_live && self.file == name)
                .then_some("there is both a file and a folder of this name");
        }
        if is_live {
            self.file.clear();
            self.file.extend_from_slice(sort_key);
        }
        None
    }
}

fn damaged_path(error: &Error) -> Option<PathBuf> {
    match error {
        Error::Corrupt { path, .. } | Error::Io { path, .. } => Some(path.clone()),
        _ => None,
    }
}

/// The key of the record at a place.
fn key_at(facts: &TableFacts, location: Location) -> Option<Vec<u8>> {
    let name = values_name(location.segment, u32::from(location.shard));
    let file = facts.dirs.open(&name).ok()?;
    let record = RecordBytes::read(&file, location.offset, 0).ok()?;
    Some(record.key().to_vec())
}
