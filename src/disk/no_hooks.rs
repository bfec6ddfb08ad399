//! What stands in the place of `hooks.rs` outside of tests: nothing hangs in the way to the disk, and
//! asking costs nothing.

use std::io;
use std::path::Path;

use super::effect::Effect;
use crate::operation::Operation;

/// Nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Hooks;

#[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "they are what tests can fail")]
impl Hooks {
    /// Every operation may be tried.
    pub(super) fn before(&self, _: Operation, _: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Every write may be tried.
    pub(super) fn before_write<E>(
        &self,
        _: &Path,
        _: impl FnOnce() -> Result<(), E>,
        _: impl FnOnce(io::Error) -> E,
    ) -> Result<(), E> {
        Ok(())
    }

    /// Changes something.
    pub(super) fn change<T>(
        &self,
        act: impl FnOnce() -> io::Result<T>,
        _: impl FnOnce(&T) -> io::Result<Effect>,
    ) -> io::Result<T> {
        act()
    }

    /// Makes something durable.
    pub(super) fn sync(
        &self,
        act: impl FnOnce() -> io::Result<()>,
        _: impl FnOnce(usize) -> io::Result<Effect>,
    ) -> io::Result<()> {
        act()
    }
}
