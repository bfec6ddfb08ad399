//! What there is, seen in every way there is to look: listed, looked up, read.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::model::{Model, Seen};

/// Everything in a folder of the mount, by the path from the mountpoint on, together with what the
/// model knows and the listing did not show.
pub(crate) fn observe(mount: &Path, folders: &[String], model: &Model) -> BTreeMap<String, Seen> {
    let mut found = BTreeMap::new();
    for folder in folders {
        look_up(mount, folder, &mut found);
        if matches!(found.get(folder), Some(Seen::Folder(_))) {
            walk(mount, folder, &mut found);
        }
    }
    for name in model.names() {
        if found.contains_key(name) {
            continue;
        }
        look_up(mount, name, &mut found);
        if let Some(seen) = found.get_mut(name) {
            *seen = Seen::Wrong(format!("not listed, but a lookup finds {}", seen.describe()));
        }
    }
    found
}

/// Looks at one name; one that stands for nothing is left out.
fn look_up(mount: &Path, name: &str, found: &mut BTreeMap<String, Seen>) {
    match see(&mount.join(name)) {
        Ok(seen) => drop(found.insert(name.to_owned(), seen)),
        Err(error) if is_absent(&error) => {}
        Err(error) => drop(found.insert(name.to_owned(), Seen::Wrong(error.to_string()))),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What is under a path.
pub(crate) fn see(path: &Path) -> io::Result<Seen> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_dir() {
        return Ok(Seen::Folder(metadata));
    }
    if metadata.is_symlink() {
        return Ok(Seen::Link(fs::read_link(path)?));
    }
    match fs::read(path) {
        Ok(bytes) => Ok(Seen::File(metadata, bytes)),
        // Not to be taken for a name that is not there.
        Err(error) if is_absent(&error) && fs::symlink_metadata(path).is_ok() => {
            Ok(Seen::Wrong(format!("a file of {} bytes, but: {error}", metadata.len())))
        }
        Err(error) => Err(error),
    }
}

fn walk(mount: &Path, folder: &str, found: &mut BTreeMap<String, Seen>) {
    let entries = match fs::read_dir(mount.join(folder)) {
        Ok(entries) => entries,
        Err(error) => {
            found.insert(folder.to_owned(), Seen::Wrong(format!("cannot be listed: {error}")));
            return;
        }
    };
    let mut previous = None;
    for entry in entries {
        let Ok(entry) = entry else {
            found.insert(folder.to_owned(), Seen::Wrong("its listing breaks off".to_owned()));
            return;
        };
        let listed = entry.file_name();
        let name = format!("{folder}/{}", listed.to_string_lossy());
        if previous.as_ref().is_some_and(|previous| *previous >= listed) {
            found.insert(name, Seen::Wrong("listed twice or out of order".to_owned()));
            return;
        }
        previous = Some(listed);
        let seen = match see(&mount.join(&name)) {
            Ok(seen) => seen,
            Err(error) => Seen::Wrong(format!("listed, but: {error}")),
        };
        let agrees = entry.file_type().is_ok_and(|kind| match &seen {
            Seen::File(..) => kind.is_file(),
            Seen::Folder(_) => kind.is_dir(),
            Seen::Link(_) => kind.is_symlink(),
            Seen::Nothing | Seen::Wrong(_) => true,
        });
        let is_folder = matches!(seen, Seen::Folder(_));
        let seen = if agrees { seen } else { Seen::Wrong("listed as something else".to_owned()) };
        found.insert(name.clone(), seen);
        if is_folder {
            walk(mount, &name, found);
        }
    }
}
