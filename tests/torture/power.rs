//! The power of the drives is cut under running load. What was synced is there, and so is what was
//! closed longer ago than the background flush takes; all else is whole or absent.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;

use crate::campaign::{Campaign, Orders, Tally};
use crate::drive::{Drive, Kind, WITH_EVERYTHING, WITH_LOG, WITHOUT_LOG};
use crate::home::{Home, Trouble};
use crate::model::Promise;
use crate::setting::{Limits, Setting};
use littfs::testing::rng::Rng;

pub(crate) const EXT4: Campaign = Campaign {
    name: "power-ext4",
    about: "the power of drives with ext4 is cut under load",
    rounds: 6,
    run: |orders, tally| run(orders, tally, &[Kind::Ext4, Kind::Ext4]),
};

pub(crate) const XFS: Campaign = Campaign {
    name: "power-xfs",
    about: "the power of drives with XFS is cut under load",
    rounds: 6,
    run: |orders, tally| run(orders, tally, &[Kind::Xfs, Kind::Xfs]),
};

/// Rounds on one database.
const ROUNDS_EACH: u64 = 12;
/// No round begins with less room on a drive.
const ROOM_MIN: u64 = 48 << 20;
/// The flush interval of these mounts.
const FLUSH_MS: u64 = 100;
/// How long a daemon has to notice that its drive is gone.
const NOTICE: Duration = Duration::from_millis(700);

fn run(orders: &Orders, tally: &mut Tally, kinds: &[Kind]) -> Result<(), Trouble> {
    let mut rng = Rng::new(orders.seed);
    while orders.has_round(tally.rounds) {
        let limits = Limits::new(&mut rng, FLUSH_MS);
        let mut home = Home::new(kinds.len(), limits.text());
        let mut drives = Vec::new();
        for (kind, root) in kinds.iter().zip(home.roots()) {
            drives.push(Drive::new(*kind, root)?);
        }
        let result = run_on(&mut home, &drives, &limits, &mut rng, orders, tally);
        home.kill();
        home.clear();
        if let Err(trouble) = result {
            return Err(format!("{trouble}\nkept in {}", home.keep().display()));
        }
    }
    Ok(())
}

/// Some rounds on one database.
fn run_on(
    home: &mut Home,
    drives: &[Drive],
    limits: &Limits,
    rng: &mut Rng,
    orders: &Orders,
    tally: &mut Tally,
) -> Result<(), Trouble> {
    home.mount()?;
    let mut setting = Setting::new(home, limits, rng)?;
    let operations = tally.operations;
    for _ in 0..ROUNDS_EACH {
        let has_room = drives.iter().all(|drive| drive.room() > ROOM_MIN);
        if !orders.has_round(tally.rounds) || !has_room {
            break;
        }
        let cut = cut_power(home, drives, &mut setting, rng)?;
        tally.breaks += 1;
        for drive in drives {
            drive.come_back(rng.percent(10))?;
        }
        if rng.percent(25) {
            home.check()?;
            tally.checks += 1;
        }
        let started = Instant::now();
        home.mount()?;
        tally.mount_max = tally.mount_max.max(started.elapsed());
        tally.operations = operations + setting.operations();
        // The first flush begins an interval after the write, another one may be under way, and
        // each takes as long as an fsync.
        let flush = Duration::from_millis(FLUSH_MS);
        let after = 2 * flush + 3 * setting.sync_max() + Duration::from_millis(500);
        tally.judge(setting.compare(Promise::Synced { after }, cut))?;
        restart(home, &mut setting, rng, tally)?;
        tally.rounds += 1;
    }
    home.end()?;
    home.check()?;
    tally.checks += 1;
    Ok(())
}

/// What a recovery made of a power cut must outlive a second one: sometimes the daemon is killed,
/// or ended, before the next round.
fn restart(
    home: &mut Home,
    setting: &mut Setting,
    rng: &mut Rng,
    tally: &mut Tally,
) -> Result<(), Trouble> {
    if rng.percent(40) {
        if rng.percent(50) {
            home.kill();
        } else {
            home.end()?;
        }
        home.clear();
        home.mount()?;
        tally.judge(setting.compare(Promise::Closed, Instant::now()))?;
    }
    Ok(())
}

/// Lets everybody work for a while, cuts the power of one or all drives, and ends the daemon.
fn cut_power(
    home: &mut Home,
    drives: &[Drive],
    setting: &mut Setting,
    rng: &mut Rng,
) -> Result<Instant, Trouble> {
    let work = Duration::from_millis(rng.between(5, 1800) as u64);
    let how = match rng.below(10) {
        0 => WITH_LOG,
        1 => WITH_EVERYTHING,
        _ => WITHOUT_LOG,
    };
    let victims: Vec<&Drive> = match rng.below(3) {
        0 => vec![&drives[rng.below(drives.len())]],
        _ => drives.iter().collect(),
    };
    let has_time = rng.percent(50);
    let is_over = AtomicBool::new(false);
    let cut = setting.work_while(&is_over, || {
        std::thread::sleep(work);
        let cut = Instant::now();
        for drive in &victims {
            drive.cut(how)?;
        }
        if has_time {
            std::thread::sleep(NOTICE);
        } else {
            home.kill();
        }
        Ok(cut)
    })?;
    if has_time {
        // It must answer and end, whatever it cannot write.
        statvfs(&home.mountpoint()).map_err(|errno| format!("after the cut: {errno}"))?;
        home.end()?;
    }
    home.clear();
    if home.log().contains("panicked") {
        return Err("the daemon panicked; see its log".to_owned());
    }
    // What lives on is cut as well: the machine goes down as a whole.
    for drive in drives.iter().filter(|drive| !victims.iter().any(|cut| std::ptr::eq(*cut, *drive)))
    {
        drive.cut(WITHOUT_LOG)?;
    }
    Ok(cut)
}
