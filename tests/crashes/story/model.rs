//! What was promised when, and what may therefore be found after a power cut or a kill.
//!
//! Instants are counts of effects on the disk. Each change has the instant at which it was begun
//! and, when it was acknowledged, that of its end. A power cut at an instant keeps what was
//! acknowledged and flushed before it; of what came later each change may have come to pass or
//! not, but the changes of one call together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use littfs::testing::rng::content;

/// A file as it was stored, or a folder, which has no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) seed: u64,
    pub(crate) bytes: usize,
    pub(crate) mode: u32,
    pub(crate) written_ns: u64,
}

/// What a name stands for.
pub(crate) type State = Option<Value>;

/// Several names that change together.
#[derive(Clone, Debug)]
struct Change {
    table: String,
    what: String,
    begun: usize,
    /// None when it failed, and so may have come to pass or not.
    ended: Option<usize>,
    /// It survives a power cut once it has ended.
    is_durable: bool,
    states: BTreeMap<String, State>,
}

/// A setting, or whether a table is there: durable once it was acknowledged.
#[derive(Clone, Debug)]
struct Setting<T> {
    table: String,
    begun: usize,
    ended: Option<usize>,
    to: T,
}

/// What survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// The process has gone: all that was acknowledged.
    Kill,
    /// The power has gone: all that was flushed.
    PowerCut,
}

/// What was found under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) bytes: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) written_ns: u64,
    pub(crate) id: u64,
}

/// A table as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeenTable {
    pub(crate) ttl: Option<Duration>,
    pub(crate) names: BTreeMap<String, Seen>,
    /// Names that could not be read, since a drive fails.
    pub(crate) unreadable: BTreeSet<String>,
}

/// All tables.
pub(crate) type SeenAll = BTreeMap<String, SeenTable>;

/// What a comparison came to.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Names that had to stand for exactly one thing.
    pub(crate) checked: u64,
    pub(crate) wrong: Vec<String>,
}

/// The history of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    changes: Vec<Change>,
    /// Table, begun, ended.
    flushes: Vec<(String, usize, usize)>,
    tables: Vec<Setting<bool>>,
    ttls: Vec<Setting<Option<Duration>>>,
    /// From when on the clock showed what.
    clock: Vec<(usize, u64)>,
}

impl Model {
    pub(crate) fn change(
        &mut self,
        (table, what): (&str, &str),
        (begun, ended): (usize, Option<usize>),
        is_durable: bool,
        states: impl IntoIterator<Item = (String, State)>,
    ) {
        let states = states.into_iter().collect();
        let (table, what) = (table.to_owned(), what.to_owned());
        self.changes.push(Change { table, what, begun, ended, is_durable, states });
    }

    pub(crate) fn flush(&mut self, table: &str, begun: usize, ended: usize) {
        self.flushes.push((table.to_owned(), begun, ended));
    }

    pub(crate) fn table(&mut self, table: &str, begun: usize, ended: Option<usize>, to: bool) {
        self.tables.push(Setting { table: table.to_owned(), begun, ended, to });
        if !to {
            let states: Vec<_> = self.names(table).into_iter().map(|name| (name, None)).collect();
            self.change((table, "drop the table"), (begun, ended), true, states);
        }
    }

    pub(crate) fn ttl(
        &mut self,
        table: &str,
        (begun, ended): (usize, Option<usize>),
        to: Option<Duration>,
    ) {
        self.ttls.push(Setting { table: table.to_owned(), begun, ended, to });
    }

    pub(crate) fn clock(&mut self, from: usize, now_ns: u64) {
        self.clock.push((from, now_ns));
    }

    /// What the clock showed.
    pub(crate) fn now_ns(&self, at: usize) -> u64 {
        let passed = self.clock.iter().rev().find(|(from, _)| *from <= at);
        passed.or(self.clock.first()).map_or(0, |(_, now_ns)| *now_ns)
    }

    /// Every name that something was ever done to.
    pub(crate) fn names(&self, table: &str) -> BTreeSet<String> {
        let of_table = self.changes.iter().filter(|change| change.table == table);
        of_table.flat_map(|change| change.states.keys().cloned()).collect()
    }

    /// What a name stands for now; an error when that is not certain.
    pub(crate) fn current(&self, table: &str, name: &str) -> Result<State, ()> {
        let changes = self.of_table(table).into_iter();
        let changes: Vec<_> = changes.map(|change| (change, change.ended.is_some())).collect();
        let allowed = allowed(&changes, name);
        match allowed.as_slice() {
            [only] => Ok(only.clone()),
            _ => Err(()),
        }
    }

    fn is_promised(&self, change: &Change, at: usize, promise: Promise) -> bool {
        let Some(ended) = change.ended.filter(|ended| *ended <= at) else { return false };
        promise == Promise::Kill
            || change.is_durable
            || self.flushes.iter().any(|(table, begun, flushed)| {
                *table == change.table && ended <= *begun && *flushed <= at
            })
    }

    fn of_table(&self, table: &str) -> Vec<&Change> {
        self.changes.iter().filter(|change| change.table == table).collect()
    }

    /// Compares what was found with what may be there.
    pub(crate) fn judge(&self, at: usize, promise: Promise, seen: &SeenAll) -> Verdict {
        let mut verdict = Verdict::default();
        let known: BTreeSet<&String> = self.tables.iter().map(|setting| &setting.table).collect();
        for table in seen.keys().filter(|table| !known.contains(table)) {
            verdict.wrong.push(format!("table {table} was never made"));
        }
        for table in known {
            let may_be = possible(&self.tables, table, at, false);
            let found = seen.get(table);
            if !may_be.contains(&found.is_some()) {
                verdict.wrong.push(format!("table {table}: found is {}", found.is_some()));
            }
            if let Some(found) = found {
                self.judge_table(table, at, promise, found, &mut verdict);
            }
        }
        verdict
    }

    fn judge_table(
        &self,
        table: &str,
        at: usize,
        promise: Promise,
        found: &SeenTable,
        verdict: &mut Verdict,
    ) {
        let may_be = possible(&self.ttls, table, at, None);
        if !may_be.contains(&found.ttl) {
            let text = format!("{table}: ttl {:?}, possible is {may_be:?}", found.ttl);
            verdict.wrong.push(text);
        }
        let now_ns = self.now_ns(at);
        let live = |state: &State| {
            let is_live = |value: &&Value| {
                found.ttl.is_none_or(|ttl| {
                    u128::from(value.written_ns) + ttl.as_nanos() > u128::from(now_ns)
                })
            };
            state.as_ref().filter(is_live).cloned()
        };
        let changes: Vec<(&Change, bool)> = self
            .of_table(table)
            .into_iter()
            .filter(|change| change.begun < at)
            .map(|change| (change, self.is_promised(change, at, promise)))
            .collect();
        let names = self.names(table);
        for name in &names {
            // A folder expires with the newest value of its segment, at no time of its own.
            let has_own_time = !name.ends_with('/') || found.ttl.is_none();
            if found.unreadable.contains(name) || !has_own_time {
                continue;
            }
            let allowed: Vec<State> = allowed(&changes, name).iter().map(live).collect();
            verdict.checked += u64::from(allowed.len() == 1);
            let seen = found.names.get(name);
            if !allowed.iter().any(|state| is_same(name, state.as_ref(), seen)) {
                let seen = seen.map_or("nothing".to_owned(), Seen::describe);
                let text = format!("{table}/{name}: found {seen}, possible is {allowed:?}");
                verdict.wrong.push(text);
            }
        }
        for name in found.names.keys().filter(|name| !name.ends_with('/')) {
            if !names.contains(name) {
                verdict.wrong.push(format!("{table}/{name} was never stored"));
            }
        }
        judge_together(table, &changes, found, &live, verdict);
    }
}

/// What a name may stand for, oldest first, after these changes, of which some are promised.
fn allowed(changes: &[(&Change, bool)], name: &str) -> Vec<State> {
    let mut allowed = vec![None];
    for (change, is_promised) in changes {
        let Some(state) = change.states.get(name) else { continue };
        if *is_promised {
            allowed.clear();
        }
        if !allowed.contains(state) {
            allowed.push(state.clone());
        }
    }
    allowed
}

/// Of changes that were made by one call, all or none came to pass.
fn judge_together(
    table: &str,
    changes: &[(&Change, bool)],
    found: &SeenTable,
    live: &dyn Fn(&State) -> State,
    verdict: &mut Verdict,
) {
    for (number, (change, is_promised)) in changes.iter().enumerate() {
        if change.states.len() < 2 || *is_promised {
            continue;
        }
        let (before, after) = (&changes[..number], &changes[number + 1..]);
        let (mut came, mut missing) = (Vec::new(), Vec::new());
        for (name, state) in &change.states {
            let is_last = !after.iter().any(|(later, _)| later.states.contains_key(name));
            let state = live(state);
            let was_so = || allowed(before, name).iter().any(|earlier| live(earlier) == state);
            if !is_last || name.ends_with('/') || found.unreadable.contains(name) || was_so() {
                continue;
            }
            let is_so = is_same(name, state.as_ref(), found.names.get(name));
            if is_so { came.push(name) } else { missing.push(name) }
        }
        if !came.is_empty() && !missing.is_empty() {
            let what = &change.what;
            verdict.wrong.push(format!("{table}: {what}: {came:?} came to pass, {missing:?} not"));
        }
    }
}

impl Seen {
    fn describe(&self) -> String {
        let Self { bytes, mode, written_ns, id } = self;
        format!("value {id} of {} bytes, mode {mode:o}, written at {written_ns}", bytes.len())
    }
}

/// What a setting may be.
fn possible<T: Clone + PartialEq>(
    settings: &[Setting<T>],
    table: &str,
    at: usize,
    first: T,
) -> Vec<T> {
    let mut possible = vec![first];
    for setting in settings.iter().filter(|setting| setting.table == table && setting.begun < at) {
        if setting.ended.is_some_and(|ended| ended <= at) {
            possible.clear();
        }
        possible.push(setting.to.clone());
    }
    possible
}

fn is_same(name: &str, state: Option<&Value>, seen: Option<&Seen>) -> bool {
    match (state, seen) {
        (None, None) => true,
        // A folder is written again in each segment that holds something of it.
        (Some(value), Some(seen)) if name.ends_with('/') => value.mode == seen.mode,
        (Some(value), Some(seen)) => {
            value.mode == seen.mode
                && value.written_ns == seen.written_ns
                && value.bytes == seen.bytes.len()
                && content(value.seed, value.bytes) == seen.bytes
        }
        _ => false,
    }
}
