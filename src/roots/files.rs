//! Which root each file of a table is in: a look into every root, since files may be moved
//! between roots while nothing is mounted.

use std::collections::BTreeMap;

use super::{RootIndex, Roots};
use crate::error::{Error, Result};

/// The folder of a table that holds its segment files.
pub(crate) const SEGMENTS_FOLDER: &str = "segments";
const NAMES_IN_WARNING_MAX: usize = 5;

impl Roots {
    /// The segment files of a table by name, each with its root. A name in two roots is an error.
    /// Unknown files are left alone with one warning; leftovers of atomic writing (`.tmp`) are
    /// passed over. Opened degraded, a root that cannot be listed is marked failed and left out.
    pub(crate) fn find_all(&self, table: &str) -> Result<BTreeMap<String, RootIndex>> {
        let mut files: BTreeMap<String, RootIndex> = BTreeMap::new();
        let mut unknown = Vec::new();
        for root in self.indexes().filter(|&root| !self.is_failed(root)) {
            let folder = self.path(root).join(table).join(SEGMENTS_FOLDER);
            let names = match self.disk.list(&folder) {
                Ok(names) => names,
                Err(error) if self.degraded => {
                    self.mark_failed(root, &error.to_string());
                    continue;
                }
                Err(error) => return Err(error),
            };
            for name in names {
                let Some(name) = name.to_str().filter(|name| is_known(name)) else {
                    unknown.push(folder.join(name));
                    continue;
                };
                if name.ends_with(TEMPORARY) {
                    continue;
                }
                if let Some(other) = files.insert(name.to_owned(), root) {
                    let first = self.path(other).join(table).join(SEGMENTS_FOLDER).join(name);
                    return Err(Error::DuplicateFile { first, second: folder.join(name) });
                }
            }
        }
        if !unknown.is_empty() {
            unknown.sort_unstable();
            let shown: Vec<String> = unknown
                .iter()
                .take(NAMES_IN_WARNING_MAX)
                .map(|path| path.display().to_string())
                .collect();
            let more = if unknown.len() > shown.len() { ", ..." } else { "" };
            log::warn!(
                "{} of table {table} left alone: {}{more}",
                counted(unknown.len()),
                shown.join(", ")
            );
        }
        Ok(files)
    }
}

const TEMPORARY: &str = ".tmp";

fn counted(files: usize) -> String {
    match files {
        1 => "one unknown file".to_owned(),
        _ => format!("{files} unknown files"),
    }
}

/// Whether this is the name of a segment file: `N.metadata`, `N.keys` or `N-M.values`.
fn is_known(name: &str) -> bool {
    let name = name.strip_suffix(TEMPORARY).unwrap_or(name);
    match name.split_once('.') {
        Some((number, "metadata" | "keys")) => is_number(number),
        Some((numbers, "values")) => numbers
            .split_once('-')
            .is_some_and(|(segment, shard)| is_number(segment) && is_number(shard)),
        _ => false,
    }
}

/// A 32-bit number as `Display` writes it: no sign, no leading zero.
fn is_number(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|number| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_segment_files_are_known() {
        for good in ["0.keys", "12.metadata", "7-0.values", "4294967295-300.values", "1.keys.tmp"] {
            assert!(is_known(good), "{good}");
        }
        for bad in ["01.keys", "+1.keys", "1.values", "1-2.keys", ".keys", "1.keys~", "a", "1.k.e"]
        {
            assert!(!is_known(bad), "{bad}");
        }
    }
}
