//! littfs: files that are written once and expire.
//!
//! A [`Db`] is a set of [`Table`]s over one or more root directories. A table stores values under
//! keys: each once, each until the table's time to live has passed since it was stored. The
//! `littfs` program mounts a database as a folder ([`fuse`]); programs that embed it use this
//! library.
//!
//! ```
//! use std::time::Duration;
//! use littfs::{Db, OpenOptions, TableSettings};
//!
//! # fn main() -> littfs::Result<()> {
//! # let scratch = tempfile::tempdir().expect("a scratch folder");
//! # let root = scratch.path().to_path_buf();
//! let db = Db::open(OpenOptions::new([root]).create(true))?;
//! let settings = TableSettings {
//!     ttl: Some(Duration::from_secs(7 * 24 * 3600)),
//!     ..TableSettings::default()
//! };
//! let frames = db.open_or_create_table("frames", settings)?;
//!
//! frames.put(b"2026/cam1/0001.jpg", b"...")?;
//! assert!(frames.put(b"2026/cam1/0001.jpg", b"again").is_err(), "a value is written once");
//! assert_eq!(frames.get(b"2026/cam1/0001.jpg")?.as_deref(), Some(&b"..."[..]));
//! for listed in frames.list_folder(b"2026/")? {
//!     let (name, _entry) = listed?;
//!     assert_eq!(name, b"cam1");
//! }
//! frames.flush()?; // survives a power cut from here on
//! db.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Words
//!
//! - **root**: a directory, usually one per drive. A database is a fixed-identity set of roots.
//! - **table**: a namespace with its own settings, keymap and segments.
//! - **key**: the path of a value inside its table, 1..=4095 bytes; a folder's key ends in `/`.
//! - **value**: bytes that never change once they are sealed.
//! - **segment**: the unit of sealing, indexing and expiry, numbered upwards within a table.
//! - **shard**: one value file of a segment: *packed* (many records) or *dedicated* (the bytes of
//!   one large value).
//! - **record**: what a packed shard holds for each value: header, key, bytes.
//! - **mention**: what a segment says of a name: it stands for this, or it was taken away.
//! - **key log**, **run**: the mentions of a segment, in the order they came while it is active,
//!   sorted once it is sealed. **memtable**: the view of a key log in memory.
//! - **keymap**: the on-disk hash table from key to record, over sealed segments.
//! - **grace**: the time after storing in which name and attributes can still be put right.
//!
//! # Features
//!
//! - `program`, the default: the `littfs` program, with what it needs for its command line, and its
//!   configuration file.
//! - `mount`: [`fuse`], which serves a database as a folder.
//!
//! A program that only stores and reads takes neither: `default-features = false`.
//!
//! `docs/ARCHITECTURE.md` is the map of the code, `docs/FORMAT.md` tells every byte on disk,
//! `docs/semantics.md` what the mount does.

#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        reason = "tests cast small numbers"
    )
)]

mod cast;
pub mod check;
mod clock;
#[cfg(any(feature = "program", feature = "testing"))]
pub mod config;
mod db;
#[cfg_attr(
    not(feature = "testing"),
    expect(unreachable_pub, reason = "what the tests see of it is public, with them")
)]
mod disk;
mod engine_options;
mod error;
mod format;
#[cfg(feature = "mount")]
mod fs;
#[cfg(feature = "mount")]
pub mod fuse;
pub mod info;
pub mod key;
mod keymap;
mod layout;
#[cfg(feature = "mount")]
mod memory;
mod names;
mod operation;
pub mod repair;
mod root_id;
mod roots;
mod segment;
pub mod settings;
mod sync;
mod table;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;
mod text;

pub use crate::clock::Clock;
pub use crate::db::{Db, OpenOptions, Space};
pub use crate::engine_options::EngineOptions;
pub use crate::error::{Error, Result};
pub use crate::format::attributes::{Attributes, Kind};
pub use crate::format::entry::Entry;
pub use crate::format::location::ValueId;
pub use crate::keymap::KeymapStats;
pub use crate::layout::check_table_name;
pub use crate::operation::Operation;
pub use crate::root_id::RootId;
pub use crate::roots::{LOCK_FILE_NAME, LOG_FILE_NAME};
pub use crate::table::{
    FolderIter, KeyIter, Scan, Table, TableSettings, Usage, ValueIter, ValueReader, Writer,
};
