//! Sizes and durations as people write them.

use std::time::Duration;

/// Unit names with their bytes, largest last.
const UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];
const BINARY_UNITS: usize = 5;

/// Parses a size: digits, then a unit: "4096", "64MiB", "1 GB".
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let problem = || {
        format!(
            "{text:?} is not a size: write digits and one of B, KiB, MiB, GiB, TiB, kB, MB, GB, TB"
        )
    };
    let text_end = text.trim();
    let digits = text_end.find(|c: char| !c.is_ascii_digit()).unwrap_or(text_end.len());
    let (number, unit) = text_end.split_at(digits);
    let number: u64 = number.parse().map_err(|_| problem())?;
    let unit = unit.trim_start();
    let bytes = match UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, bytes)) => *bytes,
        None if unit.is_empty() => 1,
        None => return Err(problem()),
    };
    number.checked_mul(bytes).ok_or_else(|| format!("{text:?} is more than fits 64 bits"))
}

/// A size in the largest binary unit that shows it exactly.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let exact = |&&(_, unit): &&(&str, u64)| bytes >= unit && bytes.is_multiple_of(unit);
    let unit = UNITS[..BINARY_UNITS].iter().rev().find(exact);
    unit.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// Parses a duration: "45s", "12h30m", "7d", "500ms".
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is not a duration: write for example 45s, 12h30m or 7d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1B", 1),
            ("64MiB", 64 << 20),
            (" 2 GiB ", 2 << 30),
            ("1kB", 1000),
            ("3MB", 3_000_000),
            ("16777215TiB", 16_777_215 << 40),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for bad in
            ["", "MiB", "-1", "1.5GiB", "1mib", "1 M iB", "16777216TiB", "99999999999999999999"]
        {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        for (bytes, text) in
            [(0, "0B"), (1, "1B"), (4096, "4KiB"), (1 << 30, "1GiB"), (1025, "1025B")]
        {
            assert_eq!(show_bytes(bytes), text);
        }
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(parse_duration("12h30m"), Ok(Duration::from_secs(45_000)));
        for bad in ["", "7", "-1d", "d", "99999999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
