//! Which database a command means, and how it is opened.

use std::path::PathBuf;

use littfs::config::Config;
use littfs::{Db, OpenOptions};

use super::args::DatabaseArguments;
use super::{Failure, fail};

/// What a command does with the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Looks only; nothing is created.
    Read,
    /// Stores; the database is made when it does not exist.
    Write,
}

/// The configuration file, or the defaults, with the roots that were meant.
pub(crate) fn configuration(arguments: &DatabaseArguments) -> Result<Config, Failure> {
    let mut config = match &arguments.config {
        Some(file) => Config::read(file)?,
        None => Config::default(),
    };
    if !arguments.roots.is_empty() {
        config.roots.clone_from(&arguments.roots);
    }
    if config.roots.is_empty() {
        config.roots = vec![default_root()?];
    }
    for root in &mut config.roots {
        *root = absolute(root)?;
    }
    Ok(config)
}

/// How a database with this configuration is opened.
pub(crate) fn open_options(config: &Config, access: Access, degraded: bool) -> OpenOptions {
    OpenOptions::new(&config.roots)
        .read_only(access == Access::Read)
        .degraded(degraded)
        .create(access == Access::Write)
        .engine(config.engine.clone())
}

/// Opens the database for a command that ends soon.
pub(crate) fn open(arguments: &DatabaseArguments, access: Access) -> Result<(Db, Config), Failure> {
    let config = configuration(arguments)?;
    let db = Db::open(open_options(&config, access, arguments.degraded))?;
    Ok((db, config))
}

/// A path that stays right when the working directory changes.
pub(crate) fn absolute(path: &std::path::Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .or_else(|error| fail(format!("{} is no usable path: {error}", path.display())))
}

/// The root when none is given.
pub(crate) fn default_root() -> Result<PathBuf, Failure> {
    root_in(std::env::var_os("XDG_DATA_HOME"), std::env::var_os("HOME")).ok_or_else(|| {
        Failure::Message(
            "neither XDG_DATA_HOME nor HOME is set, so there is no default root; give one with --root DIR"
                .to_owned(),
        )
    })
}

/// By the rules of the XDG base directories: relative or empty values count as not set.
fn root_in(
    data_home: Option<std::ffi::OsString>,
    home: Option<std::ffi::OsString>,
) -> Option<PathBuf> {
    let absolute = |value: Option<std::ffi::OsString>| {
        value.map(PathBuf::from).filter(|path| path.is_absolute())
    };
    absolute(data_home)
        .or_else(|| absolute(home).map(|home| home.join(".local/share")))
        .map(|data| data.join("littfs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_root_follows_the_environment() {
        let root = |data: Option<&str>, home: Option<&str>| {
            root_in(data.map(Into::into), home.map(Into::into))
        };
        assert_eq!(root(Some("/d"), Some("/h")), Some("/d/littfs".into()));
        assert_eq!(root(None, Some("/h")), Some("/h/.local/share/littfs".into()));
        assert_eq!(root(Some("rel"), Some("/h")), Some("/h/.local/share/littfs".into()));
        assert_eq!(root(Some(""), None), None);
    }

    #[test]
    fn given_roots_win_over_the_file() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let file = folder.path().join("c.toml");
        std::fs::write(&file, "roots = [\"/mnt/a\"]\nthreads = 9\n").expect("write");
        let mut arguments = DatabaseArguments { config: Some(file), ..Default::default() };
        let config = configuration(&arguments).expect("read");
        assert_eq!((config.roots, config.threads), (vec!["/mnt/a".into()], 9));
        arguments.roots = vec!["/mnt/b".into()];
        let config = configuration(&arguments).expect("read");
        assert_eq!((config.roots, config.threads), (vec!["/mnt/b".into()], 9));
    }
}
