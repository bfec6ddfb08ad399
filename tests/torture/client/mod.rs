//! One client: it does whatever people do in a folder of its own, knows what it was told, and
//! looks at what it has.

mod making;

use std::fs::{self, File as Handle, OpenOptions};
use std::io;
use std::os::fd::IntoRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use crate::home::Trouble;
use crate::model::{File, Model, Node, Outcome, Promise, Verdict};
use crate::observe::{observe, see};
use crate::setting::{GoesOn, Worker};
use littfs::testing::rng::{Rng, content};

/// Names of files in each folder.
const FILES: usize = 14;
/// Folders a client has, besides its own.
const FOLDERS: &[&str] = &["", "d0/", "d1/", "d0/e/"];
/// Files a hoarder has in the end.
const HOARD: usize = 2500;
/// Errors after which a client on a failing drive gives up.
const FAILURES_MAX: usize = 20;

/// Why a client stops.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The mount is gone or its drive fails: what was under way is not known.
    Gone,
    /// Something was refused or shown that should not be.
    Wrong(String),
}

/// What a client does, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// It makes things durable now and then.
    pub(crate) syncs: bool,
    /// It only adds small files, ever more of them.
    pub(crate) hoards: bool,
    /// Values longer than this get a file of their own.
    pub(crate) spill_bytes: usize,
}

/// A client and its folder.
pub(crate) struct Client {
    mount: PathBuf,
    /// Its folder, from the mountpoint on: `a/c0`.
    home: String,
    model: Model,
    rng: Rng,
    habits: Habits,
    operations: u64,
    failures: usize,
    /// What it is at, for messages.
    doing: &'static str,
    /// The longest that making something durable took.
    sync_max: Duration,
}

impl Client {
    pub(crate) fn new(mount: &Path, home: &str, habits: Habits, rng: Rng) -> Self {
        Self {
            mount: mount.to_path_buf(),
            home: home.to_owned(),
            model: Model::default(),
            rng,
            habits,
            operations: 0,
            failures: 0,
            doing: "nothing",
            sync_max: Duration::ZERO,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.mount.join(name)
    }

    /// Does one thing that changes these names.
    fn change(
        &mut self,
        changes: &[(&str, Option<Node>)],
        action: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), Stop> {
        let result = action();
        let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Unknown };
        self.model.set(changes, outcome);
        result.map_err(|error| stop(&error, changes[0].0))
    }

    /// Does one thing that changes nothing.
    fn ask<T>(name: &str, action: impl FnOnce() -> io::Result<T>) -> Result<T, Stop> {
        action().map_err(|error| stop(&error, name))
    }

    fn step(&mut self) -> Result<(), Stop> {
        let home = self.home.clone();
        match self.model.get(&home) {
            Ok(None) => {
                let path = self.at(&home);
                let node = Node::Folder { mode: 0o755 };
                return self.change(&[(&home, Some(node))], || fs::create_dir(path));
            }
            Ok(Some(_)) => {}
            Err(()) => return Err(Stop::Gone),
        }
        if self.habits.hoards {
            return self.hoard();
        }
        if self.habits.syncs && self.rng.percent(6) {
            return self.sync_folder();
        }
        if self.rng.percent(3) {
            return self.list();
        }
        let name = self.some_name();
        let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
        if !matches!(self.model.get(&parent), Ok(Some(Node::Folder { .. }))) {
            return Ok(());
        }
        match self.model.get(&name) {
            Err(()) => Ok(()),
            Ok(None) => self.make(&name),
            Ok(Some(Node::File(file))) => {
                let file = file.clone();
                self.treat_file(&name, file)
            }
            Ok(Some(Node::Folder { mode })) => {
                let mode = *mode;
                self.treat_folder(&name, mode)
            }
            Ok(Some(Node::Torso)) => {
                let path = self.at(&name);
                self.change(&[(&name, None)], || fs::remove_file(path))
            }
            Ok(Some(link @ Node::Link { .. })) => {
                let link = link.clone();
                self.treat_link(&name, &link)
            }
        }
    }

    fn hoard(&mut self) -> Result<(), Stop> {
        let name = format!("{}/k{:05}", self.home, self.rng.below(HOARD));
        match self.model.get(&name) {
            Ok(None) => {
                let bytes = self.rng.between(0, 60);
                let file = File { bytes, ..self.new_file() };
                let handle = self.write(&name, &file)?;
                self.change(&[(&name, Some(Node::File(file)))], || close(handle))
            }
            Ok(Some(Node::File(file))) => {
                let file = file.clone();
                self.read_back(&name, &file)
            }
            _ => Ok(()),
        }
    }

    /// A name in one of the folders.
    fn some_name(&mut self) -> String {
        let home = self.home.clone();
        if self.rng.percent(8) {
            return format!("{home}/{}", self.rng.pick(&["d0", "d1", "d0/e"]));
        }
        self.some_file_name(&home)
    }

    fn some_file_name(&mut self, home: &str) -> String {
        let folder = *self.rng.pick(FOLDERS);
        format!("{home}/{folder}f{}", self.rng.below(FILES))
    }

    /// The name of another file, which may be there, in a folder that is.
    fn other_name(&mut self, not: &str) -> Option<String> {
        let home = self.home.clone();
        let name = self.some_file_name(&home);
        let parent = name.rsplit_once('/')?.0;
        let has_parent = matches!(self.model.get(parent), Ok(Some(Node::Folder { .. })));
        let is_usable = name != not && has_parent && self.model.get(&name).is_ok();
        is_usable.then_some(name)
    }

    fn some_bytes(&mut self) -> usize {
        let spill = self.habits.spill_bytes;
        match self.rng.below(100) {
            0..5 => 0,
            5..70 => self.rng.between(1, 3000),
            70..88 => self.rng.between(3000, 20_000),
            _ => self.rng.between(spill + 1, spill * 3),
        }
    }

    fn new_file(&mut self) -> File {
        let mode = *self.rng.pick(&[0o644, 0o600, 0o755]);
        File { id: self.rng.number(), bytes: self.some_bytes(), mode, uid: 0, mtime: None }
    }

    fn treat_file(&mut self, name: &str, file: File) -> Result<(), Stop> {
        let path = self.at(name);
        let kind = self.rng.below(100);
        self.doing = match kind {
            0..22 => "rename",
            22..32 => "change the mode",
            42..46 => "change the owner",
            46..66 => "unlink",
            66..76 => "link",
            _ => "something with a file",
        };
        match kind {
            0..22 => {
                let Some(to) = self.other_name(name) else { return Ok(()) };
                match self.model.get(&to) {
                    Ok(None | Some(Node::File(_) | Node::Link { .. })) => {
                        self.rename(name, &to, &Node::File(file))
                    }
                    _ => Ok(()),
                }
            }
            22..32 => {
                let mode = *self.rng.pick(&[0o600, 0o640, 0o444, 0o755]);
                let node = Node::File(File { mode, ..file });
                let permissions = fs::Permissions::from_mode(mode);
                self.change(&[(name, Some(node))], || fs::set_permissions(path, permissions))
            }
            32..42 => self.set_time(name, &file),
            42..46 => {
                let uid = *self.rng.pick(&[0, 1000, 65_534]);
                let node = Node::File(File { uid, ..file });
                self.change(&[(name, Some(node))], || lchown(path, Some(uid), None))
            }
            46..66 => self.change(&[(name, None)], || fs::remove_file(path)),
            66..76 => {
                let Some(to) = self.other_name(name) else { return Ok(()) };
                if self.model.get(&to) != Ok(None) {
                    return Ok(());
                }
                let target = self.at(&to);
                let node = Some(Node::File(file));
                self.change(&[(&to, node)], || fs::hard_link(path, target))
            }
            76..82 => self.is_refused(name, &file),
            82..88 if self.habits.syncs => self.sync_file(name),
            _ => self.read_back(name, &file),
        }
    }

    fn set_time(&mut self, name: &str, file: &File) -> Result<(), Stop> {
        self.doing = "set a time";
        let path = self.at(name);
        let seconds = self.rng.between(1, 4_000_000_000) as i64;
        let nanoseconds = self.rng.below(1_000_000_000) as i64;
        let time = TimeSpec::new(seconds, nanoseconds);
        let node = Node::File(File { mtime: Some((seconds, nanoseconds)), ..file.clone() });
        self.change(&[(name, Some(node))], || {
            let follow = UtimensatFlags::NoFollowSymlink;
            Ok(utimensat(AT_FDCWD, &path, &time, &time, follow)?)
        })
    }

    /// A stored file is neither made again nor written to.
    fn is_refused(&mut self, name: &str, file: &File) -> Result<(), Stop> {
        self.doing = "be refused";
        let path = self.at(name);
        let again = OpenOptions::new().write(true).create_new(true).open(&path);
        match again.map(drop).map_err(|error| (error.kind(), error)) {
            Err((io::ErrorKind::AlreadyExists, _)) => {}
            Err((_, error)) => return Err(stop(&error, name)),
            Ok(()) => return Err(Stop::Wrong(format!("{name}: was made although it is there"))),
        }
        if file.bytes == 0 {
            return Ok(());
        }
        match OpenOptions::new().write(true).open(&path).map(drop) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            Err(error) => Err(stop(&error, name)),
            Ok(()) => Err(Stop::Wrong(format!("{name}: was opened for writing"))),
        }
    }

    fn sync_file(&mut self, name: &str) -> Result<(), Stop> {
        self.doing = "fsync a file";
        let started = Instant::now();
        let path = self.at(name);
        Self::ask(name, || Handle::open(path)?.sync_all())?;
        self.sync_max = self.sync_max.max(started.elapsed());
        self.model.synced(name);
        Ok(())
    }

    /// An fsync of a folder makes everything durable that was closed before.
    fn sync_folder(&mut self) -> Result<(), Stop> {
        self.doing = "fsync a folder";
        let started = Instant::now();
        let home = self.home.clone();
        let path = self.at(&home);
        Self::ask(&home, || Handle::open(path)?.sync_all())?;
        self.sync_max = self.sync_max.max(started.elapsed());
        self.model.all_synced();
        Ok(())
    }

    fn read_back(&mut self, name: &str, file: &File) -> Result<(), Stop> {
        self.doing = "read";
        let path = self.at(name);
        let bytes = Self::ask(name, || fs::read(path))?;
        if bytes == content(file.id, file.bytes) {
            return Ok(());
        }
        let found = bytes.len();
        Err(Stop::Wrong(format!("{name}: {found} wrong bytes, not the {} stored", file.bytes)))
    }

    fn treat_link(&mut self, name: &str, link: &Node) -> Result<(), Stop> {
        self.doing = "change a symbolic link";
        let path = self.at(name);
        match self.rng.below(3) {
            0 => self.change(&[(name, None)], || fs::remove_file(path)),
            1 => {
                let Some(to) = self.other_name(name) else { return Ok(()) };
                if self.model.get(&to) != Ok(None) {
                    return Ok(());
                }
                self.rename(name, &to, link)
            }
            _ => {
                let target = Self::ask(name, || fs::read_link(path))?;
                if *link == (Node::Link { target }) {
                    return Ok(());
                }
                Err(Stop::Wrong(format!("{name}: leads elsewhere")))
            }
        }
    }

    fn treat_folder(&mut self, name: &str, mode: u32) -> Result<(), Stop> {
        self.doing = "change a folder";
        let path = self.at(name);
        let is_empty = !self.model.may_hold_something(name);
        match self.rng.below(4) {
            0 if is_empty => self.change(&[(name, None)], || fs::remove_dir(path)),
            1 if is_empty => {
                let to = format!("{}/d{}", self.home, self.rng.below(2));
                if to == name || name.starts_with(&to) || self.model.get(&to) != Ok(None) {
                    return Ok(());
                }
                self.rename(name, &to, &Node::Folder { mode })
            }
            2 => {
                let mode = *self.rng.pick(&[0o700, 0o750, 0o755]);
                let permissions = fs::Permissions::from_mode(mode);
                let node = Node::Folder { mode };
                self.change(&[(name, Some(node))], || fs::set_permissions(path, permissions))
            }
            _ => Ok(()),
        }
    }

    /// Lists its own folder: all of it, and nothing else.
    fn list(&mut self) -> Result<(), Stop> {
        self.doing = "list";
        let home = self.home.clone();
        let path = self.at(&home);
        let listed = Self::ask(&home, || {
            let names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name()));
            names.collect::<io::Result<Vec<_>>>()
        })?;
        let below = format!("{home}/");
        let names = self.model.names().filter_map(|name| name.strip_prefix(&below));
        for name in names.filter(|name| !name.contains('/')) {
            let Ok(node) = self.model.get(&format!("{below}{name}")) else { continue };
            let is_listed = listed.iter().any(|entry| entry == name);
            if is_listed != node.is_some() {
                // Tell a listing that is wrong from a model that is.
                let seen = see(&self.at(&format!("{below}{name}")));
                let seen = seen.map_or_else(|error| error.to_string(), |seen| seen.describe());
                let what = if is_listed { "listed but gone" } else { "not listed" };
                return Err(Stop::Wrong(format!("{below}{name}: {what}; {seen}")));
            }
        }
        Ok(())
    }
}

impl Worker for Client {
    fn work(&mut self, goes_on: &GoesOn<'_>) -> Result<(), Trouble> {
        self.failures = 0;
        while goes_on() {
            match self.step() {
                Ok(()) => {}
                Err(Stop::Gone) => {
                    self.failures += 1;
                    if self.failures > FAILURES_MAX || fs::symlink_metadata(&self.mount).is_err() {
                        return Ok(());
                    }
                }
                Err(Stop::Wrong(what)) => return Err(format!("{}: {what}", self.doing)),
            }
            self.operations += 1;
        }
        Ok(())
    }

    fn compare(&mut self, promise: Promise, cut: Instant) -> Verdict {
        let found = observe(&self.mount, std::slice::from_ref(&self.home), &self.model);
        self.model.compare(&found, promise, cut)
    }

    fn operations(&self) -> u64 {
        self.operations
    }

    fn sync_max(&self) -> Duration {
        self.sync_max
    }
}

/// Whether the drives of this campaign may say that they are full.
pub(crate) static MAY_BE_FULL: AtomicBool = AtomicBool::new(false);

/// What an error means for a client: the end of the mount or of a drive, or a fault.
pub(crate) fn stop(error: &io::Error, name: &str) -> Stop {
    match error.raw_os_error() {
        Some(libc::ENOTCONN | libc::ECONNABORTED | libc::EIO | libc::ENODEV) => Stop::Gone,
        Some(libc::ENOSPC) if MAY_BE_FULL.load(Ordering::Relaxed) => Stop::Gone,
        _ => Stop::Wrong(format!("{name}: {error}")),
    }
}

/// Closes a file and says whether that stored it, which dropping it does not.
pub(crate) fn close(file: Handle) -> io::Result<()> {
    Ok(nix::unistd::close(file.into_raw_fd())?)
}
