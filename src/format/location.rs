//! Where a record stands: segment, packed shard, offset. And the numbers that name things.

use std::fmt;

/// The number of a segment. Rises within a table and is never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentNumber(pub(crate) u32);

impl fmt::Display for SegmentNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The identity of a value: 48 bits, rising within a table, never used again. Stable over renames
/// and restarts; together with the table number it is the inode number of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub(crate) u64);

impl ValueId {
    /// The largest value id.
    pub const MAX: Self = Self((1 << 48) - 1);

    /// The number that it is.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ValueId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Records start at multiples of this many bytes.
pub(crate) const RECORD_ALIGNMENT: u64 = 8;
/// Packed shards end before this offset, so that offset / 8 fits 32 bits.
pub(crate) const SHARD_BYTES_MAX: u64 = RECORD_ALIGNMENT << 32;

/// The place of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Location {
    /// The segment.
    pub(crate) segment: SegmentNumber,
    /// The packed shard within the segment.
    pub(crate) shard: u8,
    /// Bytes from the start of the shard; a multiple of 8 below 32 GiB.
    pub(crate) offset: u64,
}

impl Location {
    /// Offset and segment in 64 bits: bits 0..32 are offset / 8, bits 32..64 the segment.
    pub(crate) fn packed(&self) -> u64 {
        debug_assert!(
            self.offset.is_multiple_of(RECORD_ALIGNMENT) && self.offset < SHARD_BYTES_MAX
        );
        (u64::from(self.segment.0) << 32) | ((self.offset / RECORD_ALIGNMENT) & 0xffff_ffff)
    }

    /// The reverse of [`Location::packed`].
    pub(crate) fn from_packed(packed: u64, shard: u8) -> Self {
        Self {
            segment: SegmentNumber((packed >> 32) as u32),
            shard,
            offset: (packed & 0xffff_ffff) * RECORD_ALIGNMENT,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}.values at {}", self.segment, self.shard, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_round_trips_at_the_limits() {
        for offset in [0, 8, SHARD_BYTES_MAX - 8] {
            let location = Location { segment: SegmentNumber(u32::MAX), shard: 255, offset };
            assert_eq!(Location::from_packed(location.packed(), 255), location);
        }
    }
}
