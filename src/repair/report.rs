//! What a repair did, for whoever asked for it.

use std::path::PathBuf;

/// Something that was mended, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The table, unless it concerns the whole database.
    pub table: Option<String>,
    /// The file it is about.
    pub file: PathBuf,
    /// What was done, or what is lost.
    pub what: String,
    /// Where the file that was there before is kept; it may be deleted.
    pub kept: Option<PathBuf>,
}

/// What a repair did.
#[derive(Clone, Debug, Default)]
pub struct Repair {
    /// What was mended.
    pub mended: Vec<Step>,
    /// What could not be.
    pub lost: Vec<Step>,
    /// The folders with everything that was replaced; they may be deleted.
    pub kept: Vec<PathBuf>,
}
