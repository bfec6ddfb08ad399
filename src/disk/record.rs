//! A record of everything that changed files, in the order it happened, for tests that ask what a
//! power cut could leave of it.

use std::io;

use parking_lot::Mutex;

use super::effect::Effect;

/// Keeps every effect of what is done through a [`super::Disk`]. Operations that failed have none,
/// but for the bytes that a torn write left.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Locked over every change, so that the order is that of the changes.
    effects_io: Mutex<Vec<Effect>>,
}

impl Recorder {
    /// How many effects there were so far.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.effects_io.lock().len()
    }

    /// All effects so far.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        self.effects_io.lock().clone()
    }

    pub(super) fn change<T>(
        &self,
        act: impl FnOnce() -> io::Result<T>,
        effect: impl FnOnce(&T) -> io::Result<Effect>,
    ) -> io::Result<T> {
        let mut effects = self.effects_io.lock();
        let done = act()?;
        effects.push(effect(&done)?);
        Ok(done)
    }

    /// A sync makes durable what was there when it began.
    pub(super) fn sync(
        &self,
        act: impl FnOnce() -> io::Result<()>,
        effect: impl FnOnce(usize) -> io::Result<Effect>,
    ) -> io::Result<()> {
        let begun = self.seen();
        act()?;
        let effect = effect(begun)?;
        self.effects_io.lock().push(effect);
        Ok(())
    }
}
