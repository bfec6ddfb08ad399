//! Every on-disk record, one per file, with its byte table, encode and decode side by side.
//!
//! Common rules: little-endian, fixed widths, a magic and a version per file, reserved bytes are
//! written zero and checked, CRC32C over everything including lengths, tag 0 is invalid. Decoding
//! never panics, never allocates more than the input justifies, and says what is wrong in a
//! [`Malformed`]; whoever knows the file turns that into [`crate::Error::Corrupt`].
//! Nobody outside this folder knows an offset.

pub(crate) mod attributes;
pub(crate) mod bytes;
pub(crate) mod entry;
#[cfg(feature = "testing")]
pub(crate) mod fuzz;
pub(crate) mod key_hash;
pub(crate) mod keymap_header;
pub(crate) mod keymap_page;
pub(crate) mod location;
pub(crate) mod log_record;
mod preamble;
pub(crate) mod record;
pub(crate) mod root_file;
pub(crate) mod run_block;
pub(crate) mod run_bloom;
pub(crate) mod run_entry;
pub(crate) mod run_footer;
pub(crate) mod run_header;
pub(crate) mod run_index;
pub(crate) mod segment_metadata;
pub(crate) mod size_class;
pub(crate) mod sort_key;
pub(crate) mod table_file;

use std::path::Path;

use crate::error::Error;

/// CRC32C (Castagnoli), the checksum of every format here.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    // The algorithm has 32 bits; the crate returns them in a u64.
    (crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) & 0xffff_ffff) as u32
}

/// The CRC32C of bytes whose first part has `crc` and whose rest is `more`.
pub(crate) fn crc32c_append(crc: u32, more: &[u8]) -> u32 {
    let algorithm = crc_fast::CrcAlgorithm::Crc32Iscsi;
    let rest = crc_fast::checksum(algorithm, more);
    let whole = crc_fast::checksum_combine(algorithm, crc.into(), rest, more.len() as u64);
    (whole & 0xffff_ffff) as u32
}

/// Why bytes could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// The bytes contradict their format.
    Damaged {
        /// Where, in bytes from the start of what was decoded.
        at: u64,
        /// What was expected and what was found.
        reason: String,
    },
    /// The bytes are of a later version of the format.
    Future {
        /// The version found.
        found: u32,
        /// The newest version this code reads.
        supported: u32,
    },
}

impl Malformed {
    pub(crate) fn damaged(at: u64, reason: impl Into<String>) -> Self {
        Self::Damaged { at, reason: reason.into() }
    }

    /// The error for a file whose decoded part started at `base`.
    pub(crate) fn in_file(self, path: &Path, base: u64) -> Error {
        match self {
            Self::Damaged { at, reason } => Error::corrupt(path, base.saturating_add(at), reason),
            Self::Future { found, supported } => {
                Error::FutureVersion { path: path.to_path_buf(), found, supported }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    /// The byte tables of the modules here, and the documentation for people who have only the
    /// files, must say the same.
    #[test]
    fn the_documented_tables_are_those_of_the_code() {
        let document = include_str!("../../docs/FORMAT.md");
        let modules = [
            include_str!("attributes.rs"),
            include_str!("entry.rs"),
            include_str!("keymap_header.rs"),
            include_str!("keymap_page.rs"),
            include_str!("log_record.rs"),
            include_str!("record.rs"),
            include_str!("root_file.rs"),
            include_str!("run_block.rs"),
            include_str!("run_bloom.rs"),
            include_str!("run_entry.rs"),
            include_str!("run_footer.rs"),
            include_str!("run_header.rs"),
            include_str!("run_index.rs"),
            include_str!("segment_metadata.rs"),
            include_str!("size_class.rs"),
        ];
        let mut rows = 0;
        for row in modules.iter().flat_map(|module| module.lines()) {
            if let Some(row) = row.strip_prefix("//! ").filter(|row| row.starts_with('|')) {
                assert!(document.lines().any(|line| line == row), "docs/FORMAT.md lacks {row}");
                rows += 1;
            }
        }
        assert!(rows > 100, "only {rows} rows of byte tables were found");
    }
}
