//! What a check found and how much it looked at.
//!
//! Findings are bounded: a drive that lost everything must not take the memory of the machine that
//! checks it. Beyond the bound they are only counted.

use std::path::{Path, PathBuf};

use crate::error::{Error, printable};

/// Findings of each severity that are kept; further ones are counted.
pub const FINDINGS_MAX: usize = 10_000;
/// Keys that a finding names; further ones are counted.
pub const SAMPLE_KEYS: usize = 5;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something is not as it was written, or is missing.
    Damage,
    /// Worth knowing: what a crash may leave and the next open puts right, or files nobody uses.
    Note,
}

/// Keys that something happened to: how many, and a few of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AffectedKeys {
    /// How many.
    pub count: u64,
    /// The first of them, made printable.
    pub sample: Vec<String>,
}

impl AffectedKeys {
    /// Exactly this key.
    pub(super) fn one(key: &[u8]) -> Self {
        Self { count: 1, sample: vec![printable(key)] }
    }

    pub(super) fn add(&mut self, key: &[u8]) {
        self.count += 1;
        if self.sample.len() < SAMPLE_KEYS {
            self.sample.push(printable(key));
        }
    }
}

/// Something that is not as it must be, or that is worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The table, unless it concerns the whole database.
    pub table: Option<String>,
    /// The file it is about.
    pub file: PathBuf,
    /// Where in the file, in bytes.
    pub offset: Option<u64>,
    /// What is wrong, and what helps.
    pub what: String,
    /// What cannot be read because of it, as far as that is known.
    pub keys: AffectedKeys,
}

impl Finding {
    pub(super) fn damage(file: &Path, what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Damage,
            table: None,
            file: file.to_path_buf(),
            offset: None,
            what: what.into(),
            keys: AffectedKeys::default(),
        }
    }

    pub(super) fn note(file: &Path, what: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::damage(file, what) }
    }

    /// Damage as an error tells it; `file` stands in when the error names none.
    pub(super) fn of_error(error: &Error, file: &Path) -> Self {
        match error {
            Error::Corrupt { path, offset, reason } => {
                Self::damage(path, reason.clone()).at(*offset)
            }
            Error::Io { operation, path, source, .. } => {
                Self::damage(path, format!("cannot {operation} it: {source}"))
            }
            Error::FutureVersion { path, found, supported } => Self::damage(
                path,
                format!(
                    "format version {found}, but this littfs reads only up to version {supported}; \
                     use a newer littfs"
                ),
            ),
            Error::DuplicateFile { second, .. } => Self::damage(second, error.to_string()),
            other => Self::damage(file, other.to_string()),
        }
    }

    pub(super) fn at(self, offset: u64) -> Self {
        Self { offset: Some(offset), ..self }
    }

    pub(super) fn affecting(self, keys: AffectedKeys) -> Self {
        Self { keys, ..self }
    }
}

/// What a check looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tables.
    pub tables: u64,
    /// Segments that are not below the mark of expiry.
    pub segments: u64,
    /// Files that were read.
    pub files: u64,
    /// Names, each as often as a segment mentions it.
    pub mentions: u64,
    /// Records that names refer to, folders included.
    pub records: u64,
    /// Values of files and links among them that were verified whole.
    pub values: u64,
    /// Bytes that were read and verified, of all files.
    pub bytes: u64,
    /// Pages of keymaps.
    pub keymap_pages: u64,
    /// Live names that were looked up in a keymap.
    pub keymap_lookups: u64,
    /// Bytes of packed shards that no name refers to: removed, taken the place of, or never used.
    pub unreferenced_bytes: u64,
}

/// What a check saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was found, in the order it was met.
    pub findings: Vec<Finding>,
    /// All findings that are damage, those that were not kept included.
    pub damage: u64,
    /// All notes, those that were not kept included.
    pub notes: u64,
    /// What was looked at.
    pub counts: Counts,
}

impl Report {
    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.damage == 0
    }

    /// How many findings were counted but not kept.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        (self.damage + self.notes).saturating_sub(self.findings.len() as u64)
    }

    pub(super) fn add(&mut self, finding: Finding) {
        let seen = match finding.severity {
            Severity::Damage => &mut self.damage,
            Severity::Note => &mut self.notes,
        };
        *seen += 1;
        if *seen <= FINDINGS_MAX as u64 {
            self.findings.push(finding);
        }
    }
}
