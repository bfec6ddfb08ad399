//! What a segment says of names: logged first, then shown in its memtable.

use std::sync::atomic::Ordering;

use super::ActiveSegment;
use super::buffer::with_buffer;
use super::change::{NameChange, supersedes};
use crate::error::Result;
use crate::format::entry::{Entry, Mention};
use crate::format::location::Location;
use crate::format::log_record;

impl ActiveSegment {
    /// Logs what happened to one name, then shows it.
    pub(in crate::table) fn mention(&self, change: &NameChange<'_>) -> Result<()> {
        with_buffer(|record| {
            log_record::encode_mention(change.key, &change.mention, record);
            self.log.append(record)
        })?;
        self.show(change, false);
        Ok(())
    }

    /// Logs what happened to several names at once, then shows it.
    pub(in crate::table) fn mention_all(&self, changes: &[NameChange<'_>]) -> Result<()> {
        let mut record = Vec::new();
        let pairs = changes.iter().map(|change| (change.key, &change.mention));
        log_record::encode_batch(pairs, &mut record);
        self.log.append(&record)?;
        // A name that is made comes before one that is taken away: whoever looks for a file while it is
        // renamed finds it under one name or under both.
        let kept: Vec<Location> =
            changes.iter().filter_map(|change| self.own_record(&change.mention)).collect();
        for change in changes.iter().rev() {
            self.show_keeping(change, true, &kept);
        }
        Ok(())
    }

    /// Puts a logged change into the memtable, and notes what becomes of the records concerned.
    /// Only within a batch can a record come under another name; its changes are shown in their order.
    pub(in crate::table) fn show(&self, change: &NameChange<'_>, in_batch: bool) {
        self.show_keeping(change, in_batch, &[]);
    }

    /// Shows a change of a batch in which others give names to the records `kept`.
    fn show_keeping(&self, change: &NameChange<'_>, in_batch: bool, kept: &[Location]) {
        if let Mention::Put(entry) = &change.mention {
            self.last_written_ns.fetch_max(entry.written_at_ns, Ordering::AcqRel);
        }
        let previous = self.memtable.put(change.hash, change.key, change.mention);
        self.counts.note(change, previous.as_ref());
        if let Some(earlier) = previous.as_ref().and_then(supersedes) {
            self.carry(change, earlier);
        }
        let before = previous.and_then(|mention| self.own_record(&mention));
        let now = self.own_record(&change.mention);
        if before.is_none() && (now.is_none() || !in_batch) {
            return;
        }
        self.unsettled.note(before, now, kept);
    }

    /// What a name took the place of in an earlier segment it goes on taking the place of, whatever
    /// happens to the name in this one.
    fn carry(&self, change: &NameChange<'_>, earlier: Location) {
        self.memtable.update(change.hash, change.key, |mention| match mention {
            Mention::Put(Entry { supersedes, .. }) | Mention::Removed { supersedes } => {
                *supersedes = Some(earlier);
            }
        });
    }

    fn own_record(&self, mention: &Mention) -> Option<Location> {
        match mention {
            Mention::Put(entry) if self.holds(entry) => Some(entry.location),
            _ => None,
        }
    }
}
