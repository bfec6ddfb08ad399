//! The command line: what was typed (`args.rs`) -> what it means (`database.rs`,
//! and `config::mount_options` of the library for `-o`) -> run (one file for each command or close group).
//!
//! Data goes to stdout, talk to stderr. Exit codes: 0 good, 1 `check` found something wrong,
//! 2 usage or environment. A reader that closes the pipe early is no error. Every failure is one
//! line that says what is wrong and what helps.

mod args;
mod bench;
mod check;
mod daemon;
mod database;
mod helpers;
mod keys;
mod log_file;
mod mount;
mod mount_plan;
mod mounted;
mod mountinfo;
mod notify;
mod output;
mod preflight;
mod show;
mod signals;
mod umount;
mod values;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use self::args::{Arguments, Command};

/// Something was found wrong.
pub(crate) const EXIT_FOUND: u8 = 1;
/// Wrong usage, or the environment does not allow it.
pub(crate) const EXIT_USAGE: u8 = 2;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What is wrong and what helps, for a person.
    Message(String),
    /// Whoever read our output wants no more of it: no error.
    Closed,
}

impl From<littfs::Error> for Failure {
    fn from(error: littfs::Error) -> Self {
        Self::Message(error.to_string())
    }
}

/// Names besides `littfs` that the program answers to: those that mount(8) and umount(8) make of
/// the types `littfs` and `fuse.littfs`.
const NAMES: [&str; 4] =
    ["mount.littfs", "mount.fuse.littfs", "umount.littfs", "umount.fuse.littfs"];

/// What a command comes to.
pub(crate) type Outcome = Result<ExitCode, Failure>;

/// A failure with this message.
pub(crate) fn fail<T>(message: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Message(message.into()))
}

/// Talks to the person, on stderr. That nobody listens is no reason to stop.
pub(crate) fn say(message: &str) {
    use std::io::Write;
    let line = format!("{}: {}\n", name(), output::escaped(&message.replace('\n', " ")));
    drop(std::io::stderr().write_all(line.as_bytes()));
}

/// The name under which the program was started, if it is one of those that mean something.
fn name() -> &'static str {
    let typed = std::env::args_os().next().map(PathBuf::from);
    let typed = typed.as_deref().and_then(Path::file_name);
    NAMES.into_iter().find(|name| typed == Some(name.as_ref())).unwrap_or("littfs")
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    match name() {
        "littfs" => {}
        name if name.starts_with("umount.") => return helpers::umount(),
        _ => return helpers::mount(),
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return explain_as(&error, "littfs", EXIT_USAGE),
    };
    match run(arguments.command) {
        Ok(code) => code,
        Err(Failure::Closed) => ExitCode::SUCCESS,
        Err(Failure::Message(message)) => {
            say(&message);
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn run(command: Command) -> Outcome {
    // Commands report warnings of the engine on stderr; a mount sets up its own log.
    if !matches!(command, Command::Mount(_)) {
        log_file::log_to_stderr("warn");
    }
    match command {
        Command::Mount(arguments) => mount::run(&arguments),
        Command::Umount(arguments) => umount::run(&arguments),
        Command::Ls(arguments) => show::list(&arguments),
        Command::Info(arguments) => show::info(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Put(arguments) => values::put(&arguments),
        Command::Get(arguments) => values::get(&arguments),
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
    }
}

/// Help goes to stdout as it is; a mistake becomes one line on stderr.
fn explain_as(error: &clap::Error, program: &str, usage: u8) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            drop(error.print());
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            drop(error.print());
            ExitCode::from(usage)
        }
        _ => {
            say(&one_line(&error.render().to_string(), program));
            ExitCode::from(usage)
        }
    }
}

/// The message and the tips of a parser error, without its headings and usage.
fn one_line(rendered: &str, program: &str) -> String {
    let paragraphs = rendered.split("\n\n").filter(|paragraph| {
        let start = paragraph.trim_start();
        !start.starts_with("Usage:") && !start.starts_with("For more information")
    });
    let sentences: Vec<String> = paragraphs
        .map(|paragraph| {
            let words: Vec<&str> = paragraph.split_whitespace().collect();
            let sentence = words.join(" ");
            let heading =
                ["error: ", "tip: "].iter().find(|heading| sentence.starts_with(**heading));
            sentence[heading.map_or(0, |heading| heading.len())..].to_owned()
        })
        .collect();
    let message = sentences.join("; ");
    let command = rendered
        .lines()
        .find_map(|line| line.strip_prefix("Usage: littfs "))
        .and_then(|usage| usage.split_whitespace().next())
        .filter(|word| word.chars().all(char::is_alphabetic));
    let command = command.map_or(String::new(), |name| format!(" {name}"));
    format!("{message}; see `{program}{command} --help`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn parser_errors_become_one_line() {
        for (line, expected) in [
            (
                &["littfs", "mount"][..],
                "the following required arguments were not provided: <MOUNTPOINT>; see `littfs mount --help`",
            ),
            (
                &["littfs", "mout", "/x"],
                "unrecognized subcommand 'mout'; some similar subcommands exist: 'put', 'umount', \
                    'mount'; see `littfs --help`",
            ),
            (
                &["littfs", "ls", "--jsn"],
                "unexpected argument '--jsn' found; a similar argument exists: '--json'; \
                    see `littfs ls --help`",
            ),
        ] {
            let error = Arguments::try_parse_from(line).expect_err("wrong usage");
            assert_eq!(one_line(&error.render().to_string(), "littfs"), expected);
        }
    }
}
