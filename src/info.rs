//! What there is to say of a database and of each of its tables, for people and for scripts.
//!
//! `littfs info` shows it. A mount answers it as the extended attribute `user.littfs.info`, in JSON, on
//! its top folder and on the folders of tables: while a database is mounted nobody else can open it,
//! and that is when one wants to know what has failed.

use serde::{Deserialize, Serialize};

use crate::db::Db;
use crate::settings::{duration_text, ttl_text};
use crate::table::Table;

/// The extended attribute with all of it.
pub const INFO_XATTR: &str = "user.littfs.info";

/// A database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseInfo {
    /// Its identity, 32 hexadecimal digits.
    pub id: String,
    /// The roots that are open.
    pub roots: Vec<String>,
    /// Where roots were last that are not there.
    pub missing_roots: Vec<String>,
    /// Roots that have failed since it was opened.
    pub failed_roots: Vec<FailedRoot>,
    /// Room on the drives of all roots; none when it cannot be asked for.
    pub space: Option<SpaceInfo>,
    /// The tables, those that cannot be opened at the end. A mount names only these here: the others
    /// are its folders, and each tells of itself.
    pub tables: Vec<TableEntry>,
}

/// A root that has failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRoot {
    /// The root.
    pub root: String,
    /// Its first failure.
    pub reason: String,
}

/// Room on drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceInfo {
    /// Of the drives.
    pub total_bytes: u64,
    /// Of that, not in use.
    pub free_bytes: u64,
    /// Of that, for new values: without the reserve.
    pub available_bytes: u64,
}

/// A table, open or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TableEntry {
    /// It works.
    Open(Box<TableInfo>),
    /// It could not be opened.
    Unavailable {
        /// Its name.
        name: String,
        /// Why.
        unavailable: String,
    },
}

/// A table that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableInfo {
    /// Its name.
    pub name: String,
    /// Its number, 1..=65535.
    pub number: u16,
    /// Time to live, such as `7d`, or `none`.
    pub ttl: String,
    /// The time in which a stored file can still be renamed or removed, such as `5m`.
    pub grace: String,
    /// Packed shards of a new segment.
    pub shards: u8,
    /// Files and links.
    pub keys: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Segments, sealed or not.
    pub segments: u64,
    /// The keymap; none when there is none or it cannot be looked at.
    pub keymap: Option<KeymapInfo>,
    /// Why it takes no more writes, if so.
    pub failure: Option<String>,
    /// Always none.
    pub unavailable: Option<String>,
}

/// A keymap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeymapInfo {
    /// Bytes of its file.
    pub bytes: u64,
    /// Pages of 4 KiB.
    pub pages: u64,
    /// Slots in use, stale ones included.
    pub used_slots: u64,
    /// How often it was written anew.
    pub generation: u64,
}

impl DatabaseInfo {
    /// All there is to say of an open database, but for its tables that work.
    #[must_use]
    pub fn without_tables(db: &Db) -> Self {
        let shown = |paths: Vec<std::path::PathBuf>| {
            paths.iter().map(|path| path.display().to_string()).collect()
        };
        let failed = db.failed_roots().into_iter();
        let unavailable = db.unavailable_tables().into_iter();
        let space = db.space().ok().map(|space| SpaceInfo {
            total_bytes: space.total,
            free_bytes: space.free,
            available_bytes: space.available,
        });
        Self {
            id: db.id(),
            roots: shown(db.roots()),
            missing_roots: shown(db.missing_roots()),
            failed_roots: failed
                .map(|(root, reason)| FailedRoot { root: root.display().to_string(), reason })
                .collect(),
            space,
            tables: unavailable
                .map(|(name, unavailable)| TableEntry::Unavailable { name, unavailable })
                .collect(),
        }
    }

    /// All there is to say of an open database.
    #[must_use]
    pub fn new(db: &Db) -> Self {
        let tables = db.tables();
        Self::without_tables(db).with_tables(tables.iter().map(|table| TableInfo::new(table)))
    }

    /// Adds tables that work, in front of those that do not.
    #[must_use]
    pub fn with_tables(mut self, tables: impl IntoIterator<Item = TableInfo>) -> Self {
        let open = tables.into_iter().map(|table| TableEntry::Open(Box::new(table)));
        self.tables = open.chain(self.tables).collect();
        self
    }
}

impl TableInfo {
    /// All there is to say of a table. Of a failing drive as much as can be told.
    #[must_use]
    pub fn new(table: &Table) -> Self {
        let (settings, usage) = (table.settings(), table.usage());
        let keymap = table.keymap_stats().ok().flatten().map(|stats| KeymapInfo {
            bytes: stats.bytes_on_disk,
            pages: stats.pages,
            used_slots: stats.used_slots,
            generation: stats.generation,
        });
        Self {
            name: table.name().to_owned(),
            number: table.number(),
            ttl: ttl_text(settings.ttl),
            grace: duration_text(settings.grace),
            shards: settings.shards,
            keys: usage.keys,
            bytes: usage.bytes,
            segments: usage.segments,
            keymap,
            failure: table.poisoned(),
            unavailable: None,
        }
    }
}
