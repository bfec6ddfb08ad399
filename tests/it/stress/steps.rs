//! What a sequence is made of, and how one is made from a seed.

/// Names that steps use. `t` and `u` are two tables; `d` and `e` are folders most of the time, but
/// every name may stand for anything.
pub(super) const PATHS: &[&str] = &[
    "t/a", "t/b", "t/c", "t/d", "t/e", "t/d/a", "t/d/b", "t/d/d", "t/d/d/a", "t/e/a", "u/a", "u/d",
];
const FOLDERS: &[&str] = &["t", "t/d", "t/d", "t/e", "t/d/d", "u", "u/d", "t/a"];
const TABLES: &[&str] = &["t", "t", "t", "u"];
/// How a file is opened: words that stand for the flags.
const HOWS: &[&str] = &[
    "r",
    "r",
    "r",
    "w",
    "rw",
    "w append",
    "w trunc",
    "r create",
    "w create",
    "w create",
    "rw create",
    "rw create",
    "rw create",
    "w create append",
    "rw create append",
    "w create trunc",
    "w create trunc",
    "w create excl",
    "rw create excl",
];
const RENAMES: &[&str] =
    &["", "", "", "", "", "", "", "", "noreplace", "noreplace", "exchange", "whiteout"];
/// Around the ends of pages, blocks and the length from which values have files of their own.
const LENGTHS: &[usize] = &[
    1, 3, 10, 10, 100, 100, 500, 1000, 4095, 4096, 4097, 5000, 9000, 65_535, 65_536, 65_537,
    140_000,
];
const OFFSETS: &[usize] = &[0, 0, 0, 0, 1, 7, 100, 4095, 4096, 5000, 65_530, 65_536, 100_000];
const MODES: &[u32] = &[0o644, 0o600, 0o444, 0o777, 0];
/// Open handles that a sequence has at most.
pub(super) const SLOTS: usize = 5;

/// One operation. Handles are kept in slots; a step on an empty slot does nothing, so that every
/// part of a sequence is a sequence.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Open {
        slot: usize,
        path: &'static str,
        how: &'static str,
    },
    Duplicate {
        slot: usize,
        of: usize,
    },
    Close(usize),
    Write {
        slot: usize,
        bytes: usize,
        fill: u8,
    },
    WriteAt {
        slot: usize,
        at: usize,
        bytes: usize,
        fill: u8,
    },
    WriteMapped {
        slot: usize,
        at: usize,
        bytes: usize,
        fill: u8,
    },
    ReadAt {
        slot: usize,
        at: usize,
        bytes: usize,
    },
    Seek {
        slot: usize,
        whence: &'static str,
        at: usize,
    },
    SetLength {
        slot: usize,
        bytes: usize,
    },
    Allocate {
        slot: usize,
        mode: &'static str,
        at: usize,
        bytes: usize,
    },
    Sync {
        slot: usize,
        data: bool,
    },
    StatHandle(usize),
    ChmodHandle {
        slot: usize,
        mode: u32,
    },
    Stat(&'static str),
    Read(&'static str),
    List(&'static str),
    SyncFolder(&'static str),
    Truncate {
        path: &'static str,
        bytes: usize,
    },
    Unlink(&'static str),
    MakeFolder(&'static str),
    RemoveFolder(&'static str),
    Rename {
        from: &'static str,
        to: &'static str,
        how: &'static str,
    },
    Link {
        from: &'static str,
        to: &'static str,
    },
    MakeLink(&'static str),
    ReadLink(&'static str),
    Chmod {
        path: &'static str,
        mode: u32,
    },
    Chown {
        path: &'static str,
        uid: u32,
        gid: u32,
    },
    SetTime {
        path: &'static str,
        nanos: i64,
    },
    IsSealed(&'static str),
    Expires(&'static str),
    Space,
    /// The grace of a table: an hour, or nothing, which seals what is closed.
    Grace {
        table: &'static str,
        is_long: bool,
    },
    /// The time to live of a table: a month, or for ever.
    Ttl {
        table: &'static str,
        is_long: bool,
    },
    Remount,
    Kill,
}

/// Numbers that follow from a seed (splitmix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("it fits");
        usize::try_from(self.next() % end).expect("it fits")
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn path(&mut self) -> &'static str {
        self.pick(PATHS)
    }

    fn fill(&mut self) -> u8 {
        self.pick(b"abcdefghijklmnopqrstuvwxyz")
    }
}

/// A sequence of so many steps.
pub(super) fn sequence(seed: u64, steps: usize) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let mut sequence = vec![Step::MakeFolder("t/d")];
    sequence.extend((0..steps).map(|_| step(&mut dice)));
    sequence
}

fn step(dice: &mut Dice) -> Step {
    match dice.below(1000) {
        0..550 => handle_step(dice),
        550..980 => path_step(dice),
        980..992 => Step::Grace { table: dice.pick(TABLES), is_long: dice.below(2) == 0 },
        992..995 => Step::Ttl { table: dice.pick(TABLES), is_long: dice.below(2) == 0 },
        995..997 => Step::Remount,
        _ => Step::Kill,
    }
}

fn handle_step(dice: &mut Dice) -> Step {
    let slot = dice.below(SLOTS);
    let (at, bytes, fill) = (dice.pick(OFFSETS), dice.pick(LENGTHS), dice.fill());
    match dice.below(100) {
        0..30 => Step::Open { slot, path: dice.path(), how: dice.pick(HOWS) },
        30..36 => Step::Duplicate { slot, of: dice.below(SLOTS) },
        36..54 => Step::Close(slot),
        54..64 => Step::Write { slot, bytes, fill },
        64..70 => Step::WriteAt { slot, at, bytes, fill },
        70..73 => Step::WriteMapped { slot, at, bytes, fill },
        73..82 => Step::ReadAt { slot, at, bytes: dice.pick(&[bytes, 200_000]) },
        82..86 => {
            let whence = dice.pick(&["set", "end", "data", "hole"]);
            Step::Seek { slot, whence, at }
        }
        86..90 => Step::SetLength { slot, bytes: dice.pick(&[at, bytes]) },
        90..92 => Step::Allocate { slot, mode: dice.pick(&["", "keep", "punch"]), at, bytes },
        92..95 => Step::Sync { slot, data: dice.below(2) == 0 },
        95..98 => Step::StatHandle(slot),
        _ => Step::ChmodHandle { slot, mode: dice.pick(MODES) },
    }
}

fn path_step(dice: &mut Dice) -> Step {
    let path = dice.path();
    match dice.below(100) {
        0..8 => Step::Stat(path),
        8..20 => Step::Read(path),
        20..29 => Step::List(dice.pick(FOLDERS)),
        29..31 => Step::SyncFolder(dice.pick(FOLDERS)),
        31..36 => Step::Truncate { path, bytes: dice.pick(&[0, 0, 1, 10, 100, 4096]) },
        36..44 => Step::Unlink(path),
        44..50 => Step::MakeFolder(path),
        50..53 => Step::RemoveFolder(path),
        53..70 => Step::Rename { from: path, to: dice.path(), how: dice.pick(RENAMES) },
        70..77 => Step::Link { from: path, to: dice.path() },
        77..80 => Step::MakeLink(path),
        80..82 => Step::ReadLink(path),
        82..86 => Step::Chmod { path, mode: dice.pick(MODES) },
        86..89 => Step::Chown { path, uid: dice.pick(&[0, 1, 1000]), gid: dice.pick(&[0, 7]) },
        89..93 => {
            let nanos = dice.pick(&[0, 1, 1_234_567_890_123_456_789, -1_000_000_001]);
            Step::SetTime { path, nanos }
        }
        93..96 => Step::IsSealed(path),
        96..99 => Step::Expires(path),
        _ => Step::Space,
    }
}
