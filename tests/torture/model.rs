//! What a client was told, name by name, and what may be there after a kill or a power cut.
//!
//! Each name has a history of versions. The last one that is *promised* (acknowledged by a close
//! for a kill; by an fsync, or long enough before the cut, for a power cut) and every later one
//! may be found; nothing else. An operation that failed half-way adds versions that may or may not
//! have come to pass. A rename adds one version to each of two names, and these must come to pass
//! together.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use littfs::testing::rng::content;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    File(File),
    Folder {
        mode: u32,
    },
    Link {
        target: PathBuf,
    },
    /// A file that could not be written to its end: whatever of it there is.
    Torso,
}

/// A file: the first `bytes` bytes of the value `id`, and its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) id: u64,
    pub(crate) bytes: usize,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    /// Seconds and nanoseconds, once they were set.
    pub(crate) mtime: Option<(i64, i64)>,
}

/// What was found under a name.
#[derive(Debug)]
pub(crate) enum Seen {
    Nothing,
    File(Metadata, Vec<u8>),
    Folder(Metadata),
    Link(PathBuf),
    /// An error, or a disagreement between the ways of looking.
    Wrong(String),
}

impl Seen {
    /// In a few words.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::File(metadata, bytes) => format!(
                "a file of {} bytes, mode {:o}, owner {}, time {}.{:09}",
                bytes.len(),
                metadata.permissions().mode() & 0o7777,
                metadata.uid(),
                metadata.mtime(),
                metadata.mtime_nsec()
            ),
            Self::Folder(metadata) => {
                format!("a folder, mode {:o}", metadata.permissions().mode() & 0o7777)
            }
            Self::Link(target) => format!("a link to {}", target.display()),
            Self::Wrong(what) => what.clone(),
        }
    }
}

impl Node {
    /// Whether this is what was found.
    fn is(&self, seen: &Seen) -> bool {
        match (self, seen) {
            (Self::File(file), Seen::File(metadata, bytes)) => {
                let mtime = (metadata.mtime(), metadata.mtime_nsec());
                metadata.permissions().mode() & 0o7777 == file.mode
                    && metadata.uid() == file.uid
                    && metadata.len() == bytes.len() as u64
                    && file.mtime.is_none_or(|set| set == mtime)
                    && bytes.len() == file.bytes
                    && *bytes == content(file.id, file.bytes)
            }
            (Self::Folder { mode }, Seen::Folder(metadata)) => {
                metadata.permissions().mode() & 0o7777 == *mode
            }
            (Self::Link { target }, Seen::Link(found)) => target == found,
            (Self::Torso, Seen::File(..)) => true,
            _ => false,
        }
    }
}

/// One state of a name.
#[derive(Clone, Debug)]
struct Version {
    node: Option<Node>,
    /// When it was acknowledged.
    at: Instant,
    /// It was acknowledged; else it may or may not have come to pass.
    is_certain: bool,
    /// It was made durable, by an fsync or by itself.
    is_durable: bool,
    /// The rename that made it.
    rename: Option<u64>,
}

/// What a return code of 0 promises.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Promise {
    /// All that was acknowledged is there: the daemon was killed, the machine went on.
    Closed,
    /// What was synced is there, and what was acknowledged this long before the power cut.
    Synced { after: Duration },
}

/// What came to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Unknown,
}

/// What a comparison came to.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Names that had to stand for something certain.
    pub(crate) checked: u64,
    /// Promised and not there.
    pub(crate) lost: Vec<String>,
    /// There and not allowed: damaged, torn, or come back.
    pub(crate) wrong: Vec<String>,
}

impl Verdict {
    pub(crate) fn add(&mut self, other: Self) {
        self.checked += other.checked;
        self.lost.extend(other.lost);
        self.wrong.extend(other.wrong);
    }
}

/// Everything one client knows.
#[derive(Debug, Default)]
pub(crate) struct Model {
    names: BTreeMap<String, Vec<Version>>,
    renames: u64,
}

impl Model {
    /// What the name stands for as far as is known; `None` within `Err` when it is not known.
    pub(crate) fn get(&self, name: &str) -> Result<Option<&Node>, ()> {
        match self.names.get(name).and_then(|history| history.last()) {
            None => Ok(None),
            Some(version) if version.is_certain => Ok(version.node.as_ref()),
            Some(_) => Err(()),
        }
    }

    /// Every name that was ever heard of.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.names.keys()
    }

    /// Whether something is, or may be, below a folder.
    pub(crate) fn may_hold_something(&self, folder: &str) -> bool {
        let below = format!("{folder}/");
        let mut range = self.names.range(below.clone()..).map(|(name, _)| name);
        let mut below = range.by_ref().take_while(|name| name.starts_with(&below));
        below.any(|name| self.get(name) != Ok(None))
    }

    /// Notes that these names stand for these things now.
    pub(crate) fn set(&mut self, changes: &[(&str, Option<Node>)], outcome: Outcome) {
        self.push(changes, outcome, None);
    }

    /// Notes that a file could not be written to its end. Its close may or may not have stored it.
    pub(crate) fn broke_off(&mut self, name: &str) {
        self.set(&[(name, Some(Node::Torso))], Outcome::Unknown);
    }

    /// Notes a rename: the first name stands for nothing, the second for what the first was.
    pub(crate) fn rename(&mut self, from: &str, to: &str, node: &Node, outcome: Outcome) {
        self.renames += 1;
        let changes = [(from, None), (to, Some(node.clone()))];
        self.push(&changes, outcome, Some(self.renames));
    }

    fn push(&mut self, changes: &[(&str, Option<Node>)], outcome: Outcome, rename: Option<u64>) {
        let at = Instant::now();
        for (name, node) in changes {
            let history = self.names.entry((*name).to_owned()).or_insert_with(|| {
                let nothing =
                    Version { node: None, at, is_certain: true, is_durable: true, rename: None };
                vec![nothing]
            });
            history.push(Version {
                node: node.clone(),
                at,
                is_certain: outcome != Outcome::Unknown,
                is_durable: false,
                rename,
            });
        }
    }

    /// This name is durable as it is.
    pub(crate) fn synced(&mut self, name: &str) {
        if let Some(last) = self.names.get_mut(name).and_then(|history| history.last_mut()) {
            last.is_durable |= last.is_certain;
        }
    }

    /// Everything is durable as it is.
    pub(crate) fn all_synced(&mut self) {
        for history in self.names.values_mut() {
            // A version that is not certain stays possible behind the last one that is.
            let Some(last) = history.iter().rposition(|version| version.is_certain) else {
                continue;
            };
            history[last].is_durable = true;
            history.drain(..last);
        }
    }

    /// The first version that may be found.
    fn oldest_allowed(history: &[Version], promise: Promise, cut: Instant) -> usize {
        let is_promised = |version: &Version| {
            let is_old_enough = match promise {
                Promise::Closed => true,
                Promise::Synced { after } => version.at + after <= cut,
            };
            version.is_certain && (version.is_durable || is_old_enough)
        };
        history.iter().rposition(is_promised).unwrap_or(0)
    }

    /// Compares with what was found, and goes on from there. `cut` is when the daemon was killed
    /// or the power went.
    pub(crate) fn compare(
        &mut self,
        found: &BTreeMap<String, Seen>,
        promise: Promise,
        cut: Instant,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        // For each rename, the sides: whether it surely came to pass, whether it surely did not.
        let mut renames: BTreeMap<u64, Vec<(&str, bool, bool)>> = BTreeMap::new();
        for (name, history) in &self.names {
            let seen = found.get(name).unwrap_or(&Seen::Nothing);
            let oldest = Self::oldest_allowed(history, promise, cut);
            verdict.checked += u64::from(history.len() - oldest == 1);
            let matches = |version: &Version| match (&version.node, seen) {
                (None, Seen::Nothing) => true,
                (Some(node), seen) => node.is(seen),
                (None, _) => false,
            };
            let matching: Vec<usize> =
                (oldest..history.len()).filter(|&at| matches(&history[at])).collect();
            let (Some(&first), Some(&last)) = (matching.first(), matching.last()) else {
                let allowed: Vec<_> =
                    history[oldest..].iter().map(|version| &version.node).collect();
                let why = match &history[oldest] {
                    version if version.is_durable => "synced".to_owned(),
                    version => format!("acknowledged {:?} before", cut.duration_since(version.at)),
                };
                let seen_as = seen.describe();
                let what = format!("{name}: {seen_as}; the first of these was {why}: {allowed:?}");
                let is_lost = matches!(seen, Seen::Nothing);
                if is_lost {
                    verdict.lost.push(what);
                } else {
                    verdict.wrong.push(what);
                }
                continue;
            };
            for (at, version) in history.iter().enumerate() {
                if let Some(rename) = version.rename {
                    renames.entry(rename).or_default().push((name, first >= at, last < at));
                }
            }
        }
        for sides in renames.values() {
            if let [one, other] = sides.as_slice()
                && ((one.1 && other.2) || (one.2 && other.1))
            {
                verdict.wrong.push(format!("half a rename between {} and {}", one.0, other.0));
            }
        }
        for (name, seen) in found {
            if !self.names.contains_key(name) {
                verdict.wrong.push(format!("{name}: {}, never made", seen.describe()));
            }
        }
        self.go_on_from(found);
        verdict
    }

    /// What was found is what there is from now on.
    fn go_on_from(&mut self, found: &BTreeMap<String, Seen>) {
        let at = Instant::now();
        for (name, history) in &mut self.names {
            let seen = found.get(name).unwrap_or(&Seen::Nothing);
            let is_seen = |version: &&Version| match &version.node {
                None => matches!(seen, Seen::Nothing),
                Some(node) => node.is(seen),
            };
            let node = history.iter().rev().find(is_seen).and_then(|version| version.node.clone());
            *history = vec![Version { node, at, is_certain: true, is_durable: true, rename: None }];
        }
    }
}
