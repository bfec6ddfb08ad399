//! The folders of tables in the roots: which there are, and removing them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use crate::error::Result;
use crate::layout::table_file::{good_copies, newest, read_copies};
use crate::layout::{DROPPED_PREFIX, check_table_name, dropped_name};
use crate::table::{Context, Table};

/// The tables that are in any of the roots.
pub(super) fn table_names(context: &Context) -> Result<Vec<String>> {
    let mut names = HashSet::new();
    for root in context.roots.paths() {
        for name in context.disk.list(&root)? {
            if let Some(name) = name.to_str()
                && check_table_name(name).is_ok()
                && Table::is_table_dir(context, &root.join(name))?
            {
                names.insert(name.to_owned());
            }
        }
    }
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort_unstable();
    Ok(names)
}

/// Why tables cannot be opened that have the number of another one, as a copy of a folder has:
/// both would give their files the same inode numbers, and nobody knows which one is meant.
pub(super) fn same_numbers(context: &Context, names: &[String]) -> BTreeMap<String, String> {
    let mut by_number: HashMap<u16, Vec<&String>> = HashMap::new();
    for name in names {
        let copies = read_copies(&context.disk, &table_dirs(context, name));
        if let Some((_, newest)) = newest(&copies) {
            by_number.entry(newest.number).or_default().push(name);
        }
    }
    let mut reasons = BTreeMap::new();
    for same in by_number.into_values().filter(|same| same.len() > 1) {
        for name in &same {
            let others: Vec<&str> =
                same.iter().filter(|other| other != &name).map(|other| other.as_str()).collect();
            let reason = format!(
                "it is the same table as {}; move the copy out of the roots",
                others.join(", ")
            );
            reasons.insert((*name).clone(), reason);
        }
    }
    reasons
}

/// The ids of the tables whose files are under this name in the roots.
pub(super) fn ids_on_disk(context: &Context, name: &str) -> Vec<String> {
    let copies = read_copies(&context.disk, &table_dirs(context, name));
    good_copies(&copies).map(|(_, file)| file.id_hex()).collect()
}

/// The folder of a table in each root.
fn table_dirs(context: &Context, name: &str) -> Vec<PathBuf> {
    context.roots.paths().into_iter().map(|root| root.join(name)).collect()
}

/// Renames the folders of a table out of the way in every root, durably, then removes them. From
/// the first rename on the table is gone, whatever a crash leaves.
pub(super) fn remove_table_dirs(context: &Context, name: &str, id: &str) -> Result<()> {
    let disk = &context.disk;
    let roots = context.roots.paths();
    let dropped = dropped_name(id);
    for root in &roots {
        if disk.exists(&root.join(name))? {
            disk.rename(&root.join(name), &root.join(&dropped))?;
            disk.sync_dir(root)?;
        }
    }
    roots.iter().try_for_each(|root| disk.remove_tree(&root.join(&dropped)))
}

/// The ids of tables of which a crash interrupted the dropping.
pub(super) fn half_dropped(context: &Context) -> Result<HashSet<String>> {
    let mut dropped = HashSet::new();
    for root in context.roots.paths() {
        for name in context.disk.list(&root)? {
            if let Some(id) = name.to_str().and_then(|name| name.strip_prefix(DROPPED_PREFIX)) {
                dropped.insert(id.to_owned());
            }
        }
    }
    Ok(dropped)
}

/// Finishes dropping tables where a crash came in between.
pub(super) fn finish_drops(context: &Context) -> Result<()> {
    let dropped = half_dropped(context)?;
    if dropped.is_empty() {
        return Ok(());
    }
    for name in table_names(context)? {
        let ids = ids_on_disk(context, &name);
        if let Some(id) = ids.into_iter().find(|id| dropped.contains(id)) {
            remove_table_dirs(context, &name, &id)?;
        }
    }
    for root in context.roots.paths() {
        for id in &dropped {
            context.disk.remove_tree(&root.join(dropped_name(id)))?;
        }
    }
    Ok(())
}
