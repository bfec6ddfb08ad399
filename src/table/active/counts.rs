//! Keys and bytes of an unsealed segment, counted as they come and go.

use std::sync::atomic::{AtomicU64, Ordering};

use super::change::{NameChange, is_value, supersedes};
use crate::format::entry::Mention;
use crate::table::usage::Usage;

/// Running counts of an unsealed segment.
#[derive(Debug, Default)]
pub(super) struct SegmentCounts {
    files: AtomicU64,
    bytes: AtomicU64,
    superseded_keys: AtomicU64,
    superseded_bytes: AtomicU64,
}

impl SegmentCounts {
    /// A change was shown in place of what the segment said of the name before.
    pub(super) fn note(&self, change: &NameChange<'_>, previous: Option<&Mention>) {
        if let Some(Mention::Put(entry)) = previous.filter(|mention| is_value(mention)) {
            self.files.fetch_sub(1, Ordering::Relaxed);
            self.bytes.fetch_sub(entry.value_bytes, Ordering::Relaxed);
        }
        if let Mention::Put(entry) = &change.mention
            && is_value(&change.mention)
        {
            self.files.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(entry.value_bytes, Ordering::Relaxed);
        }
        let is_folder = change.key.ends_with(b"/");
        let first =
            supersedes(&change.mention).is_some() && previous.and_then(supersedes).is_none();
        if first && !is_folder {
            self.superseded_keys.fetch_add(1, Ordering::Relaxed);
            self.superseded_bytes.fetch_add(change.superseded_bytes, Ordering::Relaxed);
        }
    }

    /// What the segment holds, and what of earlier segments it took the place of or removed.
    pub(super) fn usage(&self) -> (Usage, Usage) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let put = Usage { keys: read(&self.files), bytes: read(&self.bytes), segments: 1 };
        let superseded = Usage {
            keys: read(&self.superseded_keys),
            bytes: read(&self.superseded_bytes),
            segments: 0,
        };
        (put, superseded)
    }
}
