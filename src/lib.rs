//! littfs: files that are written once and expire.

#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        reason = "tests cast small numbers"
    )
)]

pub mod check;
pub mod clock;
pub mod config;
pub mod db;
pub mod disk;
mod error;
mod format;
mod fs;
pub mod fuse;
mod keymap;
mod names;
mod roots;
mod segment;
pub mod settings_text;
pub mod table;

pub use crate::db::{Db, OpenOptions, Space};
pub use crate::error::{Error, Result};
pub use crate::format::attributes::{Attributes, Kind};
pub use crate::format::entry::Entry;
pub use crate::format::location::{Location, SegmentNumber, ValueId};
pub use crate::roots::{LOCK_FILE_NAME, LOG_FILE_NAME};
pub use crate::table::{
    Direction, FolderIter, KeyIter, Table, TableSettings, Usage, ValueReader, Writer,
};
