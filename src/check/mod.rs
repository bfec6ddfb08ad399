//! Checks a database that nobody has open: every checksum and every cross-reference.
//!
//! It reads the files as they are: it takes the locks of the roots but does not recover, repair or
//! remove anything, as opening a table would. What is damaged is named with its file, its place
//! and the keys that suffer; one damaged file costs only what it hit, and the rest is checked on.
//!
//! What a crash may leave and the next open puts right is a note; what cannot come from a crash is
//! damage. Memory is bounded by the size of a segment, never by that of a table: records are
//! checked in batches, names are compared in one merged walk, the keymap in sorted batches.
//!
//! Files: `table_file` (the settings in every root), `inventory` (what files there are), `segment`
//! (one segment as a whole), `log` and `run` (its names), `records`, `value` and `gaps` (its
//! shards), `names` (all segments together), `keymap`.

mod checker;
mod gaps;
mod inventory;
mod keymap;
mod log;
mod names;
mod records;
mod report;
mod run;
mod segment;
mod table_file;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashSet;
use std::sync::Arc;

pub use self::checker::Progress;
use self::checker::{Checker, TableFacts};
pub use self::report::{
    AffectedKeys, Counts, FINDINGS_MAX, Finding, Report, SAMPLE_KEYS, Severity,
};
use crate::db::OpenOptions;
use crate::disk::DiskPath;
use crate::error::{Error, Result};
use crate::layout::scan::RootsScan;
use crate::layout::segment_files::SegmentDirs;
use crate::names::BlockCache;
use crate::roots::{Roots, RootsOptions};
use crate::segment::descriptors::Descriptors;

/// Checks one table, or all. Of `options` the roots, `degraded`, the clock, the disk and the
/// limits of the configuration count; nothing is ever written but the lock file of a root that has
/// none. Fails when the roots cannot be opened (in use, missing, not a database) or there is no
/// such table; everything else is a finding.
pub fn check(
    options: &OpenOptions,
    table: Option<&str>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report> {
    let roots_options = RootsOptions {
        create: false,
        degraded: options.degraded,
        read_only: true,
        reserve_bytes: options.engine.reserve_bytes,
    };
    let roots = Roots::open(&options.disk, &options.roots, roots_options)?;
    let mut checker = Checker {
        disk: options.disk.clone(),
        clock: options.clock.clone(),
        roots: roots.dirs().cloned().collect(),
        descriptors: Arc::new(Descriptors::new(options.engine.descriptors_max)),
        report: Report::default(),
        table: None,
        progress,
        dropped: HashSet::new(),
        bytes_total: 0,
        bytes_told: 0,
    };
    for missing in roots.missing() {
        let what = format!("this root (identity {}) is missing, and all files in it", missing.id);
        checker.add(Finding::damage(&missing.path, what));
    }
    let scan = RootsScan::new(&checker.roots).complete()?;
    checker.report_leftovers(&scan);
    let tables = scan.tables();
    if let Some(wanted) = table
        && !tables.contains_key(wanted)
    {
        return Err(Error::NoSuchTable { name: wanted.to_owned() });
    }
    for name in tables.into_keys().filter(|name| table.is_none_or(|wanted| wanted == *name)) {
        checker.table = Some(name.to_owned());
        checker.check_table(name);
    }
    Ok(checker.report)
}

impl Checker<'_> {
    /// Tells what is in the roots beside tables.
    fn report_leftovers(&mut self, scan: &RootsScan) {
        for root in &scan.roots {
            for folder in &root.dropped {
                let what = "a dropped table that the next open removes";
                self.add(Finding::note(&folder.path, what));
            }
            for path in &root.replaced {
                let what = "what a repair replaced; it may be deleted";
                self.add(Finding::note(path, what));
            }
        }
        self.dropped = scan.dropped_ids();
    }

    fn check_table(&mut self, name: &str) {
        self.report.counts.tables += 1;
        let table_dirs: Vec<DiskPath> = self.roots.iter().map(|root| root.join(name)).collect();
        let Some(file) = self.check_table_files(&table_dirs) else { return };
        if self.dropped.contains(&file.id_hex()) {
            let what = "a table that is being dropped; the next open removes what is left of it";
            let dirs = table_dirs.iter().filter(|dir| matches!(self.disk.exists(dir), Ok(true)));
            for dir in dirs.cloned().collect::<Vec<_>>() {
                self.add(Finding::note(&dir, what));
            }
            return;
        }
        let facts = TableFacts {
            name: name.to_owned(),
            dirs: SegmentDirs::new(name, &table_dirs),
            table_dirs,
            file,
            cache: Arc::new(BlockCache::default()),
            now_ns: self.clock.now_ns(),
        };
        let inventory = self.take_inventory(&facts);
        let keymap_files = self.check_keymap_files(&facts, &inventory);
        let mut layers = names::Layers::default();
        for (number, files) in &inventory.segments {
            self.report.counts.segments += 1;
            self.check_segment(&facts, *number, files, &mut layers);
        }
        self.check_names(&facts, layers, keymap_files);
    }
}
