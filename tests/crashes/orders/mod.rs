//! EVERY WRITE ORDER: a power cut at every moment of a story, with whatever was not synced by then
//! there, lost or torn in any combination. What is found afterwards is held against what was
//! acknowledged.
//!
//! What changes files is recorded in `src/disk/mod.rs`, which all of it passes through, rather than at a
//! block device below a file system. There the file system's own journal would decide what is lost:
//! it keeps far more than it promises, and each state costs a mount. Here the states are those that
//! its promises allow, also those that today's ext4 and XFS do not show, and a thousand are opened
//! in seconds. What the record cannot see, the kernel below it, is what the campaigns with real
//! drives are for.

pub(crate) mod simulated;

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use littfs::Clock;
use littfs::check::{Report, Severity};
use littfs::testing::{Disk, Effect, Recorder};
use littfs::{Db, OpenOptions};

use self::simulated::{Cut, Image, Loss, Simulated};
use crate::story::look::{hidden, look};
use crate::story::model::{Model, Promise, SeenAll};
use crate::story::{Story, options, time};
use littfs::testing::rng::{Rng, content};

/// Steps of each story.
const STEPS: usize = 110;
/// States at each moment.
const STATES: usize = 2;
/// One in so many states gets a second power cut while it is opened.
const SECOND_CUT: usize = 6;
/// In one of so many cases only the process is killed; the power is cut when another one has gone
/// on from there.
const KILL: usize = 5;
/// States that are looked at side by side.
const WORKERS: usize = 2;
/// Something is wrong with so many states: that is enough.
const FAILURES_MAX: usize = 5;

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) stories: u64,
    pub(crate) effects: usize,
    pub(crate) calls: usize,
    pub(crate) states: u64,
    pub(crate) second_cuts: u64,
    pub(crate) checked: u64,
    pub(crate) failures: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stories, effects, calls, states, second_cuts, checked, failures } = self;
        write!(
            formatter,
            "{stories} stories of {calls} calls and {effects} effects, {states} states opened, \
             {second_cuts} of them after a second power cut, {checked} promises checked, {} wrong",
            failures.len()
        )
    }
}

/// A story that was told, to be cut anywhere.
struct Told {
    base: PathBuf,
    effects: Vec<Effect>,
    model: Model,
    /// From here on the database exists.
    begins: usize,
    seed: u64,
}

/// Runs stories, one for each round, until the deadline.
pub(crate) fn run(seed: u64, rounds: u64, deadline: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    for round in 0..rounds {
        if round > 0 && Instant::now() >= deadline || !outcome.failures.is_empty() {
            break;
        }
        let scratch = crate::scratch();
        match tell(&scratch.path().join("story"), seed.wrapping_add(round)) {
            Err(trouble) => outcome.failures.push(trouble),
            Ok((told, calls)) => {
                outcome.stories += 1;
                outcome.effects += told.effects.len();
                outcome.calls += calls;
                cut_everywhere(&told, scratch.path(), deadline, &mut outcome);
            }
        }
    }
    outcome
}

fn tell(base: &Path, seed: u64) -> Result<(Told, usize), String> {
    std::fs::create_dir(base).map_err(|error| error.to_string())?;
    let recorder = Arc::new(Recorder::default());
    let mut story = Story::new(base, Disk::new(), Arc::clone(&recorder), seed);
    story.open();
    let begins = recorder.seen();
    story.tell(STEPS);
    if let Some((what, error)) = story.failed.first() {
        return Err(format!("the story itself failed: {what}: {error}"));
    }
    let (shown, at) = (look_at_story(&story)?, story.at());
    let effects = recorder.effects();
    let verdict = story.model.judge(at, Promise::Kill, &shown);
    if !verdict.wrong.is_empty() {
        return Err(format!("before any power cut:\n  {}", verdict.wrong.join("\n  ")));
    }
    let (calls, model) = (story.calls, story.model.clone());
    Ok((Told { base: base.to_path_buf(), effects, model, begins, seed }, calls))
}

fn look_at_story(story: &Story) -> Result<SeenAll, String> {
    let db = story.db().ok_or("the story ended without a database")?;
    look(db, false)
}

/// Looks at states at every moment, side by side.
fn cut_everywhere(told: &Told, scratch: &Path, deadline: Instant, outcome: &mut Outcome) {
    let shared = Mutex::new(std::mem::take(outcome));
    let block = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (shared, block) = (&shared, &block);
            let place = scratch.join(format!("cut{worker}"));
            scope.spawn(move || cut_some(told, &place, deadline, block, shared));
        }
    });
    *outcome = shared.into_inner().expect("no worker panics");
}

/// Moments that a worker takes at a time.
const BLOCK: usize = 16;

fn cut_some(
    told: &Told,
    place: &Path,
    deadline: Instant,
    block: &AtomicUsize,
    shared: &Mutex<Outcome>,
) {
    let mut simulated = Simulated::new(&told.base, &Image::default());
    let mut done = 0;
    loop {
        // Moments in an order that is all over the story, should there be no time for all.
        let number = block.fetch_add(1, Ordering::Relaxed);
        let Some(first) = spread(number, told.effects.len().div_ceil(BLOCK)) else { return };
        if first * BLOCK < done {
            simulated = Simulated::new(&told.base, &Image::default());
            done = 0;
        }
        for at in first * BLOCK..((first + 1) * BLOCK).min(told.effects.len()) {
            while done <= at {
                simulated.apply(&told.effects[done]);
                done += 1;
            }
            let is_enough = || {
                Instant::now() >= deadline
                    || shared.lock().expect("no worker panics").failures.len() >= FAILURES_MAX
            };
            if is_enough() {
                return;
            }
            cut_at(told, &simulated, at + 1, place, shared);
        }
    }
}

/// The `number`th of so many, in an order that goes through all of them in strides.
fn spread(number: usize, of: usize) -> Option<usize> {
    const STRIDE: usize = 8;
    let long = of.div_ceil(STRIDE);
    let places = (0..STRIDE).flat_map(|start| (0..long).map(move |at| at * STRIDE + start));
    places.filter(|place| *place < of).nth(number)
}

fn cut_at(told: &Told, simulated: &Simulated, at: usize, place: &Path, shared: &Mutex<Outcome>) {
    let mut rng = Rng::new(told.seed ^ (at as u64) << 20);
    let mut known = HashSet::new();
    for _ in 0..STATES {
        let cut = some_cut(&mut rng);
        let image = simulated.cut(cut, &mut rng);
        let mut hasher = DefaultHasher::new();
        image.hash(&mut hasher);
        if !known.insert(hasher.finish()) {
            continue;
        }
        let mut state = State { told, at, place, rng: rng.fork(), second_cuts: 0, checked: 0 };
        let result = if at >= told.begins && state.rng.below(KILL) == 0 {
            state.kill_then_cut(simulated)
        } else {
            state.examine(&image)
        };
        let mut outcome = shared.lock().expect("no worker panics");
        outcome.states += 1;
        outcome.second_cuts += state.second_cuts;
        outcome.checked += state.checked;
        if let Err(trouble) = result {
            let kept = crate::keep(&image, &format!("orders-{}-{at}", told.seed));
            let about = describe(&told.effects, at);
            outcome.failures.push(format!(
                "seed {}, power cut after effect {at} with {cut:?}, kept in {kept}:\n  {trouble}\n\
                 the last effects were:\n{about}",
                told.seed
            ));
        }
    }
}

fn some_cut(rng: &mut Rng) -> Cut {
    let loss = |rng: &mut Rng| match rng.below(7) {
        0 => Loss::Nothing,
        1 => Loss::Everything,
        2 => Loss::Later,
        3 => Loss::Some(10),
        4 => Loss::Some(90),
        _ => Loss::Some(50),
    };
    Cut {
        names: loss(rng),
        bytes: loss(rng),
        lengths_first: rng.percent(30),
        piece: *rng.pick(&[512, 4096]),
    }
}

/// The last effects before a moment.
fn describe(effects: &[Effect], at: usize) -> String {
    let shown = effects[at.saturating_sub(30)..at].iter().map(|effect| match effect {
        Effect::Write(file, offset, bytes) => {
            format!("    write {file:?}: {} bytes at {offset}\n", bytes.len())
        }
        other => format!("    {other:?}\n"),
    });
    shown.collect()
}

/// A state that a power cut has left.
struct State<'a> {
    told: &'a Told,
    at: usize,
    place: &'a Path,
    rng: Rng,
    second_cuts: u64,
    checked: u64,
}

impl State<'_> {
    fn examine(&mut self, image: &Image) -> Result<(), String> {
        if self.rng.below(SECOND_CUT) == 0 {
            let again = self.cut_again(image)?;
            self.second_cuts += 1;
            return self
                .examine_once(&again)
                .map_err(|trouble| format!("after a second power cut: {trouble}"));
        }
        self.examine_once(image)
    }

    fn options(&self, disk: Disk) -> OpenOptions {
        let clock = Clock::manual(time(self.told.model.now_ns(self.at)));
        options(self.place, clock, disk)
    }

    /// A power cut while the database is opened and a little more is stored.
    fn cut_again(&mut self, image: &Image) -> Result<Image, String> {
        image.write(self.place).map_err(|error| error.to_string())?;
        let mut simulated = Simulated::new(self.place, image);
        simulated.meet().map_err(|error| error.to_string())?;
        let recorder = Arc::new(Recorder::default());
        let disk = Disk::new().recorded_by(Arc::clone(&recorder));
        let db = Db::open(self.options(disk)).map_err(|error| format!("opening: {error}"))?;
        db.upkeep().map_err(|error| format!("upkeep: {error}"))?;
        drop(db);
        let effects = recorder.effects();
        let end = self.rng.below(effects.len() + 1);
        effects[..end].iter().for_each(|effect| simulated.apply(effect));
        Ok(simulated.cut(some_cut(&mut self.rng), &mut self.rng))
    }

    /// The process is killed, another one opens what it left and makes all of it durable; then the
    /// power is cut.
    fn kill_then_cut(&mut self, simulated: &Simulated) -> Result<(), String> {
        let text = |error: std::io::Error| error.to_string();
        let all =
            Cut { names: Loss::Nothing, bytes: Loss::Nothing, lengths_first: true, piece: 512 };
        simulated.cut(all, &mut self.rng).write(self.place).map_err(text)?;
        let mut simulated = simulated.killed(self.place).map_err(text)?;
        let recorder = Arc::new(Recorder::default());
        let disk = Disk::new().recorded_by(Arc::clone(&recorder));
        let db = Db::open(self.options(disk)).map_err(|error| format!("after a kill: {error}"))?;
        let seen = self.judge_as(Promise::Kill, &db, "after a kill")?;
        let with_more = store_more(&db, seen)?;
        let flushed = recorder.seen();
        drop(db);
        recorder.effects()[..flushed].iter().for_each(|effect| simulated.apply(effect));
        let cut = some_cut(&mut self.rng);
        simulated.cut(cut, &mut self.rng).write(self.place).map_err(text)?;
        let when = format!("after a kill, a flush and a power cut with {cut:?}");
        let db = Db::open(self.options(Disk::new())).map_err(|error| format!("{when}: {error}"))?;
        let seen = look(&db, false).map_err(|trouble| format!("{when}: {trouble}"))?;
        self.second_cuts += 1;
        if seen == with_more {
            return Ok(());
        }
        Err(format!("{when} it shows {seen:?}, before {with_more:?}"))
    }

    fn examine_once(&mut self, image: &Image) -> Result<(), String> {
        image.write(self.place).map_err(|error| error.to_string())?;
        let mut shown = None;
        if self.at >= self.told.begins {
            self.check("at first")?;
            let read_only = self.options(Disk::new()).read_only(true);
            let db = Db::open(read_only).map_err(|error| format!("opening read-only: {error}"))?;
            shown = Some(self.judge(&db, "opened read-only")?);
            db.close().map_err(|error| format!("closing read-only: {error}"))?;
        }
        let db =
            Db::open(self.options(Disk::new())).map_err(|error| format!("opening: {error}"))?;
        let seen = self.judge(&db, "opened")?;
        if let Some(shown) = shown.filter(|shown| *shown != seen) {
            return Err(format!("read-only it shows {shown:?}, but then {seen:?}"));
        }
        let with_more = store_more(&db, seen)?;
        db.close().map_err(|error| format!("closing: {error}"))?;
        let db = Db::open(self.options(Disk::new()))
            .map_err(|error| format!("opening again: {error}"))?;
        let seen = look(&db, false)?;
        if seen != with_more {
            return Err(format!("opened again it shows {seen:?}, before {with_more:?}"));
        }
        db.close().map_err(|error| format!("closing again: {error}"))?;
        self.check("after storing more")
    }

    fn check(&self, when: &str) -> Result<(), String> {
        let report = littfs::check::check(&self.options(Disk::new()), None, &mut |_| ())
            .map_err(|error| format!("check {when}: {error}"))?;
        if report.is_good() {
            return Ok(());
        }
        Err(format!("check found {when} {}", damage(&report)))
    }

    fn judge(&mut self, db: &Db, when: &str) -> Result<SeenAll, String> {
        self.judge_as(Promise::PowerCut, db, when)
    }

    fn judge_as(&mut self, promise: Promise, db: &Db, when: &str) -> Result<SeenAll, String> {
        let model = &self.told.model;
        let seen = look(db, false).map_err(|trouble| format!("{when}: {trouble}"))?;
        let mut verdict = model.judge(self.at, promise, &seen);
        for table in seen.keys() {
            verdict.wrong.extend(hidden(db, table, &model.names(table), &seen)?);
        }
        self.checked += verdict.checked;
        if verdict.wrong.is_empty() {
            return Ok(seen);
        }
        Err(format!("{when}:\n  {}", verdict.wrong.join("\n  ")))
    }
}

/// The damage that a check found.
pub(crate) fn damage(report: &Report) -> String {
    let damage = report.findings.iter().filter(|finding| finding.severity == Severity::Damage);
    let shown = damage.map(|finding| {
        let at = finding.offset.unwrap_or(0);
        format!("\n  {} at {at}: {}", finding.file.display(), finding.what)
    });
    shown.collect()
}

/// Stores a few more values in every table; tells what is then there.
pub(crate) fn store_more(db: &Db, mut seen: SeenAll) -> Result<SeenAll, String> {
    for table in db.tables() {
        let highest = |seen: &SeenAll| {
            seen[table.name()].names.values().map(|value| value.id).max().unwrap_or(0)
        };
        let before = highest(&seen);
        for (name, bytes) in [("more-small", 300), ("more-large", 9000), ("a/b/more", 20)] {
            let text = |error| format!("storing {name} in {}: {error}", table.name());
            table.put(name.as_bytes(), &content(7, bytes)).map_err(text)?;
            let entry = table.entry(name.as_bytes()).map_err(text)?;
            let id = entry.ok_or("what was just stored is not there")?.id().get();
            if id <= before {
                return Err(format!("the value id {id} is given again, {before} is in use"));
            }
        }
        table.flush().map_err(|error| format!("flushing: {error}"))?;
    }
    db.upkeep().map_err(|error| format!("upkeep: {error}"))?;
    let now = look(db, false)?;
    for (table, before) in &mut seen {
        let now = now.get(table).ok_or("a table has gone")?;
        // The folders above are new, or written again.
        let mut names = now.names.clone();
        names.retain(|name, _| !name.ends_with('/') && !name.contains("more"));
        before.names.retain(|name, _| !name.ends_with('/'));
        if names != before.names {
            return Err(format!("after storing more {names:?}, before {:?}", before.names));
        }
    }
    Ok(now)
}
