//! What concerns many keys at once: opening a database, rebuilding its keymap, expiry.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use littfs::Clock;
use littfs::{Db, Table};
use serde_json::{Value, json};

use super::load::{BenchStep, Load, Runner};
use super::measure::{Latencies, Memory, cpu_of_process, cpu_of_thread, float, over};
use super::plan::{BenchPlan, TABLE, create, open};
use super::report::BenchReport;
use super::scratch::{Scratch, Stop, bytes_on_disk};
use crate::cli::args::Scenario;
use crate::cli::output::Output;
use crate::cli::{Failure, Outcome, fail};

/// Pause of the writer between two puts while others expire.
const PAUSE: Duration = Duration::from_micros(100);
/// How long the writer is watched alone, for comparison.
const CALM: Duration = Duration::from_secs(1);
/// Time to live that everything is past, and by how much it is.
const TTL: Duration = Duration::from_secs(3600);
/// Longer is a hang.
const EXPIRE_MAX: Duration = Duration::from_secs(120);

/// Measures opening after a clean close, or, for `rebuild`, without a keymap.
pub(super) fn reopen(
    plan: &BenchPlan,
    stop: Stop,
    scratch: &Scratch,
) -> Result<BenchReport, Failure> {
    let root = scratch.root();
    let runner = Runner::new(stop, plan.keys);
    {
        let db = create(&root, Clock::system())?;
        fill(plan, &db, &runner, 0..plan.keys)?;
        let start = Instant::now();
        db.close()?;
        log::info!("closed in {:?}", start.elapsed());
    }
    runner.stop().check()?;
    let mut report = BenchReport::new(plan);
    report.disk(&root, bytes_on_disk(&root));
    if plan.scenario == Scenario::Rebuild {
        runner.now("rebuilding the keymap");
        let keymap = root.join(TABLE).join("keymap");
        fs::remove_dir_all(&keymap)
            .or_else(|error| fail(format!("cannot remove {}: {error}", keymap.display())))?;
    } else {
        runner.now("opening");
    }
    let opened = open_elsewhere(&root)?;
    let number = |name: &str| opened[name].as_f64().unwrap_or(0.0);
    let bytes = |name: &str| opened[name].as_u64().unwrap_or(0);
    let seconds = number("open_seconds");
    report.seconds("open_seconds", "time to open", seconds);
    report.seconds("open_cpu_seconds", "processor time of it", number("open_cpu_seconds"));
    if plan.scenario == Scenario::Rebuild {
        // On a busy machine the first is at the mercy of others, the second is not.
        for (json, name, seconds) in [
            ("keys_per_second", "rate", seconds),
            ("keys_per_cpu_second", "rate by processor time", number("open_cpu_seconds")),
        ] {
            let rate = over(float(plan.keys), seconds);
            report.figure(json, name, rate, format!("{:.2} M keys/s", rate / 1e6));
        }
    }
    report.bytes("rss_bytes", "resident memory then (VmRSS)", bytes("rss_bytes"));
    report.bytes("rss_anon_bytes", "of it not from files (RssAnon)", bytes("rss_anon_bytes"));
    Ok(report)
}

/// Stores the values of these numbers by as many threads as were asked for, and has all segments
/// sealed that are closed.
fn fill(plan: &BenchPlan, db: &Db, runner: &Runner, numbers: Range<u64>) -> Result<(), Failure> {
    let table = db.table(TABLE)?;
    runner.now("storing values");
    let operation = || {
        let mut key = Vec::new();
        let table = &table;
        move |step: BenchStep| {
            plan.load.key(step.number, &mut key);
            Ok(table.put(&key, plan.load.value(step.number))?)
        }
    };
    runner.run(numbers, plan.threads, operation, || Ok(()))?;
    runner.now("sealing");
    Ok(db.upkeep()?)
}

/// Opens the database in a fresh process, whose memory shows nothing of what came before.
fn open_elsewhere(root: &Path) -> Result<Value, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::Message(format!("cannot open the database in another process: {error}"))
    };
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let output = Command::new(program)
        .args(["bench", "--open-only"])
        .arg(root)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(failed(&output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(&error))
}

/// The fresh process: opens the database and tells what that took.
pub(super) fn open_only(root: &Path) -> Outcome {
    let (start, cpu) = (Instant::now(), cpu_of_process());
    let db = open(root, Clock::system())?;
    let (elapsed, cpu) = (start.elapsed(), cpu_of_process().saturating_sub(cpu));
    let memory = Memory::now()?;
    db.close()?;
    let mut output = Output::new();
    output.json(&json!({
        "open_seconds": elapsed.as_secs_f64(),
        "open_cpu_seconds": cpu.as_secs_f64(),
        "rss_bytes": memory.rss_bytes,
        "rss_anon_bytes": memory.anon_bytes,
    }))?;
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// Measures how everything goes at once when its time is up, and what a writer notices of it.
///
/// The clock is one that is moved by hand: all values become old together, without waiting.
pub(super) fn expire(
    plan: &BenchPlan,
    stop: Stop,
    scratch: &Scratch,
) -> Result<BenchReport, Failure> {
    let clock = Clock::manual(SystemTime::now());
    let db = create(&scratch.root(), clock.clone())?;
    let table = db.table(TABLE)?;
    // Whole segments: the last key closes the last one, so that the writer gets one of its own.
    let keys = plan.keys.next_multiple_of(db.engine_options().segment_keys_max);
    let runner = Runner::new(stop, keys);
    fill(plan, &db, &runner, 0..keys)?;
    let segments = table.usage().segments;
    let mut report = BenchReport::new(plan);
    report.figure("stored_keys", "keys, in whole segments", float(keys), keys.to_string());
    report.disk(&scratch.root(), bytes_on_disk(&scratch.root()));
    clock.advance(2 * TTL);
    runner.now("expiring");
    let is_calm = AtomicBool::new(true);
    let is_over = AtomicBool::new(false);
    let (dropped, written) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_on(&plan.load, &table, keys, &is_calm, &is_over));
        std::thread::sleep(CALM);
        is_calm.store(false, Ordering::Release);
        let dropped = drop_all(&table, &scratch.root(), segments, runner.stop());
        is_over.store(true, Ordering::Release);
        (dropped, writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let (wall, own_cpu, all_cpu) = dropped?;
    let written = written?;
    // The processor time of the whole process, less that of the writer and of looking on.
    let cpu = all_cpu.saturating_sub(own_cpu).saturating_sub(written.cpu);
    report.figure("segments", "segments dropped", float(segments), segments.to_string());
    report.seconds("expire_seconds", "time until their files are gone", wall.as_secs_f64());
    report.seconds("expire_cpu_seconds", "processor time of it", cpu.as_secs_f64());
    report.latency("put_calm_max_ns", "longest put before", written.calm.max_ns());
    report.latency("put_max_ns", "longest put meanwhile", written.busy.max_ns());
    report.latency("put_p99_ns", "99 % of puts meanwhile below", written.busy.percentile_ns(990));
    report.memory()?;
    db.close()?;
    Ok(report)
}

/// Sets a time to live that everything is past, and waits until nothing is left of it.
fn drop_all(
    table: &Table,
    root: &Path,
    segments: u64,
    stop: &Stop,
) -> Result<(Duration, Duration, Duration), Failure> {
    let (start, own, all) = (Instant::now(), cpu_of_thread(), cpu_of_process());
    table.set_ttl(Some(TTL))?;
    while old_files(root, segments) > 0 {
        stop.check()?;
        if start.elapsed() > EXPIRE_MAX {
            return fail("expired segments are still there after two minutes");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let own = cpu_of_thread().saturating_sub(own);
    Ok((start.elapsed(), own, cpu_of_process().saturating_sub(all)))
}

/// Files of segments numbered up to `last`.
fn old_files(root: &Path, last: u64) -> usize {
    let Ok(files) = fs::read_dir(root.join(TABLE).join("segments")) else { return 0 };
    let is_old = |name: &str| {
        let digits = name.split(['.', '-']).next().unwrap_or_default();
        digits.parse::<u64>().is_ok_and(|number| number <= last)
    };
    files.flatten().filter(|file| file.file_name().to_str().is_some_and(is_old)).count()
}

/// What the writer noticed.
#[derive(Debug, Default)]
struct Written {
    calm: Latencies,
    busy: Latencies,
    /// Its processor time while others expired.
    cpu: Duration,
}

/// Stores new keys all the while.
fn write_on(
    load: &Load,
    table: &Table,
    first: u64,
    is_calm: &AtomicBool,
    is_over: &AtomicBool,
) -> Result<Written, Failure> {
    let mut written = Written::default();
    let mut key = Vec::new();
    let mut cpu_before = None;
    // The first put opens a segment; that is not what is asked here.
    load.key(first, &mut key);
    table.put(&key, load.value(first))?;
    for number in first + 1.. {
        if is_over.load(Ordering::Acquire) {
            break;
        }
        load.key(number, &mut key);
        let start = Instant::now();
        table.put(&key, load.value(number))?;
        if is_calm.load(Ordering::Acquire) {
            written.calm.record(start.elapsed());
        } else {
            cpu_before.get_or_insert_with(cpu_of_thread);
            written.busy.record(start.elapsed());
        }
        std::thread::sleep(PAUSE);
    }
    written.cpu =
        cpu_before.map_or(Duration::ZERO, |before| cpu_of_thread().saturating_sub(before));
    Ok(written)
}
