//! STUB of the checker (the real one is being written; signatures are the contract).
#![allow(missing_docs, clippy::missing_const_for_fn)]
use std::path::PathBuf;

use crate::{Db, Result};

/// Something that is not as it must be.
#[derive(Clone, Debug)]
pub struct Finding {
    pub file: PathBuf,
    pub offset: Option<u64>,
    pub what: String,
}

/// What a check saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub findings: Vec<Finding>,
    pub values_checked: u64,
    pub bytes_checked: u64,
}

/// Verifies every byte of one table, or of all.
pub fn check(db: &Db, table: Option<&str>) -> Result<Report> {
    unimplemented!("check of {table:?} in {db:?}")
}
