//! How fast the keymap is filled and asked, and what it costs on disk.
//!
//! Run with `cargo bench --bench keymap [-- KEYS [DIRECTORY]]`.
#![allow(clippy::print_stdout, reason = "the report of a bench")]

use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use littfs::testing::keymap::{Hash, Keymap, Segment};

const BATCH: u64 = 2_000_000;

fn fill(dir: &Path, keys: u64, reserve: bool) -> Result<Keymap, Box<dyn Error>> {
    let keymap = Keymap::create(&dir.join("keymap"))?;
    if reserve {
        keymap.reserve(keys);
    }
    let mut seconds = 0.0;
    for (number, first) in (1..).zip((0..keys).step_by(usize::try_from(BATCH)?)) {
        let end = keys.min(first + BATCH);
        let segment = Segment::new(number, first..end);
        let start = Instant::now();
        keymap.insert(&segment, end)?;
        seconds += start.elapsed().as_secs_f64();
    }
    let start = Instant::now();
    keymap.sync()?;
    let taken = keymap.taken()?;
    println!(
        "fill {keys} keys, {}: {:.2} s, {:.2} M keys/s, and {:.2} s to sync; {:.2} bytes per key, \
         generation {}",
        if reserve { "reserved" } else { "growing" },
        seconds,
        per_second(keys, seconds),
        start.elapsed().as_secs_f64(),
        ratio(taken.bytes, keys),
        taken.generation
    );
    Ok(keymap)
}

fn ask(keymap: &Keymap, what: &str, hashes: &[Hash], present: bool) {
    let start = Instant::now();
    for &hash in hashes {
        let Some(found) = black_box(keymap.lookup(hash)) else {
            println!("{what}: a damaged page");
            return;
        };
        assert_eq!(found, present);
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
        let random: Vec<_> =
            (0..keys.min(2_000_000)).map(|number| Hash::of(stride(number))).collect();
        let absent: Vec<_> =
            random.iter().zip(keys..).map(|(_, number)| Hash::of(number)).collect();
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
                        black_box(keymap.lookup(hash));
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
                let number = u32::try_from(first / BATCH + 1)?;
                let segment = Segment::new(number, first..first + size);
                let start = Instant::now();
                keymap.insert(&segment, keys)?;
                seconds += start.elapsed().as_secs_f64();
            }
            let rate = per_second(size * count, seconds);
            println!("insert {count} batches of {size} into the whole map: {rate:.2} M keys/s");
        }
    }
    Ok(())
}
