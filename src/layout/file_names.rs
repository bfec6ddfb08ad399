//! Names of the files and folders that a database makes in its roots. Those of segment files are in
//! `segment_files`; those of the roots themselves, which must be known before any root is open, in
//! `roots`.

use crate::error::{Error, Result};

/// Name of the table file in the table's folder of each root.
pub(crate) const TABLE_FILE: &str = "table.metadata";
/// Folder of the segment files within a table's folder.
pub(crate) const SEGMENTS_DIR: &str = "segments";
/// Folder of the keymap within a table's folder.
pub(crate) const KEYMAP_DIR: &str = "keymap";
/// A table's folder is renamed to this and its id before it is removed.
pub(crate) const DROPPED_PREFIX: &str = ".dropped-";
/// Start of the name of a folder with what a repair replaced.
pub(crate) const REPLACED_PREFIX: &str = ".replaced-";

/// Name of the folder that a table of this id is moved to before it is removed.
pub(crate) fn dropped_name(id: &str) -> String {
    format!("{DROPPED_PREFIX}{id}")
}

/// Refuses what cannot be the name of a table, which is `[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}`.
pub fn check_table_name(name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_good =
        (1..=128).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('.');
    if is_good { Ok(()) } else { Err(Error::InvalidTableName { name: name.to_owned() }) }
}
