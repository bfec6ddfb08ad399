//! Arithmetic and clocks of the benchmarks: latencies, medians, ratios, memory, processor time.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

use crate::cli::{Failure, fail};

/// Buckets for each power of two: latencies are known to about 3 %.
const STEPS: u64 = 1 << STEP_BITS;
const STEP_BITS: u32 = 5;
const BUCKETS: usize = (64 - STEP_BITS as usize + 1) << STEP_BITS;

/// How long operations took, counted in buckets: bounded memory for any number of them.
#[derive(Clone, Debug)]
pub(super) struct Latencies {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max_ns: 0 }
    }
}

impl Latencies {
    /// Counts one operation.
    pub(super) fn record(&mut self, latency: Duration) {
        let whole_ns = latency.as_secs().saturating_mul(1_000_000_000);
        let ns = whole_ns.saturating_add(latency.subsec_nanos().into());
        self.counts[bucket_of(ns)] += 1;
        self.total += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Counts what another thread counted.
    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// The latency that this many of a thousand operations did not exceed, in nanoseconds.
    pub(super) fn percentile_ns(&self, per_mille: u64) -> u64 {
        let wanted = (u128::from(self.total) * u128::from(per_mille)).div_ceil(1000);
        let mut seen = 0_u128;
        for (bucket, &count) in self.counts.iter().enumerate() {
            seen += u128::from(count);
            if count > 0 && seen >= wanted {
                return bucket_end(bucket).min(self.max_ns);
            }
        }
        self.max_ns
    }

    /// The longest latency, in nanoseconds.
    pub(super) fn max_ns(&self) -> u64 {
        self.max_ns
    }
}

fn bucket_of(ns: u64) -> usize {
    let bucket = match ns.checked_ilog2() {
        Some(power) if power >= STEP_BITS => {
            let step = ns >> (power - STEP_BITS);
            u64::from(power - STEP_BITS) * STEPS + step
        }
        _ => ns,
    };
    #[expect(clippy::cast_possible_truncation, reason = "it is below BUCKETS")]
    let bucket = bucket as usize;
    bucket
}

/// The longest latency that is counted in a bucket.
fn bucket_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    ((bucket % STEPS + STEPS) << shift) | ((1 << shift) - 1)
}

/// The middle of the values; of an even number, the mean of the two in the middle. 0 of none.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (count, middle) if count % 2 == 1 => sorted[middle],
        (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The median over the rounds of what each round's two values come to: noise that lasts longer than
/// a round is in both.
pub(super) fn median_ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    let ratios: Vec<f64> =
        ours.iter().zip(theirs).map(|(ours, theirs)| over(*ours, *theirs)).collect();
    median(&ratios)
}

/// A quotient that is 0 where there is nothing to divide by.
pub(super) fn over(value: f64, by: f64) -> f64 {
    if by > 0.0 { value / by } else { 0.0 }
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "reports have three digits")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

/// Memory of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Resident: what it holds itself, and mapped files that happen to be cached.
    pub(super) rss_bytes: u64,
    /// The part of it that it holds itself and that cannot be read again from a file.
    pub(super) anon_bytes: u64,
}

impl Memory {
    /// Memory at this moment.
    pub(super) fn now() -> Result<Self, Failure> {
        fs::read_to_string("/proc/self/status").map(|status| Self::parse(&status)).or_else(
            |error| {
                fail(format!(
                    "cannot read /proc/self/status, which tells the memory in use: {error}"
                ))
            },
        )
    }

    fn parse(status: &str) -> Self {
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            let digits: String = line.chars().filter(char::is_ascii_digit).collect();
            digits.parse::<u64>().unwrap_or(0) * 1024
        };
        Self { rss_bytes: bytes("VmRSS:"), anon_bytes: bytes("RssAnon:") }
    }
}

/// Processor time of all threads of this process, in the kernel too.
pub(super) fn cpu_of_process() -> Duration {
    cpu(UsageWho::RUSAGE_SELF)
}

/// Processor time of this thread.
pub(super) fn cpu_of_thread() -> Duration {
    cpu(UsageWho::RUSAGE_THREAD)
}

fn cpu(who: UsageWho) -> Duration {
    let duration = |time: nix::sys::time::TimeVal| {
        // They have a sign, but count upwards from 0.
        let (seconds, micros) = (time.tv_sec().unsigned_abs(), time.tv_usec().unsigned_abs());
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    };
    getrusage(who)
        .map_or(Duration::ZERO, |usage| duration(usage.user_time()) + duration(usage.system_time()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(latencies_ns: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::default();
        latencies_ns.into_iter().for_each(|ns| latencies.record(Duration::from_nanos(ns)));
        latencies
    }

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        for bucket in 1..BUCKETS {
            let (start, end) = (bucket_end(bucket - 1) + 1, bucket_end(bucket));
            assert_eq!((bucket_of(start), bucket_of(end)), (bucket, bucket), "{start}..={end}");
            assert!(end - start <= start / STEPS, "{start}..={end} is too coarse");
        }
        assert_eq!((bucket_of(0), bucket_of(u64::MAX)), (0, BUCKETS - 1));
        assert_eq!(bucket_end(BUCKETS - 1), u64::MAX);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let latencies = of(1..=1000);
        for (per_mille, exact) in [(0, 1), (1, 1), (500, 500), (990, 990), (999, 999)] {
            let found = latencies.percentile_ns(per_mille);
            assert!(found >= exact && found <= exact + exact / 16, "{per_mille}: {found}");
        }
        assert_eq!(latencies.percentile_ns(1000), 1000);
        assert_eq!(latencies.max_ns(), 1000);
        assert_eq!(of([7]).percentile_ns(500), 7);
        assert_eq!(of([]).percentile_ns(999), 0);
    }

    #[test]
    fn threads_add_up() {
        let mut both = of(1..=10);
        both.merge(&of([1_000_000]));
        assert_eq!(both.max_ns(), 1_000_000);
        assert_eq!(both.percentile_ns(500), 6);
    }

    #[test]
    fn medians_and_ratios() {
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found}");
        close(median(&[]), 0.0);
        close(median(&[3.0, 1.0, 2.0]), 2.0);
        close(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        // Round by round: a slow round slows both sides.
        close(median_ratio(&[8.0, 4.0, 80.0], &[10.0, 5.0, 10.0]), 0.8);
        close(median_ratio(&[1.0], &[0.0]), 0.0);
    }

    #[test]
    fn memory_is_read_from_the_status_file() {
        let status = "Name:\tlittfs\nVmRSS:\t    2048 kB\nRssAnon:\t     512 kB\nRssFile:\t1 kB\n";
        let memory = Memory::parse(status);
        assert_eq!((memory.rss_bytes, memory.anon_bytes), (2 << 20, 512 << 10));
        assert_eq!(Memory::parse(""), Memory::default());
    }
}
