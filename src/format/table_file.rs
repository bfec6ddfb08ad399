//! `table.metadata`: the settings of a table, as TOML, in every root.
//!
//! A person may read it; a last comment line carries the CRC32C of everything before it, so that a
//! flipped bit cannot shorten a time to live. `revision` rises with every change; when a crash
//! left copies of different age in the roots, the highest revision counts.
//!
//! ```toml
//! format = 1
//! revision = 3
//! id = "000102030405060708090a0b0c0d0e0f"
//! number = 1
//! salt = "000102030405060708090a0b0c0d0e0f"
//! created_at_ns = 1790000000000000000
//! ttl_ns = 604800000000000        # absent: never expires
//! grace_ns = 300000000000
//! shards = 8
//! mode = 493
//! uid = 0
//! gid = 0
//! mtime_ns = 1790000000000000000
//! ctime_ns = 1790000000000000000
//! lowest_segment = 1
//! next_value_id = 1
//! # crc32c 1a2b3c4d
//! ```

use serde::{Deserialize, Serialize};

use super::{Malformed, crc32c};

/// The largest table file that is read.
pub(crate) const TABLE_FILE_BYTES_MAX: u64 = 64 * 1024;

const FORMAT: u32 = 1;
const CHECKSUM_MARK: &str = "# crc32c ";

/// The settings and marks of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableFile {
    format: u32,
    pub(crate) revision: u64,
    id: String,
    pub(crate) number: u16,
    salt: String,
    pub(crate) created_at_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ttl_ns: Option<u64>,
    pub(crate) grace_ns: u64,
    pub(crate) shards: u8,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime_ns: i64,
    /// When the folder changed last; names that came later move its mtime.
    #[serde(default)]
    pub(crate) ctime_ns: i64,
    /// Segments below this one are gone for good.
    pub(crate) lowest_segment: u32,
    /// Value ids below this one were given out before.
    pub(crate) next_value_id: u64,
}

impl TableFile {
    /// The file of a new table, everything but its identity at zero.
    pub(crate) fn new(id: [u8; 16], number: u16, salt: [u8; 16]) -> Self {
        Self {
            format: FORMAT,
            revision: 1,
            id: to_hex(id),
            number,
            salt: to_hex(salt),
            created_at_ns: 0,
            ttl_ns: None,
            grace_ns: 0,
            shards: 1,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime_ns: 0,
            ctime_ns: 0,
            lowest_segment: 1,
            next_value_id: 1,
        }
    }

    /// The identity of the table, which all its files carry.
    pub(crate) fn id(&self) -> [u8; 16] {
        from_hex(&self.id).unwrap_or_default()
    }

    /// Its identity as 32 hexadecimal digits, as the name of its folder has it once it is dropped.
    pub(crate) fn id_hex(&self) -> String {
        to_hex(self.id())
    }

    /// The salt of its key hash.
    pub(crate) fn salt(&self) -> [u8; 16] {
        from_hex(&self.salt).unwrap_or_default()
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let text = toml::to_string(self).map_err(|error| {
            Malformed::damaged(0, format!("cannot be written as TOML: {error}"))
        })?;
        let crc = crc32c(text.as_bytes());
        Ok(format!("{text}{CHECKSUM_MARK}{crc:08x}\n").into_bytes())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Malformed::damaged(error.valid_up_to() as u64, "it is no text"))?;
        let mark = text.rfind(CHECKSUM_MARK).unwrap_or(text.len());
        let (body, line) = text.split_at(mark);
        let found = crc32c(body.as_bytes());
        if line != format!("{CHECKSUM_MARK}{found:08x}\n") {
            let reason = format!("its last line must be \"{CHECKSUM_MARK}{found:08x}\"");
            return Err(Malformed::damaged(mark as u64, reason));
        }
        let versioned: Versioned = parse(body)?;
        if versioned.format != FORMAT {
            return Err(Malformed::Future { found: versioned.format, supported: FORMAT });
        }
        let file: Self = parse(body)?;
        let sane = from_hex(&file.id).is_some()
            && from_hex(&file.salt).is_some()
            && file.shards > 0
            && file.number > 0
            && file.lowest_segment > 0
            && file.next_value_id > 0;
        if !sane {
            return Err(Malformed::damaged(0, "a field is out of range"));
        }
        Ok(file)
    }
}

/// What is looked at first, since a later format may have other fields.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

fn parse<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Malformed> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start as u64);
        Malformed::damaged(at, error.message().to_owned())
    })
}

fn to_hex(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}

fn from_hex(text: &str) -> Option<[u8; 16]> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !digits {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> TableFile {
        TableFile { ttl_ns: Some(5), shards: 8, ..TableFile::new([1; 16], 3, [2; 16]) }
    }

    #[test]
    fn text_is_pinned() {
        let text = String::from_utf8(sample().encode().unwrap()).unwrap();
        let expected = "format = 1\nrevision = 1\nid = \"01010101010101010101010101010101\"\n\
            number = 3\nsalt = \"02020202020202020202020202020202\"\ncreated_at_ns = 0\n\
            ttl_ns = 5\ngrace_ns = 0\nshards = 8\nmode = 0\nuid = 0\ngid = 0\nmtime_ns = 0\nctime_ns = 0\n\
            lowest_segment = 1\nnext_value_id = 1\n# crc32c ";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(TableFile::decode(text.as_bytes()), Ok(sample()));
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let bytes = sample().encode().unwrap();
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1;
            assert!(TableFile::decode(&damaged).is_err(), "byte {position}");
            assert!(TableFile::decode(&bytes[..position]).is_err(), "length {position}");
        }
    }

    #[test]
    fn a_later_format_is_told_apart_from_damage() {
        let mut text = String::from("format = 9\nsomething = 1\n");
        let crc = crc32c(text.as_bytes());
        text = format!("{text}{CHECKSUM_MARK}{crc:08x}\n");
        let expected = Err(Malformed::Future { found: 9, supported: 1 });
        assert_eq!(TableFile::decode(text.as_bytes()), expected);
    }
}
