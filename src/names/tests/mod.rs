//! Runs, merges and listings against models, and what damage does to them.

mod damage;
mod model;
mod runs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::Result;
use crate::format::attributes::{Attributes, Kind};
use crate::format::entry::{Entry, Mention};
use crate::format::key_hash::{KeyHash, Salt};
use crate::format::location::{Location, SegmentNumber, ValueId};
use crate::names::cache::BlockCache;
use crate::names::run::{PathSource, Run};
use crate::names::run_writer::RunWriter;

pub(super) const SALT: Salt = Salt([7; 16]);
pub(super) const TABLE: [u8; 16] = [9; 16];
pub(super) const SEGMENT: SegmentNumber = SegmentNumber(5);

/// Sort keys and what is said of them.
pub(super) type Mentions = BTreeMap<Vec<u8>, Mention>;

pub(super) fn hash(key: &[u8]) -> KeyHash {
    KeyHash::new(SALT, key)
}

pub(super) fn entry(id: u64) -> Entry {
    Entry {
        id: ValueId(id),
        location: Location { segment: SEGMENT, shard: 1, offset: id * 8 },
        record_bytes: 128,
        value_bytes: id % 1000,
        dedicated: 0,
        written_at_ns: 1_000_000 + id,
        attributes: Attributes::new_at_ns(Kind::File, 0o644, 1000, 1000, 1_000_000 + id),
        supersedes: None,
    }
}

pub(super) fn folder_entry(id: u64, now_ns: u64) -> Entry {
    Entry { attributes: Attributes::new_at_ns(Kind::Folder, 0o755, 1, 1, now_ns), ..entry(id) }
}

pub(super) fn put(id: u64) -> Mention {
    Mention::Put(entry(id))
}

pub(super) fn removed() -> Mention {
    Mention::Removed { supersedes: None }
}

pub(super) fn write_run(path: &Path, mentions: &Mentions) {
    let mut writer = RunWriter::create(&Disk::new(), path, TABLE, SEGMENT, SALT).unwrap();
    writer.push_all(mentions.iter().map(|(key, mention)| (key, *mention))).unwrap();
    writer.finish().unwrap();
}

pub(super) fn open_run(path: &Path) -> Result<Run> {
    let files = PathSource { disk: Disk::new(), path: path.to_path_buf() };
    Run::open(Box::new(files), Arc::new(BlockCache::new(1 << 20)), TABLE, SEGMENT)
}

/// A run over these mentions in a directory that lives as long as the test needs it.
pub(super) fn run_of(directory: &tempfile::TempDir, mentions: &Mentions) -> (PathBuf, Run) {
    let number = std::fs::read_dir(directory.path()).unwrap().count();
    let path = directory.path().join(format!("{number}.keys"));
    write_run(&path, mentions);
    let run = open_run(&path).unwrap();
    (path, run)
}
