//! What users set of a table, and how it is written where they set it: extended attributes, the
//! command line, configuration files.
//!
//! Accepted are the forms of the `humantime` crate ("7d", "12h30m", "45s"); "none" means that there
//! is no limit. Shown is the shortest of these forms, so that what is read can be set again.
//! Bounds that depend on the setting (a time to live of zero makes no sense, a grace of zero does)
//! are kept here too, so that every door applies the same ones.

use std::time::Duration;

use crate::error::{Error, Result};

/// The word for "never expires".
const NONE: &str = "none";
const TTL_ALLOWED: &str =
    "use a duration above zero such as \"7d\", \"12h30m\" or \"45s\", or \"none\"";
const GRACE_ALLOWED: &str = "use a duration such as \"5m\" or \"45s\", or \"0\"";
const SHARDS_ALLOWED: &str = "use a number from 1 to 255";
/// Instants are nanoseconds in 64 bits, so durations above some 292 years cannot be counted.
const DURATION_MAX: Duration = Duration::from_secs(i64::MAX as u64 / 1_000_000_000);

/// What users set of a table.
///
/// ```
/// use std::time::Duration;
/// use littfs::TableSettings;
///
/// let hour = TableSettings::default().with_ttl(Duration::from_secs(3600)).with_shards(2);
/// assert_eq!(hour.grace, Duration::from_secs(300));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableSettings {
    /// Values expire this long after they were stored; `None`: never.
    pub ttl: Option<Duration>,
    /// For this long after the last close or attribute change a file can still be renamed,
    /// re-attributed or removed.
    pub grace: Duration,
    /// Packed shards of new segments, 1..=255.
    pub shards: u8,
}

impl Default for TableSettings {
    /// Never expire, five minutes of grace, eight shards.
    fn default() -> Self {
        Self { ttl: None, grace: Duration::from_secs(300), shards: 8 }
    }
}

impl TableSettings {
    /// With this time to live, which must be above zero.
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// With this grace.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// With so many packed shards in new segments, from 1 on.
    #[must_use]
    pub fn with_shards(self, shards: u8) -> Self {
        Self { shards, ..self }
    }

    /// Refuses settings that make no sense.
    pub(crate) fn check(&self) -> Result<()> {
        if self.ttl == Some(Duration::ZERO) {
            return Err(invalid("ttl", "0s", TTL_ALLOWED));
        }
        if self.shards == 0 {
            return Err(invalid("shards", "0", SHARDS_ALLOWED));
        }
        Ok(())
    }
}

/// A time to live: a duration above zero, or None for "none".
pub fn parse_ttl(text: &str) -> Result<Option<Duration>> {
    if text.trim() == NONE {
        return Ok(None);
    }
    match parse(text) {
        Some(ttl) if !ttl.is_zero() => Ok(Some(ttl)),
        _ => Err(invalid("ttl", text, TTL_ALLOWED)),
    }
}

/// A grace: a duration, zero included.
pub fn parse_grace(text: &str) -> Result<Duration> {
    parse(text).ok_or_else(|| invalid("grace", text, GRACE_ALLOWED))
}

/// A number of packed shards.
pub fn parse_shards(text: &str) -> Result<u8> {
    match text.trim().parse() {
        Ok(0) | Err(_) => Err(invalid("shards", text, SHARDS_ALLOWED)),
        Ok(shards) => Ok(shards),
    }
}

/// The text of a time to live.
#[must_use]
pub fn ttl_text(ttl: Option<Duration>) -> String {
    ttl.map_or_else(|| NONE.to_owned(), duration_text)
}

/// The shortest text that [`parse_ttl`] and [`parse_grace`] read as this duration.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let nanos = duration.subsec_nanos();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(nanos / 1_000_000), "ms"),
        (u64::from(nanos / 1_000 % 1_000), "us"),
        (u64::from(nanos % 1_000), "ns"),
    ];
    let mut text = String::new();
    for (count, unit) in parts.into_iter().filter(|(count, _)| *count > 0) {
        text.push_str(&count.to_string());
        text.push_str(unit);
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

fn parse(text: &str) -> Option<Duration> {
    // Without a unit only zero means something; and `setfattr -v 0s` reads the rest as base64.
    if text.trim() == "0" {
        return Some(Duration::ZERO);
    }
    humantime::parse_duration(text.trim()).ok().filter(|duration| *duration <= DURATION_MAX)
}

fn invalid(setting: &'static str, value: &str, allowed: &'static str) -> Error {
    Error::InvalidSetting { setting, value: value.to_owned(), allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, secs) in [("7d", 604_800), ("12h30m", 45_000), ("45s", 45), ("1m", 60)] {
            let duration = Duration::from_secs(secs);
            assert_eq!(parse_ttl(text).expect("valid"), Some(duration), "{text}");
            assert_eq!(duration_text(duration), text);
        }
        assert_eq!(parse_ttl(" none\n").expect("valid"), None);
        assert_eq!(ttl_text(None), "none");
        assert_eq!(parse_grace("0s").expect("valid"), Duration::ZERO);
        assert_eq!(parse_grace("0").expect("valid"), Duration::ZERO);
        assert_eq!(duration_text(Duration::ZERO), "0s");
        let odd = Duration::new(90_061, 2_003_004);
        assert_eq!(duration_text(odd), "1d1h1m1s2ms3us4ns");
        assert_eq!(parse_grace("1d1h1m1s2ms3us4ns").expect("valid"), odd);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "0s", "0", "7", "d", "-1d", "7 parsecs", "none7d", "1000000y"] {
            assert!(parse_ttl(text).is_err(), "{text}");
        }
        assert!(parse_grace("none").is_err());
        for text in ["0", "256", "-1", "x", ""] {
            assert!(parse_shards(text).is_err(), "{text}");
        }
        assert_eq!(parse_shards("255\n").expect("valid"), 255);
    }
}
