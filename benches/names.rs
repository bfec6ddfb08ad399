//! What names cost: memtable operations, writing and scanning a run, listing, bytes per key.
//!
//! `cargo bench --bench names [-- KEYS]`; the default is one million keys.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "a measurement, and its report"
)]

use std::error::Error;
use std::time::Instant;

use littfs::testing::names::{Key, Memtable, Run};

fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// 32 random hexadecimal digits: the worst case for prefix compression.
fn random_key(number: u64) -> Vec<u8> {
    format!("{:016x}{:016x}", mix(number), mix(!number)).into_bytes()
}

/// What `cp -a` of a tree looks like: 100 names to a folder.
fn path_key(number: u64) -> Vec<u8> {
    format!("2026/cam{:04}/img_{:08}.jpg", number / 100, number).into_bytes()
}

/// Resident bytes of this process.
fn resident() -> Result<u64, Box<dyn Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').nth(1).ok_or("no resident pages in statm")?;
    Ok(pages.parse::<u64>()? * 4096)
}

fn report(what: &str, count: u64, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    let each = seconds * 1e9 / count as f64;
    println!("  {what:<42} {each:>8.0} ns  {:>9.3} M/s", count as f64 / seconds / 1e6);
}

fn memtable(keys: &[Key], shows_memory: bool) -> Result<Memtable, Box<dyn Error>> {
    let count = keys.len() as u64;
    let before = resident()?;
    let memtable = Memtable::new();
    let start = Instant::now();
    for (number, key) in (0..).zip(keys) {
        memtable.put(key, number);
    }
    report("memtable put of new keys", count, start);
    let unordered = resident()?.saturating_sub(before);
    let start = Instant::now();
    for number in 0..count {
        assert!(memtable.get(&keys[(mix(number) % count) as usize]));
    }
    report("memtable get at random", count, start);
    let start = Instant::now();
    for key in keys {
        assert!(memtable.get(key));
    }
    report("memtable get in order of arrival", count, start);
    let start = Instant::now();
    for key in keys {
        assert!(!memtable.get_absent(key));
    }
    report("memtable get of absent keys", count, start);
    let start = Instant::now();
    memtable.put_in_order();
    report("putting in order (first walk)", count, start);
    // Later rounds reuse memory that this process has already.
    if shows_memory {
        println!(
            "  bytes per key: {} without order, {} with; bytes() says {}",
            unordered / count,
            resident()?.saturating_sub(before) / count,
            memtable.bytes() as u64 / count
        );
    }
    Ok(memtable)
}

/// Two writers of different keys at once; the time is that of both together.
fn contended(keys: &[Key]) {
    let memtable = Memtable::new();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for half in keys.chunks(keys.len().div_ceil(2)) {
            let memtable = &memtable;
            scope.spawn(move || {
                for (number, key) in (0..).zip(half) {
                    memtable.put(key, number);
                }
            });
        }
    });
    report("memtable put of new keys, two threads", keys.len() as u64, start);
}

fn run(memtable: &Memtable, keys: &[Key]) -> Result<(), Box<dyn Error>> {
    let count = keys.len() as u64;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("3.keys");
    let start = Instant::now();
    memtable.write_run(&path)?;
    report("run written from the memtable, synced", count, start);
    let bytes = std::fs::metadata(&path)?.len();
    println!("  {:.1} bytes per entry in the run", bytes as f64 / count as f64);
    let run = Run::open(&path)?;
    let start = Instant::now();
    assert_eq!(run.scan()?, count);
    report("run scanned", count, start);
    let lookups = count / 10;
    let start = Instant::now();
    for number in 0..lookups {
        assert!(run.get(&keys[(mix(number) % count) as usize])?);
    }
    report("run get at random, 16 MiB cache", lookups, start);
    let start = Instant::now();
    let seen = run.walk_backward()?;
    report("keys iterated backwards", seen, start);
    let start = Instant::now();
    let mut seen = 0;
    for _ in 0..100 {
        seen += run.list(b"2026/cam0007/")?;
    }
    if seen > 0 {
        report("names listed, 100 to a folder", seen, start);
    }
    Ok(())
}

type MakeKey = fn(u64) -> Vec<u8>;

fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let kinds: [(&str, MakeKey); 2] =
        [("random 32-byte keys", random_key), ("paths, 100 names to a folder", path_key)];
    for (round, (name, make)) in kinds.into_iter().enumerate() {
        println!("{count} {name}");
        let keys: Vec<Key> = (0..count).map(make).map(Key::new).collect();
        let memtable = memtable(&keys, round == 0)?;
        run(&memtable, &keys)?;
        contended(&keys);
    }
    Ok(())
}
