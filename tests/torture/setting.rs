//! Everybody who uses the mount during a campaign, and the configuration that makes much happen.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Client, Habits, Stop, stop};
use crate::home::{Home, Trouble};
use crate::model::{Promise, Seen, Verdict};
use crate::observe::see;
use crate::passing::{Passer, TTL};
use crate::tables::TableMaker;
use littfs::testing::rng::Rng;

/// Asked before every operation.
pub(crate) type GoesOn<'a> = dyn Fn() -> bool + Sync + 'a;

/// One user of the mount.
pub(crate) trait Worker: Send {
    /// Works until told otherwise, or until the mount is gone.
    fn work(&mut self, goes_on: &GoesOn<'_>) -> Result<(), Trouble>;

    /// Compares what there is with what it was told, and goes on from there.
    fn compare(&mut self, promise: Promise, cut: Instant) -> Verdict;

    /// How much it did so far.
    fn operations(&self) -> u64;

    /// The longest that an fsync of it took.
    fn sync_max(&self) -> Duration {
        Duration::ZERO
    }
}

/// Limits so small that segments are sealed, keymaps grow and values spill all the time.
pub(crate) struct Limits {
    spill_bytes: usize,
    text: String,
}

impl Limits {
    pub(crate) fn new(rng: &mut Rng, flush_ms: u64) -> Self {
        let spill_bytes = *rng.pick(&[4096, 16_384, 65_536]);
        let keys = *rng.pick(&[5, 17, 60, 250]);
        let shards = rng.between(1, 4);
        let threads = rng.between(1, 4);
        let cache = *rng.pick(&[0, 16]);
        let text = format!(
            "segment_bytes_max = \"1MiB\"\nsegment_keys_max = {keys}\n\
             spill_bytes = {spill_bytes}\npending_bytes_max = \"1MiB\"\n\
             flush_interval = \"{flush_ms}ms\"\ncache_bytes = \"{cache}MiB\"\n\
             descriptors_max = 32\nreserve_bytes = 0\ntable_grace = \"1h\"\n\
             table_shards = {shards}\nthreads = {threads}\n"
        );
        Self { spill_bytes, text }
    }

    /// As a configuration file.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// All users of one mount.
pub(crate) struct Setting {
    mount: PathBuf,
    workers: Vec<Box<dyn Worker>>,
}

impl Setting {
    /// Makes the tables on a mount that has none, and the users of them.
    pub(crate) fn new(home: &Home, limits: &Limits, rng: &mut Rng) -> Result<Self, Trouble> {
        let mount = home.mountpoint();
        for table in ["a", "b", "quiet", "passing"] {
            fs::create_dir(mount.join(table)).map_err(|error| format!("{table}: {error}"))?;
        }
        let ttl = format!("{}s", TTL.as_secs());
        let mut command = Command::new("setfattr");
        command.args(["-n", "user.littfs.ttl", "-v", &ttl]).arg(mount.join("passing"));
        if !command.status().is_ok_and(|status| status.success()) {
            return Err("setfattr failed (it is in the package attr)".to_owned());
        }
        let base = Habits { syncs: true, hoards: false, spill_bytes: limits.spill_bytes };
        let quiet = Habits { syncs: false, ..base };
        let hoards = Habits { hoards: true, ..quiet };
        let clients = [
            ("a/c0", base),
            ("a/c1", quiet),
            ("b/c2", base),
            ("b/c3", hoards),
            ("quiet/c4", quiet),
        ];
        let mut workers: Vec<Box<dyn Worker>> = Vec::new();
        for (folder, habits) in clients {
            workers.push(Box::new(Client::new(&mount, folder, habits, rng.fork())));
        }
        workers.push(Box::new(Passer::new(&mount, "passing", rng.fork())));
        workers.push(Box::new(TableMaker::new(&mount, rng.fork())));
        Ok(Self { mount, workers })
    }

    /// Everybody works, and somebody looks at everything, while `meanwhile` runs in this thread;
    /// then it is waited until all have noticed that `is_over`, or that the mount is gone.
    pub(crate) fn work_while<T>(
        &mut self,
        is_over: &AtomicBool,
        meanwhile: impl FnOnce() -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let goes_on = || !is_over.load(Ordering::Relaxed);
        let mount = &self.mount;
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for worker in &mut self.workers {
                threads.push(scope.spawn(move || worker.work(&goes_on)));
            }
            threads.push(scope.spawn(move || look_around(mount, &goes_on)));
            let result = meanwhile();
            is_over.store(true, Ordering::Relaxed);
            for thread in threads {
                thread.join().map_err(|_| "a client panicked".to_owned())??;
            }
            result
        })
    }

    /// Compares what there is with what all were told.
    pub(crate) fn compare(&mut self, promise: Promise, cut: Instant) -> Verdict {
        let mut verdict = Verdict::default();
        for worker in &mut self.workers {
            verdict.add(worker.compare(promise, cut));
        }
        verdict
    }

    pub(crate) fn operations(&self) -> u64 {
        self.workers.iter().map(|worker| worker.operations()).sum()
    }

    pub(crate) fn sync_max(&self) -> Duration {
        self.workers.iter().map(|worker| worker.sync_max()).max().unwrap_or_default()
    }
}

/// Lists and reads whatever there is, again and again: nothing may be damaged, and nothing that
/// is listed may be there in a state that cannot be read.
fn look_around(mount: &Path, goes_on: &GoesOn<'_>) -> Result<(), Trouble> {
    let mut folders = vec![mount.to_path_buf()];
    while goes_on() {
        let Some(folder) = folders.pop() else {
            folders.push(mount.to_path_buf());
            continue;
        };
        // It may have gone meanwhile.
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            if !goes_on() {
                return Ok(());
            }
            match see(&entry.path()) {
                Ok(Seen::Folder(_)) => folders.push(entry.path()),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => match stop(&error, &entry.path().to_string_lossy()) {
                    Stop::Gone => {}
                    Stop::Wrong(what) => {
                        let now = fs::symlink_metadata(entry.path());
                        let age = now.and_then(|metadata| {
                            Ok(metadata.modified()?.elapsed().unwrap_or_default())
                        });
                        let age =
                            age.map_or_else(|error| error.to_string(), |age| format!("{age:?}"));
                        return Err(format!("while looking around: {what}; its age: {age}"));
                    }
                },
            }
        }
    }
    Ok(())
}
