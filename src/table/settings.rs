//! Settings of a table, and what follows from them for each entry: expiry and sealing.

use std::time::Duration;

use super::Table;
use crate::error::Result;
use crate::format::attributes::{Attributes, Kind};
use crate::format::entry::Entry;
use crate::keymap::{Keymap, KeymapStats};
use crate::settings::TableSettings;

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

impl Table {
    /// The settings now in force.
    #[must_use]
    pub fn settings(&self) -> TableSettings {
        self.lifetime.settings()
    }

    /// Sets the time to live of everything in the table, also of what is already there.
    pub fn set_ttl(&self, ttl: Option<Duration>) -> Result<()> {
        self.lifetime.set_ttl(ttl)?;
        self.signals.wake_upkeep();
        self.context.watchers.tell(self.name(), self.number());
        Ok(())
    }

    /// Sets the grace of everything in the table, also of what is already there.
    pub fn set_grace(&self, grace: Duration) -> Result<()> {
        self.lifetime.set_grace(grace)
    }

    /// Sets the number of packed shards of new segments.
    pub fn set_shards(&self, shards: u8) -> Result<()> {
        self.lifetime.set_shards(shards)
    }

    /// Mode, owner and times of the table's own folder.
    #[must_use]
    pub fn attributes(&self) -> Attributes {
        self.lifetime.attributes()
    }

    /// Changes mode, owner and modification time of the table's own folder.
    pub fn set_attributes(&self, attributes: Attributes) -> Result<()> {
        self.lifetime.set_attributes(attributes)
    }

    /// When the entry expires, ns since the Unix epoch; `None`: never. Exact for values; a folder
    /// lives as long as the newest value stored in its segment.
    #[must_use]
    pub fn expires_at_ns(&self, entry: &Entry) -> Option<u64> {
        self.lifetime.ttl_ns()?;
        let stored_at_ns = match entry.kind() {
            Kind::Folder => {
                let segment = entry.location.segment;
                self.view.load().last_written_ns(segment).unwrap_or(0).max(entry.written_at_ns)
            }
            Kind::File | Kind::Symlink => entry.written_at_ns,
        };
        self.lifetime.expires_at_ns(stored_at_ns)
    }

    /// Whether the entry's time is up.
    #[must_use]
    pub fn is_expired(&self, entry: &Entry) -> bool {
        let expires_at_ns = self.expires_at_ns(entry);
        expires_at_ns.is_some_and(|at_ns| at_ns <= self.context.clock.now_ns())
    }

    /// Whether the entry's grace has passed, so that it changes no more. Folders never seal.
    #[must_use]
    pub fn is_sealed(&self, entry: &Entry) -> bool {
        self.lifetime.is_sealed(entry)
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
