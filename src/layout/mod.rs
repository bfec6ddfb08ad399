//! What lies where in the roots: names of files and folders, and in which root they are.
//!
//! ```text
//! ROOT/TABLE/table.metadata      settings of the table, in every root
//! ROOT/TABLE/segments/N.*        segment files, each in one root, any root
//! ROOT/TABLE/keymap/             the keymap, in one root
//! ROOT/.dropped-ID/              a dropped table that is being removed
//! ROOT/.replaced-N/              what a repair replaced
//! ```
//!
//! This floor finds things and names them. What becomes of what it finds is for its callers to
//! say: opening refuses, `check` reports, `repair` mends.

mod file_names;
pub(crate) mod inventory;
mod keymap_folders;
pub(crate) mod scan;
pub(crate) mod segment_files;
pub(crate) mod table_file;

use crate::disk::DiskPath;
use crate::roots::Roots;

pub use self::file_names::check_table_name;
pub(crate) use self::file_names::{
    KEYMAP_DIR, REPLACED_PREFIX, SEGMENTS_DIR, TABLE_FILE, dropped_name,
};
pub(crate) use self::keymap_folders::keymap_folders;

/// The folder of a table in each root, in the order of the roots.
pub(crate) fn table_dirs(roots: &Roots, name: &str) -> Vec<DiskPath> {
    roots.dirs().map(|root| root.join(name)).collect()
}
