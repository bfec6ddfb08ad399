//! `littfs.root`: which database a directory belongs to, and which others belong to it.
//!
//! A small TOML file, one in every root, replaced atomically:
//!
//! | entry | meaning |
//! |---|---|
//! | `format` | version of this file and of everything beside it, 1 |
//! | `database` | identity of the database, 32 hexadecimal digits |
//! | `root` | identity of this root, 32 hexadecimal digits |
//! | `next_table` | the number the next new table gets, 1..=65536; 65536 says they are used up |
//! | `[[roots]]` | every root of the database: its `id`, and the `path` it was last opened at |
//!
//! The paths are hints for messages. Only the identities decide what belongs together. A last comment
//! line carries the CRC32C of everything before it; whoever edits the file removes that line.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Malformed, crc32c};
use crate::error::{Error, Result};
use crate::text::explain;

/// The name of the file in every root.
pub(crate) const ROOT_FILE_NAME: &str = "littfs.root";
/// Longer files are refused unread: some thousand roots fit.
pub(crate) const ROOT_FILE_BYTES_MAX: u64 = 1 << 20;
/// The newest version this code reads, and the one it writes.
pub(crate) const ROOT_FORMAT: u32 = 1;
/// One above the largest table number.
pub(crate) const TABLE_NUMBER_END: u32 = 1 << 16;

const CHECKSUM_MARK: &str = "# crc32c ";
const HEADING: &str = "\
# The identity of this littfs root. Written by littfs; damage here keeps the database closed.
# To take a root out of the database for good: while nothing is mounted, move its files to the
# same places in other roots, then remove its [[roots]] entry, and the last line, in every other root.
";

/// 128 random bits that name a database or a root, shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Identity(pub(crate) [u8; 16]);

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.to_string()
    }
}

impl TryFrom<String> for Identity {
    type Error = &'static str;

    fn try_from(text: String) -> std::result::Result<Self, Self::Error> {
        let problem = "an identity has 32 hexadecimal digits in lower case";
        let plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(plain) {
            return Err(problem);
        }
        let number = u128::from_str_radix(&text, 16).map_err(|_| problem)?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// A root as the others know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    /// Its identity.
    pub(crate) id: Identity,
    /// Where it was last opened, made printable. A hint.
    pub(crate) path: String,
}

/// The content of `littfs.root`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RootFile {
    /// Version of the format.
    pub(crate) format: u32,
    /// The database this root belongs to.
    pub(crate) database: Identity,
    /// The identity of this root.
    pub(crate) root: Identity,
    /// The number of the next new table.
    pub(crate) next_table: u32,
    /// All roots of the database, this one included, in the order they joined.
    pub(crate) roots: Vec<Member>,
}

/// What is read before anything else, so that later versions may hold anything.
#[derive(Deserialize)]
struct VersionOnly {
    format: u32,
}

impl RootFile {
    /// The text of the file.
    pub(crate) fn encode(&self) -> String {
        let mut text = format!(
            "{HEADING}format = {}\ndatabase = \"{}\"\nroot = \"{}\"\nnext_table = {}\n",
            self.format, self.database, self.root, self.next_table
        );
        text.extend(self.roots.iter().map(|member| {
            let path = toml::Value::String(member.path.clone());
            format!("\n[[roots]]\nid = \"{}\"\npath = {path}\n", member.id)
        }));
        let crc = crc32c(text.as_bytes());
        format!("{text}{CHECKSUM_MARK}{crc:08x}\n")
    }

    /// Reads and verifies the text of the file at `path`.
    pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let at = error.valid_up_to();
            let line = 1 + bytes.iter().take(at).filter(|&&byte| byte == b'\n').count();
            Error::corrupt(path, at as u64, format!("line {line}: this is not UTF-8 text"))
        })?;
        let damaged = |error: toml::de::Error| {
            let (at, reason) = explain(text, &error);
            Error::corrupt(path, at as u64, reason)
        };
        let version: VersionOnly = toml::from_str(text).map_err(damaged)?;
        if version.format > ROOT_FORMAT {
            let future = Malformed::Future { found: version.format, supported: ROOT_FORMAT };
            return Err(future.in_file(path, 0));
        }
        let file: Self = toml::from_str(text).map_err(damaged)?;
        file.verify().map_err(|reason| Error::corrupt(path, 0, reason))?;
        verify_checksum(text).map_err(|(at, reason)| Error::corrupt(path, at as u64, reason))?;
        Ok(file)
    }

    fn verify(&self) -> std::result::Result<(), String> {
        if self.format == 0 {
            return Err("format 0 does not exist".to_owned());
        }
        if !(1..=TABLE_NUMBER_END).contains(&self.next_table) {
            let end = TABLE_NUMBER_END;
            return Err(format!("next_table is {}, 1 to {end} expected", self.next_table));
        }
        let mut ids: Vec<Identity> = self.roots.iter().map(|member| member.id).collect();
        if !ids.contains(&self.root) {
            return Err("this root is not in its own list of roots".to_owned());
        }
        ids.sort_unstable();
        if let Some([twice, ..]) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("root {twice} is listed twice"));
        }
        Ok(())
    }
}

/// Compares the checksum in the last line with that of everything before it. Who edits the file
/// removes the line.
fn verify_checksum(text: &str) -> std::result::Result<(), (usize, String)> {
    let Some(at) = text.rfind(CHECKSUM_MARK) else { return Ok(()) };
    let (body, line) = text.split_at(at);
    let found = crc32c(body.as_bytes());
    if line == format!("{CHECKSUM_MARK}{found:08x}\n") {
        return Ok(());
    }
    let reason = format!("its last line must be \"{CHECKSUM_MARK}{found:08x}\"");
    Err((at, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> RootFile {
        let (one, two) = (Identity([0x11; 16]), Identity([0xab; 16]));
        RootFile {
            format: 1,
            database: Identity([7; 16]),
            root: two,
            next_table: 3,
            roots: vec![
                Member { id: one, path: "/mnt/a \"b\"\n\\".to_owned() },
                Member { id: two, path: "/mnt/c".to_owned() },
            ],
        }
    }

    fn decode(text: &str) -> Result<RootFile> {
        RootFile::decode(text.as_bytes(), Path::new("/r/littfs.root"))
    }

    #[test]
    fn text_is_pinned_and_round_trips() {
        let text = sample().encode();
        assert_eq!(decode(&text).expect("own text"), sample());
        let plain = RootFile { roots: vec![sample().roots[1].clone()], ..sample() };
        let expected = format!(
            "{HEADING}format = 1\ndatabase = \"{}\"\nroot = \"{}\"\nnext_table = 3\n\n\
             [[roots]]\nid = \"{}\"\npath = \"/mnt/c\"\n",
            "07".repeat(16),
            "ab".repeat(16),
            "ab".repeat(16)
        );
        let crc = crc32c(expected.as_bytes());
        assert_eq!(plain.encode(), format!("{expected}# crc32c {crc:08x}\n"));
        assert_eq!(decode(&expected).expect("without a checksum"), plain);
    }

    #[test]
    fn later_versions_are_named_whatever_else_they_hold() {
        let error = decode("format = 2\nwings = true\n").expect_err("version 2");
        assert!(matches!(error, Error::FutureVersion { found: 2, supported: 1, .. }), "{error}");
    }

    #[test]
    fn damage_names_file_and_line() {
        let text = sample().encode();
        for (bad, line, part) in [
            (text.replace("next_table = 3", "next_table = "), "line 7", "next_table"),
            (text.replace("next_table = 3", "next_table = \"x\""), "line 7", "invalid type"),
            (text.replace("next_table = 3", "next_table = 3\ncolour = 1"), "line 8", "colour"),
            (text.replace("0707", "07zz"), "line 5", "32 hexadecimal digits"),
            (text.replace("next_table = 3", "next_table = 70000"), "70000", "65536"),
            (text.replace("1111", "abab").replace("\"11", "\"ab"), "listed twice", "abab"),
            ("\u{0}".repeat(40), "line 1", ""),
            (String::new(), "line 1", "format"),
        ] {
            let error = decode(&bad).expect_err(line);
            let message = error.to_string();
            assert!(message.contains("/r/littfs.root is damaged"), "{message}");
            assert!(message.contains(line) || message.contains(part), "{message} for {bad}");
            assert!(!message.contains('\n'), "{message}");
        }
        let error = RootFile::decode(b"a = 1\n\xff", Path::new("/r")).expect_err("not UTF-8");
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn another_identity_is_no_identity() {
        let text = sample().encode();
        for (from, to) in [("0707", "0717"), ("next_table = 3", "next_table = 2"), ("/mnt", "/mmt")]
        {
            let message = decode(&text.replace(from, to)).expect_err(from).to_string();
            assert!(message.contains("its last line must be"), "{message}");
        }
        assert!(decode(&text.replace("crc32c", "crc32d")).is_ok(), "a comment like any other");
    }

    #[test]
    fn any_flipped_byte_is_no_panic() {
        let text = sample().encode();
        for index in 0..text.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut bytes = text.clone().into_bytes();
                bytes[index] ^= flip;
                drop(RootFile::decode(&bytes, Path::new("/r")));
            }
        }
    }
}
