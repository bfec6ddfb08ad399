//! Crashes, computed: everything that a power cut or a failing drive can leave, in one process and
//! without a mount. `cargo test` runs the short form; for a long one:
//!
//! `cargo test --release --test crashes -- orders --rounds 1000 --minutes 60 --seed 1`

#![allow(clippy::cast_possible_truncation, reason = "the numbers are small")]

mod calls;
mod orders;
mod story;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::orders::simulated::Image;

/// How long the short form of a campaign takes.
const SHORT_SEED: u64 = 11;
const SHORT: Duration = Duration::from_secs(12);
/// In memory: nothing here depends on what a real sync does.
const MEMORY: &str = "/dev/shm";

const USAGE: &str = "usage: crashes [orders|calls]... [--rounds N] [--minutes M] [--seed S]";

/// A directory that goes when it is dropped.
pub(crate) fn scratch() -> TempDir {
    let made = if Path::new(MEMORY).is_dir() {
        tempfile::Builder::new().prefix("littfs-crashes-").tempdir_in(MEMORY)
    } else {
        tempfile::tempdir()
    };
    made.expect("a temporary directory")
}

/// Keeps a state in which something is wrong; tells where.
pub(crate) fn keep(image: &Image, name: &str) -> String {
    let place = std::env::temp_dir().join(format!("littfs-crashes-{name}"));
    match image.write(&place) {
        Ok(()) => place.display().to_string(),
        Err(error) => format!("nowhere ({error})"),
    }
}

/// Tells whoever runs the campaign.
pub(crate) fn say(text: &str) {
    // When nobody listens the exit code still tells.
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// Panics so far, on any thread.
static PANICS: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn panics() -> usize {
    PANICS.load(Ordering::SeqCst)
}

fn count_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        usual(panic);
    }));
}

/// Ends the program, which says why, unless what is returned is dropped in time.
pub(crate) fn watch(what: &str, patience: Duration) -> Sender<()> {
    let (watch, ended) = channel::<()>();
    let what = what.to_owned();
    std::thread::spawn(move || {
        if ended.recv_timeout(patience) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            say(&format!("{what}: hangs"));
            std::process::abort();
        }
    });
    watch
}

/// What was typed.
#[derive(Default)]
struct Typed {
    names: Vec<String>,
    rounds: Option<u64>,
    minutes: Option<u64>,
    seed: Option<u64>,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Typed, String> {
    let mut typed = Typed::default();
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().and_then(|value| value.parse().ok());
            value.ok_or_else(|| format!("{argument} takes a number\n{USAGE}"))
        };
        match argument.as_str() {
            "--rounds" => typed.rounds = Some(number()?),
            "--minutes" => typed.minutes = Some(number()?),
            "--seed" => typed.seed = Some(number()?),
            name @ ("orders" | "calls") => typed.names.push(name.to_owned()),
            // What the test runner of Rust understands and this one need not.
            flag if flag.starts_with('-') => {}
            other => return Err(format!("unknown: {other}\n{USAGE}")),
        }
    }
    Ok(typed)
}

fn main() -> ExitCode {
    let typed = match parse(std::env::args().skip(1)) {
        Ok(typed) => typed,
        Err(problem) => {
            say(&problem);
            return ExitCode::from(2);
        }
    };
    // With RUST_LOG it tells what the library thinks of what it finds.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("off")).init();
    count_panics();
    let is_wanted =
        |name: &str| typed.names.is_empty() || typed.names.iter().any(|typed| typed == name);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let is_long = typed.rounds.is_some() || typed.minutes.is_some();
    // The short form makes the same calls every time, so that it tells of a change.
    let fresh = if is_long { now.map_or(1, |now| now.as_secs()) } else { SHORT_SEED };
    let seed = typed.seed.unwrap_or(fresh);
    let time = match typed.minutes {
        Some(minutes) => Duration::from_secs(60 * minutes),
        None if is_long => Duration::from_secs(365 * 86_400),
        None => SHORT,
    };
    let rounds = typed.rounds.unwrap_or(u64::MAX);
    let mut is_good = true;
    if is_wanted("orders") {
        say(&format!("every write order: seed {seed}"));
        let started = Instant::now();
        let outcome = orders::run(seed, rounds, started + time);
        say(&format!("every write order: {outcome}, {} s", started.elapsed().as_secs()));
        outcome.failures.iter().for_each(|failure| say(failure));
        is_good &= outcome.failures.is_empty();
    }
    if is_wanted("calls") {
        say(&format!("every failing call: seed {seed}"));
        let started = Instant::now();
        let outcome = calls::run(seed, rounds, started + time);
        say(&format!("every failing call: {outcome}, {} s", started.elapsed().as_secs()));
        outcome.failures.iter().for_each(|failure| say(failure));
        is_good &= outcome.failures.is_empty();
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
