//! Random operations on a real mount, each answer compared with a model of what the mount does.
//!
//! `LITTFS_STRESS_SEED`, `LITTFS_STRESS_SEQUENCES` and `LITTFS_STRESS_OPERATIONS` (for each
//! sequence) say what is run; the seed is printed. A failure is shown as the shortest sequence
//! that was found to fail, as text that can be pasted into a test of its own.

mod answers;
mod crowd;
mod model;
mod real;
mod rules;
mod run;
mod steps;

use std::process::{Command, Stdio};

use self::run::{Ground, run, shrink};
use self::steps::{Dice, Step, sequence};
use crate::mounted::Mounted;

/// Set in a process that runs one test only.
const ALONE: &str = "LITTFS_STRESS_ALONE";
/// Segments of a few keys, and short values that have files of their own already.
const TINY_SEGMENTS: &str = "segment_keys_max = 6\nsegment_bytes_max = \"1MiB\"\nspill_bytes = \
    \"4KiB\"\ntable_shards = 2\n";

/// Runs a test in a process of its own. The processes that other tests start would close copies of
/// the handles here, and a close is an operation that the model must know of.
#[track_caller]
fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([&format!("stress::{test}"), "--exact", "--nocapture"]).env(ALONE, "1");
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{errors}", output.status);
    assert!(said.contains("1 passed"), "no such test: {said}");
    eprintln!("{errors}");
}

fn setting(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(format!("LITTFS_STRESS_{name}"));
    text.map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Runs random sequences; fails with the shortest that goes wrong.
fn stress(ground: &Ground, sequences: u64, steps: u64) {
    let seed = setting("SEED", 1);
    let sequences = setting("SEQUENCES", sequences);
    let steps = usize::try_from(setting("OPERATIONS", steps)).expect("it fits");
    eprintln!("seed {seed}, {sequences} sequences of {steps} operations");
    let mut dice = Dice::new(seed);
    let mut number = 0;
    for at in 0..sequences {
        let steps = sequence(dice.next(), steps);
        number += 1;
        if let Err((failed_at, problem)) = run(ground, number, &steps) {
            eprintln!("seed {seed}, sequence {at}, step {failed_at}: {problem}");
            let shortest = shrink(ground, &mut number, &steps, failed_at);
            let again = run(ground, number + 1, &shortest);
            panic!("seed {seed}, sequence {at}: {again:?} by {}", shown(&shortest));
        }
    }
}

fn shown(steps: &[Step]) -> String {
    let lines: Vec<String> = steps.iter().map(|step| format!("    Step::{step:?},\n")).collect();
    format!("&[\n{}]", lines.concat())
}

#[test]
fn the_mount_answers_as_the_model() {
    alone("the_mount_answers_as_the_model", || {
        stress(&Ground::Mount(Mounted::with(2, "")), 60, 100);
    });
}

#[test]
fn the_mount_answers_as_the_model_while_segments_are_sealed() {
    alone("the_mount_answers_as_the_model_while_segments_are_sealed", || {
        stress(&Ground::Mount(Mounted::with(2, TINY_SEGMENTS)), 60, 100);
    });
}

/// What once went wrong, with a name for each.
const FOUND: &[(&str, &[Step])] = &[
    (
        "a file with a stored form whose grace has passed could not be replaced",
        &[
            Step::MakeFolder("t/d"),
            Step::Open { slot: 2, path: "t/d/b", how: "rw create" },
            Step::Duplicate { slot: 4, of: 2 },
            Step::Grace { table: "t", is_long: false },
            Step::Open { slot: 4, path: "t/b", how: "w create trunc" },
            Step::Rename { from: "t/b", to: "t/d/b", how: "" },
        ],
    ),
    (
        "who had an empty file open did not see what was written into it",
        &[
            Step::Open { slot: 2, path: "u/a", how: "w create append" },
            Step::Open { slot: 2, path: "u/a", how: "r" },
            Step::Open { slot: 0, path: "u/a", how: "rw create append" },
            Step::WriteAt { slot: 0, at: 4095, bytes: 9000, fill: 121 },
        ],
    ),
    (
        "a refused rename left a pending file to the next daemon",
        &[
            Step::Grace { table: "t", is_long: false },
            Step::Open { slot: 0, path: "t/e", how: "rw create append" },
            Step::Open { slot: 0, path: "t/d", how: "rw create" },
            Step::Rename { from: "t/d", to: "t/e", how: "" },
            Step::Kill,
        ],
    ),
];

#[test]
fn what_once_went_wrong_goes_right() {
    alone("what_once_went_wrong_goes_right", || {
        let ground = Ground::Mount(Mounted::new());
        for (number, (name, steps)) in (1..).zip(FOUND) {
            run(&ground, number, steps).unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
        }
    });
}

#[test]
fn an_ordinary_folder_answers_as_the_model() {
    let folder = tempfile::tempdir().expect("temporary directory");
    stress(&Ground::Plain(folder), 200, 200);
}
