//! What names cost: memtable operations, writing and scanning a run, listing, bytes per key.
//!
//! `cargo bench --bench names [-- KEYS]`; the default is one million keys.
//!
//! `names/` is not public, so this takes in the source of the floors it stands on. That it compiles
//! also shows that `names/` imports nothing from above.
#![allow(
    unused,
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement, and the modules are checked where they belong"
)]

#[path = "../src/cast.rs"]
mod cast;
#[path = "../src/clock.rs"]
mod clock;
#[path = "../src/disk/mod.rs"]
mod disk;
#[path = "../src/error.rs"]
mod error;
#[path = "../src/format/mod.rs"]
mod format;
#[path = "../src/names/mod.rs"]
mod names;
#[path = "../src/operation.rs"]
mod operation;
#[path = "../src/text.rs"]
mod text;

use std::hint::black_box;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use crate::disk::Disk;
pub use crate::error::{Error, Result};
use crate::format::attributes::{Attributes, Kind};
use crate::format::entry::{Entry, Mention};
use crate::format::key_hash::{KeyHash, Salt};
use crate::format::location::{Location, SegmentNumber, ValueId};
use crate::format::sort_key::sort_key;
use crate::names::Direction;
use crate::names::cache::BlockCache;
use crate::names::folder::FolderListing;
use crate::names::memtable::Memtable;
use crate::names::merge::{Choice, Layer};
use crate::names::run::Run;
use crate::names::run_writer::RunWriter;

const SALT: Salt = Salt([5; 16]);
const SEGMENT: SegmentNumber = SegmentNumber(3);

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

fn mention(number: u64) -> Mention {
    let written_at_ns = 1_790_000_000_000_000_000 + number * 2000;
    Mention::Put(Entry {
        id: ValueId(number + 1),
        location: Location { segment: SEGMENT, shard: (number % 4) as u8, offset: number * 1152 },
        record_bytes: 1152,
        value_bytes: 1024,
        dedicated: 0,
        written_at_ns,
        attributes: Attributes::new(Kind::File, 0o644, 1000, 1000, written_at_ns),
        supersedes: None,
    })
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn report(what: &str, count: u64, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    let each = seconds * 1e9 / count as f64;
    println!("  {what:<42} {each:>8.0} ns  {:>9.3} M/s", count as f64 / seconds / 1e6);
}

fn memtable(keys: &[(KeyHash, Vec<u8>)], shows_memory: bool) -> Arc<Memtable> {
    let count = keys.len() as u64;
    let before = resident();
    let memtable = Arc::new(Memtable::new());
    let start = Instant::now();
    for (number, (hash, key)) in keys.iter().enumerate() {
        memtable.put(*hash, key, mention(number as u64));
    }
    report("memtable put of new keys", count, start);
    let unordered = resident().saturating_sub(before);
    let start = Instant::now();
    for number in 0..count {
        let (hash, key) = &keys[(mix(number) % count) as usize];
        black_box(memtable.get(*hash, key));
    }
    report("memtable get at random", count, start);
    let start = Instant::now();
    for (hash, key) in keys {
        black_box(memtable.get(*hash, key));
    }
    report("memtable get in order of arrival", count, start);
    let start = Instant::now();
    for (hash, _) in keys {
        black_box(memtable.get(*hash, b"absent"));
    }
    report("memtable get of absent keys", count, start);
    let start = Instant::now();
    black_box(memtable.in_order().next());
    report("putting in order (first walk)", count, start);
    // Later rounds reuse memory that this process has already.
    if shows_memory {
        println!(
            "  bytes per key: {} without order, {} with; bytes() says {}",
            unordered / count,
            resident().saturating_sub(before) / count,
            memtable.bytes() as u64 / count
        );
    }
    memtable
}

/// Two writers of different keys at once; the time is that of both together.
fn contended(keys: &[(KeyHash, Vec<u8>)]) {
    let memtable = Memtable::new();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for half in keys.chunks(keys.len().div_ceil(2)) {
            let memtable = &memtable;
            scope.spawn(move || {
                for (number, (hash, key)) in half.iter().enumerate() {
                    memtable.put(*hash, key, mention(number as u64));
                }
            });
        }
    });
    report("memtable put of new keys, two threads", keys.len() as u64, start);
}

fn run(memtable: &Arc<Memtable>, keys: &[(KeyHash, Vec<u8>)]) {
    let count = keys.len() as u64;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("3.keys");
    let start = Instant::now();
    let mut writer = RunWriter::create(&Disk::new(), &path, [1; 16], SEGMENT, SALT).unwrap();
    for (sort_key, mention) in memtable.in_order() {
        writer.push(&sort_key, &mention).unwrap();
    }
    writer.finish().unwrap();
    report("run written from the memtable, synced", count, start);
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!("  {:.1} bytes per entry in the run", bytes as f64 / count as f64);
    let open = move || Disk::new().open(&path).map(Arc::new);
    let cache = Arc::new(BlockCache::default());
    let run = Run::open(Box::new(open), Arc::clone(&cache), [1; 16], SEGMENT).unwrap();
    let start = Instant::now();
    let mut scan = run.scan_all().unwrap();
    let mut seen = 0;
    while let Some((key, mention)) = scan.next().unwrap() {
        black_box((key, &mention));
        seen += 1;
    }
    assert_eq!(seen, count);
    report("run scanned", count, start);
    let lookups = count / 10;
    let start = Instant::now();
    for number in 0..lookups {
        let (_, key) = &keys[(mix(number) % count) as usize];
        assert!(run.get(&sort_key(key)).unwrap().is_some());
    }
    report("run get at random, 16 MiB cache", lookups, start);
    let layers = [Layer::Run(Arc::new(run))];
    let mut show = |_: &[u8], _: &Mention, _: usize| Choice::Take;
    let start = Instant::now();
    let keys =
        names::iter::Keys::new(&layers, b"", Bound::Unbounded, Direction::Backward, &mut show);
    let seen = keys.unwrap().map(Result::unwrap).count() as u64;
    report("keys iterated backwards", seen, start);
    let folder = b"2026/cam0007/";
    let start = Instant::now();
    let mut seen = 0;
    for _ in 0..100 {
        let hash = KeyHash::new(SALT, folder);
        let direction = Direction::Forward;
        let mut listing =
            FolderListing::new(&layers, folder, hash, direction, Bound::Unbounded, &mut show)
                .unwrap();
        while listing.next().unwrap().is_some() {
            seen += 1;
        }
    }
    if seen > 0 {
        report("names listed, 100 to a folder", seen, start);
    }
}

type MakeKey = fn(u64) -> Vec<u8>;

fn main() {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let kinds: [(&str, MakeKey); 2] =
        [("random 32-byte keys", random_key), ("paths, 100 names to a folder", path_key)];
    for (round, (name, make)) in kinds.into_iter().enumerate() {
        println!("{count} {name}");
        let keys: Vec<(KeyHash, Vec<u8>)> =
            (0..count).map(make).map(|key| (KeyHash::new(SALT, &key), key)).collect();
        let memtable = memtable(&keys, round == 0);
        run(&memtable, &keys);
        contended(&keys);
    }
}
