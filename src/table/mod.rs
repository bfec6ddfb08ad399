//! A table: a namespace of values that are written once and expire together.
//!
//! This floor joins shards, key logs, memtables, runs and the keymap into one store. A [`Table`] owns
//! parts, each the only one that touches its state:
//!
//! | part | what it knows |
//! |---|---|
//! | `identity` `ids` | who the table is; the identities it gives to values |
//! | `health` | whether it may be used: closed, dropped, poisoned; which drive is to blame |
//! | `lifetime` | the table file: time to live, grace, attributes of the folder; what has expired |
//! | `segments` | which segments there are, which takes writes; the only place that replaces the view |
//! | `index` | where a key is in the sealed segments: keymap and runs |
//! | `locks` | the locks on names |
//! | `signals` | what threads wait for |
//!
//! What is done with them, each file resting on those before it: a lookup (`find.rs`), reading and
//! listing (`reader.rs`, `scan.rs`, `iter.rs`), folders (`folders.rs`), storing (`put.rs`, `writer/`),
//! renaming and removing (`change.rs`); and, in their own time, `flush.rs`, `seal.rs`, `expire.rs`,
//! which `maintenance.rs` calls. Opening is in `open.rs` and `recover.rs`.
//!
//! # Locks
//!
//! In this order, each optional; nothing takes an earlier one while it holds a later one:
//!
//! 1. `upkeep_io`: one round of sealing, expiry and mending at a time.
//! 2. that of the table file, in `lifetime`, held over its replacement.
//! 3. those of `segments`: a change of the view, the making of a segment, then the gate of the
//!    active one, for reading over each write, for writing to close it.
//! 4. those of `locks`: one refresh of folder mentions at a time, then the stripes of names.
//!
//! All others are leaves, held over a few instructions or, in a key log, over one append. Readers
//! take none but leaves.

mod active;
mod change;
mod context;
mod draft;
mod expire;
mod find;
mod flush;
mod folders;
mod group_flush;
mod health;
mod hold;
mod identity;
mod ids;
mod index;
mod iter;
mod key;
mod lifetime;
mod locks;
mod maintenance;
mod open;
mod put;
mod reader;
mod recover;
mod replay;
mod scan;
mod seal;
mod sealed;
mod segments;
mod settings;
mod signals;
mod take_up;
mod usage;
mod view;
mod watch;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use self::group_flush::GroupFlush;
use self::health::Health;
use self::identity::TableIdentity;
use self::ids::ValueIds;
use self::index::Index;
use self::lifetime::Lifetime;
use self::locks::Locks;
use self::segments::Segments;
use self::signals::TableSignals;
use crate::error::{Error, Result};

pub use self::iter::{FolderIter, KeyIter, ValueIter};
pub use self::key::check_file as check_file_key;
pub use self::reader::ValueReader;
pub use self::scan::Scan;
pub use self::usage::Usage;
pub use self::writer::Writer;
pub use crate::settings::TableSettings;

pub(crate) use self::context::Context;
pub(crate) use self::hold::ExpiryHold;
#[cfg(any(test, feature = "mount"))]
pub(crate) use self::iter::Direction;
pub(crate) use self::key::check as check_key;
pub(crate) use self::maintenance::Threads;
pub(crate) use self::open::NewTable;
pub(crate) use self::watch::{Watcher, Watchers};

/// A table of an open database. All methods may be called from any number of threads.
#[derive(Debug)]
pub struct Table {
    /// Itself, for what outlives a call: writers and iterators.
    me: Weak<Self>,
    identity: Arc<TableIdentity>,
    context: Arc<Context>,
    health: Arc<Health>,
    lifetime: Arc<Lifetime>,
    ids: ValueIds,
    segments: Segments,
    index: Index,
    locks: Locks,
    signals: Arc<TableSignals>,
    flushing: GroupFlush,
    /// Locked over a round of sealing, expiry and mending.
    upkeep_io: Mutex<()>,
}

impl Table {
    /// The name of the table, which is that of its folder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// The number of the table, 1..=65535: the upper 16 bits of the inode numbers in it.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.identity.number
    }

    /// Why the table takes no more writes, if so.
    #[must_use]
    pub fn poisoned(&self) -> Option<String> {
        self.health.poisoned()
    }

    /// The identity of the table as hexadecimal digits.
    pub(crate) fn id_hex(&self) -> String {
        self.identity.id_hex()
    }

    fn shared(&self) -> Result<Arc<Self>> {
        self.me.upgrade().ok_or(Error::Closed)
    }
}
