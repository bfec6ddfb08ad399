//! The words behind `-o`. Their parser belongs to the program, which is no library, so its file is
//! taken in from where it is.

#[path = "../cli/mount_options.rs"]
#[cfg_attr(not(test), allow(dead_code, reason = "only the parser is of interest here"))]
mod parser;

use self::parser::Unknown;

/// Stands for the failures of the program.
#[derive(Debug)]
enum Failure {
    Message(String),
    #[cfg(test)]
    #[expect(dead_code, reason = "the parser's own tests know it")]
    Closed,
}

fn fail<T>(message: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Message(message.into()))
}

pub(super) fn parse(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let arguments: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let refused = parser::parse(&arguments, Unknown::Refused);
    let ignored = parser::parse(&arguments, Unknown::Ignored);
    match (refused, ignored) {
        (Ok(options), Ok(again)) => assert_eq!(options, again),
        (Err(Failure::Message(reason)), _) => assert!(!reason.is_empty()),
        (refused, ignored) => panic!("{refused:?} with unknown options refused, else {ignored:?}"),
    }
}
