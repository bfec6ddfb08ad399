//! littfs: files that are written once and expire.
#![doc = ""]

pub mod clock;
pub mod disk;
mod error;
mod format;
mod segment;
mod keymap;
mod names;

pub use crate::error::{Error, Result};
pub use crate::format::attributes::{Attributes, Kind};
pub use crate::format::entry::Entry;
pub use crate::format::location::{Location, SegmentNumber, ValueId};
