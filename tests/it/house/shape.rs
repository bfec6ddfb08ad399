//! What can be seen of a file by itself: how long and wide it is, and a few habits.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::modules::{Modules, test_tokens};
use super::source::{Source, is_rust, is_word};

pub(super) const COLUMNS_MAX: usize = 110;
pub(super) const FILE_LINES_MAX: usize = 600;
pub(super) const FUNCTION_LINES_MAX: usize = 70;

/// Types that may have one name, each with the reason.
const ONE_NAME_ALLOWED: [(&str, &str); 5] = [
    ("Hooks", "src/disk/no_hooks.rs stands in the place of src/disk/hooks.rs, never beside it"),
    ("Keymap", "src/testing/ shows benches the type of this name, without what they do not need"),
    ("Memtable", "src/testing/ shows benches the type of this name, without what they do not need"),
    ("Run", "src/testing/ shows benches the type of this name, without what they do not need"),
    (
        "Result",
        "as everywhere in Rust, that of src/fs/errno.rs is the one with the error of its floor",
    ),
];

/// Where numbers are cast from one width to another.
const CASTS: &str = "src/cast.rs";

pub(super) fn wide_lines(files: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        for (line, text) in file.text.lines().enumerate() {
            let columns = text.chars().count();
            if columns > COLUMNS_MAX {
                wrong.push(format!("{}: {columns} columns", file.at(line + 1)));
            }
        }
    }
    wrong
}

pub(super) fn long_files(files: &[Source]) -> Vec<String> {
    let lines = |file: &Source| file.text.lines().count();
    let long = files.iter().filter(|file| lines(file) > FILE_LINES_MAX);
    long.map(|file| format!("{}: {} lines", file.path, lines(file))).collect()
}

/// From the line with `fn` to that of the last brace.
pub(super) fn long_functions(files: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        for (at, token) in file.tokens.iter().enumerate() {
            // A type such as `fn(u8)` has no name.
            if token.text != "fn" || !is_word(file.word(at + 1)) {
                continue;
            }
            let mut body = at;
            while !["{", ";", ""].contains(&file.word(body)) {
                body = file.tokens[body].end + 1;
            }
            let Some(open) = file.tokens.get(body) else { continue };
            let lines = file.tokens[open.end].line - token.line + 1;
            if lines > FUNCTION_LINES_MAX {
                let at_line = file.at(token.line);
                wrong.push(format!("{at_line}: fn {} has {lines} lines", file.word(at + 1)));
            }
        }
    }
    wrong
}

/// Modules that are taken from a place where nobody looks for them.
pub(super) fn path_attributes(files: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        for (at, token) in file.tokens.iter().enumerate() {
            if file.has(at, &["#", "[", "path", "="]) {
                wrong.push(file.at(token.line));
            }
        }
    }
    wrong
}

/// Modules with children whose file is beside their folder and not in it.
pub(super) fn files_beside_their_folder(files: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| is_rust(&file.path)) {
        let folder = format!("{}/", file.path.trim_end_matches(".rs"));
        if files.iter().any(|other| is_rust(&other.path) && other.is_in(&folder)) {
            wrong.push(format!("{} is to be {folder}mod.rs", file.path));
        }
    }
    wrong
}

/// Docs whose first words lean on what stands before them, which whoever reads only them lacks.
pub(super) fn docs_without_a_subject(files: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| is_rust(&file.path)) {
        let mut is_inside = false;
        for (line, text) in file.text.lines().enumerate() {
            let text = text.trim_start();
            let doc = text.strip_prefix("///").or_else(|| text.strip_prefix("//!"));
            if !is_inside && doc.is_some_and(|doc| doc.trim_start().starts_with("The same")) {
                wrong.push(file.at(line + 1));
            }
            is_inside = doc.is_some();
        }
    }
    wrong
}

/// Types of one name in several modules, but for those of tests, and where they are.
pub(super) fn types_of_one_name(files: &[Source], modules: &Modules) -> BTreeMap<String, String> {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for module in modules.all.iter().filter(|module| !module.is_test) {
        for item in module.items.iter().filter(|item| !item.is_test) {
            if ["struct", "enum", "union", "trait", "type"].contains(&item.keyword.as_str()) {
                let at = files[module.file].at(item.line);
                places.entry(&item.name).or_default().push(at);
            }
        }
    }
    let several = places.into_iter().filter(|(_, at)| at.len() > 1);
    several.map(|(name, at)| (name.to_owned(), at.join(", "))).collect()
}

/// Types of one name for which there is no reason, and reasons for which there are no types.
pub(super) fn unreasoned(several: &BTreeMap<String, String>) -> Vec<String> {
    let allowed: BTreeMap<&str, &str> = ONE_NAME_ALLOWED.into();
    let new = several.iter().filter(|(name, _)| !allowed.contains_key(name.as_str()));
    let new = new.map(|(name, at)| format!("{name}: {at}"));
    let old = allowed.keys().filter(|name| !several.contains_key(**name));
    new.chain(old.map(|name| format!("{name} is allowed in shape.rs and no longer there")))
        .collect()
}

/// Numbers that do not fit and become another without a word: `u8::try_from(n).unwrap_or(0)`.
pub(super) fn silent_casts(files: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.is_in("src/") && file.path != CASTS) {
        let tests = test_tokens(file);
        for (at, token) in file.tokens.iter().enumerate() {
            let is_cast =
                ["try_from", "try_into"].contains(&token.text.as_str()) && file.word(at + 1) == "(";
            if !is_cast || tests[at] {
                continue;
            }
            let after = file.tokens[at + 1].end + 1;
            let instead = file.word(after + 1);
            let is_silent = file.word(after) == "."
                && ["unwrap_or", "unwrap_or_default", "unwrap_or_else", "map_or"]
                    .contains(&instead);
            if is_silent {
                let mut shown = String::new();
                let end = file.tokens[after + 2].end;
                for token in &file.tokens[at..=end] {
                    write!(shown, "{}", token.text).unwrap_or_default();
                }
                wrong.push(format!("{}: {shown}", file.at(token.line)));
            }
        }
    }
    wrong
}
