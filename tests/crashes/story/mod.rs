//! A short life of a database with everything in it, and what its user was told.
//!
//! The same seed makes the same calls. It is told to the library, not to a mount: there each call is
//! one operation that has ended when it returns, and thousands of lives fit into a minute.

pub(crate) mod look;
pub(crate) mod model;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use littfs::Clock;
use littfs::testing::{Disk, Faults, Recorder};
use littfs::{
    Attributes, Db, EngineOptions, Error, Kind, OpenOptions, Operation, Table, TableSettings,
};

use self::look::look;
use self::model::{Model, State, Value};
use littfs::testing::rng::{Rng, content};

/// When a story begins, ns since the epoch.
const START_NS: u64 = 1_700_000_000_000_000_000;
/// Longer values get a file of their own.
const SPILL_BYTES: usize = 8192;
/// How long whatever must happen is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Names in use, in each table.
const NAMES: usize = 24;
/// The time to live of what expires.
const TTL: Duration = Duration::from_secs(1000);
/// The table that lives on, one that expires, one that goes.
const TABLES: [&str; 3] = ["keep", "pass", "drop"];

/// How a database is opened here: segments are small, and nothing happens unless it is asked for.
pub(crate) fn options(base: &Path, clock: Clock, disk: Disk) -> OpenOptions {
    let mut engine = EngineOptions::default();
    engine.segment_keys_max = 10;
    engine.spill_bytes = SPILL_BYTES as u64;
    engine.flush_interval = Duration::from_secs(3600);
    engine.expiry_hold = Duration::ZERO;
    engine.reserve_bytes = 0;
    engine.cache_bytes = 1 << 16;
    OpenOptions::new(roots(base)).create(true).engine(engine).clock(clock).disk(disk)
}

/// The time so many nanoseconds after 1970 began; the model counts in them.
pub(crate) fn time(instant_ns: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(instant_ns)
}

/// The nanoseconds of a time.
pub(crate) fn ns(instant: SystemTime) -> u64 {
    let since = instant.duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_nanos()).expect("before 2554")
}

pub(crate) fn roots(base: &Path) -> Vec<PathBuf> {
    vec![base.join("r0"), base.join("r1")]
}

/// A story under way.
pub(crate) struct Story {
    pub(crate) model: Model,
    /// Calls that failed, each with its error.
    pub(crate) failed: Vec<(String, Error)>,
    /// Calls that were made.
    pub(crate) calls: usize,
    /// What makes calls fail, if anything does.
    pub(crate) faults: Option<Arc<Faults>>,
    /// What should not be, seen on the way.
    pub(crate) wrong: Vec<String>,
    /// Failures of the drive that were looked at.
    struck: usize,
    options: OpenOptions,
    clock: Clock,
    recorder: Arc<Recorder>,
    db: Option<Db>,
    rng: Rng,
    next_value: u64,
}

impl Story {
    /// A story in the folder `base`, told through `disk`.
    pub(crate) fn new(base: &Path, disk: Disk, recorder: Arc<Recorder>, seed: u64) -> Self {
        let clock = Clock::manual(time(START_NS));
        let mut model = Model::default();
        model.clock(0, START_NS);
        let options = options(base, clock.clone(), disk.recorded_by(Arc::clone(&recorder)));
        let (rng, failed) = (Rng::new(seed), Vec::new());
        Self {
            model,
            failed,
            calls: 0,
            faults: None,
            wrong: Vec::new(),
            struck: 0,
            options,
            clock,
            recorder,
            db: None,
            rng,
            next_value: 1,
        }
    }

    pub(crate) fn db(&self) -> Option<&Db> {
        self.db.as_ref()
    }

    /// Now, as an instant of the model.
    pub(crate) fn at(&self) -> usize {
        self.recorder.seen()
    }

    /// The whole story.
    pub(crate) fn tell(&mut self, steps: usize) {
        self.open();
        for table in TABLES {
            self.make_table(table);
        }
        for step in 0..steps {
            self.pass(Duration::from_secs(1));
            // It may have failed before.
            self.open();
            match step * 24 / steps {
                3 if Self::is_first(step, steps) => self.flush_all(),
                6 | 16 if Self::is_first(step, steps) => self.expire("pass"),
                9 if Self::is_first(step, steps) => self.drop_table("drop"),
                11 if Self::is_first(step, steps) => self.make_table("drop"),
                13 | 20 if Self::is_first(step, steps) => {
                    self.close();
                    self.open();
                }
                18 if Self::is_first(step, steps) => self.expire("keep"),
                _ => self.step(),
            }
        }
        self.flush_all();
        self.step();
    }

    /// Whether the step before belonged to another part of the story.
    fn is_first(step: usize, steps: usize) -> bool {
        step > 0 && (step - 1) * 24 / steps != step * 24 / steps
    }

    pub(crate) fn open(&mut self) {
        if self.db.is_some() {
            return;
        }
        self.calls += 1;
        match Db::open(self.options.clone()) {
            Ok(db) => self.db = Some(db),
            Err(error) => self.failed.push(("open".to_owned(), error)),
        }
        self.struck = self.faults.as_ref().map_or(0, |faults| faults.struck().len());
    }

    /// A close flushes everything.
    pub(crate) fn close(&mut self) {
        let begun = self.at();
        let Some(db) = self.db.take() else { return };
        // One that could not be dropped to the end is neither open nor gone.
        let tables = db.tables();
        self.calls += 1;
        let result = db.close();
        self.struck = self.faults.as_ref().map_or(0, |faults| faults.struck().len());
        match result {
            Ok(()) => {
                for table in tables {
                    self.model.flush(table.name(), begun, self.at());
                }
            }
            Err(error) => self.failed.push(("close".to_owned(), error)),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        self.model.clock(self.at(), ns(self.clock.now()));
    }

    fn make_table(&mut self, table: &str) {
        let Some(db) = self.db.clone() else { return };
        let settings = TableSettings::default().with_grace(1000 * TTL).with_shards(2);
        let settings = if table == "pass" { settings.with_ttl(TTL) } else { settings };
        let owner = Attributes::new(Kind::Folder, 0o755, 0, 0, self.clock.now());
        let begun = self.at();
        let result = db.create_table_with(table, settings, owner).map(drop);
        let ended = self.note(&format!("make table {table}"), result);
        self.model.table(table, begun, ended, true);
        self.model.ttl(table, (begun, ended), settings.ttl);
    }

    fn drop_table(&mut self, table: &str) {
        let Some(db) = self.db.clone() else { return };
        let begun = self.at();
        let result = db.drop_table(table);
        let ended = self.note(&format!("drop table {table}"), result);
        self.model.table(table, begun, ended, false);
    }

    /// Notes how a call has ended, and when if it did well.
    fn note(&mut self, what: &str, result: Result<(), Error>) -> Option<usize> {
        self.calls += 1;
        let ended = self.at();
        self.look_at_failures(what);
        match result {
            Ok(()) => Some(ended),
            Err(error) => {
                self.failed.push((what.to_owned(), error));
                None
            }
        }
    }

    /// A sync of a table's file that failed has made it read-only, and it says why.
    fn look_at_failures(&mut self, what: &str) {
        let struck = self.faults.as_ref().map_or_else(Vec::new, |faults| faults.struck());
        for (operation, path) in &struck[self.struck..] {
            let is_in = |table: &Arc<Table>| path.iter().any(|part| part == table.name());
            let tables = self.db.as_ref().map_or_else(Vec::new, Db::tables);
            if *operation == Operation::Sync
                && let Some(table) = tables.into_iter().find(is_in)
            {
                // The threads of the table may have met it, and are about to say so.
                let deadline = Instant::now() + PATIENCE;
                while table.poisoned().is_none() && Instant::now() < deadline {
                    std::thread::yield_now();
                }
                let refused = table.put(b"after a failed sync", b"value");
                if table.poisoned().is_none() || !matches!(refused, Err(Error::Poisoned { .. })) {
                    let path = path.display();
                    self.wrong.push(format!("{what}: syncing {path} failed, then {refused:?}"));
                }
            }
        }
        self.struck = struck.len();
    }

    fn table(&self, name: &str) -> Option<Arc<Table>> {
        self.db.as_ref()?.table(name).ok()
    }

    /// Does something that changes these names.
    fn change(
        &mut self,
        (table, what): (&str, &str),
        states: Vec<(String, State)>,
        act: impl FnOnce(&Table) -> Result<(), Error>,
    ) {
        let Some(open) = self.table(table) else { return };
        let begun = self.at();
        let result = act(&open);
        let ended = self.note(&format!("{what} in {table}"), result);
        self.model.change((table, what), (begun, ended), false, states);
    }

    pub(crate) fn flush_all(&mut self) {
        for table in TABLES {
            self.flush(table);
        }
    }

    fn flush(&mut self, table: &str) {
        let Some(open) = self.table(table) else { return };
        let begun = self.at();
        let result = open.flush();
        if let Some(ended) = self.note(&format!("flush {table}"), result) {
            self.model.flush(table, begun, ended);
        }
    }

    fn set_ttl(&mut self, table: &str, ttl: Option<Duration>) {
        let Some(open) = self.table(table) else { return };
        let begun = self.at();
        // What has expired by now may be dropped already, and shows itself no more.
        let names = self.model.names(table).into_iter();
        let expired: Vec<String> = names
            .filter(|name| matches!(self.model.current(table, name), Ok(Some(_))))
            .filter(|name| self.current(table, name) == Some(None))
            .collect();
        for name in expired {
            self.model.change((table, "expire"), (begun, None), true, [(name, None)]);
        }
        let result = open.set_ttl(ttl);
        let ended = self.note(&format!("set the ttl of {table}"), result);
        self.model.ttl(table, (begun, ended), ttl);
    }

    fn upkeep(&mut self) {
        let Some(db) = self.db.clone() else { return };
        let result = db.upkeep();
        self.note("upkeep", result);
    }

    /// Has everything in a table expire and its space given back; then nothing expires any more,
    /// which shows whether what was dropped is gone for good.
    fn expire(&mut self, table: &str) {
        self.set_ttl(table, Some(TTL));
        self.pass(2 * TTL);
        let begun = self.at();
        let Some(db) = self.db.clone() else { return };
        let result = db.upkeep();
        let ended = self.note("upkeep that drops", result);
        self.set_ttl(table, None);
        let Some(seen) = look(&db, true).ok().and_then(|mut seen| seen.remove(table)) else {
            return;
        };
        let was_there = |name: &String| !matches!(self.model.current(table, name), Ok(None));
        let is_gone = |name: &String| {
            was_there(name) && !seen.names.contains_key(name) && !seen.unreadable.contains(name)
        };
        // While everything is expired nobody sees what is really gone.
        let ended = ended.filter(|_| seen.ttl.is_none());
        let gone: Vec<String> = self.model.names(table).into_iter().filter(is_gone).collect();
        for name in gone {
            // Each by itself: they go with their segments.
            self.model.change((table, "expire"), (begun, ended), true, [(name, None)]);
        }
        if self.rng.percent(50) {
            self.set_ttl(table, Some(TTL));
        }
    }

    fn new_value(&mut self, bytes: usize) -> Value {
        let seed = self.next_value;
        self.next_value += 1;
        Value { seed, bytes, mode: 0o644, written_ns: ns(self.clock.now()) }
    }

    fn some_bytes(&mut self) -> usize {
        match self.rng.below(10) {
            0 => 0,
            1..=5 => self.rng.between(1, 700),
            6 | 7 => self.rng.between(700, 5000),
            _ => self.rng.between(SPILL_BYTES + 1, 3 * SPILL_BYTES),
        }
    }

    fn some_name(&mut self) -> String {
        let number = self.rng.below(NAMES);
        let folder = *self.rng.pick(&["", "", "a/", "a/b/"]);
        format!("{folder}k{number}")
    }

    /// What a name stands for, with what has expired left out; None when that is not certain.
    fn current(&self, table: &str, name: &str) -> Option<State> {
        let ttl = self.table(table)?.settings().ttl;
        let now_ns = u128::from(ns(self.clock.now()));
        let state = self.model.current(table, name).ok()?;
        let is_live = |value: &Value| {
            ttl.is_none_or(|ttl| u128::from(value.written_ns) + ttl.as_nanos() > now_ns)
        };
        Some(state.filter(is_live))
    }

    /// A name in this table that stands for something, or for nothing.
    fn name_that(&mut self, table: &str, is_there: bool) -> Option<(String, State)> {
        for _ in 0..40 {
            let name = self.some_name();
            match self.current(table, &name) {
                Some(state) if state.is_some() == is_there => return Some((name, state)),
                _ => {}
            }
        }
        None
    }

    /// Does something.
    fn step(&mut self) {
        let table = *self.rng.pick(&TABLES);
        match self.rng.below(100) {
            0..30 => self.put(table),
            30..38 => self.put_batch(table),
            38..50 => self.stream(table),
            50..62 => self.rename(table),
            62..70 => self.change_mode(table),
            70..78 => self.remove(table),
            78..85 => self.link(table),
            85..88 => self.folder("keep"),
            88..94 => self.flush(table),
            94..98 => self.upkeep(),
            _ => {
                let ttl = *self.rng.pick(&[None, Some(TTL), Some(3 * TTL)]);
                self.set_ttl("pass", ttl);
            }
        }
    }

    fn put(&mut self, table: &str) {
        let Some((name, _)) = self.name_that(table, false) else { return };
        let bytes = self.some_bytes();
        let value = self.new_value(bytes);
        let key = name.clone().into_bytes();
        let attributes = Attributes::new(Kind::File, value.mode, 0, 0, time(value.written_ns));
        let bytes = content(value.seed, value.bytes);
        self.change((table, "put"), vec![(name, Some(value))], |table| {
            table.put_with(&key, &bytes, attributes).map(drop)
        });
    }

    fn put_batch(&mut self, table: &str) {
        let mut states: Vec<(String, State)> = Vec::new();
        for _ in 0..self.rng.between(2, 5) {
            if let Some((name, _)) = self.name_that(table, false)
                && !states.iter().any(|(other, _)| *other == name)
            {
                let bytes = self.rng.below(3000);
                states.push((name, Some(self.new_value(bytes))));
            }
        }
        let contents = states.iter().map(|(name, state)| {
            let bytes = state.as_ref().map(|value| content(value.seed, value.bytes));
            (name.clone().into_bytes(), bytes.unwrap_or_default())
        });
        let contents: Vec<(Vec<u8>, Vec<u8>)> = contents.collect();
        self.change((table, "put a batch"), states, |table| {
            let pairs: Vec<(&[u8], &[u8])> =
                contents.iter().map(|(key, bytes)| (&**key, &**bytes)).collect();
            table.put_batch(&pairs)
        });
    }

    /// A value that is written piece by piece, and stored once in between.
    fn stream(&mut self, table: &str) {
        let Some((name, _)) = self.name_that(table, false) else { return };
        let Some(open) = self.table(table) else { return };
        if let Some((parent, _)) = name.rsplit_once('/')
            && !matches!(open.exists(format!("{parent}/").as_bytes()), Ok(true))
        {
            return;
        }
        let bytes = self.some_bytes();
        let value = self.new_value(bytes);
        let part = Value { bytes: self.rng.between(0, bytes), ..value.clone() };
        let (bytes, half) = (content(value.seed, value.bytes), part.bytes);
        let attributes = Attributes::new(Kind::File, value.mode, 0, 0, time(value.written_ns));
        let Ok(mut writer) = open.writer() else { return };
        let key = name.clone().into_bytes();
        self.change((table, "store a part"), vec![(name.clone(), Some(part))], |_| {
            writer.write_at(0, &bytes[..half])?;
            writer.store(&key, attributes).map(drop)
        });
        if self.rng.percent(30) {
            self.flush(table);
        }
        if self.rng.percent(80) {
            self.change((table, "store the rest"), vec![(name, Some(value))], |_| {
                writer.write_at(half as u64, &bytes[half..])?;
                writer.store(&key, attributes).map(drop)
            });
        }
    }

    fn rename(&mut self, table: &str) {
        let onto = self.rng.percent(40);
        let Some((from, state)) = self.name_that(table, true) else { return };
        let Some((to, _)) = self.name_that(table, onto) else { return };
        if from == to || !self.has_parent(table, &to) {
            return;
        }
        let states = vec![(from.clone(), None), (to.clone(), state)];
        self.change((table, "rename"), states, |table| {
            table.rename(from.as_bytes(), to.as_bytes(), true).map(drop)
        });
    }

    fn has_parent(&self, table: &str, name: &str) -> bool {
        let Some((parent, _)) = name.rsplit_once('/') else { return true };
        let parent = format!("{parent}/");
        self.table(table).is_some_and(|table| matches!(table.exists(parent.as_bytes()), Ok(true)))
    }

    fn change_mode(&mut self, table: &str) {
        let Some((name, Some(value))) = self.name_that(table, true) else { return };
        let mode = *self.rng.pick(&[0o600, 0o640, 0o755]);
        let key = name.clone();
        let now_ns = ns(self.clock.now());
        self.change(
            (table, "change the mode"),
            vec![(name, Some(Value { mode, ..value }))],
            |table| {
                let attributes = Attributes::new(Kind::File, mode, 0, 0, time(now_ns));
                table.change_attributes(key.as_bytes(), attributes).map(drop)
            },
        );
    }

    fn remove(&mut self, table: &str) {
        let Some((name, _)) = self.name_that(table, true) else { return };
        let key = name.clone();
        self.change((table, "remove"), vec![(name, None)], |table| table.remove(key.as_bytes()));
    }

    fn link(&mut self, table: &str) {
        let Some((from, Some(value))) = self.name_that(table, true) else { return };
        let Some((to, _)) = self.name_that(table, false) else { return };
        if !self.has_parent(table, &to) {
            return;
        }
        let linked = Value { written_ns: ns(self.clock.now()), ..value };
        self.change((table, "link"), vec![(to.clone(), Some(linked))], |table| {
            table.link(from.as_bytes(), to.as_bytes()).map(drop)
        });
    }

    /// Makes or removes a folder in which nothing ever is.
    fn folder(&mut self, table: &str) {
        let name = format!("empty{}/", self.rng.below(3));
        let Some(open) = self.table(table) else { return };
        let now_ns = ns(self.clock.now());
        let value = Value { seed: 0, bytes: 0, mode: 0o750, written_ns: now_ns };
        // They may have expired, so what is there is asked.
        let Ok(is_there) = open.exists(name.as_bytes()) else { return };
        let key = name.clone();
        if is_there {
            self.change((table, "rmdir"), vec![(name, None)], |table| {
                table.remove_folder(key.as_bytes())
            });
            return;
        }
        self.change((table, "mkdir"), vec![(name, Some(value))], |table| {
            let attributes = Attributes::new(Kind::Folder, 0o750, 0, 0, time(now_ns));
            table.create_folder(key.as_bytes(), attributes).map(drop)
        });
    }
}
