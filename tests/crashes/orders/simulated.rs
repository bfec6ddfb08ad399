//! A file system of which only that survives a power cut which was synced, and any part of the rest.
//!
//! The model is that of ext4 and XFS without their kindness (as in Pillai et al., "All File Systems
//! Are Not Created Equal", OSDI 2014):
//!
//! - Bytes that were written, and lengths, are durable once their file was synced. Until then each
//!   sector, or each page, holds what it held at some moment since, and so does the length.
//! - Names that came, went or moved are durable once their directory was synced. Until then each
//!   such change may have come to pass or not, whatever became of those before it. A rename within
//!   a directory happens as a whole, as in every file system with a journal.
//! - The sync of a file does nothing for its name, and that of a directory nothing for its files.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use littfs::testing::{Effect, FileId};

use littfs::testing::rng::Rng;

/// What a name in a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Dir(usize),
}

/// Something done to the bytes of a file.
#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Resize(u64),
}

#[derive(Clone, Debug, Default)]
struct File {
    synced: Vec<u8>,
    /// Each with the number of its effect.
    unsynced: Vec<(usize, Step)>,
}

/// Names that change as one.
type Names = Vec<(OsString, Option<Node>)>;

#[derive(Clone, Debug, Default)]
struct Dir {
    synced: BTreeMap<OsString, Node>,
    unsynced: Vec<(usize, Names)>,
}

impl Dir {
    fn now(&self) -> BTreeMap<OsString, Node> {
        let mut now = self.synced.clone();
        self.unsynced.iter().for_each(|(_, names)| set(&mut now, names));
        now
    }
}

fn set(in_dir: &mut BTreeMap<OsString, Node>, names: &Names) {
    for (name, node) in names {
        match node {
            Some(node) => drop(in_dir.insert(name.clone(), *node)),
            None => drop(in_dir.remove(name)),
        }
    }
}

/// The file system, after some effects.
#[derive(Clone, Debug)]
pub(crate) struct Simulated {
    base: PathBuf,
    files: Vec<File>,
    dirs: Vec<Dir>,
    ids: HashMap<FileId, usize>,
    seen: usize,
    /// Effects before the record that is now applied.
    before: usize,
}

/// What is lost of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Nothing,
    Everything,
    /// In each place with this chance, in percent.
    Some(usize),
    /// What came behind some moment, as if there was one queue.
    Later,
}

/// A power cut: what becomes of names, of bytes, and in what pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) names: Loss,
    pub(crate) bytes: Loss,
    /// The length of a file may run ahead of its bytes, which then are zeros.
    pub(crate) lengths_first: bool,
    /// What is written as a whole.
    pub(crate) piece: usize,
}

/// What a power cut has left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Image {
    dirs: Vec<PathBuf>,
    /// The names of each file, and its bytes.
    files: Vec<(Vec<PathBuf>, Vec<u8>)>,
}

impl Simulated {
    /// An empty directory `base`, or one with this in it, durably.
    pub(crate) fn new(base: &Path, image: &Image) -> Self {
        let (files, ids) = (Vec::new(), HashMap::new());
        let base = base.to_path_buf();
        let dirs = vec![Dir::default()];
        let mut simulated = Self { base, files, dirs, ids, seen: 0, before: 0 };
        for dir in &image.dirs {
            simulated.make_dirs(&simulated.base.join(dir));
        }
        for (names, bytes) in &image.files {
            let file = simulated.files.len();
            simulated.files.push(File { synced: bytes.clone(), unsynced: Vec::new() });
            for name in names {
                let path = simulated.base.join(name);
                simulated.name(&path, Some(Node::File(file)));
            }
        }
        simulated.sync_everything();
        simulated
    }

    /// What there is after the process was killed, and what it left was copied elsewhere with all that
    /// is not durable yet. Another one goes on, with a record of its own.
    pub(crate) fn killed(&self, base: &Path) -> io::Result<Self> {
        let (base, before) = (base.to_path_buf(), self.seen);
        let mut killed = Self { base, before, ids: HashMap::new(), ..self.clone() };
        killed.meet()?;
        Ok(killed)
    }

    fn sync_everything(&mut self) {
        for dir in &mut self.dirs {
            dir.synced = dir.now();
            dir.unsynced.clear();
        }
    }

    /// Tells which files of an image that was written to disk are which.
    pub(crate) fn meet(&mut self) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt as _;
        let mut waiting = vec![(self.base.clone(), 0)];
        while let Some((path, dir)) = waiting.pop() {
            for (name, node) in self.dirs[dir].now() {
                let path = path.join(name);
                match node {
                    Node::Dir(dir) => waiting.push((path, dir)),
                    Node::File(file) => {
                        let metadata = fs::metadata(&path)?;
                        self.ids.insert(FileId(metadata.dev(), metadata.ino()), file);
                    }
                }
            }
        }
        Ok(())
    }

    fn dir_of(&self, path: &Path) -> usize {
        let below = path.strip_prefix(&self.base).expect("everything is below the base");
        below.components().fold(0, |dir, part| match self.dirs[dir].now().get(part.as_os_str()) {
            Some(Node::Dir(dir)) => *dir,
            other => panic!("{} is {other:?}", path.display()),
        })
    }

    fn place(&self, path: &Path) -> (usize, OsString) {
        let name = path.file_name().expect("a name").to_owned();
        (self.dir_of(path.parent().expect("a parent")), name)
    }

    fn node(&self, path: &Path) -> Option<Node> {
        let (dir, name) = self.place(path);
        self.dirs[dir].now().get(&name).copied()
    }

    fn name(&mut self, path: &Path, node: Option<Node>) {
        let (dir, name) = self.place(path);
        self.dirs[dir].unsynced.push((self.seen, vec![(name, node)]));
    }

    fn make_dirs(&mut self, path: &Path) {
        let below = path.strip_prefix(&self.base).expect("below the base").to_path_buf();
        let mut path = self.base.clone();
        for part in below.components() {
            path.push(part);
            if self.node(&path).is_none() {
                self.dirs.push(Dir::default());
                self.name(&path, Some(Node::Dir(self.dirs.len() - 1)));
            }
        }
    }

    fn file(&mut self, id: FileId) -> &mut File {
        let file = self.ids[&id];
        &mut self.files[file]
    }

    /// Has the next effect happen.
    pub(crate) fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Create(path, id) => {
                let known = self.ids.get(id).map(|file| Node::File(*file));
                if known.is_none() || self.node(path) != known {
                    self.ids.insert(*id, self.files.len());
                    self.name(path, Some(Node::File(self.files.len())));
                    self.files.push(File::default());
                }
            }
            Effect::Write(id, offset, bytes) => {
                let step = (self.seen, Step::Write(*offset, bytes.clone()));
                self.file(*id).unsynced.push(step);
            }
            Effect::Resize(id, length) => {
                let step = (self.seen, Step::Resize(*length));
                self.file(*id).unsynced.push(step);
            }
            Effect::Rename(from, to) => {
                let node = self.node(from);
                let ((dir, from), (same, to)) = (self.place(from), self.place(to));
                assert_eq!(dir, same, "nothing is renamed into another directory");
                let names = vec![(from, None), (to, node)];
                self.dirs[dir].unsynced.push((self.seen, names));
            }
            Effect::Link(from, to) => {
                let node = self.node(from);
                self.name(to, node);
            }
            Effect::Remove(path) | Effect::RemoveTree(path) => self.remove(path),
            Effect::MakeDirs(path) => self.make_dirs(path),
            Effect::SyncFile(id, begun) => {
                let begun = self.before + begun;
                let file = self.file(*id);
                let (done, left) =
                    std::mem::take(&mut file.unsynced).into_iter().partition(|(at, _)| *at < begun);
                file.unsynced = left;
                let done: Vec<(usize, Step)> = done;
                for (_, step) in &done {
                    step.take(&mut file.synced);
                }
            }
            // What is above was there before.
            Effect::SyncDir(path, _) if !path.starts_with(&self.base) => {}
            Effect::SyncDir(path, begun) => {
                let begun = self.before + begun;
                let dir = self.dir_of(path);
                let dir = &mut self.dirs[dir];
                let unsynced = std::mem::take(&mut dir.unsynced);
                for (at, names) in unsynced {
                    if at < begun {
                        set(&mut dir.synced, &names);
                    } else {
                        dir.unsynced.push((at, names));
                    }
                }
            }
        }
        self.seen += 1;
    }

    fn remove(&mut self, path: &Path) {
        if let Some(Node::Dir(dir)) = self.node(path) {
            for name in self.dirs[dir].now().into_keys() {
                self.remove(&path.join(name));
            }
        }
        self.name(path, None);
    }

    /// What a power cut leaves now.
    pub(crate) fn cut(&self, cut: Cut, rng: &mut Rng) -> Image {
        let queue_end = rng.below(self.seen + 1);
        let mut image = Image::default();
        let mut places: BTreeMap<usize, Vec<PathBuf>> = BTreeMap::new();
        let mut waiting = vec![(PathBuf::new(), 0)];
        while let Some((path, dir)) = waiting.pop() {
            let mut names = self.dirs[dir].synced.clone();
            for (at, change) in &self.dirs[dir].unsynced {
                if is_kept(cut.names, *at, queue_end, rng) {
                    set(&mut names, change);
                }
            }
            for (name, node) in names {
                let path = path.join(name);
                match node {
                    Node::File(file) => places.entry(file).or_default().push(path),
                    Node::Dir(dir) => {
                        image.dirs.push(path.clone());
                        waiting.push((path, dir));
                    }
                }
            }
        }
        for (file, names) in places {
            let bytes = self.files[file].cut(cut, queue_end, rng);
            image.files.push((names, bytes));
        }
        image
    }
}

fn is_kept(loss: Loss, at: usize, queue_end: usize, rng: &mut Rng) -> bool {
    match loss {
        Loss::Nothing => true,
        Loss::Everything => false,
        Loss::Some(percent) => !rng.percent(percent),
        Loss::Later => at < queue_end,
    }
}

impl Step {
    fn take(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, written) => {
                let start = usize::try_from(*offset).expect("small");
                let end = start + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[start..end].copy_from_slice(written);
            }
            Self::Resize(length) => bytes.resize(usize::try_from(*length).expect("small"), 0),
        }
    }

    fn length_after(&self, before: usize) -> usize {
        match self {
            Self::Write(offset, written) => {
                before.max(usize::try_from(*offset).expect("small") + written.len())
            }
            Self::Resize(length) => usize::try_from(*length).expect("small"),
        }
    }
}

impl File {
    /// How many of the unsynced steps have reached the disk, in one place of it.
    fn reached(&self, loss: Loss, queue_end: usize, rng: &mut Rng) -> usize {
        let all = self.unsynced.len();
        match loss {
            Loss::Everything => 0,
            Loss::Some(percent) if rng.percent(percent) => rng.below(all + 1),
            Loss::Nothing | Loss::Some(_) => all,
            Loss::Later => self.unsynced.iter().filter(|(at, _)| *at < queue_end).count(),
        }
    }

    fn cut(&self, cut: Cut, queue_end: usize, rng: &mut Rng) -> Vec<u8> {
        if self.unsynced.is_empty() {
            return self.synced.clone();
        }
        let steps = || self.unsynced.iter().map(|(_, step)| step);
        let mut lengths = vec![self.synced.len()];
        for step in steps() {
            lengths.push(step.length_after(*lengths.last().expect("one")));
        }
        let of_length = if cut.lengths_first {
            self.unsynced.len()
        } else {
            self.reached(cut.bytes, queue_end, rng)
        };
        // A file that was cut holds nothing of what was there, once its length tells of that.
        let cuts = (1..=of_length).filter(|at| lengths[*at] < lengths[*at - 1]);
        let least = cuts.max().unwrap_or(0);
        let longest = *lengths.iter().max().expect("one");
        // The states that the file went through, of which each piece has one.
        let mut states = vec![self.synced.clone()];
        for step in steps() {
            let mut state = states.last().expect("one").clone();
            step.take(&mut state);
            states.push(state);
        }
        let mut bytes = vec![0; longest];
        for (number, piece) in bytes.chunks_mut(cut.piece).enumerate() {
            let state = &states[self.reached(cut.bytes, queue_end, rng).max(least)];
            let start = (number * cut.piece).min(state.len());
            let held = &state[start..state.len().min(start + piece.len())];
            piece[..held.len()].copy_from_slice(held);
        }
        bytes.resize(lengths[of_length], 0);
        bytes
    }
}

impl Image {
    /// Writes it into a directory, from which everything else goes.
    pub(crate) fn write(&self, base: &Path) -> io::Result<()> {
        if base.exists() {
            fs::remove_dir_all(base)?;
        }
        fs::create_dir_all(base)?;
        for dir in &self.dirs {
            fs::create_dir_all(base.join(dir))?;
        }
        for (names, bytes) in &self.files {
            let Some((first, others)) = names.split_first() else { continue };
            let file = fs::File::create_new(base.join(first))?;
            file.write_all_at(bytes, 0)?;
            for other in others {
                fs::hard_link(base.join(first), base.join(other))?;
            }
        }
        Ok(())
    }
}
