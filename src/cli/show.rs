//! `littfs ls` and `littfs info`: what there is, how much of it, and where.

use std::process::ExitCode;

use littfs::info::{DatabaseInfo, TableEntry, TableInfo};
use serde_json::Value;

use super::args::{DatabaseArguments, ListArguments, TableArguments};
use super::database::{Access, configuration, open_options};
use super::output::{Output, columns, human_bytes};
use super::{Failure, Outcome, mounted};

/// Runs `littfs ls`.
pub(super) fn list(arguments: &ListArguments) -> Outcome {
    let info = look(&arguments.database)?;
    let mut output = Output::new();
    if arguments.json {
        output.json(&json(&info.tables)?)?;
    } else {
        table_lines(&info).iter().try_for_each(|line| output.line(line))?;
        unavailable_lines(&info).iter().try_for_each(|line| output.line(line))?;
    }
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `littfs info`.
pub(super) fn info(arguments: &TableArguments) -> Outcome {
    let info = look(&arguments.database)?;
    let mut output = Output::new();
    match (&arguments.table, arguments.json) {
        (Some(name), true) => output.json(&json(named(&info, name)?)?)?,
        (Some(name), false) => {
            let details = table_details(named(&info, name)?);
            details.iter().try_for_each(|line| output.line(line))?;
        }
        (None, true) => output.json(&json(&info)?)?,
        (None, false) => {
            database_details(&info).iter().try_for_each(|line| output.line(line))?;
        }
    }
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// Opens the database and looks. One that is mounted is asked through its mount.
fn look(arguments: &DatabaseArguments) -> Result<DatabaseInfo, Failure> {
    let config = configuration(arguments)?;
    match littfs::Db::open(open_options(&config, Access::Read, arguments.degraded)) {
        Ok(db) => {
            let info = DatabaseInfo::new(&db);
            db.close()?;
            Ok(info)
        }
        Err(error) => mounted::ask(&config.roots).ok_or_else(|| error.into()),
    }
}

fn json(shown: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(shown).map_err(|error| Failure::Message(error.to_string()))
}

fn open_tables(info: &DatabaseInfo) -> impl Iterator<Item = &TableInfo> {
    info.tables.iter().filter_map(|entry| match entry {
        TableEntry::Open(table) => Some(&**table),
        TableEntry::Unavailable { .. } => None,
    })
}

fn named<'a>(info: &'a DatabaseInfo, name: &str) -> Result<&'a TableInfo, littfs::Error> {
    let unavailable = info.tables.iter().find_map(|entry| match entry {
        TableEntry::Unavailable { name: other, unavailable } if other == name => Some(unavailable),
        _ => None,
    });
    if let Some(reason) = unavailable {
        return Err(littfs::Error::Unavailable { table: name.to_owned(), reason: reason.clone() });
    }
    littfs::check_table_name(name)?;
    open_tables(info)
        .find(|table| table.name == name)
        .ok_or_else(|| littfs::Error::NoSuchTable { name: name.to_owned() })
}

fn unavailable_lines(info: &DatabaseInfo) -> Vec<String> {
    let lines = info.tables.iter().filter_map(|entry| match entry {
        TableEntry::Unavailable { name, unavailable } => {
            Some(format!("table {name} is unavailable: {unavailable}"))
        }
        TableEntry::Open(_) => None,
    });
    lines.collect()
}

fn table_lines(info: &DatabaseInfo) -> Vec<String> {
    let heading = ["TABLE", "KEYS", "BYTES", "TTL"].map(str::to_owned).to_vec();
    let mut rows = vec![heading];
    for table in open_tables(info) {
        let (keys, bytes) = (table.keys.to_string(), human_bytes(table.bytes));
        rows.push(vec![table.name.clone(), keys, bytes, table.ttl.clone()]);
    }
    columns(&rows)
}

fn table_details(table: &TableInfo) -> Vec<String> {
    let mut lines = vec![
        format!("table     {}", table.name),
        format!("ttl       {}", table.ttl),
        format!("grace     {}", table.grace),
        format!("shards    {}", table.shards),
        format!("keys      {}", table.keys),
        format!("bytes     {} ({})", table.bytes, human_bytes(table.bytes)),
        format!("segments  {}", table.segments),
    ];
    if let Some(keymap) = table.keymap {
        lines.push(format!("keymap    {}", human_bytes(keymap.bytes)));
    }
    if let Some(failure) = &table.failure {
        lines.push(format!("failure   read-only: {failure}"));
    }
    lines
}

fn database_details(info: &DatabaseInfo) -> Vec<String> {
    let mut lines: Vec<String> = info.roots.iter().map(|root| format!("root   {root}")).collect();
    lines.extend(info.missing_roots.iter().map(|root| format!("missing root  {root}")));
    lines.extend(
        info.failed_roots.iter().map(|root| format!("failed root  {}: {}", root.root, root.reason)),
    );
    lines.push(match info.space {
        Some(space) => format!(
            "space  {} of {} available",
            human_bytes(space.available_bytes),
            human_bytes(space.total_bytes)
        ),
        None => "space  unknown".to_owned(),
    });
    lines.push(String::new());
    lines.extend(table_lines(info));
    for table in open_tables(info) {
        if let Some(failure) = &table.failure {
            lines.push(format!("table {} is read-only: {failure}", table.name));
        }
    }
    lines.extend(unavailable_lines(info));
    lines
}
