//! What is to be measured, and the database that it is measured in.

use std::path::Path;

use littfs::{Clock, Db, OpenOptions, TableSettings};

use super::load::Load;
use crate::cli::args::{BenchArguments, Scenario};
use crate::cli::{Failure, fail};

pub(super) const TABLE: &str = "bench";
const VALUE_BYTES_MAX: usize = 256 << 20;

/// What is to be measured, defaults filled in.
#[derive(Debug)]
pub(super) struct BenchPlan {
    pub(super) scenario: Scenario,
    pub(super) keys: u64,
    pub(super) reads: u64,
    pub(super) threads: u16,
    pub(super) rounds: u16,
    pub(super) load: Load,
}

impl BenchPlan {
    pub(super) fn new(arguments: &BenchArguments) -> Result<Self, Failure> {
        let scenario = arguments.scenario;
        let (keys, value_bytes) = match scenario {
            Scenario::PutGet => (300_000, 1 << 10),
            Scenario::Large => (16_384, 64 << 10),
            Scenario::Reopen | Scenario::Rebuild | Scenario::Expire => (1_000_000, 100),
        };
        let keys = arguments.keys.unwrap_or(keys);
        let value_bytes = arguments.value_bytes.unwrap_or(value_bytes);
        let value_bytes = usize::try_from(value_bytes).ok();
        let is_allowed = |bytes: &usize| (1..=VALUE_BYTES_MAX).contains(bytes);
        let Some(value_bytes) = value_bytes.filter(is_allowed) else {
            return fail("--value-bytes can be 1 to 256MiB");
        };
        Ok(Self {
            scenario,
            keys,
            reads: arguments.reads.unwrap_or(keys),
            threads: arguments.threads,
            rounds: arguments.rounds,
            load: Load::new(arguments.key_bytes, value_bytes),
        })
    }
}

/// Opens a scratch database with the default configuration.
pub(super) fn open(root: &Path, clock: Clock) -> Result<Db, Failure> {
    Ok(Db::open(OpenOptions::new([root]).create(true).clock(clock))?)
}

/// Opens a scratch database and makes the table.
pub(super) fn create(root: &Path, clock: Clock) -> Result<Db, Failure> {
    let db = open(root, clock)?;
    db.create_table(TABLE, TableSettings::default())?;
    Ok(db)
}
