//! `littfs keys`: the keys of a table in order, in either direction.

use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use littfs::{Entry, Result, Scan};

use super::Outcome;
use super::args::KeysArguments;
use super::database::{Access, open};
use super::output::Output;

/// Runs `littfs keys`. Keys are written as the bytes they are, unless to a terminal, which would
/// obey those that begin with an escape.
pub(super) fn run(arguments: &KeysArguments) -> Outcome {
    let (db, _) = open(&arguments.database, Access::Read)?;
    let table = db.table(&arguments.table)?;
    let prefix = arguments.prefix.as_deref().map(OsStrExt::as_bytes).unwrap_or_default();
    let end: &[u8] = if arguments.null { b"\0" } else { b"\n" };
    let is_shown = !arguments.null && std::io::stdout().is_terminal();
    let mut output = Output::new();
    let scan = Scan::new().prefix(prefix);
    let keys = table.scan(if arguments.folders { scan } else { scan.files_only() })?;
    let mut keys: Box<dyn Iterator<Item = Result<(Vec<u8>, Entry)>>> =
        if arguments.reverse { Box::new(keys.rev()) } else { Box::new(keys) };
    keys.try_for_each(|live| {
        let (key, _) = live?;
        if is_shown {
            return output.line(&String::from_utf8_lossy(&key));
        }
        output.bytes(&key)?;
        output.bytes(end)
    })?;
    output.finish()?;
    db.close()?;
    Ok(ExitCode::SUCCESS)
}
