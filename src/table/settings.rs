//! Settings of a table, and what follows from them for each entry: expiry and sealing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Table;
use crate::error::Result;
use crate::format::attributes::{Attributes, Kind};
use crate::format::entry::Entry;
use crate::format::table_file::TableFile;
use crate::keymap::{Keymap, KeymapStats};
use crate::layout::table_file::write_everywhere;
use crate::settings::TableSettings;

/// In `ttl_ns`: values never expire.
pub(super) const NEVER_NS: u64 = u64::MAX;

/// What a table holds. Values that have expired count until their segment is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Files and links.
    pub keys: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Segments, sealed or not.
    pub segments: u64,
}

impl Usage {
    fn add(&mut self, keys: u64, bytes: u64) {
        self.keys = self.keys.saturating_add(keys);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

pub(super) fn duration_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER_NS - 1)
}

impl Table {
    /// The settings now in force.
    #[must_use]
    pub fn settings(&self) -> TableSettings {
        let ttl_ns = self.ttl_ns.load(Ordering::Acquire);
        TableSettings {
            ttl: (ttl_ns != NEVER_NS).then(|| Duration::from_nanos(ttl_ns)),
            grace: Duration::from_nanos(self.grace_ns.load(Ordering::Acquire)),
            shards: self.shards.load(Ordering::Acquire),
        }
    }

    /// Sets the time to live of everything in the table, also of what is already there.
    pub fn set_ttl(&self, ttl: Option<Duration>) -> Result<()> {
        TableSettings { ttl, ..self.settings() }.check()?;
        let ttl_ns = ttl.map(duration_ns);
        self.change_settings_then(
            |file| {
                file.ttl_ns = ttl_ns;
                true
            },
            || self.ttl_ns.store(ttl_ns.unwrap_or(NEVER_NS), Ordering::Release),
        )?;
        self.signals.wake_upkeep();
        self.context.watchers.tell(&self.identity.name, self.identity.number);
        Ok(())
    }

    /// Sets the grace of everything in the table, also of what is already there.
    pub fn set_grace(&self, grace: Duration) -> Result<()> {
        let grace_ns = duration_ns(grace);
        self.change_settings_then(
            |file| {
                file.grace_ns = grace_ns;
                true
            },
            || self.grace_ns.store(grace_ns, Ordering::Release),
        )
        .map(drop)
    }

    /// Sets the number of packed shards of new segments.
    pub fn set_shards(&self, shards: u8) -> Result<()> {
        TableSettings { shards, ..self.settings() }.check()?;
        self.change_settings_then(
            |file| {
                file.shards = shards;
                true
            },
            || self.shards.store(shards, Ordering::Release),
        )
        .map(drop)
    }

    /// Mode, owner and times of the table's own folder.
    #[must_use]
    pub fn attributes(&self) -> Attributes {
        let (mode, uid, gid) = {
            let file = self.settings_io.lock();
            (file.mode, file.uid, file.gid)
        };
        let mtime_ns = self.mtime_ns.load(Ordering::Acquire);
        let mut attributes = Attributes::new(Kind::Folder, mode, uid, gid, 0);
        attributes.mtime_ns = mtime_ns;
        attributes.ctime_ns = self.ctime_ns.load(Ordering::Acquire);
        attributes
    }

    /// Changes mode, owner and modification time of the table's own folder.
    pub fn set_attributes(&self, attributes: Attributes) -> Result<()> {
        self.change_settings(|file| {
            file.mode = attributes.permissions();
            file.uid = attributes.uid;
            file.gid = attributes.gid;
            file.mtime_ns = attributes.mtime_ns;
            file.ctime_ns = attributes.ctime_ns;
        })?;
        self.mtime_ns.store(attributes.mtime_ns, Ordering::Release);
        self.ctime_ns.store(attributes.ctime_ns, Ordering::Release);
        Ok(())
    }

    /// A name came to the table's own folder, or went.
    pub(super) fn touch(&self, now_ns: i64) {
        self.mtime_ns.fetch_max(now_ns, Ordering::AcqRel);
        self.ctime_ns.fetch_max(now_ns, Ordering::AcqRel);
    }

    /// Writes down what moves with use, if it has: the times of the table's own folder, and how far
    /// value ids were given out. After a kill both follow from what was stored.
    pub(super) fn keep_marks(&self) -> Result<()> {
        let next_value_id = self.next_value_id.load(Ordering::Acquire);
        let kept = self.settings_io.lock().clone();
        if kept.ctime_ns == self.ctime_ns.load(Ordering::Acquire)
            && kept.next_value_id >= next_value_id
        {
            return Ok(());
        }
        self.change_settings(|file| file.next_value_id = file.next_value_id.max(next_value_id))
    }

    /// Replaces the table file in every root.
    pub(super) fn change_settings(&self, change: impl FnOnce(&mut TableFile)) -> Result<()> {
        let all = |file: &mut TableFile| {
            change(file);
            true
        };
        self.change_settings_then(all, || ()).map(drop)
    }

    /// The same unless `change` finds, now that nobody else changes settings, that it is not to be
    /// made; tells whether it was. Once it is durable, and before anybody else changes settings,
    /// `then` has it take effect: what is in force is what was written last.
    pub(super) fn change_settings_then(
        &self,
        change: impl FnOnce(&mut TableFile) -> bool,
        then: impl FnOnce(),
    ) -> Result<bool> {
        self.health.check_writable()?;
        let mut current = self.settings_io.lock();
        let mut changed = current.clone();
        changed.mtime_ns = self.mtime_ns.load(Ordering::Acquire);
        changed.ctime_ns = self.ctime_ns.load(Ordering::Acquire);
        if !change(&mut changed) {
            return Ok(false);
        }
        changed.revision += 1;
        let is_failed = |root| self.context.roots.is_failed(root);
        write_everywhere(&self.context.disk, &self.folders_on_disk, is_failed, &changed)
            .inspect_err(|error| self.health.poison_if_sync(error))?;
        *current = changed;
        then();
        Ok(true)
    }

    /// When the entry expires, ns since the Unix epoch; `None`: never. Exact for values; a folder
    /// lives as long as the newest value stored in its segment.
    #[must_use]
    pub fn expires_at_ns(&self, entry: &Entry) -> Option<u64> {
        let ttl_ns = self.ttl_ns.load(Ordering::Acquire);
        if ttl_ns == NEVER_NS {
            return None;
        }
        let stored_at_ns = match entry.kind() {
            Kind::Folder => {
                let segment = entry.location.segment;
                self.view.load().last_written_ns(segment).unwrap_or(0).max(entry.written_at_ns)
            }
            Kind::File | Kind::Symlink => entry.written_at_ns,
        };
        Some(stored_at_ns.saturating_add(ttl_ns))
    }

    /// Whether the entry's time is up.
    #[must_use]
    pub fn is_expired(&self, entry: &Entry) -> bool {
        if self.ttl_ns.load(Ordering::Relaxed) == NEVER_NS {
            return false;
        }
        let expires_at_ns = self.expires_at_ns(entry);
        expires_at_ns.is_some_and(|at_ns| at_ns <= self.context.clock.now_ns())
    }

    /// Whether the entry's grace has passed, so that it changes no more. Folders never seal.
    #[must_use]
    pub fn is_sealed(&self, entry: &Entry) -> bool {
        if entry.kind() == Kind::Folder {
            return false;
        }
        let changed_ns = u64::try_from(entry.attributes.ctime_ns).unwrap_or(0);
        let settled_from_ns = entry.written_at_ns.max(changed_ns);
        let grace_ns = self.grace_ns.load(Ordering::Acquire);
        settled_from_ns.saturating_add(grace_ns) <= self.context.clock.now_ns()
    }

    /// Size and fill of the keymap; `None` when the database is open read-only and has none.
    pub fn keymap_stats(&self) -> Result<Option<KeymapStats>> {
        self.keymap.as_ref().map(Keymap::stats).transpose()
    }

    /// Keys and bytes of the table.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let view = self.view.load();
        let mut usage = Usage::default();
        let mut gone = Usage::default();
        for sealed in view.sealed.values() {
            let summary = &sealed.summary;
            usage.add(summary.files, summary.value_bytes);
            gone.add(summary.superseded_keys, summary.superseded_bytes);
            usage.segments += 1;
        }
        for unsealed in view.unsealed() {
            let (put, superseded) = unsealed.usage();
            usage.add(put.keys, put.bytes);
            gone.add(superseded.keys, superseded.bytes);
            usage.segments += 1;
        }
        usage.keys = usage.keys.saturating_sub(gone.keys);
        usage.bytes = usage.bytes.saturating_sub(gone.bytes);
        usage
    }
}
