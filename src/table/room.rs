//! The reserve of the drives is kept: it is what sealing, expiry and removals work with when
//! nothing else is left.
//!
//! Placement looks at the room when a file is begun; what grows after that is looked after here,
//! each time a part of the room that was last seen has been used.

use std::sync::atomic::Ordering;

use super::Table;
use crate::error::Result;

/// Between two looks at a drive no more than this is written.
const STEP_BYTES_MAX: u64 = 16 << 20;
/// And, close to the end, no less.
const STEP_BYTES_MIN: u64 = 64 << 10;

/// How much may be written before the drive is looked at again.
fn step(available: u64) -> u64 {
    (available / 4).clamp(STEP_BYTES_MIN, STEP_BYTES_MAX)
}

impl Table {
    /// Sees to it that the active segment has room for a new value. When a drive of it has none
    /// and others have, the segment is closed; when none has, it stays open for removals.
    pub(super) fn ensure_room(&self) -> Result<()> {
        let view = self.view.load();
        let Some(active) = &view.active else { return Ok(()) };
        let used = active.record_bytes.load(Ordering::Relaxed);
        if used < active.room_until.load(Ordering::Relaxed) {
            return Ok(());
        }
        let available = active.shard_roots.iter().map(|root| self.available(*root)).min();
        match available {
            Some(0) => {
                self.choose_root(1)?;
                self.rotate(active);
            }
            Some(available) => {
                active.room_until.store(used.saturating_add(step(available)), Ordering::Relaxed);
            }
            None => {}
        }
        Ok(())
    }

    /// How much a file of its own on this root may grow before this is to be asked again; an error
    /// when there is no room at all.
    pub(super) fn room_to_grow(&self, root: usize) -> Result<u64> {
        match self.available(root) {
            0 => Err(self.context.roots.no_space()),
            available => Ok(step(available)),
        }
    }

    /// Room of a root. One that does not answer is found to have failed by whoever writes to it.
    fn available(&self, root: usize) -> u64 {
        let space = self.context.roots.space_of(super::root_index(root));
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
