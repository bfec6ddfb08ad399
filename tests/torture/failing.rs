//! A drive refuses writes under load, and takes them again later. The system has then dropped what it
//! could not write, and may still show it from memory to whoever looks; so a daemon that starts again
//! must not vouch for what it sees there. What was synced is there, after the failure and after a power
//! cut behind it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::campaign::{Campaign, Orders, Tally};
use crate::client::MAY_BE_FULL;
use crate::drive::{Drive, Kind, WITHOUT_LOG};
use crate::home::{Home, Trouble};
use crate::model::Promise;
use crate::setting::{Limits, Setting};
use littfs::testing::rng::Rng;

pub(crate) const CAMPAIGN: Campaign = Campaign {
    name: "failing",
    about: "a drive refuses writes under load and recovers",
    rounds: 5,
    run,
};

/// Rounds on one database.
const ROUNDS_EACH: u64 = 8;
/// No round begins with less room on a drive.
const ROOM_MIN: u64 = 64 << 20;
/// The flush interval of these mounts.
const FLUSH_MS: u64 = 50;

fn run(orders: &Orders, tally: &mut Tally) -> Result<(), Trouble> {
    let mut rng = Rng::new(orders.seed);
    // They have no blocks for what they are to write, and say so.
    MAY_BE_FULL.store(true, Ordering::Relaxed);
    let result = run_all(&mut rng, orders, tally);
    MAY_BE_FULL.store(false, Ordering::Relaxed);
    result
}

fn run_all(rng: &mut Rng, orders: &Orders, tally: &mut Tally) -> Result<(), Trouble> {
    while orders.has_round(tally.rounds) {
        let limits = Limits::new(rng, FLUSH_MS);
        let mut home = Home::new(2, limits.text());
        // With XFS: what it could not write of its own it writes later, so that it is whole after all.
        let drives: Result<Vec<Drive>, Trouble> =
            home.roots().iter().map(|root| Drive::in_memory(Kind::Xfs, root)).collect();
        let drives = drives?;
        let result = run_on(&mut home, &drives, &limits, rng, orders, tally);
        home.kill();
        home.clear();
        drives.iter().for_each(Drive::accept_writes);
        if let Err(trouble) = result {
            drives.iter().for_each(Drive::keep);
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
        let failed_at = refuse_writes(home, rng.pick(drives), &mut setting, rng)?;
        tally.breaks += 1;
        home.mount()?;
        compare(&mut setting, failed_at, tally)?;
        if rng.percent(60) {
            let cut = cut_power(home, drives, &mut setting, rng)?;
            tally.breaks += 1;
            home.mount()?;
            compare(&mut setting, cut, tally)?;
        }
        tally.operations = operations + setting.operations();
        tally.rounds += 1;
    }
    home.end()?;
    home.check()?;
    tally.checks += 1;
    Ok(())
}

fn compare(setting: &mut Setting, broken_at: Instant, tally: &mut Tally) -> Result<(), Trouble> {
    let flush = Duration::from_millis(FLUSH_MS);
    let after = 2 * flush + 3 * setting.sync_max() + Duration::from_millis(500);
    tally.judge(setting.compare(Promise::Synced { after }, broken_at))
}

/// Lets everybody work, before and while a drive refuses writes, and ends the daemon.
fn refuse_writes(
    home: &mut Home,
    drive: &Drive,
    setting: &mut Setting,
    rng: &mut Rng,
) -> Result<Instant, Trouble> {
    let before = Duration::from_millis(rng.between(20, 600) as u64);
    let meanwhile = Duration::from_millis(rng.between(20, 600) as u64);
    let (recovers_first, is_killed) = (rng.percent(50), rng.percent(60));
    let is_over = AtomicBool::new(false);
    let failed_at = setting.work_while(&is_over, || {
        std::thread::sleep(before);
        let failed_at = Instant::now();
        drive.refuse_writes()?;
        std::thread::sleep(meanwhile);
        if recovers_first {
            drive.accept_writes();
            std::thread::sleep(Duration::from_millis(rng.between(0, 150) as u64));
        }
        if is_killed {
            home.kill();
        }
        Ok(failed_at)
    })?;
    if !is_killed {
        home.end()?;
    }
    home.clear();
    drive.accept_writes();
    if home.log().contains("panicked") {
        return Err("the daemon panicked; see its log".to_owned());
    }
    Ok(failed_at)
}

/// Lets everybody work for a while and cuts the power of all drives.
fn cut_power(
    home: &mut Home,
    drives: &[Drive],
    setting: &mut Setting,
    rng: &mut Rng,
) -> Result<Instant, Trouble> {
    let work = Duration::from_millis(rng.between(400, 1200) as u64);
    let is_over = AtomicBool::new(false);
    let cut = setting.work_while(&is_over, || {
        std::thread::sleep(work);
        let cut = Instant::now();
        drives.iter().try_for_each(|drive| drive.cut(WITHOUT_LOG))?;
        home.kill();
        Ok(cut)
    })?;
    home.clear();
    drives.iter().try_for_each(|drive| drive.come_back(false))?;
    Ok(cut)
}
