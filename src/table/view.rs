//! What of a table is readable at one moment: an immutable value, swapped as a whole.
//!
//! A reader loads the view once and keeps what it took. Names are looked for in this order: the
//! active segment, the segments being sealed (newest first), the sealed segments that are not in
//! the keymap yet (newest first), the keymap.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::active::ActiveSegment;
use super::sealed::SealedSegment;
use super::usage::Usage;
use crate::format::location::SegmentNumber;

/// The segments of a table at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Takes writes; made when first needed.
    pub(crate) active: Option<Arc<ActiveSegment>>,
    /// Closed and being sealed, newest first.
    pub(crate) sealing: Vec<Arc<ActiveSegment>>,
    /// Sealed but not in the keymap, newest first; also in `sealed`.
    pub(crate) unindexed: Vec<Arc<SealedSegment>>,
    /// All sealed segments.
    pub(crate) sealed: Arc<BTreeMap<SegmentNumber, Arc<SealedSegment>>>,
}

impl View {
    /// The segments with a memtable, newest first.
    pub(crate) fn unsealed(&self) -> impl Iterator<Item = &Arc<ActiveSegment>> {
        self.active.iter().chain(&self.sealing)
    }

    /// The last of the sealed segments at the old end of the table that are all like this.
    pub(crate) fn last_sealed_that(
        &self,
        is: impl Fn(&SealedSegment) -> bool,
    ) -> Option<SegmentNumber> {
        let oldest_first = self.sealed.values().take_while(|segment| is(segment));
        oldest_first.last().map(|segment| segment.number)
    }

    /// When a value was last stored in any segment up to this one, ns since the epoch.
    pub(crate) fn last_written_up_to_ns(&self, last: SegmentNumber) -> Option<u64> {
        let sealed = self.sealed.range(..=last).map(|(_, segment)| segment.summary);
        let sealed = sealed.map(|summary| summary.last_written_at_ns);
        let unsealed = self.unsealed().filter(|segment| segment.number() <= last);
        sealed.chain(unsealed.map(|segment| segment.last_written_ns())).max()
    }

    /// When a value was last stored in a segment, ns since the epoch; `None` when it is gone.
    pub(crate) fn last_written_ns(&self, segment: SegmentNumber) -> Option<u64> {
        if let Some(sealed) = self.sealed.get(&segment) {
            return Some(sealed.summary.last_written_at_ns);
        }
        let unsealed = self.unsealed().find(|unsealed| unsealed.number() == segment)?;
        Some(unsealed.last_written_ns())
    }

    /// When a value was last stored, ns since the epoch; `None` for a table without values.
    pub(crate) fn newest_ns(&self) -> Option<u64> {
        let sealed = self.sealed.values().map(|sealed| sealed.summary.last_written_at_ns);
        let unsealed = self.unsealed().filter(|segment| segment.key_count() > 0);
        sealed.chain(unsealed.map(|segment| segment.last_written_ns())).max()
    }

    /// Whether there is no segment.
    pub(crate) fn is_empty(&self) -> bool {
        self.unsealed().next().is_none() && self.sealed.is_empty()
    }

    /// Keys and bytes in all segments.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        let mut gone = Usage::default();
        for sealed in self.sealed.values() {
            let summary = &sealed.summary;
            usage.add(summary.files, summary.value_bytes);
            gone.add(summary.superseded_keys, summary.superseded_bytes);
            usage.segments += 1;
        }
        for unsealed in self.unsealed() {
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
