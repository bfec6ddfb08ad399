//! The configuration file of the program: roots, limits of the engine, settings of new tables, log.
//!
//! The file is TOML with one flat list of entries. Each entry is described once, in `ENTRIES`:
//! its name, what it may hold, and where it goes. Messages and the help text are made from the
//! same list, so they cannot disagree with what is read.

pub mod mount_options;
mod units;

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

pub use self::units::{parse_bytes, parse_duration};
use crate::engine_options::EngineOptions;
use crate::error::{Error, Result};
use crate::settings::TableSettings;
use crate::settings::parse_ttl;
use crate::text::{explain, line_at};

/// Longer files are refused unread.
const FILE_BYTES_MAX: u64 = 1 << 20;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Offsets in a packed shard end here; a segment that was one shard must fit.
const SEGMENT_BYTES_LIMIT: u64 = 16 * GIB;

/// What the configuration file says, or the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The root directories; may be empty when they are given otherwise.
    pub roots: Vec<PathBuf>,
    /// Limits and sizes of the engine.
    pub engine: EngineOptions,
    /// What a table gets that is made without settings of its own.
    pub table: TableSettings,
    /// Threads that serve the mount.
    pub threads: usize,
    /// Where a mount in the background logs to; none = `littfs.log` in the first root.
    pub log_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            roots: Vec::new(),
            engine: EngineOptions::default(),
            table: TableSettings::default(),
            threads: 4,
            log_file: None,
        }
    }
}

/// What went wrong with the value of an entry: what is allowed instead.
type Entered = std::result::Result<(), String>;

struct EntryRule {
    name: &'static str,
    /// What it may hold, for messages and help.
    allowed: &'static str,
    /// What it is for, for the help.
    meaning: &'static str,
    set: fn(&mut Config, &DeValue<'_>) -> Entered,
}

const SIZE: &str = "a size such as \"64MiB\"";
const DURATION: &str = "a duration such as \"1s\" or \"12h 30m\"";

/// Every entry of the file.
const ENTRIES: &[EntryRule] = &[
    EntryRule {
        name: "roots",
        allowed: "a list of absolute directory names such as [\"/mnt/a/litt\", \"/mnt/b/litt\"]",
        meaning: "the directories that hold the database, usually one on each drive",
        set: |config, value| {
            let values = value.as_array().ok_or_else(String::new)?;
            let paths = values.iter().map(|value| absolute_path(value.get_ref()));
            config.roots = paths.collect::<Option<_>>().ok_or_else(String::new)?;
            Ok(())
        },
    },
    EntryRule {
        name: "segment_bytes_max",
        allowed: SIZE,
        meaning: "a segment is sealed at this size",
        set: |config, value| {
            bytes(value, MIB, SEGMENT_BYTES_LIMIT, &mut config.engine.segment_bytes_max)
        },
    },
    EntryRule {
        name: "segment_keys_max",
        allowed: "a number",
        meaning: "a segment is sealed at this number of keys",
        set: |config, value| number(value, 1, 16 << 20, &mut config.engine.segment_keys_max),
    },
    EntryRule {
        name: "spill_bytes",
        allowed: SIZE,
        meaning: "longer values get a file of their own",
        set: |config, value| bytes(value, 4 * KIB, GIB, &mut config.engine.spill_bytes),
    },
    EntryRule {
        name: "pending_bytes_max",
        allowed: SIZE,
        meaning: "memory for all files that are being written",
        set: |config, value| bytes(value, MIB, u64::MAX, &mut config.engine.pending_bytes_max),
    },
    EntryRule {
        name: "flush_interval",
        allowed: DURATION,
        meaning: "how often what was stored is made safe from power cuts",
        set: |config, value| {
            let limits = (Duration::from_millis(10), Duration::from_secs(3600));
            duration(value, limits, &mut config.engine.flush_interval)
        },
    },
    EntryRule {
        name: "expiry_hold",
        allowed: DURATION,
        meaning: "how long expired data is kept after the clock has jumped",
        set: |config, value| {
            let limits = (Duration::ZERO, Duration::from_secs(365 * 24 * 3600));
            duration(value, limits, &mut config.engine.expiry_hold)
        },
    },
    EntryRule {
        name: "cache_bytes",
        allowed: SIZE,
        meaning: "memory for cached index blocks",
        set: |config, value| bytes(value, 0, u64::MAX, &mut config.engine.cache_bytes),
    },
    EntryRule {
        name: "descriptors_max",
        allowed: "a number",
        meaning: "files of the database that are kept open",
        set: |config, value| count(value, 32, 1 << 20, &mut config.engine.descriptors_max),
    },
    EntryRule {
        name: "reserve_bytes",
        allowed: SIZE,
        meaning: "space kept free on the drive of every root",
        set: |config, value| bytes(value, 0, u64::MAX, &mut config.engine.reserve_bytes),
    },
    EntryRule {
        name: "table_ttl",
        allowed: "a duration such as \"7d\", or \"none\"",
        meaning: "time to live of new tables",
        set: |config, value| {
            let text = value.as_str().ok_or_else(String::new)?;
            config.table.ttl = parse_ttl(text).map_err(|error| error.to_string())?;
            Ok(())
        },
    },
    EntryRule {
        name: "table_grace",
        allowed: DURATION,
        meaning: "grace of new tables",
        set: |config, value| {
            let limits = (Duration::ZERO, Duration::from_secs(u64::MAX >> 32));
            duration(value, limits, &mut config.table.grace)
        },
    },
    EntryRule {
        name: "table_shards",
        allowed: "a number from 1 to 255",
        meaning: "packed shards of new tables",
        set: |config, value| {
            let mut shards = 0;
            number(value, 1, 255, &mut shards)?;
            config.table.shards = u8::try_from(shards).map_err(|_| String::new())?;
            Ok(())
        },
    },
    EntryRule {
        name: "threads",
        allowed: "a number from 1 to 64",
        meaning: "threads that serve the mount",
        set: |config, value| count(value, 1, 64, &mut config.threads),
    },
    EntryRule {
        name: "log_file",
        allowed: "an absolute file name such as \"/var/log/littfs.log\"",
        meaning: "where a mount in the background writes its log",
        set: |config, value| {
            config.log_file = Some(absolute_path(value).ok_or_else(String::new)?);
            Ok(())
        },
    },
];

impl Config {
    /// Reads and checks a configuration file. Everything not mentioned has its default.
    pub fn read(path: &Path) -> Result<Self> {
        let refuse = |reason: String| Error::Config { path: path.to_path_buf(), reason };
        let metadata = std::fs::metadata(path)
            .map_err(|error| refuse(format!("the configuration file cannot be read: {error}")))?;
        if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
            return Err(refuse("this is no configuration file: a short text file is".to_owned()));
        }
        let bytes = std::fs::read(path)
            .map_err(|error| refuse(format!("the configuration file cannot be read: {error}")))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| refuse("the configuration file is not UTF-8 text".to_owned()))?;
        Self::parse(&text).map_err(refuse)
    }

    /// Parses the text of a configuration file; the error names the line, the entry and what is
    /// allowed there.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let table = DeTable::parse(text).map_err(|error| explain(text, &error).1)?;
        let mut config = Self::default();
        for (name, value) in table.get_ref() {
            let line = line_at(text, name.span().start);
            let Some(rule) = ENTRIES.iter().find(|rule| rule.name == name.get_ref()) else {
                let names: Vec<&str> = ENTRIES.iter().map(|rule| rule.name).collect();
                let (name, names) = (name.get_ref(), names.join(", "));
                return Err(format!("line {line}: unknown entry {name:?}; allowed are {names}"));
            };
            (rule.set)(&mut config, value.get_ref()).map_err(|problem| {
                let found = value.get_ref().type_str();
                let problem = match problem.as_str() {
                    "" => format!("this {found} is not allowed"),
                    problem => problem.to_owned(),
                };
                format!("line {line}: entry {:?} takes {}: {problem}", rule.name, rule.allowed)
            })?;
        }
        Ok(config)
    }

    /// One line for every entry a configuration file may have: name, meaning, what is allowed.
    #[must_use]
    pub fn describe_entries() -> String {
        // Two short lines each: terminals would break one long line in the middle of the columns.
        let line = |rule: &EntryRule| {
            format!("  {:<18} {}\n{:21}{}\n", rule.name, rule.meaning, "", rule.allowed)
        };
        ENTRIES.iter().map(line).collect()
    }
}

fn absolute_path(value: &DeValue<'_>) -> Option<PathBuf> {
    value.as_str().map(PathBuf::from).filter(|path| path.is_absolute())
}

fn integer(value: &DeValue<'_>) -> std::result::Result<u64, String> {
    let integer = value.as_integer().ok_or_else(String::new)?;
    let parsed = u64::from_str_radix(integer.as_str(), integer.radix());
    parsed.map_err(|_| format!("{integer} is not a number from 0 to {}", u64::MAX))
}

fn number(value: &DeValue<'_>, min: u64, max: u64, into: &mut u64) -> Entered {
    let given = integer(value)?;
    if !(min..=max).contains(&given) {
        return Err(format!("{given} is not from {min} to {max}"));
    }
    *into = given;
    Ok(())
}

fn count(value: &DeValue<'_>, min: u64, max: u64, into: &mut usize) -> Entered {
    let mut given = 0;
    number(value, min, max, &mut given)?;
    *into = usize::try_from(given).map_err(|_| String::new())?;
    Ok(())
}

fn bytes(value: &DeValue<'_>, min: u64, max: u64, into: &mut u64) -> Entered {
    let given = match value.as_str() {
        Some(text) => parse_bytes(text)?,
        None => integer(value)?,
    };
    if !(min..=max).contains(&given) {
        let bound = if given < min { ("small", "least", min) } else { ("large", "most", max) };
        let (too, at, limit) = bound;
        return Err(format!("this is too {too}, at {at} {} are allowed", units::show_bytes(limit)));
    }
    *into = given;
    Ok(())
}

fn duration(value: &DeValue<'_>, (min, max): (Duration, Duration), into: &mut Duration) -> Entered {
    let given = parse_duration(value.as_str().ok_or_else(String::new)?)?;
    if !(min..=max).contains(&given) {
        let (min, max) = (humantime::format_duration(min), humantime::format_duration(max));
        return Err(format!("allowed is {min} to {max}"));
    }
    *into = given;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(Config::parse("# nothing\n"), Ok(Config::default()));
    }

    #[test]
    fn every_entry_can_be_set() {
        let text = r#"
            roots = ["/mnt/a", "/mnt/b c"]
            segment_bytes_max = "2GiB"
            segment_keys_max = 1_000
            spill_bytes = "1MiB"
            pending_bytes_max = 0x4000000
            flush_interval = "500ms"
            expiry_hold = "10m"
            cache_bytes = 0
            descriptors_max = 64
            reserve_bytes = "1GiB"
            table_ttl = "7d"
            table_grace = "0s"
            table_shards = 3
            threads = 2
            log_file = "/var/log/litt.log"
        "#;
        let config = Config::parse(text).expect("valid");
        let expected = Config {
            roots: vec!["/mnt/a".into(), "/mnt/b c".into()],
            engine: EngineOptions {
                segment_bytes_max: 2 * GIB,
                segment_keys_max: 1000,
                spill_bytes: MIB,
                pending_bytes_max: 64 * MIB,
                flush_interval: Duration::from_millis(500),
                expiry_hold: Duration::from_secs(600),
                cache_bytes: 0,
                descriptors_max: 64,
                reserve_bytes: GIB,
            },
            table: TableSettings {
                ttl: Some(Duration::from_secs(7 * 86_400)),
                grace: Duration::ZERO,
                shards: 3,
            },
            threads: 2,
            log_file: Some("/var/log/litt.log".into()),
        };
        assert_eq!(config, expected);
        for rule in ENTRIES {
            assert!(text.contains(rule.name), "{} is not tested", rule.name);
        }
    }

    #[test]
    fn bad_input_is_named_with_its_line_and_what_is_allowed() {
        for (text, parts) in [
            (
                "\nthread = 2",
                &["line 2: unknown entry \"thread\"; allowed are roots, ", "threads"][..],
            ),
            ("[table]\nttl = 1", &["line 1: unknown entry \"table\""]),
            (
                "threads = \"two\"",
                &["line 1: entry \"threads\" takes a number from 1 to 64: this string is not"],
            ),
            ("threads = 0", &["0 is not from 1 to 64"]),
            ("threads = -1", &["-1 is not a number from 0"]),
            ("threads = 1.5", &["this float is not allowed"]),
            ("roots = \"/mnt\"", &["entry \"roots\" takes a list", "this string is not allowed"]),
            ("roots = [\"mnt\"]", &["absolute"]),
            ("roots = [1]", &["a list of absolute directory names"]),
            ("# x\n\nspill_bytes = \"4 parsecs\"", &["line 3: entry \"spill_bytes\"", "KiB, MiB"]),
            ("spill_bytes = 1", &["too small, at least 4KiB"]),
            ("spill_bytes = \"2TiB\"", &["too large, at most 1GiB"]),
            ("flush_interval = 1", &["a duration such as \"1s\"", "this integer is not allowed"]),
            ("flush_interval = \"soon\"", &["a duration such as \"1s\"", "\"soon\""]),
            ("flush_interval = \"0s\"", &["allowed is 10ms to 1h"]),
            ("table_ttl = \"never\"", &["\"7d\", or \"none\""]),
            ("table_ttl = true", &["this boolean is not allowed"]),
            ("table_shards = 256", &["256 is not from 1 to 255"]),
            ("log_file = \"here\"", &["an absolute file name"]),
            ("threads = 1\nthreads = 2", &["line 2", "duplicate key"]),
            ("threads =\n", &["line 1"]),
            ("threads: 4", &["line 1"]),
        ] {
            let message = Config::parse(text).expect_err(text);
            assert!(!message.contains('\n'), "{message}");
            for part in parts {
                assert!(message.contains(part), "{text:?} gives {message:?} without {part:?}");
            }
        }
    }

    #[test]
    fn unreadable_files_are_named() {
        let message = Config::read(Path::new("/nonexistent.toml")).expect_err("none").to_string();
        assert!(message.starts_with("/nonexistent.toml: the configuration file"), "{message}");
        assert!(Config::read(Path::new("/")).is_err());
    }

    #[test]
    fn the_description_has_two_lines_for_every_entry() {
        assert_eq!(Config::describe_entries().lines().count(), 2 * ENTRIES.len());
    }
}
