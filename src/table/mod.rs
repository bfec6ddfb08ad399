//! A table: a namespace of values that are written once and expire together.
//!
//! This floor joins shards, key logs, memtables, runs and the keymap into one store: where a write
//! goes is in `put.rs`, where a lookup goes in `find.rs`, how memory becomes durable in `flush.rs`
//! and `seal.rs`, what a crash leaves in `recover.rs`, how values go away in `expire.rs`.
//!
//! # Locks
//!
//! In this order, each optional; nothing takes an earlier one while it holds a later one:
//!
//! 0. `upkeep_io`: one round of sealing, expiry and mending at a time.
//! 1. the table file's, in `lifetime.rs`, held over its replacement.
//! 2. `change`: one change of the view at a time. Held over opening a segment, never over sealing.
//! 3. `spare_io`: one segment is made at a time.
//! 4. the gate of the active segment, for reading over each write, for writing to close it.
//! 5. those on names, in `locks.rs`: one refresh of folder mentions at a time, then the stripes of the
//!    keys concerned, in the order of their index.
//! 6. the key log's append lock, the memtable's and `unsettled`: leaves.
//!
//! Readers take none but the leaves.

mod active;
mod change;
mod context;
mod draft;
mod expire;
mod find;
mod flush;
mod folders;
mod health;
mod hold;
mod identity;
mod ids;
mod iter;
mod key;
mod keymap_upkeep;
mod lifetime;
mod locks;
mod maintenance;
mod open;
mod put;
mod reader;
mod recover;
mod replay;
mod room;
mod seal;
mod sealed;
mod settings;
mod signals;
mod spare;
mod view;
mod watch;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::format::location::SegmentNumber;
use crate::keymap::Keymap;
use crate::layout::segment_files::SegmentDirs;
use crate::roots::RootIndex;

use self::health::Health;
use self::identity::Identity;
use self::ids::ValueIds;
use self::lifetime::Lifetime;
use self::locks::Locks;
use self::signals::Signals;

pub use self::iter::{Direction, FolderIter, KeyIter};
pub use self::key::check_file as check_file_key;
pub use self::reader::ValueReader;
pub use self::settings::Usage;
pub use self::writer::Writer;
pub use crate::settings::TableSettings;

pub(crate) use self::context::Context;
pub(crate) use self::hold::ExpiryHold;
pub(crate) use self::key::check as check_key;
pub(crate) use self::maintenance::Threads;
pub(crate) use self::open::NewTable;
pub(crate) use self::watch::{Watcher, Watchers};

/// A table of an open database. All methods may be called from any number of threads.
#[derive(Debug)]
pub struct Table {
    /// Itself, for what outlives a call: writers and iterators.
    me: Weak<Self>,
    identity: Arc<Identity>,
    context: Arc<Context>,
    health: Arc<Health>,
    dirs: SegmentDirs,
    run_files: sealed::RunFiles,

    lifetime: Lifetime,
    ids: ValueIds,
    locks: Locks,

    view: ArcSwap<view::View>,
    /// Locked over a round of upkeep.
    upkeep_io: Mutex<()>,
    change: Mutex<()>,
    /// The segment after the active one, when it was made already; locked over the making.
    spare_io: Mutex<Option<Arc<active::ActiveSegment>>>,
    /// The first sealed segment whose run could not be read; `u32::MAX` for none.
    unreadable_from: AtomicU32,
    /// `None` when the database is open read-only and there is none that can be used.
    keymap: Option<Keymap>,

    next_segment: AtomicU32,
    /// Segments below it are gone for good.
    lowest_live: AtomicU32,

    flushing: flush::GroupFlush,
    signals: Arc<Signals>,
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

    fn lowest_live(&self) -> SegmentNumber {
        SegmentNumber(self.lowest_live.load(Ordering::Acquire))
    }
}

/// The root of this position among the open ones.
fn root_index(position: usize) -> RootIndex {
    // There are at most 65535 roots.
    RootIndex(u16::try_from(position).unwrap_or(u16::MAX))
}
