//! On which drive a file of a segment goes, and whether there is room for it.
//!
//! The reserve of the drives is kept: it is what sealing, expiry and removals work with when nothing
//! else is left. Placement looks at the room when a file is begun; what grows after that is looked
//! after each time a part of the room that was last seen has been used.

use super::Segments;
use crate::cast::to_u32;
use crate::error::Result;
use crate::format::location::SegmentNumber;
use crate::root_id::RootId;

/// Between two looks at a drive no more than this is written.
const STEP_BYTES_MAX: u64 = 16 << 20;
/// And, close to the end, no less.
const STEP_BYTES_MIN: u64 = 64 << 10;

/// How much may be written before the drive is looked at again.
fn step(available: u64) -> u64 {
    (available / 4).clamp(STEP_BYTES_MIN, STEP_BYTES_MAX)
}

impl Segments {
    /// The root of each shard of a new segment.
    pub(super) fn place(&self, shards: usize, number: SegmentNumber) -> Result<Vec<RootId>> {
        let expected_bytes = self.context.engine.segment_bytes_max;
        self.context.roots.place(shards, number.0, expected_bytes)
    }

    /// The root for a value that gets a file of its own. Values of neighbouring ids go to roots in turn.
    pub(in crate::table) fn choose_root(&self, id: u64, bytes: u64) -> Result<RootId> {
        // Only the rotation depends on it.
        let turn = to_u32(id % u64::from(u32::MAX));
        let roots = self.context.roots.place(1, turn, bytes)?;
        roots.first().copied().ok_or_else(|| self.context.roots.no_space())
    }

    /// Sees to it that the active segment has room for a new value. When a drive of it has none
    /// and others have, the segment is closed; when none has, it stays open for removals.
    pub(in crate::table) fn ensure_room(&self) -> Result<()> {
        let view = self.view.load();
        let Some(active) = &view.active else { return Ok(()) };
        if !active.has_used_its_room() {
            return Ok(());
        }
        let available = active.roots().map(|root| self.available(root)).min();
        match available {
            Some(0) => {
                self.choose_root(active.number().0.into(), 1)?;
                self.rotate(active);
            }
            Some(available) => active.note_room(step(available)),
            None => {}
        }
        Ok(())
    }

    /// How much a file of its own on this root may grow before this is to be asked again; an error
    /// when there is no room at all.
    pub(in crate::table) fn room_to_grow(&self, root: RootId) -> Result<u64> {
        match self.available(root) {
            0 => Err(self.context.roots.no_space()),
            available => Ok(step(available)),
        }
    }

    /// Room of a root. One that does not answer is found to have failed by whoever writes to it.
    fn available(&self, root: RootId) -> u64 {
        let space = self.context.roots.space_of(root);
        space.map_or(u64::MAX, |space| space.available)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_come_closer_together_towards_the_end() {
        assert_eq!(step(u64::MAX), STEP_BYTES_MAX);
        assert_eq!(step(1 << 20), 256 << 10);
        assert_eq!(step(1), STEP_BYTES_MIN);
    }
}
