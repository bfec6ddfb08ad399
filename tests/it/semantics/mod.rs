//! docs/semantics.md, executed: every row of its tables and every example on a real mount.
//!
//! A row is looked up by the text of its first cell, and what happens is compared with the first
//! word of its other cells; so neither the page nor the program can change alone.

mod document;
mod files;
mod folders;
mod python;
mod settings;

use crate::mounted::Mounted;

use self::document::{Example, answer, examples, rows};
use self::python::Python;

/// A mount with the tables `t`, `u` and `sealed`; files in the last have no grace.
fn home() -> Mounted {
    let home = Mounted::new();
    home.sh("mkdir m/u m/sealed; setfattr -n user.littfs.grace -v 0 m/sealed; \
        setfattr -n user.littfs.grace -v 1h m/t");
    home
}

fn python(home: &Mounted) -> Python {
    Python::new(home.at("").to_str().expect("text").trim_end_matches('/'))
}

/// Fails when the page has rows that nobody executes, or the other way round.
#[track_caller]
fn covers(heading: &str, known: &[&str]) {
    let written: Vec<_> = rows(heading).iter().map(|row| row[0]).collect();
    assert_eq!(written, known, "the rows of {heading:?} and those that are executed");
}

/// Executes a table with the columns operation and answer.
#[track_caller]
fn execute(heading: &str, prepare: &str, ways: &[(&str, &str)]) {
    execute_in(&home(), heading, prepare, ways);
}

/// Executes such a table on a mount that is there already.
#[track_caller]
fn execute_in(home: &Mounted, heading: &str, prepare: &str, ways: &[(&str, &str)]) {
    let mut python = python(home);
    covers(heading, &ways.iter().map(|(row, _)| *row).collect::<Vec<_>>());
    for (number, (row, (_, statements))) in rows(heading).iter().zip(ways).enumerate() {
        let prepared = python.run(&format!("d = f'{{mnt}}/t/{number}'\n{prepare}"));
        assert_eq!(prepared, "yes", "{heading}: {row:?}: preparation");
        assert_eq!(python.run(statements), answer(row[1]), "{heading}: {row:?}: {statements}");
    }
}

/// Runs the examples under a heading and compares what is seen.
#[track_caller]
fn show(home: &Mounted, heading: &str) {
    home.sh("test -e mnt || ln -s m mnt");
    for block in examples(heading) {
        // One shell for a block, as for a person who types it.
        const MARK: &str = "---end of a command---";
        let mut script = "exec 2>&1\n".to_owned();
        for example in &block {
            script.push_str(&example.command);
            script.push_str("\nprintf '\\n%s\\n' '");
            script.push_str(MARK);
            script.push_str("'\n");
        }
        let output = home.shell(&script);
        let output = String::from_utf8(output.stdout).expect("text");
        let seen: Vec<_> = output.split(&format!("\n{MARK}\n")).collect();
        assert_eq!(seen.len(), block.len() + 1, "{output}");
        for (Example { command, output }, seen) in block.iter().zip(seen) {
            // Bash tells the line only when it runs a script, and getfattr ends without a newline.
            let seen: String = seen.lines().map(|line| without_line_number(line) + "\n").collect();
            assert_eq!(&seen, output, "{command}");
        }
    }
}

fn without_line_number(line: &str) -> String {
    match line.strip_prefix("bash: line ").and_then(|rest| rest.split_once(": ")) {
        Some((_number, rest)) => format!("bash: {rest}"),
        None => line.to_owned(),
    }
}

#[test]
fn every_table_and_example_is_executed() {
    let executed = [
        "Three states of a file",
        "Operations on files",
        "Folders",
        "The top folder",
        "Names",
        "What else can be made",
        "Time to live",
        "Extended attributes",
        "Read-only mounts",
        // By the tests of tools.
        "Recipes",
    ];
    assert_eq!(document::headings(), executed);
}

#[test]
fn three_states_of_a_file() {
    show(&Mounted::new(), "Three states of a file");
}

#[test]
fn time_to_live() {
    show(&Mounted::new(), "Time to live");
}
