//! Entry points for fuzzing: every decoder, whole files, and every text that people write.
//!
//! Each target takes any bytes and must neither panic nor hang nor take much memory. The corpora in
//! `fuzz/corpus` go through the same functions in the tests, so that what was found once stays found.

mod database;
mod texts;

use std::path::Path;

use crate::format::fuzz as format;

/// What is done with an input; the folder is for scratch files.
pub type Target = fn(&[u8], &Path);

/// Every target, by the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("config", |bytes, _| texts::config(bytes)),
    ("database", database::run),
    ("keymap", |bytes, _| format::keymap(bytes)),
    ("log", |bytes, _| format::log(bytes)),
    ("mount_options", |bytes, _| texts::mount_options(bytes)),
    ("record", |bytes, _| format::record(bytes)),
    ("root_file", |bytes, _| texts::root_file(bytes)),
    ("run_block", |bytes, _| format::run_block(bytes)),
    ("run_ends", |bytes, _| format::run_ends(bytes)),
    ("segment_metadata", |bytes, _| format::segment_metadata(bytes)),
    ("settings", |bytes, _| texts::settings(bytes)),
    ("table_file", |bytes, _| format::table_file(bytes)),
];

/// Runs the target of this name; whether there is one.
pub fn run(name: &str, bytes: &[u8], scratch: &Path) -> bool {
    let target = TARGETS.iter().find(|(target, _)| *target == name);
    if let Some((_, target)) = target {
        target(bytes, scratch);
    }
    target.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every input that is kept, and the same cut short and with some bits flipped.
    #[test]
    fn every_input_of_the_corpora_is_survived() {
        let scratch = tempfile::tempdir().unwrap();
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in TARGETS {
            let inputs = std::fs::read_dir(corpora.join(name)).expect(name);
            let mut count = 0;
            for input in inputs {
                let bytes = std::fs::read(input.unwrap().path()).unwrap();
                target(&bytes, scratch.path());
                if *name != "database" {
                    vary(&bytes, |bytes| target(bytes, scratch.path()));
                }
                count += 1;
            }
            assert!(count > 0, "{name} has no corpus");
        }
    }

    fn vary(bytes: &[u8], mut target: impl FnMut(&[u8])) {
        for at in (0..bytes.len()).step_by(bytes.len() / 64 + 1) {
            target(&bytes[..at]);
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << (at % 8);
            target(&flipped);
        }
    }

    // One of them reads the words that a mount is given.
    #[cfg(feature = "mount")]
    #[test]
    fn every_target_has_a_corpus_and_a_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let names = |folder: &str, ending: &str| -> Vec<String> {
            let entries = std::fs::read_dir(folder).unwrap();
            let mut names: Vec<String> = entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .map(|name| name.trim_end_matches(ending).to_owned())
                .collect();
            names.sort();
            names
        };
        let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names(folder.join("corpus").to_str().unwrap(), ""), targets);
        assert_eq!(names(folder.join("fuzz_targets").to_str().unwrap(), ".rs"), targets);
        assert!(!run("nothing", b"", &folder));
    }
}
