//! A client that makes tables, uses them and drops them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::client::{Stop, close, stop};
use crate::home::Trouble;
use crate::model::{File, Model, Node, Outcome, Promise, Verdict};
use crate::observe::observe;
use crate::setting::{GoesOn, Worker};
use littfs::testing::rng::{Rng, content};

/// The tables it has.
const TABLES: &[&str] = &["x0", "x1", "x2"];
/// Files in each.
const FILES: usize = 4;

/// The client.
pub(crate) struct TableMaker {
    mount: PathBuf,
    model: Model,
    rng: Rng,
    operations: u64,
}

impl TableMaker {
    pub(crate) fn new(mount: &Path, rng: Rng) -> Self {
        Self { mount: mount.to_path_buf(), model: Model::default(), rng, operations: 0 }
    }

    fn change(
        &mut self,
        name: &str,
        node: Option<Node>,
        action: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), Stop> {
        let result = action();
        let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Unknown };
        self.model.set(&[(name, node)], outcome);
        result.map_err(|error| stop(&error, name))
    }

    fn step(&mut self) -> Result<(), Stop> {
        let table = *self.rng.pick(TABLES);
        let path = self.mount.join(table);
        match self.model.get(table) {
            Err(()) => return Err(Stop::Gone),
            Ok(None) => {
                let node = Some(Node::Folder { mode: 0o755 });
                self.change(table, node, || fs::create_dir(path))?;
                // Tables come and go durably.
                self.model.synced(table);
                return Ok(());
            }
            Ok(Some(_)) => {}
        }
        if !self.model.may_hold_something(table) && self.rng.percent(40) {
            self.change(table, None, || fs::remove_dir(path))?;
            self.model.synced(table);
            return Ok(());
        }
        let name = format!("{table}/f{}", self.rng.below(FILES));
        let path = self.mount.join(&name);
        match self.model.get(&name) {
            Err(()) => Ok(()),
            Ok(None) => self.make(&name, &path),
            Ok(Some(_)) => self.change(&name, None, || fs::remove_file(path)),
        }
    }

    fn make(&mut self, name: &str, path: &Path) -> Result<(), Stop> {
        let bytes = self.rng.between(0, 60_000);
        let file = File { id: self.rng.number(), bytes, mode: 0o644, uid: 0, mtime: None };
        let handle = OpenOptions::new().write(true).create_new(true).mode(file.mode).open(path);
        let mut handle = handle.map_err(|error| stop(&error, name))?;
        let written = handle.write_all(&content(file.id, bytes));
        if let Err(error) = written {
            self.model.broke_off(name);
            return Err(stop(&error, name));
        }
        self.change(name, Some(Node::File(file)), || close(handle))
    }
}

impl Worker for TableMaker {
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
        let tables: Vec<String> = TABLES.iter().map(|table| (*table).to_owned()).collect();
        let found = observe(&self.mount, &tables, &self.model);
        self.model.compare(&found, promise, cut)
    }

    fn operations(&self) -> u64 {
        self.operations
    }
}
