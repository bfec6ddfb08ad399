//! `littfs bench`: STUB, the measuring is added later.

use super::args::BenchArguments;
use super::{Outcome, fail};

/// Runs `littfs bench`.
pub(super) fn run(arguments: &BenchArguments) -> Outcome {
    let BenchArguments { keys, value_bytes, threads, dir, mount, json } = arguments;
    log::debug!("{keys} keys of {value_bytes} bytes by {threads} in {dir:?}, {mount} {json}");
    fail("this build cannot measure yet")
}
