//! The house is kept in order: what `docs/ARCHITECTURE.md` says of floors, and what a reader may
//! expect of every file, is read from the sources. Each test is one rule; when it fails it says what
//! to do.

mod face;
mod floors;
mod modules;
mod seen_to_fail;
mod shape;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use self::modules::Modules;
use self::source::{Source, is_rust};

/// Where there are sources. Of scripts only the lines are looked at.
const FOLDERS: [&str; 5] = ["src", "tests", "benches", "fuzz/fuzz_targets", "scripts"];

/// All files of the repository that are looked at.
fn house() -> Vec<Source> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for folder in FOLDERS {
        collect(&top.join(folder), &mut paths);
    }
    paths.sort_unstable();
    assert!(paths.len() > 100, "the sources are not at {}", top.display());
    let source = |path: &PathBuf| {
        let name = path.strip_prefix(top).expect("below it").to_str().expect("text");
        Source::new(name, &fs::read_to_string(path).expect("a readable file"))
    };
    paths.iter().map(source).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        let is_script = folder.ends_with("scripts");
        if path.is_dir() {
            collect(&path, paths);
        } else if is_script || path.to_str().is_some_and(is_rust) {
            paths.push(path);
        }
    }
}

fn map() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(floors::MAP);
    fs::read_to_string(path).expect("the map of the code")
}

/// Fails with what is to be done, and where.
#[track_caller]
fn holds(wrong: &[String], what_to_do: &str) {
    assert!(wrong.is_empty(), "{what_to_do}\n{}\n({} in all)", wrong.join("\n"), wrong.len());
}

#[test]
fn every_file_is_on_one_floor() {
    holds(
        &floors::files_without_a_floor(&house(), &map()),
        "Put each of these into one line of the table of floors in docs/ARCHITECTURE.md, or take it out.",
    );
}

#[test]
fn every_file_is_a_module() {
    let files = house();
    let modules = Modules::new(&files);
    let is_known = |number: &usize| modules.known.contains(number);
    let sources = (0..files.len()).filter(|number| files[*number].is_in("src/"));
    let dead = sources.filter(|number| !is_known(number)).map(|number| files[number].path.clone());
    let wrong: Vec<String> = dead.chain(modules.missing.iter().cloned()).collect();
    holds(&wrong, "Declare these files with `mod`, remove them, or write those that are declared.");
}

#[test]
fn imports_lead_downwards() {
    let files = house();
    holds(
        &floors::imports_upwards(&files, &Modules::new(&files), &map()),
        "A file may import its own folder and lower floors (docs/ARCHITECTURE.md): move what is imported \
         down, hand it in as an argument, or move the file up.",
    );
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let files = house();
    holds(
        &floors::circles(&files, &Modules::new(&files)),
        "Move what both need into a file below them, so that each of these can be understood before the \
         next.",
    );
}

#[test]
fn what_is_public_can_be_reached() {
    let files = house();
    holds(
        &face::hidden_public(&files, &Modules::new(&files)),
        "Make these `pub(crate)`, or re-export them in src/lib.rs where their documentation is read.",
    );
}

#[test]
fn functions_can_be_seen_whole() {
    let (files, max) = (house(), shape::FUNCTION_LINES_MAX);
    holds(
        &shape::long_functions(&files),
        &format!("Take a part with a name of its own out of these, to have at most {max} lines."),
    );
}

#[test]
fn files_hold_one_idea() {
    let (files, max) = (house(), shape::FILE_LINES_MAX);
    holds(
        &shape::long_files(&files),
        &format!("Move one idea out of these into a file of its own, to have at most {max} lines."),
    );
}

#[test]
fn lines_fit_a_screen() {
    let (files, max) = (house(), shape::COLUMNS_MAX);
    holds(
        &shape::wide_lines(&files),
        &format!(
            "Break these lines to at most {max} columns; a `\\` at its end continues a string in the next."
        ),
    );
}

#[test]
fn modules_are_where_their_names_say() {
    let files = house();
    holds(
        &shape::path_attributes(&files),
        "Put these modules where they are found without `#[path]`; programs share code by a library.",
    );
    holds(
        &shape::files_beside_their_folder(&files),
        "A module with children is the file mod.rs in its folder: move these.",
    );
}

#[test]
fn docs_can_be_read_alone() {
    holds(
        &shape::docs_without_a_subject(&house()),
        "Say in these docs what is the same as what: whoever reads them in the index sees nothing before.",
    );
}

#[test]
fn no_two_types_have_one_name() {
    let files = house();
    holds(
        &shape::unreasoned(&shape::types_of_one_name(&files, &Modules::new(&files))),
        "Name each of these types after what it is in its own part of the house, or take the reason why \
         it need not be out of shape.rs.",
    );
}

#[test]
fn casts_say_what_becomes_of_what_does_not_fit() {
    holds(
        &shape::silent_casts(&house()),
        "Use the helper in src/cast.rs that says what is meant, or return an error.",
    );
}
