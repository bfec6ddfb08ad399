//! Segment files: packed and dedicated shards, key logs, and reading records back.
//!
//! This floor knows files and bytes of one segment. It does not know which names are live, when
//! anything expires, or what other segments hold; that is the table's business.

pub(crate) mod checksums;
pub(crate) mod descriptors;
pub(crate) mod key_log;
pub(crate) mod log_damage;
pub(crate) mod packed;
pub(crate) mod value;
