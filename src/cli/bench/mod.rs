//! `littfs bench`: how fast this machine stores and reads values.
//!
//! It uses the library as any program would. `put_get.rs` measures storing and reading against the
//! bare system calls of `bare.rs`, in turns; `many.rs` measures what concerns many keys at once:
//! opening, rebuilding the keymap, expiry. `load.rs` makes keys and values and runs operations,
//! `measure.rs` is the arithmetic, `report.rs` what is printed, `scratch.rs` the directory that it
//! all happens in.

mod bare;
mod load;
mod many;
mod measure;
mod put_get;
mod report;
mod scratch;

use std::path::Path;
use std::process::ExitCode;

use littfs::Clock;
use littfs::{Db, OpenOptions, TableSettings};

use self::load::Load;
use self::report::Report;
use self::scratch::{Scratch, Stop};
use super::args::{BenchArguments, Scenario};
use super::output::Output;
use super::{Failure, Outcome, fail};

const TABLE: &str = "bench";
const VALUE_BYTES_MAX: u64 = 256 << 20;

/// What is to be measured, defaults filled in.
#[derive(Debug)]
struct Plan {
    scenario: Scenario,
    keys: u64,
    reads: u64,
    threads: u16,
    rounds: u16,
    load: Load,
}

impl Plan {
    fn new(arguments: &BenchArguments) -> Result<Self, Failure> {
        let scenario = arguments.scenario;
        let (keys, value_bytes) = match scenario {
            Scenario::PutGet => (300_000, 1 << 10),
            Scenario::Large => (16_384, 64 << 10),
            Scenario::Reopen | Scenario::Rebuild | Scenario::Expire => (1_000_000, 100),
        };
        let keys = arguments.keys.unwrap_or(keys);
        let value_bytes = arguments.value_bytes.unwrap_or(value_bytes);
        if !(1..=VALUE_BYTES_MAX).contains(&value_bytes) {
            return fail("--value-bytes can be 1 to 256MiB");
        }
        Ok(Self {
            scenario,
            keys,
            reads: arguments.reads.unwrap_or(keys),
            threads: arguments.threads,
            rounds: arguments.rounds,
            load: Load::new(arguments.key_bytes, usize::try_from(value_bytes).unwrap_or(0)),
        })
    }
}

/// Runs `littfs bench`.
pub(super) fn run(arguments: &BenchArguments) -> Outcome {
    if let Some(root) = &arguments.open_only {
        return many::open_only(root);
    }
    let plan = Plan::new(arguments)?;
    let stop = Stop::on_signals()?;
    let scratch = Scratch::new(arguments.dir.as_deref())?;
    let report = match plan.scenario {
        Scenario::PutGet | Scenario::Large => put_get::run(&plan, stop, &scratch)?,
        Scenario::Reopen | Scenario::Rebuild => many::reopen(&plan, stop, &scratch)?,
        Scenario::Expire => many::expire(&plan, stop, &scratch)?,
    };
    drop(scratch);
    print(&report, arguments.json)?;
    Ok(ExitCode::SUCCESS)
}

fn print(report: &Report, json: bool) -> Result<(), Failure> {
    let mut output = Output::new();
    if json {
        output.json(&report.json())?;
    } else {
        report.lines().iter().try_for_each(|line| output.line(line))?;
    }
    output.finish()
}

/// Opens a scratch database with the default configuration.
fn open(root: &Path, clock: Clock) -> Result<Db, Failure> {
    Ok(Db::open(OpenOptions::new([root]).create(true).clock(clock))?)
}

/// Opens a scratch database and makes the table.
fn create(root: &Path, clock: Clock) -> Result<Db, Failure> {
    let db = open(root, clock)?;
    db.create_table(TABLE, TableSettings::default())?;
    Ok(db)
}
