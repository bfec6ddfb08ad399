//! Rebuilds what can be rebuilt of a damaged database that nobody has open.
//!
//! What stands twice is taken from where it is good: identities of roots and settings of tables from
//! the other roots, a run or a key log from the records in the shards, metadata of a segment from its
//! key file, the keymap from the runs. Values stand once: a damaged one stays damaged, and its name
//! stays, so that reading it says what is wrong.
//!
//! # Order
//!
//! Nothing is destroyed: a file is replaced by a rename over it after it got a second name in
//! `.replaced-N` of its root, and what is in the way is moved there. A replacement is durable before
//! it takes the place. So a kill at any point leaves a database that can be repaired again: each
//! step looks only at what is on disk. Within a segment the metadata comes last, since a segment
//! exists when its metadata does; the keymap goes before a run is replaced, since it must not know
//! names that the run does not.
//!
//! In the end the database is opened and closed once: that finishes what a crash left, makes the
//! keymap, and gives names their folders back.

mod aside;
mod keymap;
mod log;
mod names;
mod records;
mod report;
mod roots;
mod run;
mod segment;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::aside::Aside;
pub use self::report::{Repair, Step};
use crate::db::Db;
use crate::db::OpenOptions;
use crate::disk::{Disk, DiskPath};
use crate::error::{Error, Result};
use crate::format::table_file::TableFile;
use crate::layout::scan::RootsScan;
use crate::layout::segment_files::SegmentDirs;
use crate::names::{BlockCache, Run};
use crate::roots::{Roots, RootsOptions};

/// Repairs one table, or all. Fails when the database is in use, a root is missing, or a drive
/// cannot be read or written; then what was mended until then stays mended, and it can be started
/// again.
pub fn repair(options: &OpenOptions, table: Option<&str>) -> Result<Repair> {
    let mut report = Repair::default();
    let mut aside = Aside::new(&options.disk);
    roots::mend(options, &mut aside, &mut report)?;
    let roots_options = RootsOptions {
        create: false,
        degraded: false,
        read_only: false,
        reserve_bytes: options.engine.reserve_bytes,
    };
    let roots = Roots::open(&options.disk, &options.roots, roots_options)?;
    let scan = RootsScan::new(roots.dirs()).complete()?;
    let tables = scan.tables();
    if let Some(wanted) = table
        && !tables.contains_key(wanted)
    {
        return Err(Error::NoSuchTable { name: wanted.to_owned() });
    }
    let mut repairer = Repairer {
        disk: options.disk.clone(),
        now_ns: options.clock.now_ns(),
        roots,
        aside,
        report,
    };
    let mut mended = Vec::new();
    for name in tables.into_keys().filter(|name| table.is_none_or(|wanted| wanted == *name)) {
        let before = repairer.report.mended.len();
        repairer.mend_table(name)?;
        if repairer.report.mended.len() > before {
            mended.push(name.to_owned());
        }
    }
    let Repairer { aside, mut report, roots, .. } = repairer;
    drop(roots);
    report.kept = aside.folders();
    finish(options, &mended, &mut report)?;
    Ok(report)
}

/// Opens the database, which does the rest, and gives the names of these tables their folders.
fn finish(options: &OpenOptions, mended: &[String], report: &mut Repair) -> Result<()> {
    let options = OpenOptions { create: false, read_only: false, ..options.clone() };
    let db = Db::open(options)?;
    for name in mended {
        // What could not be opened is reported by the check that follows.
        let Ok(table) = db.table(name) else { continue };
        let made = table.restore_folders()?;
        if made > 0 {
            let what = format!("{made} folders whose records are lost were made anew");
            let file = db.roots().swap_remove(0).join(name);
            report.mended.push(Step { table: Some(name.clone()), file, what, kept: None });
        }
    }
    db.close()
}

/// A repair under way.
struct Repairer {
    disk: Disk,
    now_ns: u64,
    roots: Roots,
    aside: Aside,
    report: Repair,
}

/// What is known of the table that is repaired.
struct Facts {
    name: String,
    file: TableFile,
    dirs: SegmentDirs,
    /// The table's folder in each root.
    table_dirs: Vec<DiskPath>,
    cache: Arc<BlockCache>,
    /// The runs of the segments before the one at hand, oldest first.
    older: Vec<Arc<Run>>,
}

impl Repairer {
    fn mended(
        &mut self,
        facts: &Facts,
        file: &Path,
        kept: Option<PathBuf>,
        what: impl Into<String>,
    ) {
        self.mended_of(&facts.name, file, kept, what);
    }

    fn mended_of(
        &mut self,
        table: &str,
        file: &Path,
        kept: Option<PathBuf>,
        what: impl Into<String>,
    ) {
        let (table, file) = (Some(table.to_owned()), file.to_path_buf());
        self.report.mended.push(Step { table, file, what: what.into(), kept });
    }

    fn lost(&mut self, table: &str, file: &Path, what: impl Into<String>) {
        let (table, file) = (Some(table.to_owned()), file.to_path_buf());
        self.report.lost.push(Step { table, file, what: what.into(), kept: None });
    }
}
