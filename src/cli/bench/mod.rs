//! `littfs bench`: how fast this machine stores and reads values.
//!
//! It uses the library as any program would. `put_get.rs` measures storing and reading against the
//! bare system calls of `bare.rs`, in turns; `many.rs` measures what concerns many keys at once:
//! opening, rebuilding the keymap, expiry. `plan.rs` says what is to be measured, `load.rs` makes keys
//! and values and runs operations, `measure.rs` is the arithmetic, `report.rs` what is printed,
//! `scratch.rs` the directory that it all happens in.

mod bare;
mod load;
mod many;
mod measure;
mod plan;
mod put_get;
mod report;
mod scratch;

use std::process::ExitCode;

use self::plan::BenchPlan;
use self::report::BenchReport;
use self::scratch::{Scratch, Stop};
use super::args::{BenchArguments, Scenario};
use super::output::Output;
use super::{Failure, Outcome};

/// Runs `littfs bench`.
pub(super) fn run(arguments: &BenchArguments) -> Outcome {
    if let Some(root) = &arguments.open_only {
        return many::open_only(root);
    }
    let plan = BenchPlan::new(arguments)?;
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

fn print(report: &BenchReport, json: bool) -> Result<(), Failure> {
    let mut output = Output::new();
    if json {
        output.json(&report.json())?;
    } else {
        report.lines().iter().try_for_each(|line| output.line(line))?;
    }
    output.finish()
}
