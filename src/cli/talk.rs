//! What is said to the person, on stderr: one line at a time, under the name that was typed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;

use super::output::escaped;

/// Names besides `littfs` that the program answers to: those that mount(8) and umount(8) make of
/// the types `littfs` and `fuse.littfs`.
const NAMES: [&str; 4] =
    ["mount.littfs", "mount.fuse.littfs", "umount.littfs", "umount.fuse.littfs"];

/// Talks to the person, on stderr. That nobody listens is no reason to stop.
pub(crate) fn say(message: &str) {
    let line = format!("{}: {}\n", name(), escaped(&message.replace('\n', " ")));
    drop(std::io::stderr().write_all(line.as_bytes()));
}

/// The name under which the program was started, if it is one of those that mean something.
pub(super) fn name() -> &'static str {
    let typed = std::env::args_os().next().map(PathBuf::from);
    let typed = typed.as_deref().and_then(Path::file_name);
    NAMES.into_iter().find(|name| typed == Some(name.as_ref())).unwrap_or("littfs")
}

/// Help goes to stdout as it is; a mistake becomes one line on stderr.
pub(crate) fn explain_as(error: &clap::Error, program: &str, usage: u8) -> ExitCode {
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
    use clap::Parser;

    use super::super::args::Arguments;
    use super::*;

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
