//! How fast the keymap is filled and asked, and what it costs on disk.
//!
//! Run with `cargo bench --bench keymap [-- KEYS [DIRECTORY]]`. The keymap is not public, so its
//! sources are compiled into this program instead of being opened up for it.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "only a part of the included modules is used here"
)]
#![allow(clippy::print_stdout, reason = "the report of a bench")]

#[path = "../src/cast.rs"]
mod cast;
#[path = "../src/disk/mod.rs"]
mod disk;
#[path = "../src/error.rs"]
mod error;
#[path = "../src/format/mod.rs"]
mod format;
#[path = "../src/keymap/mod.rs"]
mod keymap;
#[path = "../src/operation.rs"]
mod operation;
#[path = "../src/text.rs"]
mod text;

use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use disk::Disk;
use format::key_hash::{KeyHash, Salt};
use format::location::{Location, SegmentNumber};
use keymap::{Change, Inserted, Keymap, Lookup};

const BATCH: u64 = 2_000_000;
const NONE_STALE: SegmentNumber = SegmentNumber(0);

fn hash(number: u64) -> KeyHash {
    KeyHash::new(Salt([7; 16]), &number.to_le_bytes())
}

fn batch(first: u64, end: u64) -> Vec<Change> {
    (first..end)
        .map(|number| Change::Put {
            fingerprint: hash(number).fingerprint(),
            location: Location {
                segment: SegmentNumber(u32::try_from(first / BATCH + 1).unwrap_or(1)),
                shard: 1,
                offset: (number - first) * 1152,
            },
            record_bytes: 1152,
            supersedes: None,
        })
        .collect()
}

fn fill(dir: &Path, keys: u64, reserve: bool) -> Result<Keymap, Box<dyn Error>> {
    let (keymap, _) = Keymap::open(&Disk::new(), &dir.join("keymap"), [1; 16])?;
    if reserve {
        keymap.reserve(keys);
    }
    let mut seconds = 0.0;
    for first in (0..keys).step_by(usize::try_from(BATCH)?) {
        let end = keys.min(first + BATCH);
        let changes = batch(first, end);
        let start = Instant::now();
        let inserted = keymap.insert(&changes, NONE_STALE, end, &AtomicBool::new(false))?;
        assert_eq!(inserted, Inserted::All);
        seconds += start.elapsed().as_secs_f64();
    }
    let start = Instant::now();
    keymap.mark_complete(SegmentNumber(1))?;
    let stats = keymap.stats()?;
    println!(
        "fill {keys} keys, {}: {:.2} s, {:.2} M keys/s, and {:.2} s to sync; {:.2} bytes per key, \
         generation {}",
        if reserve { "reserved" } else { "growing" },
        seconds,
        per_second(keys, seconds),
        start.elapsed().as_secs_f64(),
        ratio(stats.bytes_on_disk, keys),
        stats.generation
    );
    Ok(keymap)
}

fn ask(keymap: &Keymap, what: &str, hashes: &[KeyHash], present: bool) {
    let start = Instant::now();
    for &hash in hashes {
        let Lookup::Found(found) = black_box(keymap.lookup(hash, NONE_STALE)) else {
            println!("{what}: a damaged page");
            return;
        };
        assert_eq!(found.iter().next().is_some(), present);
    }
    let count = hashes.len() as u64;
    println!(
        "lookup {what}: {:.0} ns",
        1e9 / (per_second(count, start.elapsed().as_secs_f64()) * 1e6)
    );
}

#[expect(clippy::cast_precision_loss, reason = "a report with three digits")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "a report with three digits")]
fn ratio(bytes: u64, keys: u64) -> f64 {
    bytes as f64 / keys as f64
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let keys = arguments.next().map_or(Ok(10_000_000), |keys| keys.parse::<u64>())?;
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    for reserve in [false, true] {
        let dir = tempfile::tempdir_in(&parent)?;
        let keymap = fill(dir.path(), keys, reserve)?;
        if !reserve {
            continue;
        }
        let stride = |number: u64| number.wrapping_mul(7_919) % keys;
        let random: Vec<_> = (0..keys.min(2_000_000)).map(|number| hash(stride(number))).collect();
        let absent: Vec<_> = random.iter().zip(keys..).map(|(_, number)| hash(number)).collect();
        let near: Vec<_> =
            (0..2_000_000).map(|number| random[number % random.len().min(1_000)]).collect();
        ask(&keymap, "first touch, whole map", &random, true);
        ask(&keymap, "present, whole map", &random, true);
        ask(&keymap, "absent, whole map", &absent, false);
        ask(&keymap, "present, 1000 keys", &near, true);
        let halves = random.len() / 2;
        let start = Instant::now();
        std::thread::scope(|scope| {
            for part in [&random[..halves], &random[halves..]] {
                let keymap = &keymap;
                scope.spawn(move || {
                    for &hash in part {
                        black_box(keymap.lookup(hash, NONE_STALE));
                    }
                });
            }
        });
        let rate = per_second(random.len() as u64, start.elapsed().as_secs_f64());
        println!("lookup present, whole map, two threads: {rate:.1} M/s together");
        for (size, count) in [(1_000, 20), (100_000, 5)] {
            let mut seconds = 0.0;
            for number in 0..count {
                let first = keys + size * (number + 1_000);
                let changes = batch(first, first + size);
                let start = Instant::now();
                keymap.insert(&changes, NONE_STALE, keys, &AtomicBool::new(false))?;
                seconds += start.elapsed().as_secs_f64();
            }
            let rate = per_second(size * count, seconds);
            println!("insert {count} batches of {size} into the whole map: {rate:.2} M keys/s");
        }
    }
    Ok(())
}
