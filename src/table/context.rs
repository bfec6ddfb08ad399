//! What all tables of a database share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::hold::ExpiryHold;
use super::watch::Watchers;
use crate::clock::Clock;
use crate::engine_options::EngineOptions;
use crate::format::attributes::{Attributes, Kind};
use crate::names::BlockCache;
use crate::roots::Roots;
use crate::segment::descriptors::Descriptors;

/// Limits, drives and caches of one open database.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) clock: Clock,
    pub(crate) engine: EngineOptions,
    /// Also the only way to the drives: what is done to a file or folder of a table goes through the
    /// path of one of them, so that an error names the root.
    pub(crate) roots: Roots,
    pub(crate) descriptors: Arc<Descriptors>,
    pub(crate) run_cache: Arc<BlockCache>,
    /// Bytes that pending values of all tables hold in memory.
    pub(crate) pending_bytes: AtomicU64,
    pub(crate) read_only: bool,
    pub(crate) watchers: Watchers,
    pub(crate) hold: ExpiryHold,
    /// Effective user and group when the database was opened: who owns what is stored without an
    /// owner. Asked once, since asking is a system call.
    pub(crate) owner: (u32, u32),
}

impl Context {
    /// Attributes of what the embedding program stores.
    pub(crate) fn default_attributes(&self, kind: Kind) -> Attributes {
        let permissions = if kind == Kind::Folder { 0o755 } else { 0o644 };
        let (uid, gid) = self.owner;
        Attributes::new_at_ns(kind, permissions, uid, gid, self.clock.now_ns())
    }
}
