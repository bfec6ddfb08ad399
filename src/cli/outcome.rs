//! What a command comes to, and why it may end early.

use std::process::ExitCode;

/// Something was found wrong.
pub(crate) const EXIT_FOUND: u8 = 1;
/// Wrong usage, or the environment does not allow it.
pub(crate) const EXIT_USAGE: u8 = 2;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What is wrong and what helps, for a person.
    Message(String),
    /// Whoever read our output wants no more of it: no error.
    Closed,
}

impl From<littfs::Error> for Failure {
    fn from(error: littfs::Error) -> Self {
        Self::Message(error.to_string())
    }
}

/// What a command comes to.
pub(crate) type Outcome = Result<ExitCode, Failure>;

/// A failure with this message.
pub(crate) fn fail<T>(message: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Message(message.into()))
}
