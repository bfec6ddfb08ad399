//! `littfs.root`: taken from the other roots, or made anew for a database that lost them all.

use std::path::Path;

use super::aside::Aside;
use super::{Repair, Step};
use crate::db::OpenOptions;
use crate::disk::{Disk, DiskPath};
use crate::error::Result;
use crate::layout::table_file::TableFileCopy;
use crate::roots::mend::plan;

/// Writes the identities of roots that have no good one.
pub(super) fn mend(options: &OpenOptions, aside: &mut Aside, report: &mut Repair) -> Result<()> {
    let disk = &options.disk;
    let Some(plan) = plan(disk, &options.roots, |root| next_table(disk, root))? else {
        return Ok(());
    };
    for write in &plan.writes {
        let kept = aside.replace(&write.root, &write.path, write.content.as_bytes())?;
        let (file, what) = (write.path.clone(), write.what.to_owned());
        report.mended.push(Step { table: None, file, what, kept });
    }
    Ok(())
}

/// A number that no table in this root has.
fn next_table(disk: &Disk, root: &Path) -> u32 {
    let number = |name: std::ffi::OsString| {
        let copy = TableFileCopy::read(&DiskPath::new(disk, root.join(name)));
        copy.good().map(|file| u32::from(file.number))
    };
    let names = disk.list(root).unwrap_or_default();
    names.into_iter().filter_map(number).max().unwrap_or(0) + 1
}
