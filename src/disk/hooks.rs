//! What tests hang into the way to the disk: faults, and a record of what was done.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::effect::Effect;
use super::faults::Faults;
use super::record::Recorder;
use crate::operation::Operation;

/// What hangs in this way, if anything does.
#[derive(Clone, Debug, Default)]
pub(super) struct Hooks {
    pub(super) faults: Option<Arc<Faults>>,
    pub(super) recorder: Option<Arc<Recorder>>,
}

impl Hooks {
    /// Asks whether an operation may be tried.
    pub(super) fn before(&self, operation: Operation, path: &Path) -> io::Result<()> {
        let Some(faults) = &self.faults else { return Ok(()) };
        faults.step(operation, path).map_err(|failure| failure.error)
    }

    /// Asks whether a write may be tried. One that is to be torn has `leave_half` called first.
    pub(super) fn before_write<E>(
        &self,
        path: &Path,
        leave_half: impl FnOnce() -> Result<(), E>,
        fail: impl FnOnce(io::Error) -> E,
    ) -> Result<(), E> {
        let Some(faults) = &self.faults else { return Ok(()) };
        let Err(failure) = faults.step(Operation::Write, path) else { return Ok(()) };
        if failure.tears {
            leave_half()?;
        }
        Err(fail(failure.error))
    }

    /// Changes something, and has it written down.
    pub(super) fn change<T>(
        &self,
        act: impl FnOnce() -> io::Result<T>,
        effect: impl FnOnce(&T) -> io::Result<Effect>,
    ) -> io::Result<T> {
        match &self.recorder {
            None => act(),
            Some(recorder) => recorder.change(act, effect),
        }
    }

    /// Makes something durable, and has it written down.
    pub(super) fn sync(
        &self,
        act: impl FnOnce() -> io::Result<()>,
        effect: impl FnOnce(usize) -> io::Result<Effect>,
    ) -> io::Result<()> {
        match &self.recorder {
            None => act(),
            Some(recorder) => recorder.sync(act, effect),
        }
    }
}
