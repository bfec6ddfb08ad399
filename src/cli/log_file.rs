//! Where log lines go: stderr, or a file beside the data.
//!
//! A background mount logs into its first root. That directory may not be a root yet, and may
//! turn out to be somebody's home directory given by mistake; so lines are held in memory until
//! the engine has made or accepted the root, and only then the file is opened.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use env_logger::{Builder, Env, Target};

use super::output::escaped;
use super::{Failure, fail};

/// Lines held before the file can be opened; what comes beyond is dropped.
const HELD_BYTES_MAX: usize = 256 << 10;
/// What a mount logs. The library below speaks of ordinary things, such as an unmount from
/// outside, as if they were troubles.
pub(crate) const MOUNT_LEVEL: &str = "info,fuser=error";

fn builder(default_level: &str) -> Builder {
    let env = Env::default().default_filter_or(default_level.to_owned());
    let mut builder = Builder::from_env(env);
    // In the form of the library, but with control characters escaped.
    builder.format(|line, record| {
        let (at, level) = (line.timestamp(), record.level());
        let style = line.default_level_style(level);
        let message = record.args().to_string();
        let message = escaped(&message);
        writeln!(line, "[{at} {style}{level:<5}{style:#} {}] {message}", record.target())
    });
    builder
}

/// Logs to stderr; `RUST_LOG` has the last word on the level.
pub(crate) fn log_to_stderr(default_level: &str) {
    // Fails only when a logger is set already, which then goes on.
    drop(builder(default_level).target(Target::Stderr).try_init());
}

/// A log file that is opened when its time has come. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LogFile(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    path: PathBuf,
    /// Whether a person chose the place. Such a file may be a link, a pipe or a terminal.
    is_named: bool,
    file: Option<File>,
    held: Vec<u8>,
}

impl LogFile {
    /// A file that is opened at once, since the person named it.
    pub(crate) fn at(path: &Path) -> Result<Self, Failure> {
        let log = Self::new(path.to_path_buf(), true);
        match log.open() {
            Ok(_) => Ok(log),
            Err(error) => fail(format!("cannot write the log file {}: {error}", path.display())),
        }
    }

    /// A file that is opened by [`LogFile::open`].
    pub(crate) fn later(path: PathBuf) -> Self {
        Self::new(path, false)
    }

    fn new(path: PathBuf, is_named: bool) -> Self {
        Self(Arc::new(Mutex::new(State { path, is_named, file: None, held: Vec::new() })))
    }

    /// Makes this the log of the process.
    pub(crate) fn install(&self) {
        drop(builder(MOUNT_LEVEL).target(Target::Pipe(Box::new(self.clone()))).try_init());
    }

    /// Opens the file, if it is not open yet, and writes what was held. A second handle of it is
    /// returned, to take the place of stderr.
    pub(crate) fn open(&self) -> io::Result<File> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.file.is_none() {
            let mut file = open_file(&state.path, state.is_named)?;
            let held = std::mem::take(&mut state.held);
            file.write_all(&held)?;
            state.file = Some(file);
        }
        state.file.as_ref().map_or_else(|| Err(io::ErrorKind::NotFound.into()), File::try_clone)
    }
}

/// Opens a log file for appending. In a root, where others may have put something of this name, it
/// must be a regular file: a link would lead elsewhere, a pipe would keep the mount waiting.
fn open_file(path: &Path, is_named: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o640);
    if is_named {
        return options.open(path);
    }
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("{} is no regular file", path.display())));
    }
    Ok(file)
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &mut state.file {
            // A full disk must not end the mount: what cannot be logged is lost.
            drop(file.write_all(bytes));
        } else if state.held.len() + bytes.len() <= HELD_BYTES_MAX {
            state.held.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_held_until_the_file_may_exist() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().join("root/littfs.log");
        let mut log = LogFile::later(path.clone());
        log.write_all(b"early\n").expect("held");
        assert!(log.open().is_err());
        std::fs::create_dir(folder.path().join("root")).expect("mkdir");
        let mut stderr = log.open().expect("opened");
        log.write_all(b"late\n").expect("written");
        stderr.write_all(b"panic\n").expect("written");
        assert_eq!(std::fs::read_to_string(path).expect("read"), "early\nlate\npanic\n");
    }
}
