//! The command line: what was typed (`args.rs`) -> what it means (`database.rs`, and
//! `config::mount_options` of the library for `-o`) -> run (one file for each command or close group) ->
//! what it comes to (`outcome.rs`) and what is said of it (`output.rs`, `talk.rs`).
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
mod outcome;
mod output;
mod preflight;
mod show;
mod signals;
mod talk;
mod umount;
mod values;

use std::process::ExitCode;

use clap::Parser;

use self::args::{Arguments, Command};
use self::talk::name;

pub(crate) use self::outcome::{EXIT_FOUND, EXIT_USAGE, Failure, Outcome, fail};
pub(crate) use self::talk::{explain_as, say};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
