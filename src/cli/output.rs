//! Standard output: the one place that writes to it.

use std::borrow::Cow;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use super::Failure;

const BUFFER_BYTES: usize = 64 << 10;

/// Buffered standard output. A reader that went away ends the command with [`Failure::Closed`].
#[derive(Debug)]
pub(crate) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    /// Standard output, for this thread alone.
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock()))
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.write_all(bytes).map_err(failure)
    }

    /// Writes a line for a person.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.bytes(escaped(line).as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes a value as JSON and a newline.
    pub(crate) fn json(&mut self, value: &serde_json::Value) -> Result<(), Failure> {
        self.bytes(format!("{value:#}\n").as_bytes())
    }

    /// Hands everything over. Must be called at the end: dropping forgets errors.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.0.flush().map_err(failure)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn failure(error: io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::Closed,
        _ => Failure::Message(format!("cannot write to standard output: {error}")),
    }
}

/// The text with control characters made visible. Names of files may have any: they must neither
/// reach a terminal, which would obey them, nor begin a line of their own in a log.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if letter.is_control() {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    Cow::Owned(shown)
}

/// A number of bytes for people: three digits and a binary unit.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Tenths of the unit, in integers: no rounding surprises at the borders.
    let power = bytes.ilog2() / 10;
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    let unit = UNITS.get(power as usize - 1).copied().unwrap_or("EiB");
    match tenths {
        1000.. => format!("{} {unit}", tenths / 10),
        _ => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

/// Rows with aligned columns; numbers (all columns but the first and the last) to the right.
pub(crate) fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<width$}", width = widths[0]),
            _ if column + 1 == count => cell.clone(),
            _ => format!("{cell:>width$}", width = widths[column]),
        });
        cells.collect::<Vec<String>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023 KiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(human_bytes(bytes), text);
        }
    }

    #[test]
    fn what_terminals_obey_is_shown_instead() {
        assert_eq!(escaped("a \u{e9} \\ \u{202e}"), "a \u{e9} \\ \u{202e}");
        assert_eq!(escaped("\u{1b}[31m\n\r\t\u{9b}x\u{7f}"), "\\u{1b}[31m\\n\\r\\t\\u{9b}x\\u{7f}");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [
            vec!["a".into(), "1".into(), "x".into()],
            vec!["bcd".into(), "20".into(), "y z".into()],
        ];
        assert_eq!(columns(&rows), ["a     1  x", "bcd  20  y z"]);
    }
}
