//! What the tests, benches and fuzz targets of littfs itself reach into.
//!
//! Built only with the feature `testing`, for nobody else, and changed without notice. The engine
//! keeps its parts to itself: what stands here takes and gives plain things.

pub mod fuzz;
pub mod keymap;
pub mod names;
pub mod rng;

pub use crate::disk::{Disk, DiskFile, Effect, Fault, Faults, FileId, Recorder};
