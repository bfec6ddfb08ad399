//! Settings of a table, and what follows from them for each entry: expiry and sealing.

use std::time::{Duration, SystemTime};

use super::{Table, Usage};
use crate::clock;
use crate::error::Result;
use crate::format::attributes::{Attributes, Kind};
use crate::format::entry::Entry;
use crate::keymap::KeymapStats;
use crate::settings::TableSettings;

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

    /// When the entry expires; `None`: never. Exact for values; a folder lives as long as the newest
    /// value stored in its segment.
    #[must_use]
    pub fn expires_at(&self, entry: &Entry) -> Option<SystemTime> {
        self.expires_at_ns(entry).map(clock::time_of)
    }

    /// When the entry expires, ns since the Unix epoch.
    pub(crate) fn expires_at_ns(&self, entry: &Entry) -> Option<u64> {
        self.lifetime.ttl_ns()?;
        let stored_at_ns = match entry.kind() {
            Kind::Folder => {
                let segment = entry.location.segment;
                self.segments.view().last_written_ns(segment).unwrap_or(0).max(entry.written_at_ns)
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
        self.index.stats()
    }

    /// When the newest value was written, ns since the epoch; `None` for a table without values.
    pub(crate) fn last_written_ns(&self) -> Option<u64> {
        self.segments.view().newest_ns()
    }

    /// Keys and bytes of the table.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.segments.usage()
    }
}
