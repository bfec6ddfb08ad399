//! One sequence on a real folder and in the model, and the shortest part of it that goes wrong.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::answers::{Answer, Bytes, Kind};
use super::model::Model;
use super::real::Real;
use super::steps::{SLOTS, Step};
use crate::mounted::Mounted;
use crate::program::wait_until;

/// How often a failing sequence is run again to make it shorter.
const SHRINKING_RUNS_MAX: u32 = 400;

/// Where sequences run.
pub(super) enum Ground {
    /// A mount of littfs.
    Mount(Mounted),
    /// An ordinary folder, on which the model itself is tested.
    Plain(tempfile::TempDir),
}

impl Ground {
    fn base(&self) -> PathBuf {
        match self {
            Self::Mount(home) => home.at(""),
            Self::Plain(folder) => folder.path().to_path_buf(),
        }
    }

    fn mount(&self) -> Option<&Mounted> {
        match self {
            Self::Mount(home) => Some(home),
            Self::Plain(_) => None,
        }
    }
}

/// What goes wrong in a sequence: at which step, and how.
type Failure = (usize, String);

/// A sequence under way.
struct Run<'a> {
    ground: &'a Ground,
    real: Real,
    model: Model,
    /// Inode numbers of the model's nodes, and the other way round.
    inodes: HashMap<u64, u64>,
    nodes: HashMap<u64, u64>,
}

/// Runs a sequence on tables of its own; everything it made is gone afterwards.
pub(super) fn run(ground: &Ground, number: u32, steps: &[Step]) -> Result<(), Failure> {
    let mut run = Run {
        ground,
        real: Real::new(&ground.base(), number),
        model: Model::new(ground.mount().is_some()),
        inodes: HashMap::new(),
        nodes: HashMap::new(),
    };
    for table in ["t", "u"] {
        fs::create_dir(run.real.at(table)).expect("mkdir");
        if ground.mount().is_some() {
            run.real.set(table, "grace", "1h");
        }
    }
    for (at, step) in steps.iter().enumerate() {
        run.step(step).map_err(|problem| (at, problem))?;
    }
    run.verify().map_err(|problem| (steps.len(), format!("in the end: {problem}")))?;
    run.clean_up(number).map_err(|problem| (steps.len(), format!("cleaning up: {problem}")))
}

/// Makes a failing sequence shorter as long as it fails, in whatever way.
pub(super) fn shrink(
    ground: &Ground,
    number: &mut u32,
    steps: &[Step],
    failed_at: usize,
) -> Vec<Step> {
    let mut shortest = steps[..steps.len().min(failed_at + 1)].to_vec();
    let first = *number;
    let mut part = (shortest.len() / 2).max(1);
    loop {
        let mut at = 0;
        let mut got_shorter = false;
        while at < shortest.len() && *number - first < SHRINKING_RUNS_MAX {
            let mut shorter = shortest.clone();
            shorter.drain(at..(at + part).min(shortest.len()));
            *number += 1;
            if run(ground, *number, &shorter).is_err() {
                shortest = shorter;
                got_shorter = true;
            } else {
                at += part;
            }
        }
        if part == 1 && !got_shorter || *number - first >= SHRINKING_RUNS_MAX {
            return shortest;
        }
        part = (part / 2).max(1);
    }
}

impl Run<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        match *step {
            Step::Remount => return self.remount(),
            Step::Kill if self.ground.mount().is_some() => return self.kill(),
            Step::Duplicate { slot, of } if slot == of => return Ok(()),
            // Whatever the slot held is closed, and that is a step of its own.
            Step::Open { slot, .. } | Step::Duplicate { slot, .. } => {
                self.compare(&Step::Close(slot))?;
            }
            _ => {}
        }
        if self.is_left_out(step) {
            return Ok(());
        }
        self.compare(step)?;
        if let Step::Grace { .. } = step {
            self.await_sealed();
        }
        Ok(())
    }

    fn is_left_out(&self, step: &Step) -> bool {
        if self.ground.mount().is_some() {
            return self.model.is_undecided(step);
        }
        matches!(
            step,
            Step::IsSealed(_)
                | Step::Expires(_)
                | Step::Grace { .. }
                | Step::Ttl { .. }
                | Step::Kill
                | Step::Seek { whence: "data" | "hole", .. }
                | Step::Rename { how: "exchange" | "whiteout", .. }
        )
    }

    fn compare(&mut self, step: &Step) -> Result<(), String> {
        let expected = self.model.apply(step);
        let mut found = self.real.apply(step);
        if let (Answer::Names(names), None) = (&mut found, self.ground.mount()) {
            // Other file systems list in any order.
            names.sort();
        }
        if !expected.allows(&found) {
            return Err(format!("{step:?}: {found:?} instead of {expected:?}"));
        }
        if let (Answer::Look(expected), Answer::Look(found)) = (&expected, &found)
            && self.ground.mount().is_some()
        {
            let inode = *self.inodes.entry(expected.identity).or_insert(found.identity);
            let node = *self.nodes.entry(found.identity).or_insert(expected.identity);
            if (inode, node) != (found.identity, expected.identity) {
                return Err(format!("{step:?}: inode {} was {inode}", found.identity));
            }
        }
        if matches!(step, Step::Close(_)) && matches!(found, Answer::Done) {
            self.await_sealed();
        }
        Ok(())
    }

    /// Without grace a file is sealed when its last close is told, which comes a little later.
    fn await_sealed(&self) {
        if self.ground.mount().is_some() {
            for path in self.model.sealed_files() {
                self.real.await_sealed(&path);
            }
        }
    }

    fn close_all(&mut self) -> Result<(), String> {
        (0..SLOTS).try_for_each(|slot| self.compare(&Step::Close(slot)))
    }

    fn remount(&mut self) -> Result<(), String> {
        self.close_all()?;
        if let Some(home) = self.ground.mount() {
            home.remount();
            self.verify()?;
        }
        Ok(())
    }

    /// A daemon that was killed took along which numbers it gave to files that were never stored:
    /// the next one may give them to others.
    fn forget_numbers(&mut self) {
        let model = &self.model;
        self.nodes.retain(|_, node| {
            let node = usize::try_from(*node).expect("an index");
            model.nodes[node].names > 0
        });
    }

    /// Kills the daemon, when it knows of all that was closed.
    fn kill(&mut self) -> Result<(), String> {
        let Some(home) = self.ground.mount() else { return Ok(()) };
        for table in ["t", "u"] {
            self.real.set(table, "grace", "0");
        }
        for path in self.model.closed_files() {
            self.real.await_sealed(&path);
        }
        for (table, is_long) in ["t", "u"].into_iter().zip(self.model.is_grace_long) {
            self.real.set(table, "grace", if is_long { "1h" } else { "0" });
        }
        home.kill();
        self.real.drop_handles();
        home.remount();
        let real = &self.real;
        if let Some(name) = self.model.kill(|name| real.survivor(name)) {
            let found = real.survivor(&name).map(|found| Bytes(found.bytes));
            return Err(format!("after a kill {name} is {found:?}"));
        }
        self.forget_numbers();
        self.verify()
    }

    /// Compares everything that has a name, and every handle.
    fn verify(&mut self) -> Result<(), String> {
        let names: Vec<String> = self.model.names.keys().cloned().collect();
        for name in names {
            // Steps hold names that live for ever; these are few.
            let name: &'static str = name.leak();
            let kind = self.model.nodes[self.model.names[name]].kind;
            if name.contains('/') {
                self.compare(&Step::Stat(name))?;
            }
            match kind {
                Kind::Folder => self.compare(&Step::List(name))?,
                Kind::Link => self.compare(&Step::ReadLink(name))?,
                Kind::File => self.compare(&Step::Read(name))?,
            }
            if kind == Kind::File && self.ground.mount().is_some() {
                self.compare(&Step::IsSealed(name))?;
                self.compare(&Step::Expires(name))?;
            }
        }
        for slot in 0..SLOTS {
            self.compare(&Step::StatHandle(slot))?;
            self.compare(&Step::ReadAt { slot, at: 0, bytes: 300_000 })?;
        }
        Ok(())
    }

    /// Takes everything away: by expiry under the eyes of open readers, or name by name.
    fn clean_up(&mut self, number: u32) -> Result<(), String> {
        let Some(home) = self.ground.mount() else {
            self.real.drop_handles();
            for table in ["t", "u"] {
                fs::remove_dir_all(self.real.at(table)).expect("remove");
            }
            return Ok(());
        };
        if number.is_multiple_of(2) {
            self.expire()?;
        } else {
            self.close_all()?;
            for table in ["t", "u"] {
                self.compare(&Step::Grace { table, is_long: true })?;
            }
            let names: Vec<String> = self.model.names.keys().rev().cloned().collect();
            for name in names.into_iter().filter(|name| name.contains('/')) {
                let name: &'static str = name.leak();
                let is_folder = self.model.nodes[self.model.names[name]].kind == Kind::Folder;
                let step = if is_folder { Step::RemoveFolder(name) } else { Step::Unlink(name) };
                self.compare(&step)?;
            }
        }
        for table in ["t", "u"] {
            self.compare(&Step::List(table))?;
            fs::remove_dir(self.real.at(table)).map_err(|error| format!("{table}: {error}"))?;
        }
        // A look at what is on disk now and then; it takes a while.
        if number.is_multiple_of(25) {
            home.umount();
            let check = home.littfs("check", &[]);
            home.mount();
            if check.code != 0 {
                return Err(format!("{check:?}"));
            }
        }
        Ok(())
    }

    /// Everything that is closed expires; handles that only read go on reading.
    fn expire(&mut self) -> Result<(), String> {
        for slot in 0..SLOTS {
            let is_writer = |handle: usize| self.model.handles[handle].is_writer;
            if self.model.slots[slot].is_some_and(is_writer) {
                self.compare(&Step::Close(slot))?;
            }
        }
        for table in ["t", "u"] {
            self.real.set(table, "ttl", "1ms");
        }
        for table in ["t", "u"] {
            let path = self.real.at(table);
            wait_until("something does not expire", || is_empty(&path));
        }
        let names: Vec<String> = self.model.names.keys().cloned().collect();
        for name in names.iter().filter(|name| name.contains('/')) {
            if fs::symlink_metadata(self.real.at(name)).is_ok() {
                return Err(format!("{name} is there although its time is up"));
            }
            self.model.names.remove(name);
        }
        for slot in 0..SLOTS {
            // A handle from before its file was written once more may see it empty again.
            let was_reopened =
                |handle: usize| self.model.nodes[self.model.handles[handle].node].was_reopened;
            if !self.model.slots[slot].is_some_and(was_reopened) {
                self.compare(&Step::ReadAt { slot, at: 0, bytes: 300_000 })?;
            }
        }
        self.real.drop_handles();
        Ok(())
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).expect("list").next().is_none()
}
