//! What a benchmark found, for people and for scripts.

use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::load::Timed;
use super::measure::{Latencies, Memory, float, median, median_ratio, over};
use super::plan::{BenchPlan, TABLE};
use super::scratch::bytes_on_disk;
use crate::cli::Failure;
use crate::cli::args::Scenario;
use crate::cli::output::{columns, human_bytes};

/// Rounds of one kind of operation, beside rounds of the bare system calls.
#[derive(Debug)]
pub(super) struct Series {
    name: &'static str,
    value_bytes: u64,
    threads: u16,
    ours: Rounds,
    bare: Rounds,
    one_thread: Rounds,
}

#[derive(Debug, Default)]
struct Rounds {
    per_second: Vec<f64>,
    per_second_unflushed: Vec<f64>,
    flush_seconds: Vec<f64>,
    latencies: Latencies,
}

impl Rounds {
    fn add(&mut self, timed: &Timed) {
        self.per_second.push(timed.per_second());
        self.per_second_unflushed.push(timed.per_second_unflushed());
        self.flush_seconds.push(timed.flush.as_secs_f64());
        self.latencies.merge(&timed.latencies);
    }

    fn row(&self, name: &str, value_bytes: u64, remark: String) -> Vec<String> {
        let rate = median(&self.per_second);
        let mut row = vec![name.to_owned(), human_count(rate), human_mega(rate, value_bytes)];
        row.extend(quantiles(&self.latencies).map(|(_, ns)| human_ns(ns)));
        row.push(remark);
        row
    }

    fn json(&self, value_bytes: u64) -> Value {
        let rate = median(&self.per_second);
        let latencies: Map<String, Value> = quantiles(&self.latencies)
            .map(|(name, ns)| (name.to_owned(), json!(ns)))
            .into_iter()
            .collect();
        json!({
            "per_second": rate.round(),
            "per_second_before_flush": median(&self.per_second_unflushed).round(),
            "flush_seconds": rounded(median(&self.flush_seconds)),
            "megabytes_per_second": rounded(rate * float(value_bytes) / 1e6),
            "latency_ns": latencies,
        })
    }
}

fn quantiles(latencies: &Latencies) -> [(&'static str, u64); 4] {
    [
        ("p50", latencies.percentile_ns(500)),
        ("p99", latencies.percentile_ns(990)),
        ("p99.9", latencies.percentile_ns(999)),
        ("max", latencies.max_ns()),
    ]
}

impl Series {
    pub(super) fn new(name: &'static str, value_bytes: u64, threads: u16) -> Self {
        let rounds = || Rounds::default();
        Self { name, value_bytes, threads, ours: rounds(), bare: rounds(), one_thread: rounds() }
    }

    pub(super) fn ours(&mut self, timed: &Timed) {
        self.ours.add(timed);
    }

    pub(super) fn bare(&mut self, timed: &Timed) {
        self.bare.add(timed);
    }

    pub(super) fn one_thread(&mut self, timed: &Timed) {
        self.one_thread.add(timed);
    }

    fn ratio(&self) -> f64 {
        median_ratio(&self.ours.per_second, &self.bare.per_second)
    }

    fn speedup(&self) -> Option<f64> {
        let alone = &self.one_thread.per_second_unflushed;
        (!alone.is_empty()).then(|| median_ratio(&self.ours.per_second_unflushed, alone))
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let remark = format!("{:.2} of the limit", self.ratio());
        let mut rows = vec![self.ours.row(self.name, self.value_bytes, remark)];
        if let Some(speedup) = self.speedup() {
            let name = format!("{}, one thread", self.name);
            let remark =
                format!("{} threads are {speedup:.2} times as fast before the flush", self.threads);
            rows.push(self.one_thread.row(&name, self.value_bytes, remark));
        }
        let limit = format!("{}, limit", self.name);
        rows.push(self.bare.row(&limit, self.value_bytes, "bare system calls".to_owned()));
        rows
    }

    fn json(&self) -> Value {
        let mut json = json!({
            "littfs": self.ours.json(self.value_bytes),
            "limit": self.bare.json(self.value_bytes),
            "ratio": rounded(self.ratio()),
        });
        if let Some(speedup) = self.speedup() {
            json["one_thread"] = self.one_thread.json(self.value_bytes);
            json["speedup"] = json!(rounded(speedup));
        }
        json
    }
}

/// Everything one run found.
#[derive(Debug)]
pub(super) struct BenchReport {
    keys: u64,
    title: String,
    series: Vec<Series>,
    /// Name in JSON, what it is, number, how it is shown.
    figures: Vec<(&'static str, &'static str, f64, String)>,
    json: Value,
}

impl BenchReport {
    pub(super) fn new(plan: &BenchPlan) -> Self {
        let (keys, value_bytes) = (plan.keys, plan.load.value_bytes());
        let threads = if plan.threads == 1 { "thread" } else { "threads" };
        let rounds = if matches!(plan.scenario, Scenario::PutGet | Scenario::Large) {
            format!(", {} {threads}, {} rounds", plan.threads, plan.rounds)
        } else {
            String::new()
        };
        let (name, bytes) = (name_of(plan.scenario), human_bytes(value_bytes));
        let title = format!("{name}: {keys} values of {bytes}{rounds}");
        let json = json!({
            "scenario": name_of(plan.scenario),
            "keys": keys,
            "value_bytes": value_bytes,
            "threads": plan.threads,
            "rounds": plan.rounds,
        });
        Self { keys, title, series: Vec::new(), figures: Vec::new(), json }
    }

    pub(super) fn series(&mut self, series: Series) {
        self.series.push(series);
    }

    /// A number with the text that shows it.
    pub(super) fn figure(
        &mut self,
        json: &'static str,
        name: &'static str,
        value: f64,
        text: String,
    ) {
        self.figures.push((json, name, value, text));
    }

    pub(super) fn seconds(&mut self, json: &'static str, name: &'static str, seconds: f64) {
        self.figure(json, name, seconds, format!("{seconds:.3} s"));
    }

    pub(super) fn bytes(&mut self, json: &'static str, name: &'static str, bytes: u64) {
        self.figure(json, name, float(bytes), human_bytes(bytes));
    }

    pub(super) fn latency(&mut self, json: &'static str, name: &'static str, ns: u64) {
        self.figure(json, name, float(ns), human_ns(ns));
    }

    /// Memory of this process now.
    pub(super) fn memory(&mut self) -> Result<(), Failure> {
        let memory = Memory::now()?;
        self.bytes("rss_bytes", "resident memory (VmRSS)", memory.rss_bytes);
        self.bytes("rss_anon_bytes", "of it not from files (RssAnon)", memory.anon_bytes);
        Ok(())
    }

    /// What a key takes on the drive.
    pub(super) fn disk(&mut self, root: &Path, total: io::Result<u64>) {
        let keymap = bytes_on_disk(&root.join(TABLE).join("keymap"));
        for (json, name, bytes) in [
            ("disk_bytes_per_key", "on disk", total),
            ("keymap_bytes_per_key", "of it the keymap", keymap),
        ] {
            let per_key = over(float(bytes.unwrap_or(0)), float(self.keys));
            self.figure(json, name, per_key, format!("{per_key:.1} bytes per key"));
        }
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.title.clone()];
        if !self.series.is_empty() {
            let heading = ["", "per second", "MB/s", "p50", "p99", "p99.9", "max", ""];
            let mut rows = vec![heading.map(str::to_owned).to_vec()];
            rows.extend(self.series.iter().flat_map(Series::rows));
            lines.extend(columns(&rows));
        }
        let figures = self.figures.iter();
        let rows: Vec<Vec<String>> =
            figures.map(|(_, name, _, text)| vec![(*name).to_owned(), text.clone()]).collect();
        lines.extend(columns(&rows));
        lines
    }

    /// For scripts.
    pub(super) fn json(&self) -> Value {
        let mut json = self.json.clone();
        for series in &self.series {
            json[series.name] = series.json();
        }
        for (name, _, value, _) in &self.figures {
            json[*name] = json!(rounded(*value));
        }
        json
    }
}

fn name_of(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::PutGet => "put-get",
        Scenario::Large => "large",
        Scenario::Reopen => "reopen",
        Scenario::Rebuild => "rebuild",
        Scenario::Expire => "expire",
    }
}

/// Six digits behind the point are more than any clock here knows.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn human_count(count: f64) -> String {
    if count < 1e4 { format!("{count:.0}") } else { format!("{:.0} k", count / 1e3) }
}

fn human_mega(per_second: f64, value_bytes: u64) -> String {
    format!("{:.0}", per_second * float(value_bytes) / 1e6)
}

fn human_ns(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} us", float(ns) / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", float(ns) / 1e6),
        _ => format!("{:.1} s", float(ns) / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_shown_short() {
        for (ns, text) in
            [(999, "999 ns"), (1_500, "1.5 us"), (2_000_000, "2.0 ms"), (3_400_000_000, "3.4 s")]
        {
            assert_eq!(human_ns(ns), text);
        }
    }

    #[test]
    fn a_series_tells_ratio_and_speedup() {
        let timed = |count| Timed {
            count,
            elapsed: std::time::Duration::from_secs(1),
            flush: std::time::Duration::ZERO,
            latencies: Latencies::default(),
        };
        let mut series = Series::new("puts", 1000, 2);
        for (ours, bare, alone) in [(80, 100, 40), (70, 100, 50), (10, 100, 5)] {
            series.ours(&timed(ours));
            series.bare(&timed(bare));
            series.one_thread(&timed(alone));
        }
        let json = series.json();
        assert_eq!(json["ratio"], json!(0.7));
        assert_eq!(json["speedup"], json!(2.0));
        assert_eq!(json["littfs"]["per_second"], json!(70.0));
        assert_eq!(series.rows().len(), 3);
    }
}
