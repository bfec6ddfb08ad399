//! What is done to the files, and what it may cost.

use std::fs;
use std::path::{Path, PathBuf};

use super::fixture::Fixture;

/// Pairs of cases in each round.
const PAIRS: usize = 150;

/// A xorshift generator: the cases of a seed are the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap_or(0)
    }
}

/// A way to damage a file.
#[derive(Clone, Debug)]
pub(crate) enum Damage {
    Flip(usize, u8),
    Zero(usize, usize),
    Truncate(usize),
    Extend(Vec<u8>),
    Swap(PathBuf),
    Older,
    Remove,
}

/// Values that a repair must give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spared {
    AllValues,
    /// All but so many.
    ButFew(usize),
    Nothing,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Root,
    Table,
    Keymap,
    Metadata,
    Run,
    Log,
    Values,
}

/// One damaged file.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    path: PathBuf,
    sort: Sort,
    damage: Damage,
}

/// One round of cases.
pub(crate) fn cases(fixture: &Fixture, random: &mut Random) -> Vec<Case> {
    let files = fixture.files();
    let mut cases = Vec::new();
    let sorts: Vec<(&PathBuf, Sort)> =
        files.iter().map(|(path, content)| (path, sort_of(path, content))).collect();
    for (path, sort) in &sorts {
        let length = files[*path].len();
        let mut damages = vec![Damage::Remove];
        // The header and the end, where every field is, and places anywhere.
        let places = (0..length.min(160)).step_by(23);
        let places = places.chain((length.saturating_sub(140)..length).step_by(41));
        let mut places: Vec<usize> = places.collect();
        places.extend((0..3).map(|_| random.below(length)));
        for at in places.into_iter().filter(|at| *at < length) {
            damages.push(Damage::Flip(at, 1 << random.below(8)));
        }
        damages.push(Damage::Zero(random.below(length), 1 + random.below(64)));
        damages.push(Damage::Zero(0, 8));
        damages.push(Damage::Truncate(random.below(length)));
        damages.push(Damage::Truncate(0));
        damages.push(Damage::Extend(vec![0; 1 + random.below(5000)]));
        damages.push(Damage::Extend((0..700).map(|_| random.byte()).collect()));
        damages.push(Damage::Older);
        let same: Vec<&PathBuf> = sorts
            .iter()
            .filter(|(other, of)| of == sort && other != path && table_of(other) == table_of(path))
            .map(|(other, _)| *other)
            .collect();
        if !same.is_empty() {
            damages.push(Damage::Swap(same[random.below(same.len())].clone()));
        }
        cases.extend(damages.into_iter().map(|damage| Case {
            path: (*path).clone(),
            sort: *sort,
            damage,
        }));
    }
    cases.retain(|case| case.is_change(fixture));
    cases
}

/// Cases of which two come together, of different files.
pub(crate) fn pairs(cases: &[Case], random: &mut Random) -> Vec<Vec<Case>> {
    let mut pairs = Vec::new();
    while pairs.len() < PAIRS {
        let (one, other) = (random.below(cases.len()), random.below(cases.len()));
        let (one, other) = (&cases[one], &cases[other]);
        let is_swap = [one, other].iter().any(|case| matches!(case.damage, Damage::Swap(_)));
        if one.path != other.path && !is_swap {
            pairs.push(vec![one.clone(), other.clone()]);
        }
    }
    pairs
}

fn sort_of(path: &Path, content: &[u8]) -> Sort {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match name {
        "littfs.root" => Sort::Root,
        "table.metadata" => Sort::Table,
        _ if path.components().any(|part| part.as_os_str() == "keymap") => Sort::Keymap,
        _ if name.ends_with(".metadata") => Sort::Metadata,
        _ if name.ends_with(".values") => Sort::Values,
        _ if content.starts_with(b"LFL") => Sort::Log,
        _ => Sort::Run,
    }
}

fn table_of(path: &Path) -> Option<&str> {
    path.components().nth(1).and_then(|part| part.as_os_str().to_str())
}

impl Case {
    /// Does it to the copy in this folder.
    pub(crate) fn apply(&self, fixture: &Fixture, folder: &Path) {
        let path = folder.join(&self.path);
        let mut content = fs::read(&path).expect("read");
        match &self.damage {
            Damage::Flip(at, bit) => content[*at] ^= bit,
            Damage::Zero(at, count) => {
                let end = content.len().min(at + count);
                content[*at..end].fill(0);
            }
            Damage::Truncate(length) => content.truncate(*length),
            Damage::Extend(more) => content.extend_from_slice(more),
            Damage::Swap(other) => {
                let other = folder.join(other);
                let theirs = fs::read(&other).expect("read");
                fs::write(&other, &content).expect("write");
                content = theirs;
            }
            Damage::Older => content = fixture.older(&self.path).expect("older"),
            Damage::Remove => {
                fs::remove_file(&path).expect("remove");
                return;
            }
        }
        fs::write(&path, content).expect("write");
    }

    /// Whether anything is different afterwards.
    fn is_change(&self, fixture: &Fixture) -> bool {
        let files = fixture.files();
        let content = &files[&self.path];
        match &self.damage {
            Damage::Zero(at, count) => content.iter().skip(*at).take(*count).any(|byte| *byte != 0),
            Damage::Truncate(length) => *length < content.len(),
            Damage::Swap(other) => files[other] != *content,
            Damage::Older => fixture.older(&self.path).is_some_and(|older| older != *content),
            Damage::Flip(..) | Damage::Extend(_) | Damage::Remove => true,
        }
    }

    /// Whether it may keep the whole database from opening.
    pub(crate) fn is_of_root(&self) -> bool {
        self.sort == Sort::Root
    }

    /// Whether a table may suffer.
    pub(crate) fn hits(&self, table: &str) -> bool {
        table_of(&self.path) == Some(table)
    }

    /// What a repair must give back.
    pub(crate) fn spared(&self) -> Spared {
        match (self.sort, &self.damage) {
            // An older state is as good as the newest: that something is missing cannot be told. And
            // the end of a log may have been torn off by a crash as well.
            (Sort::Log | Sort::Table, Damage::Older)
            | (Sort::Log, Damage::Truncate(_) | Damage::Zero(..)) => Spared::Nothing,
            // Until a segment is sealed its records have the names that files were stored under: of
            // the two that were renamed one may be back under the old one.
            (Sort::Log, _) | (Sort::Values, Damage::Flip(..)) => Spared::ButFew(1),
            (Sort::Values, Damage::Zero(..)) => Spared::ButFew(2),
            (Sort::Values, Damage::Extend(_)) => Spared::AllValues,
            (Sort::Values, _) => Spared::Nothing,
            _ => Spared::AllValues,
        }
    }
}
