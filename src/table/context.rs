//! What all tables of a database share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::hold::ExpiryHold;
use super::watch::Watchers;
use crate::clock::Clock;
use crate::config::Config;
use crate::disk::Disk;
use crate::names::BlockCache;
use crate::roots::Roots;
use crate::segment::descriptors::Descriptors;

/// Limits, drives and caches of one open database.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) disk: Disk,
    pub(crate) clock: Clock,
    pub(crate) config: Config,
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
