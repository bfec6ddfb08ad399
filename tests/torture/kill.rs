//! The daemon is killed at any moment: in the middle of everything, while it recovers from the
//! last kill, again and again. Whatever was acknowledged is there.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::campaign::{Campaign, Orders, Tally};
use crate::home::{Home, Trouble};
use crate::model::Promise;
use crate::setting::{Limits, Setting};
use littfs::testing::rng::Rng;

pub(crate) const CAMPAIGN: Campaign = Campaign {
    name: "kill",
    about: "the daemon is killed at any moment, start-up included",
    rounds: 12,
    run,
};

/// Rounds on one database, which grows meanwhile.
const ROUNDS_EACH: u64 = 25;

fn run(orders: &Orders, tally: &mut Tally) -> Result<(), Trouble> {
    let mut rng = Rng::new(orders.seed);
    while orders.has_round(tally.rounds) {
        let flush_ms = *rng.pick(&[10, 50, 1000]);
        let limits = Limits::new(&mut rng, flush_ms);
        let mut home = Home::new(2, limits.text());
        if let Err(trouble) = run_on(&mut home, &limits, &mut rng, orders, tally) {
            return Err(format!("{trouble}\nkept in {}", home.keep().display()));
        }
    }
    Ok(())
}

/// Some rounds on one database.
fn run_on(
    home: &mut Home,
    limits: &Limits,
    rng: &mut Rng,
    orders: &Orders,
    tally: &mut Tally,
) -> Result<(), Trouble> {
    home.mount()?;
    let mut setting = Setting::new(home, limits, rng)?;
    let operations = tally.operations;
    for _ in 0..ROUNDS_EACH {
        if !orders.has_round(tally.rounds) {
            break;
        }
        let cut = break_it(home, &mut setting, rng, tally)?;
        start_again(home, rng, tally)?;
        tally.operations = operations + setting.operations();
        tally.judge(setting.compare(Promise::Closed, cut))?;
        tally.rounds += 1;
    }
    home.end()?;
    home.check()?;
    tally.checks += 1;
    Ok(())
}

/// Lets everybody work for a moment and kills the daemon, or sometimes only tells it to end.
fn break_it(
    home: &mut Home,
    setting: &mut Setting,
    rng: &mut Rng,
    tally: &mut Tally,
) -> Result<Instant, Trouble> {
    let work = Duration::from_millis(rng.between(1, 600) as u64);
    let is_killed = !rng.percent(8);
    let is_over = AtomicBool::new(false);
    let cut = setting.work_while(&is_over, || {
        std::thread::sleep(work);
        let cut = Instant::now();
        if is_killed {
            home.kill();
        }
        Ok(cut)
    })?;
    if is_killed {
        tally.breaks += 1;
    } else {
        // Not while they work: behind a mount that ends they would find its empty mountpoint.
        home.end()?;
    }
    home.clear();
    Ok(cut)
}

/// Mounts again, perhaps after kills during the start, without a keymap, or after a check.
fn start_again(home: &mut Home, rng: &mut Rng, tally: &mut Tally) -> Result<(), Trouble> {
    if rng.percent(15) {
        home.delete_keymaps();
    }
    if rng.percent(20) {
        home.check()?;
        tally.checks += 1;
    }
    while rng.percent(30) {
        home.start()?;
        std::thread::sleep(Duration::from_micros(rng.between(100, 60_000) as u64));
        home.kill();
        home.clear();
        tally.breaks += 1;
    }
    let started = Instant::now();
    home.mount()?;
    tally.mount_max = tally.mount_max.max(started.elapsed());
    Ok(())
}
