//! What the programs in `fuzz_targets` share.

use std::sync::LazyLock;

use tempfile::TempDir;

/// One folder for each process, in memory where there is such a place.
static SCRATCH: LazyLock<TempDir> = LazyLock::new(|| {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a scratch folder")
});

/// Hands an input to the target of this name.
pub fn run(target: &str, input: &[u8]) {
    assert!(littfs::testing::fuzz::run(target, input, SCRATCH.path()), "there is no target {target}");
}
