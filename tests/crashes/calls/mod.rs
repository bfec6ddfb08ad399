//! EVERY FAILING CALL: a story told once for each of its disk operations, which fails: alone, as on
//! a full drive, in the middle of a write, or with all that come after it, on one root or on both.
//! Whoever called was told, or what was called for is done; what was acknowledged is there once the
//! drives are well again, and what was flushed also after a power cut.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use littfs::Clock;
use littfs::testing::{Disk, Fault, Faults, Recorder};
use littfs::{Db, OpenOptions};

use crate::orders::simulated::{Cut, Image, Loss, Simulated};
use crate::orders::{damage, store_more};
use crate::story::look::look;
use crate::story::model::{Promise, SeenAll};
use crate::story::{Story, options, roots, time};
use littfs::testing::rng::Rng;

/// Steps of the story.
const STEPS: usize = 48;
/// Runs that go on side by side.
const WORKERS: usize = 2;
/// Something is wrong with so many runs: that is enough.
const FAILURES_MAX: usize = 5;
/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// One operation, with EIO.
    Once,
    /// One operation, with ENOSPC.
    Full,
    /// One operation, a write after its first half.
    Torn,
    /// All from then on.
    Dead,
    /// All writes from then on, as long as the drive stays full.
    StaysFull,
    /// All from then on, on one root.
    DeadRoot(usize),
}

const ALL: [How; 7] = [
    How::Once,
    How::Full,
    How::Torn,
    How::Dead,
    How::StaysFull,
    How::DeadRoot(0),
    How::DeadRoot(1),
];

impl How {
    fn fault(self, nth: u64, base: &Path) -> Fault {
        let errno = match self {
            Self::Full | Self::StaysFull => libc::ENOSPC,
            _ => libc::EIO,
        };
        let lasts = matches!(self, Self::Dead | Self::StaysFull | Self::DeadRoot(_));
        let below = match self {
            Self::DeadRoot(root) => Some(roots(base).swap_remove(root)),
            _ => None,
        };
        Fault { nth, errno, lasts, below, tears: self == Self::Torn }
    }
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) operations: u64,
    pub(crate) runs: u64,
    pub(crate) errors: u64,
    pub(crate) states: u64,
    pub(crate) checked: u64,
    pub(crate) failures: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operations, runs, errors, states, checked, failures } = self;
        write!(
            formatter,
            "a story of {operations} operations told {runs} times, {errors} calls failed, {states} \
             states opened, {checked} promises checked, {} wrong",
            failures.len()
        )
    }
}

/// Fails every operation in every way, in rounds with another story each, until the deadline.
pub(crate) fn run(seed: u64, rounds: u64, deadline: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    for round in 0..rounds {
        if round > 0 && Instant::now() >= deadline || !outcome.failures.is_empty() {
            break;
        }
        run_story(seed.wrapping_add(round), deadline, &mut outcome);
    }
    outcome
}

fn run_story(seed: u64, deadline: Instant, outcome: &mut Outcome) {
    let scratch = crate::scratch();
    let mut whole = Run::new(&scratch.path().join("whole"), seed);
    whole.story.tell(STEPS);
    let operations = whole.faults.seen();
    outcome.operations = operations;
    if let Some((what, error)) = whole.story.failed.first() {
        outcome.failures.push(format!("seed {seed}: the story itself failed: {what}: {error}"));
        return;
    }
    drop(whole);
    // In an order that is all over the story and all ways to fail, should there be no time for all.
    let mut rng = Rng::new(seed);
    let mut orders: Vec<(How, u64)> =
        ALL.iter().flat_map(|how| (1..=operations).map(|nth| (*how, nth))).collect();
    for place in (1..orders.len()).rev() {
        orders.swap(place, rng.below(place + 1));
    }
    let next = AtomicU64::new(0);
    let shared = Mutex::new(std::mem::take(outcome));
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (next, shared, orders) = (&next, &shared, &orders);
            let place = scratch.path().join(format!("run{worker}"));
            scope.spawn(move || {
                while let Some((how, nth)) =
                    orders.get(next.fetch_add(1, Ordering::Relaxed) as usize)
                {
                    let is_enough = |outcome: &Outcome| outcome.failures.len() >= FAILURES_MAX;
                    if Instant::now() >= deadline || is_enough(&shared.lock().expect("no panic")) {
                        return;
                    }
                    fail_one(&place, seed, *how, *nth, shared);
                }
            });
        }
    });
    *outcome = shared.into_inner().expect("no worker panics");
}

fn fail_one(place: &Path, seed: u64, how: How, nth: u64, shared: &Mutex<Outcome>) {
    let name = format!("seed {seed}, operation {nth} fails {how:?}");
    let watch = crate::watch(&name, PATIENCE);
    let mut counts = Outcome { runs: 1, ..Outcome::default() };
    let panics = crate::panics();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let base = place.join("story");
        let mut run = Run::new(&base, seed);
        run.faults.arrange(how.fault(nth, &base));
        let result = run.tell_and_examine(place, &mut counts);
        result.map_err(|trouble| {
            let struck = run.faults.struck();
            let first = struck.first().map(|(operation, path)| (operation, path.display()));
            let failed: Vec<String> = run.story.failed.iter().take(4).map(show).collect();
            format!(
                "{trouble}\n  failed was {first:?} of {}\n  {}",
                struck.len(),
                failed.join("\n  ")
            )
        })
    }));
    drop(watch);
    let result = result.unwrap_or_else(|_| Err("a panic".to_owned()));
    let result = if crate::panics() == panics { result } else { Err("a panic".to_owned()) };
    let mut outcome = shared.lock().expect("no worker panics");
    outcome.runs += 1;
    outcome.errors += counts.errors;
    outcome.states += counts.states;
    outcome.checked += counts.checked;
    if let Err(trouble) = result {
        outcome.failures.push(format!("{name}:\n  {trouble}"));
    }
}

fn show((what, error): &(String, littfs::Error)) -> String {
    format!("{what}: {error}")
}

/// One telling of the story.
struct Run {
    story: Story,
    base: PathBuf,
    faults: Arc<Faults>,
    recorder: Arc<Recorder>,
    seed: u64,
}

impl Run {
    fn new(base: &Path, seed: u64) -> Self {
        if base.exists() {
            std::fs::remove_dir_all(base).expect("a scratch directory");
        }
        std::fs::create_dir_all(base).expect("a scratch directory");
        let (faults, recorder) = (Arc::new(Faults::default()), Arc::new(Recorder::default()));
        let disk = Disk::with_faults(Arc::clone(&faults));
        let mut story = Story::new(base, disk, Arc::clone(&recorder), seed);
        story.faults = Some(Arc::clone(&faults));
        Self { story, base: base.to_path_buf(), faults, recorder, seed }
    }

    fn tell_and_examine(&mut self, place: &Path, counts: &mut Outcome) -> Result<(), String> {
        self.story.tell(STEPS);
        counts.errors += self.story.failed.len() as u64;
        if let Some(wrong) = self.story.wrong.first() {
            return Err(wrong.clone());
        }
        if let Some(db) = self.story.db() {
            // The drive may still be failing: what can be read must be right.
            if let Ok(seen) = look(db, true) {
                self.judge(Promise::Kill, &seen, "while it fails", counts)?;
            }
        }
        self.story.close();
        // Nothing that happened may depend on how it was closed.
        let (at, effects) = (self.story.at(), self.recorder.effects());
        self.faults.heal();
        let db = self.open(&self.base).map_err(|error| format!("with good drives: {error}"))?;
        let seen = look(&db, false).map_err(|error| format!("with good drives: {error}"))?;
        self.judge(Promise::Kill, &seen, "with good drives", counts)?;
        store_more(&db, seen).map_err(|trouble| format!("with good drives: {trouble}"))?;
        db.close().map_err(|error| format!("closing with good drives: {error}"))?;
        let report = littfs::check::check(&self.options(&self.base), None, &mut |_| ())
            .map_err(|error| format!("check: {error}"))?;
        if !report.is_good() {
            return Err(format!("check found {}", damage(&report)));
        }
        let mut rng = Rng::new(self.seed ^ at as u64);
        let mut simulated = Simulated::new(&self.base, &Image::default());
        effects[..at].iter().for_each(|effect| simulated.apply(effect));
        for loss in [Loss::Everything, Loss::Some(50)] {
            let cut = Cut { names: loss, bytes: loss, lengths_first: false, piece: 512 };
            let image = simulated.cut(cut, &mut rng);
            self.examine_cut(&image, &place.join("cut"), counts).map_err(|trouble| {
                let kept = crate::keep(&image, &format!("calls-{}-{at}", self.seed));
                format!("after a power cut, {loss:?}, kept in {kept}: {trouble}")
            })?;
        }
        Ok(())
    }

    fn options(&self, base: &Path) -> OpenOptions {
        let clock = Clock::manual(time(self.story.model.now_ns(usize::MAX)));
        options(base, clock, Disk::new())
    }

    fn open(&self, base: &Path) -> littfs::Result<Db> {
        Db::open(self.options(base))
    }

    fn examine_cut(&self, image: &Image, place: &Path, counts: &mut Outcome) -> Result<(), String> {
        image.write(place).map_err(|error| error.to_string())?;
        let db = self.open(place).map_err(|error| error.to_string())?;
        let seen = look(&db, false)?;
        self.judge(Promise::PowerCut, &seen, "opened", counts)?;
        db.close().map_err(|error| error.to_string())
    }

    fn judge(
        &self,
        promise: Promise,
        seen: &SeenAll,
        when: &str,
        counts: &mut Outcome,
    ) -> Result<(), String> {
        let verdict = self.story.model.judge(usize::MAX, promise, seen);
        counts.checked += verdict.checked;
        counts.states += 1;
        if verdict.wrong.is_empty() {
            return Ok(());
        }
        Err(format!("{when}:\n  {}", verdict.wrong.join("\n  ")))
    }
}
