//! What the file system itself can do: the system calls that storing and reading cannot do
//! without, and nothing else.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::load::{BenchStep, mix};
use crate::cli::{Failure, fail};

/// What is written beside each value: about an entry of a log.
const NOTE: [u8; 100] = [0x6e; 100];

/// Files of a thread that are appended to.
#[derive(Debug)]
struct Pair {
    values: File,
    notes: File,
    count: AtomicU64,
}

/// Files that bare system calls write and read, two for each thread.
#[derive(Debug)]
pub(super) struct Bare {
    dir: PathBuf,
    pairs: Vec<Pair>,
    value_bytes: u64,
    with_notes: bool,
}

impl Bare {
    /// Makes the files; `with_notes`: 100 bytes go to another file for each value.
    pub(super) fn new(
        dir: &Path,
        threads: u16,
        value_bytes: u64,
        with_notes: bool,
    ) -> Result<Self, Failure> {
        let make = |name: String| {
            let path = dir.join(name);
            OpenOptions::new().read(true).write(true).create_new(true).open(path)
        };
        let pairs: io::Result<Vec<Pair>> = (0..threads)
            .map(|thread| {
                Ok(Pair {
                    values: make(format!("values-{thread}"))?,
                    notes: make(format!("notes-{thread}"))?,
                    count: AtomicU64::new(0),
                })
            })
            .collect();
        let pairs = pairs.or_else(|error| failed(dir, "make", &error))?;
        Ok(Self { dir: dir.to_path_buf(), pairs, value_bytes, with_notes })
    }

    /// Appends a value.
    pub(super) fn put(&self, step: BenchStep, value: &[u8]) -> Result<(), Failure> {
        let pair = &self.pairs[step.thread];
        let number = pair.count.fetch_add(1, Ordering::Relaxed);
        let mut result = pair.values.write_all_at(value, number * self.value_bytes);
        if self.with_notes {
            let offset = number * NOTE.len() as u64;
            result = result.and_then(|()| pair.notes.write_all_at(&NOTE, offset));
        }
        result.or_else(|error| failed(&self.dir, "write", &error))
    }

    /// Makes everything written durable.
    pub(super) fn sync(&self) -> Result<(), Failure> {
        let synced =
            self.pairs.iter().filter(|pair| pair.count.load(Ordering::Relaxed) > 0).try_for_each(
                |pair| {
                    pair.values.sync_data()?;
                    if self.with_notes { pair.notes.sync_data() } else { Ok(()) }
                },
            );
        synced.or_else(|error| failed(&self.dir, "sync", &error))
    }

    /// Reads a value from a random place.
    pub(super) fn get(&self, step: BenchStep, buffer: &mut [u8]) -> Result<(), Failure> {
        let random = mix(step.number);
        let pair = &self.pairs[step.thread % self.pairs.len()];
        let count = pair.count.load(Ordering::Relaxed).max(1);
        pair.values
            .read_exact_at(buffer, random % count * self.value_bytes)
            .or_else(|error| failed(&self.dir, "read", &error))
    }
}

#[cold]
fn failed<T>(dir: &Path, what: &str, error: &io::Error) -> Result<T, Failure> {
    fail(format!("cannot {what} scratch files in {}: {error}", dir.display()))
}
