//! What of a table is readable at one moment: an immutable value, swapped as a whole.
//!
//! A reader loads the view once and keeps what it took. Names are looked for in this order: the
//! active segment, the segments being sealed (newest first), the sealed segments that are not in
//! the keymap yet (newest first), the keymap.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::active::ActiveSegment;
use super::sealed::SealedSegment;
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

    /// When a value was last stored in any segment up to this one, ns since the epoch.
    pub(crate) fn last_written_up_to_ns(&self, last: SegmentNumber) -> Option<u64> {
        let sealed = self.sealed.range(..=last).map(|(_, segment)| segment.summary);
        let sealed = sealed.map(|summary| summary.last_written_at_ns);
        let unsealed = self.unsealed().filter(|segment| segment.number <= last);
        sealed.chain(unsealed.map(|segment| segment.last_written_ns())).max()
    }

    /// When a value was last stored in a segment, ns since the epoch; `None` when it is gone.
    pub(crate) fn last_written_ns(&self, segment: SegmentNumber) -> Option<u64> {
        if let Some(sealed) = self.sealed.get(&segment) {
            return Some(sealed.summary.last_written_at_ns);
        }
        let unsealed = self.unsealed().find(|unsealed| unsealed.number == segment)?;
        Some(unsealed.last_written_ns())
    }
}
