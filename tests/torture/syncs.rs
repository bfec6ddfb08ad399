//! Syncs that are under way when the drive goes: one that returns 0 has kept its promise.
//!
//! Without a mount, since file systems get this wrong within microseconds (`src/disk/confirm.rs`): many
//! threads append and sync, as the daemon does, and each notes what was acknowledged last. A power
//! cut ends all programs, but a drive that fails, or a file system that gives up, leaves them running:
//! what they say from then on counts as well.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use littfs::Error;
use littfs::testing::Disk;

use crate::campaign::{Campaign, Orders, Tally};
use crate::drive::{Drive, Kind, WITHOUT_LOG};
use crate::home::Trouble;
use crate::model::Verdict;
use littfs::testing::rng::Rng;

pub(crate) const EXT4: Campaign = Campaign {
    name: "syncs-ext4",
    about: "the power of a drive with ext4 is cut while much is synced",
    rounds: 25,
    run: |orders, tally| run(orders, tally, Kind::Ext4),
};

pub(crate) const XFS: Campaign = Campaign {
    name: "syncs-xfs",
    about: "the power of a drive with XFS is cut while much is synced",
    rounds: 25,
    run: |orders, tally| run(orders, tally, Kind::Xfs),
};

/// Threads that append to a file.
const APPENDERS: usize = 5;
/// Threads that make files in a directory.
const MAKERS: usize = 2;
/// Bytes of one append.
const BYTES: usize = 300;

fn run(orders: &Orders, tally: &mut Tally, kind: Kind) -> Result<(), Trouble> {
    let mut rng = Rng::new(orders.seed);
    let folder = tempfile::Builder::new().prefix("littfs-torture-").tempdir();
    let folder = folder.map_err(|error| format!("a temporary directory: {error}"))?;
    let drive = Drive::new(kind, &folder.path().join("drive"))?;
    while orders.has_round(tally.rounds) {
        let place = folder.path().join("drive").join(tally.rounds.to_string());
        prepare(&place).map_err(|error| error.to_string())?;
        let acknowledged = sync_and_cut(&drive, &place, &mut rng)?;
        tally.breaks += 1;
        drive.come_back(false)?;
        let mut verdict = Verdict::default();
        for (worker, acknowledged) in acknowledged.into_iter().enumerate() {
            tally.operations += acknowledged;
            verdict.checked += 1;
            let found = count(&place, worker);
            if found < acknowledged {
                let what = if worker < APPENDERS { "appends" } else { "new names" };
                let lost =
                    format!("{what} of thread {worker}: {found}, acknowledged {acknowledged}");
                verdict.lost.push(lost);
            }
        }
        tally.judge(verdict)?;
        fs::remove_dir_all(&place).map_err(|error| format!("clearing up: {error}"))?;
        tally.rounds += 1;
    }
    Ok(())
}

fn file(place: &Path, worker: usize) -> PathBuf {
    place.join(format!("w{worker}"))
}

/// Makes what the threads work on, durably.
fn prepare(place: &Path) -> littfs::Result<()> {
    let disk = Disk::new();
    disk.create_dir_all(place)?;
    for worker in 0..APPENDERS {
        disk.create_new(&file(place, worker))?.sync_all()?;
    }
    for worker in APPENDERS..APPENDERS + MAKERS {
        disk.create_dir_all(&file(place, worker))?;
        disk.sync_dir(&file(place, worker))?;
    }
    disk.sync_dir(place)?;
    disk.sync_parent(place)
}

/// Cuts the power while everybody works; how much of each was acknowledged.
fn sync_and_cut(drive: &Drive, place: &Path, rng: &mut Rng) -> Result<Vec<u64>, Trouble> {
    let work = Duration::from_micros(rng.between(3000, 40_000) as u64);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..APPENDERS + MAKERS)
            .map(|worker| {
                scope.spawn(move || {
                    let path = file(place, worker);
                    if worker < APPENDERS { append(&path) } else { make(&path) }
                })
            })
            .collect();
        std::thread::sleep(work);
        drive.cut(WITHOUT_LOG)?;
        let ended = threads.into_iter().map(|thread| {
            let (acknowledged, error) = thread.join().map_err(|_| "a thread panicked")?;
            match error {
                Error::Io { source, .. }
                    if matches!(source.raw_os_error(), Some(libc::EIO | libc::EROFS)) =>
                {
                    Ok(acknowledged)
                }
                other => Err(format!("not refused, but: {other}")),
            }
        });
        ended.collect()
    })
}

/// Appends until that fails; how many appends were acknowledged.
fn append(path: &Path) -> (u64, Error) {
    let mut acknowledged = 0;
    let mut appends = || -> littfs::Result<std::convert::Infallible> {
        let file = Disk::new().open_writable(path)?;
        loop {
            file.write_all_at(&[b'x'; BYTES], acknowledged * BYTES as u64)?;
            file.sync_data()?;
            acknowledged += 1;
        }
    };
    let Err(error) = appends();
    (acknowledged, error)
}

/// Makes files until that fails; how many names were acknowledged.
fn make(path: &Path) -> (u64, Error) {
    let disk = Disk::new();
    let mut acknowledged = 0;
    let mut makes = || -> littfs::Result<std::convert::Infallible> {
        loop {
            drop(disk.create_new(&path.join(acknowledged.to_string()))?);
            disk.sync_dir(path)?;
            acknowledged += 1;
        }
    };
    let Err(error) = makes();
    (acknowledged, error)
}

/// How much of what a thread did is there.
fn count(place: &Path, worker: usize) -> u64 {
    let path = file(place, worker);
    let counted: io::Result<u64> = if worker < APPENDERS {
        fs::read(&path).map(|bytes| {
            let whole = bytes.chunks_exact(BYTES).take_while(|part| *part == [b'x'; BYTES]);
            whole.count() as u64
        })
    } else {
        let mut names = 0;
        while path.join(names.to_string()).exists() {
            names += 1;
        }
        Ok(names)
    };
    counted.unwrap_or(0)
}
