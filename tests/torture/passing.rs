//! A client whose files expire: each is there until its time is up, to the moment, and never again.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::client::{Stop, close, stop};
use crate::home::Trouble;
use crate::model::{Promise, Verdict};
use crate::setting::{GoesOn, Worker};
use littfs::testing::rng::{Rng, content};

/// Time to live in the table of these clients.
pub(crate) const TTL: Duration = Duration::from_secs(2);
/// Clocks are looked at a little before and after.
const TOLERANCE: Duration = Duration::from_millis(50);
/// Files that are remembered, expired ones among them.
const FILES_MAX: usize = 3000;

/// A file that was stored at some moment between two.
struct Passing {
    name: String,
    id: u64,
    bytes: usize,
    after: SystemTime,
    before: SystemTime,
    closed_at: Instant,
    /// The close came back with 0.
    is_certain: bool,
}

/// A client that stores files and never removes one.
pub(crate) struct Passer {
    folder: PathBuf,
    files: Vec<Passing>,
    rng: Rng,
    operations: u64,
    made: u64,
}

impl Passer {
    pub(crate) fn new(mount: &Path, table: &str, rng: Rng) -> Self {
        Self { folder: mount.join(table), files: Vec::new(), rng, operations: 0, made: 0 }
    }

    fn step(&mut self) -> Result<(), Stop> {
        self.made += 1;
        let name = format!("p{}", self.made);
        let path = self.folder.join(&name);
        let (id, bytes) = (self.rng.number(), self.rng.below(9000));
        let mut options = fs::OpenOptions::new();
        let handle = options.write(true).create_new(true).mode(0o600).open(&path);
        let mut handle = handle.map_err(|error| stop(&error, &name))?;
        io::Write::write_all(&mut handle, &content(id, bytes))
            .map_err(|error| stop(&error, &name))?;
        let after = SystemTime::now();
        let closed = close(handle);
        let (before, closed_at, is_certain) = (SystemTime::now(), Instant::now(), closed.is_ok());
        self.files.push(Passing { name, id, bytes, after, before, closed_at, is_certain });
        closed.map_err(|error| stop(&error, "a passing file"))?;
        if self.rng.percent(30) {
            let at = self.rng.below(self.files.len());
            self.look(at, true).map_err(Stop::Wrong)?;
        }
        Ok(())
    }

    /// Looks at one file; `must` says whether it must be there while its time is not up.
    fn look(&self, at: usize, must: bool) -> Result<(), String> {
        let file = &self.files[at];
        let asked = SystemTime::now();
        let read = fs::read(self.folder.join(&file.name));
        let answered = SystemTime::now();
        match read {
            Ok(_) if asked > file.before + TTL + TOLERANCE => {
                Err(format!("{}: there although its time is up", file.name))
            }
            Ok(bytes) if bytes != content(file.id, file.bytes) => {
                Err(format!("{}: {} wrong bytes", file.name, bytes.len()))
            }
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let is_early = answered + TOLERANCE < file.after + TTL;
                if must && file.is_certain && is_early {
                    return Err(format!("{}: gone before its time", file.name));
                }
                Ok(())
            }
            Err(error) => match stop(&error, &file.name) {
                Stop::Gone => Ok(()),
                Stop::Wrong(what) => Err(what),
            },
        }
    }
}

impl Worker for Passer {
    fn work(&mut self, goes_on: &GoesOn<'_>) -> Result<(), Trouble> {
        while goes_on() {
            match self.step() {
                Ok(()) => self.operations += 1,
                Err(Stop::Gone) => return Ok(()),
                Err(Stop::Wrong(what)) => return Err(what),
            }
        }
        Ok(())
    }

    fn compare(&mut self, promise: Promise, cut: Instant) -> Verdict {
        let mut verdict = Verdict::default();
        for (at, file) in self.files.iter().enumerate() {
            let must = match promise {
                Promise::Closed => true,
                Promise::Synced { after } => file.closed_at + after <= cut,
            };
            verdict.checked += 1;
            if let Err(what) = self.look(at, must) {
                let is_lost = what.ends_with("before its time");
                if is_lost { verdict.lost.push(what) } else { verdict.wrong.push(what) }
            }
        }
        let listed = fs::read_dir(&self.folder).map(|entries| entries.flatten().count());
        let now = SystemTime::now();
        let alive = self.files.iter().filter(|file| file.before + TTL + TOLERANCE > now).count();
        match listed {
            Ok(listed) if listed > alive + 1 => {
                // Some may have expired while this was counted, none may have come.
                verdict.wrong.push(format!("{listed} files are listed, {alive} are alive"));
            }
            Ok(_) => {}
            Err(error) => verdict.wrong.push(format!("the passing table: {error}")),
        }
        // What a power cut took is not looked for again.
        let folder = self.folder.clone();
        self.files.retain(|file| {
            now > file.before + TTL || folder.join(&file.name).symlink_metadata().is_ok()
        });
        let surplus = self.files.len().saturating_sub(FILES_MAX);
        self.files.drain(..surplus);
        verdict
    }

    fn operations(&self) -> u64 {
        self.operations
    }
}
