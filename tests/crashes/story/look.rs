//! Looking at everything that an open database shows, in every way there is.

use std::collections::BTreeSet;

use littfs::{Db, Scan, Table};

use crate::story::model::{Seen, SeenAll, SeenTable};
use crate::story::ns;

/// What the database shows, and what is wrong with it by itself.
pub(crate) fn look(db: &Db, may_fail: bool) -> Result<SeenAll, String> {
    if let Some((table, reason)) = db.unavailable_tables().first() {
        return Err(format!("table {table} is unavailable: {reason}"));
    }
    let mut all = SeenAll::new();
    for table in db.tables() {
        let seen = look_at(&table, may_fail)
            .map_err(|trouble| format!("table {}: {trouble}", table.name()))?;
        all.insert(table.name().to_owned(), seen);
    }
    Ok(all)
}

fn look_at(table: &Table, may_fail: bool) -> Result<SeenTable, String> {
    let mut seen = SeenTable { ttl: table.settings().ttl, ..SeenTable::default() };
    let mut ids = BTreeSet::new();
    let mut names = Vec::new();
    for listed in table.scan(Scan::new()).map_err(|error| error.to_string())? {
        let (key, entry) = listed.map_err(|error| format!("listing: {error}"))?;
        let name = String::from_utf8(key).map_err(|_| "a strange name".to_owned())?;
        if !ids.insert(entry.id()) {
            return Err(format!("{name} has the value id {} of another name", entry.id()));
        }
        let (id, mode) = (entry.id().get(), entry.attributes().permissions());
        names.push(name.clone());
        let bytes = if name.ends_with('/') {
            if table.entry(name.as_bytes()).map_err(|error| format!("{name}: {error}"))?.is_none() {
                return Err(format!("the folder {name} is listed and not found"));
            }
            Vec::new()
        } else {
            match table.get(name.as_bytes()) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Err(format!("{name} is listed and not found: {entry:?}")),
                Err(_) if may_fail => {
                    seen.unreadable.insert(name);
                    continue;
                }
                Err(error) => return Err(format!("{name}: {error}")),
            }
        };
        let written_ns = ns(entry.written_at());
        seen.names.insert(name, Seen { bytes, mode, written_ns, id });
    }
    let backwards = table.scan(Scan::new()).map_err(|error| error.to_string())?.rev();
    let mut again: Vec<String> = Vec::new();
    for listed in backwards {
        let (key, _) = listed.map_err(|error| format!("listing backwards: {error}"))?;
        again.push(String::from_utf8_lossy(&key).into_owned());
    }
    again.reverse();
    if again != names {
        return Err(format!("backwards it lists {again:?}, forwards {names:?}"));
    }
    for name in &names {
        if let Some((parent, _)) = name.trim_end_matches('/').rsplit_once('/')
            && !names.contains(&format!("{parent}/"))
        {
            return Err(format!("{name} is there without its folder"));
        }
    }
    Ok(seen)
}

/// Names that are found although no listing shows them.
pub(crate) fn hidden(
    db: &Db,
    table: &str,
    names: &BTreeSet<String>,
    seen: &SeenAll,
) -> Result<Vec<String>, String> {
    let (Some(seen), Ok(table)) = (seen.get(table), db.table(table)) else {
        return Ok(Vec::new());
    };
    let mut hidden = Vec::new();
    for name in names {
        let is_listed = seen.names.contains_key(name) || seen.unreadable.contains(name);
        let found = table.entry(name.as_bytes()).map_err(|error| format!("{name}: {error}"))?;
        if !is_listed && found.is_some() {
            hidden.push(format!("{}/{name} is found and not listed", table.name()));
        }
    }
    Ok(hidden)
}
