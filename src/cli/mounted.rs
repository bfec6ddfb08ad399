//! Asking a mount about the database that it has open.

use std::path::{Path, PathBuf};

use littfs::info::{DatabaseInfo, INFO_XATTR, TableInfo};
use rustix::io::Errno;
use serde::de::DeserializeOwned;

use super::{mountinfo, umount};

/// Values of extended attributes are no longer, `XATTR_SIZE_MAX`.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// What the mount of the database with these roots says; `None` when there is none that answers.
pub(super) fn ask(roots: &[PathBuf]) -> Option<DatabaseInfo> {
    let is_wanted = |root: &Path| {
        let root = root.canonicalize();
        root.is_ok_and(|root| {
            roots.iter().any(|wanted| wanted.canonicalize().is_ok_and(|w| w == root))
        })
    };
    let mounts = mountinfo::all().ok()?.into_iter().filter(mountinfo::Mounted::is_ours);
    let mut of_roots = mounts
        .filter(|mounted| umount::first_root(&mounted.source).is_some_and(|root| is_wanted(&root)));
    of_roots.find_map(|mounted| ask_mount(&mounted.mountpoint))
}

fn ask_mount(mountpoint: &Path) -> Option<DatabaseInfo> {
    let info: DatabaseInfo = attribute(mountpoint)?;
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(mountpoint).ok()?.flatten().map(|entry| entry.path()).collect();
    names.sort();
    // Those that cannot be opened say nothing, and are named above.
    let tables: Vec<TableInfo> = names.iter().filter_map(|folder| attribute(folder)).collect();
    Some(info.with_tables(tables))
}

/// What a folder of a mount says of itself.
fn attribute<T: DeserializeOwned>(folder: &Path) -> Option<T> {
    let mut value = vec![0_u8; VALUE_BYTES_MAX];
    let length = loop {
        match rustix::fs::getxattr(folder, INFO_XATTR, &mut value) {
            Err(Errno::INTR) => {}
            other => break other.ok()?,
        }
    };
    serde_json::from_slice(value.get(..length)?).ok()
}
