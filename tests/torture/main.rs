//! Breaking things for real and looking whether anything was lost.
//!
//! Each campaign runs rounds: real clients on a real mount, something that breaks in the middle
//! of it, and a comparison of everything with what the clients were told. `cargo test` runs the
//! short form of every campaign; `scripts/torture` runs one of them through a night. Further
//! campaigns are added to `CAMPAIGNS`.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "the numbers are small"
)]

mod campaign;
mod client;
mod drive;
mod failing;
mod home;
mod kill;
mod model;
mod observe;
mod passing;
mod power;
mod setting;
mod syncs;
mod tables;

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};

use crate::campaign::{Campaign, IS_ENDING, Orders, Tally, say};

/// Every campaign.
const CAMPAIGNS: &[Campaign] =
    &[kill::CAMPAIGN, power::EXT4, power::XFS, failing::CAMPAIGN, syncs::EXT4, syncs::XFS];

/// What the test runner of Rust understands and this one need not.
const IGNORED: &[&str] =
    &["--nocapture", "--show-output", "--quiet", "-q", "--exact", "--include-ignored", "--ignored"];

const USAGE: &str =
    "usage: torture [CAMPAIGN]... [--rounds N] [--minutes M] [--seed S]   (or --list)";

/// The short form of a campaign takes no longer, and then one round.
const SHORT: Duration = Duration::from_secs(20);

/// What was typed.
#[derive(Default)]
struct Typed {
    names: Vec<String>,
    rounds: Option<u64>,
    minutes: Option<u64>,
    seed: Option<u64>,
    list: bool,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Typed, String> {
    let mut typed = Typed::default();
    while let Some(argument) = arguments.next() {
        let mut number = |name: &str| {
            let value = arguments.next().and_then(|value| value.parse().ok());
            value.ok_or_else(|| format!("{name} takes a number\n{USAGE}"))
        };
        match argument.as_str() {
            "--rounds" => typed.rounds = Some(number("--rounds")?),
            "--minutes" => typed.minutes = Some(number("--minutes")?),
            "--seed" => typed.seed = Some(number("--seed")?),
            "--list" => typed.list = true,
            flag if IGNORED.contains(&flag) || flag.starts_with("--test-threads") => {}
            flag if flag.starts_with('-') => return Err(format!("unknown: {flag}\n{USAGE}")),
            name => typed.names.push(name.to_owned()),
        }
    }
    Ok(typed)
}

/// Lets an interrupt end the campaigns after the round, when all mounts and drives are put away.
fn end_on_signals() {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block().expect("block signals");
    std::thread::spawn(move || {
        if signals.wait().is_ok() {
            say("ending after this round");
            IS_ENDING.store(true, Ordering::Relaxed);
        }
    });
}

fn run(campaign: &Campaign, typed: &Typed) -> bool {
    let name = campaign.name;
    let seed = typed.seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| now.as_nanos() as u64 % 1_000_000_007)
    });
    let is_long = typed.rounds.is_some() || typed.minutes.is_some();
    let rounds = typed.rounds.unwrap_or(if is_long { u64::MAX } else { campaign.rounds });
    let time = match typed.minutes {
        Some(minutes) => Duration::from_secs(60 * minutes),
        None if is_long => Duration::from_secs(365 * 86_400),
        None => SHORT,
    };
    say(&format!("torture {name}: {}; seed {seed}", campaign.about));
    let started = Instant::now();
    let orders = Orders { seed, rounds, deadline: started + time };
    let mut tally = Tally::default();
    let outcome = (campaign.run)(&orders, &mut tally);
    let seconds = started.elapsed().as_secs();
    say(&format!("torture {name}: {tally}, {seconds} s"));
    if let Err(trouble) = outcome {
        say(&format!("torture {name}: FAILED in round {}: {trouble}", tally.rounds));
        let rounds = tally.rounds + 1;
        say(&format!("again with: scripts/torture {name} --seed {seed} --rounds {rounds}"));
        return false;
    }
    true
}

fn main() -> ExitCode {
    let typed = match parse(std::env::args().skip(1)) {
        Ok(typed) => typed,
        Err(problem) => {
            say(&problem);
            return ExitCode::from(2);
        }
    };
    let wanted = |campaign: &&Campaign| {
        typed.names.is_empty() || typed.names.iter().any(|name| campaign.name.contains(name))
    };
    let campaigns: Vec<&Campaign> = CAMPAIGNS.iter().filter(wanted).collect();
    if typed.list {
        for campaign in campaigns {
            say(&format!("{}: test", campaign.name));
        }
        return ExitCode::SUCCESS;
    }
    // Modes of files are to be what is asked for.
    umask(Mode::from_bits_truncate(0o022));
    end_on_signals();
    let results: Vec<bool> = campaigns.iter().map(|campaign| run(campaign, &typed)).collect();
    if results.iter().all(|is_good| *is_good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
