//! The folders of tables in the roots: which are to be opened, and removing them.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::disk::DiskPath;
use crate::error::Result;
use crate::layout::dropped_name;
use crate::layout::scan::{RootsScan, TableFolder};
use crate::layout::table_file::{TableFileCopy, good_copies, newest, read_copies};
use crate::table::Context;

/// A table that is in the roots, before it is opened.
pub(super) struct UnopenedTable {
    pub(super) name: String,
    number: Option<u16>,
}

/// The tables in the roots, in byte order of their names. Finishes dropping others where a crash
/// came in between, if anything may be changed.
pub(super) fn unopened_tables(context: &Context) -> Result<Vec<UnopenedTable>> {
    let mut scan = scan(context)?;
    let mut dropped = scan.dropped_ids();
    if !context.read_only && !dropped.is_empty() {
        finish_drops(context, &scan, &dropped)?;
        scan = self::scan(context)?;
        dropped = scan.dropped_ids();
    }
    let mut unopened_tables = Vec::new();
    for (name, folders) in scan.tables() {
        if !is_table(&folders)? {
            continue;
        }
        let copies = copies_in(&folders);
        // Only when nothing may be changed: half of it is gone.
        if dropped_id(&copies, &dropped).is_some() {
            continue;
        }
        let number = newest(&copies).map(|(_, file)| file.number);
        unopened_tables.push(UnopenedTable { name: name.to_owned(), number });
    }
    Ok(unopened_tables)
}

/// What is in the roots. Fails when that cannot be told of all of them.
fn scan(context: &Context) -> Result<RootsScan> {
    RootsScan::new(context.roots.dirs()).complete()
}

/// Whether folders are those of a table, even of one that lost its settings. A crash in the making
/// of a table leaves folders without any file, which are none.
fn is_table(folders: &[&TableFolder]) -> Result<bool> {
    for folder in folders {
        if folder.has_settings || folder.holds_segment_files()? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn copies_in(folders: &[&TableFolder]) -> Vec<TableFileCopy> {
    let folders: Vec<DiskPath> = folders.iter().map(|folder| folder.path.clone()).collect();
    read_copies(&folders)
}

/// The id of the table that these copies are of, if it was dropped.
fn dropped_id(copies: &[TableFileCopy], dropped: &HashSet<String>) -> Option<String> {
    good_copies(copies).map(|(_, file)| file.id_hex()).find(|id| dropped.contains(id))
}

/// Why tables cannot be opened that have the number of another one, as a copy of a folder has:
/// both would give their files the same inode numbers, and nobody knows which one is meant.
pub(super) fn same_numbers(unopened_tables: &[UnopenedTable]) -> BTreeMap<String, String> {
    let mut by_number: HashMap<u16, Vec<&str>> = HashMap::new();
    for unopened in unopened_tables {
        if let Some(number) = unopened.number {
            by_number.entry(number).or_default().push(&unopened.name);
        }
    }
    let mut reasons = BTreeMap::new();
    for same in by_number.into_values().filter(|same| same.len() > 1) {
        for name in &same {
            let others: Vec<&str> = same.iter().copied().filter(|other| other != name).collect();
            let reason = format!(
                "it is the same table as {}; move the copy out of the roots",
                others.join(", ")
            );
            reasons.insert((*name).to_owned(), reason);
        }
    }
    reasons
}

/// Renames the folders of a table out of the way in every root, durably, then removes them. From
/// the first rename on the table is gone, whatever a crash leaves.
pub(super) fn remove_table_dirs(context: &Context, name: &str, id: &str) -> Result<()> {
    let dropped = dropped_name(id);
    for root in context.roots.dirs() {
        let dir = root.join(name);
        if dir.exists()? {
            dir.rename(&root.join(&dropped))?;
            root.sync_dir()?;
        }
    }
    context.roots.dirs().try_for_each(|root| root.join(&dropped).remove_tree())
}

/// Finishes dropping these tables where a crash came in between.
fn finish_drops(context: &Context, scan: &RootsScan, dropped: &HashSet<String>) -> Result<()> {
    for (name, folders) in scan.tables() {
        if let Some(id) = dropped_id(&copies_in(&folders), dropped) {
            remove_table_dirs(context, name, &id)?;
        }
    }
    for root in context.roots.dirs() {
        for id in dropped {
            root.join(dropped_name(id)).remove_tree()?;
        }
    }
    Ok(())
}
