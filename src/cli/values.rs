//! `littfs put` and `littfs get`: one value in, one value out, streamed.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use littfs::config::Config;
use littfs::{Attributes, Db, Error, Kind, Table, check_table_name, key};

use super::args::{GetArguments, PutArguments};
use super::database::{Access, open};
use super::output::Output;
use super::{Failure, Outcome, fail};

const CHUNK_BYTES: usize = 1 << 20;
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

/// Runs `littfs put`.
pub(super) fn put(arguments: &PutArguments) -> Outcome {
    // What was typed first: a mistyped name must not leave a new table or database behind.
    check_table_name(&arguments.table)?;
    key::check(arguments.key.as_bytes())?;
    let mut source: Box<dyn Read> = match &arguments.file {
        Some(file) if file != Path::new("-") => Box::new(open_source(file)?),
        _ => Box::new(io::stdin().lock()),
    };
    let (db, config) = open(&arguments.database, Access::Write)?;
    let stored = store(&db, &config, arguments, &mut source);
    // Close in any case, and report the first thing that went wrong.
    let closed = db.close();
    stored?;
    closed?;
    Ok(ExitCode::SUCCESS)
}

fn open_source(file: &Path) -> Result<File, Failure> {
    let opened = File::open(file).and_then(|source| Ok((source.metadata()?, source)));
    let (metadata, source) =
        opened.or_else(|error| fail(format!("cannot read {}: {error}", file.display())))?;
    if metadata.is_dir() {
        return fail(format!("{} is a directory; put stores one file", file.display()));
    }
    Ok(source)
}

fn store(
    db: &Db,
    config: &Config,
    arguments: &PutArguments,
    source: &mut dyn Read,
) -> Result<(), Failure> {
    let key = arguments.key.as_bytes();
    let table = db.open_or_create_table(&arguments.table, config.table)?;
    if table.exists(key)? {
        return Err(Error::Exists { key: arguments.key.to_string_lossy().into_owned() }.into());
    }
    create_parents(&table, key, db.clock().now())?;
    let mut writer = table.writer()?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut offset = 0_u64;
    loop {
        match source.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => {
                writer.write_at(offset, &chunk[..count])?;
                offset += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return fail(format!("cannot read the value: {error}")),
        }
    }
    writer.store(key, own(Kind::File, FILE_MODE, db.clock().now()))?;
    Ok(())
}

/// Attributes of something that belongs to whoever runs this.
fn own(kind: Kind, permissions: u32, now: SystemTime) -> Attributes {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    Attributes::new(kind, permissions, uid, gid, now)
}

fn create_parents(table: &Table, key: &[u8], now: SystemTime) -> Result<(), Failure> {
    for folder in parents(key) {
        match table.create_folder(folder, own(Kind::Folder, FOLDER_MODE, now)) {
            Ok(_) => {}
            Err(Error::Exists { .. }) if table.entry(folder)?.is_some() => {}
            Err(Error::Exists { .. }) => {
                let file = folder.strip_suffix(b"/").unwrap_or(folder);
                let key = String::from_utf8_lossy(file).into_owned();
                return Err(Error::NotFolder { key }.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The keys of the folders above a key, outermost first.
fn parents(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = key.iter().enumerate().filter(|&(_, &byte)| byte == b'/');
    slashes.map(|(index, _)| &key[..=index])
}

/// Runs `littfs get`.
pub(super) fn get(arguments: &GetArguments) -> Outcome {
    let (db, _) = open(&arguments.database, Access::Read)?;
    let key = arguments.key.as_bytes();
    let table = db.table(&arguments.table)?;
    let Some(entry) = table.entry(key)? else {
        let key = arguments.key.to_string_lossy().into_owned();
        return Err(Error::NotFound { key }.into());
    };
    if entry.kind() == Kind::Folder {
        return Err(Error::IsFolder { key: arguments.key.to_string_lossy().into_owned() }.into());
    }
    let value = table.open_value(&entry)?;
    let mut output = Output::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut offset = 0_u64;
    loop {
        let count = value.read_at(offset, &mut chunk)?;
        if count == 0 {
            break;
        }
        output.bytes(&chunk[..count])?;
        offset += count as u64;
    }
    output.finish()?;
    db.close()?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_listed_from_the_outside() {
        let found: Vec<&[u8]> = parents(b"a/bc/d").collect();
        assert_eq!(found, [&b"a/"[..], b"a/bc/"]);
        assert_eq!(parents(b"a").count(), 0);
    }
}
