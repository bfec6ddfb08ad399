//! Keys and bytes, counted.

/// What a table holds. Values that have expired count until their segment is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Files and links.
    pub keys: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Segments, sealed or not.
    pub segments: u64,
}

impl Usage {
    pub(super) fn add(&mut self, keys: u64, bytes: u64) {
        self.keys = self.keys.saturating_add(keys);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}
