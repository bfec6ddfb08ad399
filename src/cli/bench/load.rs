//! What is stored and read, and running an operation many times in some threads.

use std::ops::Range;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::measure::{Latencies, float, over};
use super::scratch::Stop;
use crate::cli::Failure;

/// Operations between two looks at the progress bar and at [`Stop`].
const STRIDE: u64 = 1024;
/// Random bytes that values are cut from.
const POOL_BYTES: usize = 1 << 20;

/// Keys and values by their number.
#[derive(Debug)]
pub(super) struct Load {
    key_bytes: usize,
    value_bytes: usize,
    pool: Vec<u8>,
}

impl Load {
    pub(super) fn new(key_bytes: u16, value_bytes: usize) -> Self {
        let words = (0..(POOL_BYTES as u64) / 8).map(mix);
        let mut pool: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        pool.resize(POOL_BYTES + value_bytes, 0x5a);
        Self { key_bytes: key_bytes.into(), value_bytes, pool }
    }

    pub(super) fn value_bytes(&self) -> u64 {
        self.value_bytes as u64
    }

    /// Writes key `number` into `key`. It looks random, and no other number has the same.
    pub(super) fn key(&self, number: u64, key: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        key.clear();
        let mut word = number;
        while key.len() < self.key_bytes {
            word = mix(word);
            let digits: [u8; 16] =
                std::array::from_fn(|digit| DIGITS[(word >> (4 * digit) & 15) as usize]);
            key.extend_from_slice(&digits[..digits.len().min(self.key_bytes - key.len())]);
        }
    }

    /// Value `number`.
    pub(super) fn value(&self, number: u64) -> &[u8] {
        #[expect(clippy::cast_possible_truncation, reason = "any of its bits will do")]
        let start = mix(number) as usize % POOL_BYTES;
        &self.pool[start..start + self.value_bytes]
    }
}

/// A bijection of 64-bit numbers whose results look random.
/// Source: `SplitMix64`, <https://prng.di.unimi.it/splitmix64.c>.
pub(super) fn mix(number: u64) -> u64 {
    let mut word = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// One operation to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct BenchStep {
    pub(super) thread: usize,
    pub(super) number: u64,
}

/// What many operations took.
#[derive(Debug, Default)]
pub(super) struct Timed {
    pub(super) count: u64,
    /// The final flush included.
    pub(super) elapsed: Duration,
    pub(super) flush: Duration,
    pub(super) latencies: Latencies,
}

impl Timed {
    pub(super) fn per_second(&self) -> f64 {
        over(float(self.count), self.elapsed.as_secs_f64())
    }

    /// Without the final flush: threads can share the work, but not the drive.
    pub(super) fn per_second_unflushed(&self) -> f64 {
        over(float(self.count), self.elapsed.saturating_sub(self.flush).as_secs_f64())
    }
}

/// Runs operations and shows how far they are.
#[derive(Debug)]
pub(super) struct Runner {
    stop: Stop,
    bar: ProgressBar,
}

impl Runner {
    /// A bar over so many operations; it is drawn only where stderr is a terminal.
    pub(super) fn new(stop: Stop, operations: u64) -> Self {
        let bar = ProgressBar::new(operations);
        let style = "{msg:24} {wide_bar} {percent:>3} % {eta:>4}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self { stop, bar }
    }

    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Says what is being done now.
    pub(super) fn now(&self, what: &'static str) {
        self.bar.set_message(what);
    }

    /// Makes the operations of these numbers, divided among the threads, and then `finish`, which
    /// counts as time but not as an operation. `operation` is made for each thread anew.
    pub(super) fn run<Made, Operation>(
        &self,
        numbers: Range<u64>,
        threads: u16,
        operation: Made,
        finish: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Timed, Failure>
    where
        Made: Fn() -> Operation + Sync,
        Operation: FnMut(BenchStep) -> Result<(), Failure>,
    {
        let count = numbers.end - numbers.start;
        let share = |thread: u16| {
            let first = numbers.start + count * u64::from(thread) / u64::from(threads);
            let end = numbers.start + count * (u64::from(thread) + 1) / u64::from(threads);
            self.run_share(usize::from(thread), first..end, operation())
        };
        let start = Instant::now();
        let mut latencies = Latencies::default();
        let results: Vec<_> = if threads == 1 {
            vec![share(0)]
        } else {
            std::thread::scope(|scope| {
                let share = &share;
                let running: Vec<_> =
                    (0..threads).map(|thread| scope.spawn(move || share(thread))).collect();
                running
                    .into_iter()
                    .map(|thread| {
                        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                    })
                    .collect()
            })
        };
        for result in results {
            latencies.merge(&result?);
        }
        let end = Instant::now();
        finish()?;
        Ok(Timed { count, elapsed: start.elapsed(), flush: end.elapsed(), latencies })
    }

    fn run_share(
        &self,
        thread: usize,
        numbers: Range<u64>,
        mut operation: impl FnMut(BenchStep) -> Result<(), Failure>,
    ) -> Result<Latencies, Failure> {
        let mut latencies = Latencies::default();
        let mut before = Instant::now();
        for number in numbers {
            operation(BenchStep { thread, number })?;
            let after = Instant::now();
            latencies.record(after - before);
            before = after;
            if number % STRIDE == STRIDE - 1 {
                self.bar.inc(STRIDE);
                self.stop.check()?;
                before = Instant::now();
            }
        }
        Ok(latencies)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn keys_differ_and_have_the_length() {
        for key_bytes in [16, 32, 33, 255] {
            let load = Load::new(key_bytes, 10);
            let mut key = Vec::new();
            let mut seen = HashSet::new();
            for number in 0..1000 {
                load.key(number, &mut key);
                assert_eq!(key.len(), usize::from(key_bytes));
                assert!(key.iter().all(u8::is_ascii_alphanumeric));
                assert!(seen.insert(key.clone()));
            }
        }
    }

    #[test]
    fn values_have_the_length_and_repeat() {
        let load = Load::new(16, 5000);
        for number in 0..1000 {
            assert_eq!(load.value(number).len(), 5000);
            assert_eq!(load.value(number), load.value(number));
        }
        assert_ne!(load.value(1), load.value(2));
        assert_eq!(Load::new(16, 0).value(3), b"");
    }

    #[test]
    fn every_number_is_run_once_whatever_the_threads() {
        for threads in [1, 3, 8] {
            let runner = Runner::new(Stop::default(), 100);
            let seen = Mutex::new(Vec::new());
            let timed = runner.run(
                5..105,
                threads,
                || {
                    |step: BenchStep| {
                        seen.lock().expect("lock").push(step.number);
                        Ok(())
                    }
                },
                || Ok(()),
            );
            let timed = timed.expect("no failure");
            assert_eq!((timed.count, timed.latencies.percentile_ns(0) > 0), (100, true));
            let mut seen = seen.into_inner().expect("lock");
            seen.sort_unstable();
            assert_eq!(seen, (5..105).collect::<Vec<u64>>());
        }
    }
}
