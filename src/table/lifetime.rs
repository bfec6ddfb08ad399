//! How long what is in a table lives, and the table file that says so.
//!
//! The only place that changes the table file. What is in force is what was written last: a change
//! takes effect once it is durable, before anybody else can make another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::context::Context;
use super::health::Health;
use crate::cast::{saturate_ns, saturate_unsigned_ns};
use crate::disk::DiskPath;
use crate::error::Result;
use crate::format::attributes::{Attributes, Kind};
use crate::format::entry::Entry;
use crate::format::table_file::TableFile;
use crate::layout::table_file::write_everywhere;
use crate::settings::TableSettings;

/// In `ttl_ns`: values never expire.
const NEVER_NS: u64 = u64::MAX;
/// A segment is closed when it is older than this part of the TTL.
const TTL_PARTS: u64 = 64;
/// But not before it has this age, however short the TTL.
const AGE_MIN: Duration = Duration::from_secs(30);

/// Settings of a table, attributes of its folder, and what follows from them for an entry.
#[derive(Debug)]
pub(super) struct Lifetime {
    context: Arc<Context>,
    health: Arc<Health>,
    /// The table's folder in each root.
    folders: Vec<DiskPath>,
    /// The table file as it is on disk; locked over its replacement.
    file_io: Mutex<TableFile>,
    /// `NEVER_NS` for none.
    ttl_ns: AtomicU64,
    grace_ns: AtomicU64,
    shards: AtomicU8,
    /// When an entry last came to or went from the table's own folder.
    mtime_ns: AtomicI64,
    ctime_ns: AtomicI64,
}

impl Lifetime {
    /// The lifetime that `file` tells; `folders` are those of the table in each root.
    pub(super) fn new(
        context: &Arc<Context>,
        health: &Arc<Health>,
        folders: Vec<DiskPath>,
        file: TableFile,
    ) -> Self {
        Self {
            context: Arc::clone(context),
            health: Arc::clone(health),
            folders,
            ttl_ns: AtomicU64::new(file.ttl_ns.unwrap_or(NEVER_NS)),
            grace_ns: AtomicU64::new(file.grace_ns),
            shards: AtomicU8::new(file.shards),
            mtime_ns: AtomicI64::new(file.mtime_ns),
            ctime_ns: AtomicI64::new(file.ctime_ns),
            file_io: Mutex::new(file),
        }
    }

    /// The settings now in force.
    pub(super) fn settings(&self) -> TableSettings {
        TableSettings {
            ttl: self.ttl_ns().map(Duration::from_nanos),
            grace: Duration::from_nanos(self.grace_ns.load(Ordering::Acquire)),
            shards: self.shards(),
        }
    }

    /// The number of packed shards of new segments.
    pub(super) fn shards(&self) -> u8 {
        self.shards.load(Ordering::Acquire)
    }

    /// The time to live in ns; `None`: for ever.
    pub(super) fn ttl_ns(&self) -> Option<u64> {
        let ttl_ns = self.ttl_ns.load(Ordering::Acquire);
        (ttl_ns != NEVER_NS).then_some(ttl_ns)
    }

    /// When what was stored at this instant expires, ns since the epoch; `None`: never.
    pub(super) fn expires_at_ns(&self, stored_at_ns: u64) -> Option<u64> {
        self.ttl_ns().map(|ttl_ns| stored_at_ns.saturating_add(ttl_ns))
    }

    /// Whether everything stored up to this instant has expired.
    pub(super) fn is_past(&self, written_at_ns: u64) -> bool {
        let expires_at_ns = self.expires_at_ns(written_at_ns);
        expires_at_ns.is_some_and(|at_ns| at_ns <= self.context.clock.now_ns())
    }

    /// When a segment in use since this instant is to be closed for its age, ns since the epoch.
    pub(super) fn closes_at_ns(&self, in_use_since_ns: u64) -> Option<u64> {
        let age_ns = (self.ttl_ns()? / TTL_PARTS).max(duration_ns(AGE_MIN));
        Some(in_use_since_ns.saturating_add(age_ns))
    }

    /// Whether the entry's grace has passed, so that it changes no more. Folders never seal.
    pub(super) fn is_sealed(&self, entry: &Entry) -> bool {
        if entry.kind() == Kind::Folder {
            return false;
        }
        let changed_ns = saturate_unsigned_ns(entry.attributes.ctime_ns);
        let settled_from_ns = entry.written_at_ns.max(changed_ns);
        let grace_ns = self.grace_ns.load(Ordering::Acquire);
        settled_from_ns.saturating_add(grace_ns) <= self.context.clock.now_ns()
    }

    pub(super) fn set_ttl(&self, ttl: Option<Duration>) -> Result<()> {
        TableSettings { ttl, ..self.settings() }.check()?;
        let ttl_ns = ttl.map(duration_ns);
        self.change_then(
            |file| {
                file.ttl_ns = ttl_ns;
                true
            },
            || self.ttl_ns.store(ttl_ns.unwrap_or(NEVER_NS), Ordering::Release),
        )
        .map(drop)
    }

    pub(super) fn set_grace(&self, grace: Duration) -> Result<()> {
        let grace_ns = duration_ns(grace);
        self.change_then(
            |file| {
                file.grace_ns = grace_ns;
                true
            },
            || self.grace_ns.store(grace_ns, Ordering::Release),
        )
        .map(drop)
    }

    pub(super) fn set_shards(&self, shards: u8) -> Result<()> {
        TableSettings { shards, ..self.settings() }.check()?;
        self.change_then(
            |file| {
                file.shards = shards;
                true
            },
            || self.shards.store(shards, Ordering::Release),
        )
        .map(drop)
    }

    /// Mode, owner and times of the table's own folder.
    pub(super) fn attributes(&self) -> Attributes {
        let (mode, uid, gid) = {
            let file = self.file_io.lock();
            (file.mode, file.uid, file.gid)
        };
        let mut attributes = Attributes::new_at_ns(Kind::Folder, mode, uid, gid, 0);
        attributes.mtime_ns = self.mtime_ns.load(Ordering::Acquire);
        attributes.ctime_ns = self.ctime_ns.load(Ordering::Acquire);
        attributes
    }

    pub(super) fn set_attributes(&self, attributes: Attributes) -> Result<()> {
        let change = |file: &mut TableFile| {
            file.mode = attributes.permissions();
            file.uid = attributes.uid;
            file.gid = attributes.gid;
            file.mtime_ns = attributes.mtime_ns;
            file.ctime_ns = attributes.ctime_ns;
            true
        };
        self.change_then(change, || ())?;
        self.mtime_ns.store(attributes.mtime_ns, Ordering::Release);
        self.ctime_ns.store(attributes.ctime_ns, Ordering::Release);
        Ok(())
    }

    /// A name came to the table's own folder, or went.
    pub(super) fn touch(&self, now_ns: i64) {
        self.mtime_ns.fetch_max(now_ns, Ordering::AcqRel);
        self.ctime_ns.fetch_max(now_ns, Ordering::AcqRel);
    }

    /// A log tells that a name came to the table's own folder. What was set since then stays.
    pub(super) fn touch_again(&self, then_ns: i64) {
        if then_ns > self.ctime_ns.load(Ordering::Acquire) {
            self.touch(then_ns);
        }
    }

    /// Writes down what moves with use, if it has: the times of the table's own folder, and how far
    /// value ids were given out. After a kill both follow from what was stored.
    pub(super) fn keep_marks(&self, next_value_id: u64) -> Result<()> {
        let kept = self.file_io.lock().clone();
        if kept.ctime_ns == self.ctime_ns.load(Ordering::Acquire)
            && kept.next_value_id >= next_value_id
        {
            return Ok(());
        }
        let change = |file: &mut TableFile| {
            file.next_value_id = file.next_value_id.max(next_value_id);
            true
        };
        self.change_then(change, || ()).map(drop)
    }

    /// Replaces the table file in every root, unless `change` finds, now that nobody else changes
    /// it, that this is not to be done; tells whether it was. Once it is durable, and before anybody
    /// else changes it, `then` has it take effect.
    pub(super) fn change_then(
        &self,
        change: impl FnOnce(&mut TableFile) -> bool,
        then: impl FnOnce(),
    ) -> Result<bool> {
        let mut current = self.file_io.lock();
        self.health.check_writable()?;
        let mut changed = current.clone();
        changed.mtime_ns = self.mtime_ns.load(Ordering::Acquire);
        changed.ctime_ns = self.ctime_ns.load(Ordering::Acquire);
        if !change(&mut changed) {
            return Ok(false);
        }
        changed.revision += 1;
        let is_failed = |root| self.context.roots.is_failed(root);
        write_everywhere(&self.folders, is_failed, &changed)
            .inspect_err(|error| self.health.poison_if_sync(error))?;
        *current = changed;
        then();
        Ok(true)
    }

    /// Returns when every change has ended that found the table open.
    pub(super) fn wait_for_change(&self) {
        drop(self.file_io.lock());
    }
}

/// A duration as the table file has it; as good as for ever when it does not fit.
pub(super) fn duration_ns(duration: Duration) -> u64 {
    saturate_ns(duration).min(NEVER_NS - 1)
}
