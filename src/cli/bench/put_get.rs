//! Storing values and reading them in random order, in turns with the bare system calls.

use std::ops::Range;
use std::sync::Arc;

use littfs::Clock;
use littfs::Table;

use super::bare::Bare;
use super::load::{BenchStep, Runner, Timed, mix};
use super::plan::{BenchPlan, TABLE, create};
use super::report::{BenchReport, Series};
use super::scratch::{Scratch, Stop, bytes_on_disk};
use crate::cli::args::Scenario;
use crate::cli::{Failure, fail};

/// Of so many values that are read, one is compared with what was stored. Its checksum is verified
/// by the library every time.
const COMPARE_EVERY: u64 = 64;

/// What is measured by turns in every round.
struct Sides<'a> {
    plan: &'a BenchPlan,
    table: Arc<Table>,
    bare: Bare,
    runner: Runner,
}

pub(super) fn run(plan: &BenchPlan, stop: Stop, scratch: &Scratch) -> Result<BenchReport, Failure> {
    let is_large = plan.scenario == Scenario::Large;
    let db = create(&scratch.root(), Clock::system())?;
    // With several threads one alone is measured as well, for the ratio of both.
    let turns = if plan.threads > 1 { 3 } else { 2 };
    let sides = Sides {
        plan,
        table: db.table(TABLE)?,
        bare: Bare::new(scratch.path(), plan.threads, plan.load.value_bytes(), !is_large)?,
        runner: Runner::new(stop, (plan.keys + plan.reads) * turns / (turns - 1)),
    };
    let mut report = BenchReport::new(plan);
    report.series(sides.measure("puts", plan.keys, Sides::put, Sides::put_bare)?);
    sides.runner.now("sealing");
    db.upkeep()?;
    report.series(sides.measure("gets", plan.reads, Sides::get, Sides::get_bare)?);
    report.memory()?;
    drop(sides);
    db.close()?;
    report.disk(&scratch.root(), bytes_on_disk(&scratch.root()));
    Ok(report)
}

impl Sides<'_> {
    /// Divides the numbers into rounds, in each of which every side has its turn.
    fn measure(
        &self,
        name: &'static str,
        count: u64,
        ours: impl Fn(&Self, Range<u64>, u16) -> Result<Timed, Failure>,
        bare: impl Fn(&Self, Range<u64>, u16) -> Result<Timed, Failure>,
    ) -> Result<Series, Failure> {
        let plan = self.plan;
        let mut series = Series::new(name, plan.load.value_bytes(), plan.threads);
        let rounds = u64::from(plan.rounds);
        let part = |index: u64, parts: u64| count * index / parts..count * (index + 1) / parts;
        for round in 0..rounds {
            if plan.threads == 1 {
                let numbers = part(round, rounds);
                series.bare(&bare(self, numbers.clone(), 1)?);
                series.ours(&ours(self, numbers, 1)?);
            } else {
                let numbers = part(2 * round, 2 * rounds);
                series.bare(&bare(self, numbers.clone(), plan.threads)?);
                series.ours(&ours(self, numbers, plan.threads)?);
                series.one_thread(&ours(self, part(2 * round + 1, 2 * rounds), 1)?);
            }
        }
        Ok(series)
    }

    fn put(&self, numbers: Range<u64>, threads: u16) -> Result<Timed, Failure> {
        self.runner.now("storing values");
        let operation = || {
            let mut key = Vec::new();
            move |step: BenchStep| {
                self.plan.load.key(step.number, &mut key);
                Ok(self.table.put(&key, self.plan.load.value(step.number))?)
            }
        };
        self.runner.run(numbers, threads, operation, || Ok(self.table.flush()?))
    }

    fn put_bare(&self, numbers: Range<u64>, threads: u16) -> Result<Timed, Failure> {
        self.runner.now("writing plain files");
        let operation = || |step: BenchStep| self.bare.put(step, self.plan.load.value(step.number));
        self.runner.run(numbers, threads, operation, || self.bare.sync())
    }

    fn get(&self, numbers: Range<u64>, threads: u16) -> Result<Timed, Failure> {
        self.runner.now("reading values");
        let operation = || {
            let mut key = Vec::new();
            move |step: BenchStep| {
                let number = mix(step.number) % self.plan.keys;
                self.plan.load.key(number, &mut key);
                let value = self.table.get(&key)?;
                let is_right = value.is_some_and(|value| {
                    let compare = step.number.is_multiple_of(COMPARE_EVERY);
                    !compare || value == self.plan.load.value(number)
                });
                if is_right {
                    Ok(())
                } else {
                    fail(format!("value {number} is not what was stored under its key"))
                }
            }
        };
        self.runner.run(numbers, threads, operation, || Ok(()))
    }

    fn get_bare(&self, numbers: Range<u64>, threads: u16) -> Result<Timed, Failure> {
        self.runner.now("reading plain files");
        let operation = || {
            let mut buffer = vec![0; self.plan.load.value(0).len()];
            move |step: BenchStep| self.bare.get(step, &mut buffer)
        };
        self.runner.run(numbers, threads, operation, || Ok(()))
    }
}
