//! In which root the keymap of a table is.
//!
//! It is in one, whichever; two are what is left when somebody copied or moved it. Opening refuses
//! those, since nobody knows which one is behind; `check` names the second; `repair` moves both
//! away, as the keymap can be made anew.

use super::file_names::KEYMAP_DIR;
use crate::disk::DiskPath;
use crate::error::Result;

/// The folders of the keymap that are there, normally one, given those of its table.
pub(crate) fn keymap_folders(table_dirs: &[DiskPath]) -> Result<Vec<DiskPath>> {
    let mut there = Vec::new();
    for dir in table_dirs {
        let folder = dir.join(KEYMAP_DIR);
        if folder.exists()? {
            there.push(folder);
        }
    }
    Ok(there)
}
