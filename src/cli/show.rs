//! `littfs ls` and `littfs info`: what there is, how much of it, and where.

use std::process::ExitCode;

use littfs::settings::{duration_text, ttl_text};
use littfs::{Db, Table};
use serde_json::{Value, json};

use super::Outcome;
use super::args::{ListArguments, TableArguments};
use super::database::{Access, open};
use super::output::{Output, columns, human_bytes};

/// Runs `littfs ls`.
pub(super) fn list(arguments: &ListArguments) -> Outcome {
    let (db, _) = open(&arguments.database, Access::Read)?;
    let mut output = Output::new();
    if arguments.json {
        output.json(&Value::Array(tables_json(&db)?))?;
    } else {
        table_lines(&db).iter().try_for_each(|line| output.line(line))?;
        unavailable_lines(&db).iter().try_for_each(|line| output.line(line))?;
    }
    output.finish()?;
    db.close()?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `littfs info`.
pub(super) fn info(arguments: &TableArguments) -> Outcome {
    let (db, _) = open(&arguments.database, Access::Read)?;
    let mut output = Output::new();
    match (&arguments.table, arguments.json) {
        (Some(name), true) => output.json(&table_json(&*db.table(name)?)?)?,
        (Some(name), false) => {
            table_details(&*db.table(name)?)?.iter().try_for_each(|line| output.line(line))?;
        }
        (None, true) => output.json(&database_json(&db)?)?,
        (None, false) => {
            database_details(&db)?.iter().try_for_each(|line| output.line(line))?;
        }
    }
    output.finish()?;
    db.close()?;
    Ok(ExitCode::SUCCESS)
}

/// All tables; of those that cannot be opened, what they are called and why.
fn tables_json(db: &Db) -> littfs::Result<Vec<Value>> {
    let tables = db.tables();
    let open: littfs::Result<Vec<Value>> = tables.iter().map(|table| table_json(table)).collect();
    let unavailable = db.unavailable_tables().into_iter();
    let unavailable = unavailable.map(|(name, why)| json!({ "name": name, "unavailable": why }));
    Ok(open?.into_iter().chain(unavailable).collect())
}

fn unavailable_lines(db: &Db) -> Vec<String> {
    let unavailable = db.unavailable_tables().into_iter();
    unavailable.map(|(name, why)| format!("table {name} is unavailable: {why}")).collect()
}

fn table_json(table: &Table) -> littfs::Result<Value> {
    let (settings, usage) = (table.settings(), table.usage());
    let keymap = table.keymap_stats()?.map(|stats| {
        json!({
            "bytes": stats.bytes_on_disk,
            "pages": stats.pages,
            "used_slots": stats.used_slots,
            "generation": stats.generation,
        })
    });
    Ok(json!({
        "name": table.name(),
        "number": table.number(),
        "ttl": ttl_text(settings.ttl),
        "grace": duration_text(settings.grace),
        "shards": settings.shards,
        "keys": usage.keys,
        "bytes": usage.bytes,
        "segments": usage.segments,
        "keymap": keymap,
        "failure": table.poisoned(),
        "unavailable": null,
    }))
}

fn table_lines(db: &Db) -> Vec<String> {
    let heading = ["TABLE", "KEYS", "BYTES", "TTL"].map(str::to_owned).to_vec();
    let mut rows = vec![heading];
    for table in db.tables() {
        let usage = table.usage();
        let ttl = ttl_text(table.settings().ttl);
        let (keys, bytes) = (usage.keys.to_string(), human_bytes(usage.bytes));
        rows.push(vec![table.name().to_owned(), keys, bytes, ttl]);
    }
    columns(&rows)
}

fn table_details(table: &Table) -> littfs::Result<Vec<String>> {
    let (settings, usage) = (table.settings(), table.usage());
    let mut lines = vec![
        format!("table     {}", table.name()),
        format!("ttl       {}", ttl_text(settings.ttl)),
        format!("grace     {}", duration_text(settings.grace)),
        format!("shards    {}", settings.shards),
        format!("keys      {}", usage.keys),
        format!("bytes     {} ({})", usage.bytes, human_bytes(usage.bytes)),
        format!("segments  {}", usage.segments),
    ];
    if let Some(keymap) = table.keymap_stats()? {
        lines.push(format!("keymap    {}", human_bytes(keymap.bytes_on_disk)));
    }
    if let Some(failure) = table.poisoned() {
        lines.push(format!("failure   read-only: {failure}"));
    }
    Ok(lines)
}

fn database_json(db: &Db) -> littfs::Result<Value> {
    let space = db.space()?;
    let roots: Vec<String> = db.roots().iter().map(|root| root.display().to_string()).collect();
    let failed = db.failed_roots();
    let failed: Vec<Value> =
        failed.iter().map(|(root, reason)| json!({ "root": root, "reason": reason })).collect();
    Ok(json!({
        "id": db.id(),
        "roots": roots,
        "missing_roots": db.missing_roots(),
        "failed_roots": failed,
        "space": {
            "total_bytes": space.total,
            "free_bytes": space.free,
            "available_bytes": space.available,
        },
        "tables": tables_json(db)?,
    }))
}

fn database_details(db: &Db) -> littfs::Result<Vec<String>> {
    let space = db.space()?;
    let mut lines: Vec<String> =
        db.roots().iter().map(|root| format!("root   {}", root.display())).collect();
    let missing = db.missing_roots();
    lines.extend(missing.iter().map(|root| format!("missing root  {}", root.display())));
    let failed = db.failed_roots();
    lines.extend(
        failed.iter().map(|(root, reason)| format!("failed root  {}: {reason}", root.display())),
    );
    lines.push(format!(
        "space  {} of {} available",
        human_bytes(space.available),
        human_bytes(space.total)
    ));
    lines.push(String::new());
    lines.extend(table_lines(db));
    for table in db.tables() {
        if let Some(failure) = table.poisoned() {
            lines.push(format!("table {} is read-only: {failure}", table.name()));
        }
    }
    lines.extend(unavailable_lines(db));
    Ok(lines)
}
