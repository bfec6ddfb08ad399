//! littfs: files that are written once and expire.
//!
//! A [`Db`] is a set of [`Table`]s over one or more root directories. A table stores values under
//! keys: each once, each until the table's time to live has passed since it was stored. The
//! `littfs` program mounts a database as a folder; programs that embed it use this library.
//!
//! ```
//! use std::time::Duration;
//! use littfs::{Db, OpenOptions, Scan, TableSettings};
//!
//! # fn main() -> littfs::Result<()> {
//! # let scratch = tempfile::tempdir().expect("a scratch folder");
//! # let root = scratch.path();
//! let db = Db::open(OpenOptions::new([root]).create(true))?;
//! let week = TableSettings::default().with_ttl(Duration::from_secs(7 * 24 * 3600));
//! let frames = db.open_or_create_table("frames", week)?;
//!
//! frames.put(b"2026/cam1/0001.jpg", b"...")?;
//! assert!(frames.put(b"2026/cam1/0001.jpg", b"again").is_err(), "a value is written once");
//! assert_eq!(frames.get(b"2026/cam1/0001.jpg")?.as_deref(), Some(&b"..."[..]));
//! for live in frames.scan(Scan::new().prefix(b"2026/").files_only())? {
//!     let (key, entry) = live?;
//!     assert_eq!((key.as_slice(), entry.len()), (&b"2026/cam1/0001.jpg"[..], 3));
//! }
//! frames.flush()?; // survives a power cut from here on
//! db.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What there is to call
//!
//! | to | call |
//! |---|---|
//! | open or make a database | [`Db::open`] with [`OpenOptions`]; limits and sizes are [`EngineOptions`] |
//! | open or make a table | [`Db::open_or_create_table`] with [`TableSettings`]; [`Db::tables`] |
//! | drop one, with all in it | [`Db::drop_table`] |
//! | store what is at hand | [`Table::put`]; [`Table::put_batch`] for several, all or none |
//! | store what is not, or is long | [`Table::writer`], a [`Writer`], which is [`std::io::Write`] |
//! | read | [`Table::get`], [`Table::get_range`]; [`Table::reader`], which is [`std::io::Read`] |
//! | look | [`Table::exists`], [`Table::entry`]: an [`Entry`] is what is known without reading the value |
//! | walk over many keys | [`Table::scan`] with a [`Scan`], in order, from both ends |
//! | walk over one folder | [`Table::list_folder`] |
//! | read what a scan gives | [`KeyIter::values`], or [`Table::open_value`] for some of it |
//! | be safe from power cuts | nothing, if the last second may be lost; otherwise [`Table::flush`] |
//! | change or remove | [`Table::rename`], [`Table::remove`], while the grace lasts |
//! | verify, repair, describe | [`check::check`], [`repair::repair`], [`info`] |
//!
//! A [`Db`] is a handle that can be cloned, tables come in an [`Arc`](std::sync::Arc), and all their
//! methods may be called from any number of threads.
//!
//! # Keys
//!
//! A key is the path of a value inside its table: 1 to 4095 bytes, between its slashes components of
//! 1 to 255 bytes that are neither `.` nor `..` and hold no NUL byte; it need not be UTF-8. The
//! folders of the path come and go with what is in them. A raw hash or an address is no such
//! key: [`key`] makes one of any bytes, and gives them back.
//!
//! # Units and errors
//!
//! Lengths and offsets are bytes in a `u64`, durations [`Duration`](std::time::Duration), times
//! [`SystemTime`](std::time::SystemTime). A value may have up to 4 TiB. Everything that can fail
//! returns [`Result`] with the one [`Error`], whose text is a sentence for a person: what is wrong with
//! which file, and what helps. Those that a program tells apart most often:
//!
//! | error | meaning |
//! |---|---|
//! | [`Error::Exists`] | a live value has this key |
//! | [`Error::Sealed`] | its grace has passed, nothing changes any more |
//! | [`Error::InvalidKey`], [`Error::KeyTooLong`] | not a key |
//! | [`Error::NoSpace`] | no drive has room; [`Error::is_no_space`] also knows the system's own |
//! | [`Error::Corrupt`] | a checksum does not hold; nothing is ever returned that fails one |
//! | [`Error::Poisoned`] | a drive failed a write, and the table is read-only until it is reopened |
//! | [`Error::BatchTooLarge`], [`Error::BatchValueTooLong`] | not for one batch; [`Table::put`] takes it |
//! | [`Error::TableDropped`], [`Error::Closed`] | the handle has outlived its table, or the [`Db`] |
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
//! - `mount`: `fuse`, which serves a database as a folder.
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
