//! Making a mount and letting go of it.
//!
//! The library's own way of unmounting is not used. When its session ends it unmounts the path
//! once more, whatever is mounted there by then; so its guard is never dropped, and whether the
//! mount is still ours is looked up before it is detached.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};

use super::convert::cannot_serve;
use super::counts::RequestCounts;
use super::ended::Ended;
use super::mountpoint::{abort, check_mountpoint, detach, mount_at, refused, source_name};
use super::notices::Notices;
use super::translator::Translator;
use crate::db::Db;
use crate::error::Result;
use crate::fs::{Caller, Fs, FsOptions, Kernel};
use crate::table::TableSettings;

/// How long a detached mount is waited for before its connection is cut, and after.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a mount is made.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct MountOptions {
    /// Refuse every change.
    pub read_only: bool,
    /// Let other users in; what they may do, modes and owners decide.
    pub allow_other: bool,
    /// Let the kernel check modes and owners; always done when others are let in.
    pub default_permissions: bool,
    /// Let no program in the mount be run.
    pub no_exec: bool,
    /// What the mount table shows as the source; None for the first root.
    pub source: Option<String>,
    /// Who owns the top folder; None for the user that mounts.
    pub top_owner: Option<u32>,
    /// The group of the top folder; None for that of the user that mounts.
    pub top_group: Option<u32>,
    /// The permissions of the top folder, in which tables are made; None for 0755.
    pub top_permissions: Option<u32>,
    /// Permissions that new files and folders do not get, in addition to the umask of whoever
    /// makes them.
    pub umask: u32,
    /// Threads that serve requests; None for a number that suits the machine.
    pub threads: Option<usize>,
    /// What tables made by mkdir start with.
    pub table_settings: TableSettings,
}

/// A mounted database. Dropping it does not unmount.
pub struct Mount {
    shared: Arc<MountState>,
    /// Never dropped, see above.
    _session: ManuallyDrop<BackgroundSession>,
}

/// Unmounts from any thread.
#[derive(Clone)]
pub struct Unmounter(Arc<MountState>);

struct MountState {
    path: PathBuf,
    /// The minor device number of the mount.
    minor: Option<u32>,
    ended: Arc<Ended>,
    counts: Arc<RequestCounts>,
}

impl Mount {
    /// Mounts a database. When this returns, the mount answers.
    pub fn new(db: &Db, mountpoint: &Path, options: &MountOptions) -> Result<Self> {
        let path = check_mountpoint(mountpoint, options.allow_other)?;
        let kernel = Arc::new(Notices::new());
        let ended = Arc::new(Ended::new());
        let counts = Arc::new(RequestCounts::new());
        let fs = Fs::new(db.clone(), Arc::clone(&kernel) as Arc<dyn Kernel>, fs_options(options));
        let translator = Translator::new(fs, Arc::clone(&counts), Arc::clone(&ended));
        let failed = |error: io::Error| refused(mountpoint, cannot_serve(&error));
        let config = config(options, options.read_only || db.is_read_only(), &db.roots());
        let _plugs = plug_standard_streams().map_err(failed)?;
        let session = Session::new(translator, &path, &config).map_err(failed)?;
        kernel.connect(&session).map_err(failed)?;
        let minor = mount_at(&path);
        let session = ManuallyDrop::new(session.spawn().map_err(failed)?);
        let shared = MountState { path, minor, ended, counts };
        let mount = Self { shared: Arc::new(shared), _session: session };
        // The first answer; threads that could not be started show here.
        std::fs::metadata(&mount.shared.path).map_err(failed)?;
        Ok(mount)
    }

    /// Waits until the mount is gone, by whoever's hand. Whatever was acknowledged is with the
    /// engine then; flushing and closing the database is left to the caller.
    pub fn join(&self) {
        self.shared.ended.wait();
    }

    /// Unmounts; see [`Unmounter::unmount`].
    pub fn unmount(&self) -> Result<bool> {
        self.unmounter().unmount()
    }

    /// What unmounts from another thread, such as one that waits for signals.
    #[must_use]
    pub fn unmounter(&self) -> Unmounter {
        Unmounter(Arc::clone(&self.shared))
    }

    /// Where it is mounted, as an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// How many requests of each kind came so far.
    #[must_use]
    pub fn counts(&self) -> &RequestCounts {
        &self.shared.counts
    }
}

impl Unmounter {
    /// Takes the mount off its directory, waits a little for those who have files open in it, and
    /// then cuts them off: files that they have not closed are dropped. Returns whether the
    /// session has ended; if not, it ends with the process.
    pub fn unmount(&self) -> Result<bool> {
        let shared = &self.0;
        if shared.ended.is_set() {
            return Ok(true);
        }
        if mount_at(&shared.path) == shared.minor {
            detach(&shared.path).map_err(|error| {
                refused(&shared.path, format!("it cannot be unmounted: {error}"))
            })?;
        }
        if shared.ended.wait_for(PATIENCE) {
            return Ok(true);
        }
        log::warn!("{} is still in use; open files are cut off", shared.path.display());
        let Some(minor) = shared.minor else { return Ok(false) };
        if let Err(error) = abort(minor) {
            log::debug!("the connection cannot be cut before the process ends: {error}");
            return Ok(false);
        }
        Ok(shared.ended.wait_for(PATIENCE))
    }
}

fn fs_options(options: &MountOptions) -> FsOptions {
    let owner = Caller {
        uid: options.top_owner.unwrap_or_else(|| nix::unistd::geteuid().as_raw()),
        gid: options.top_group.unwrap_or_else(|| nix::unistd::getegid().as_raw()),
    };
    FsOptions {
        read_only: options.read_only,
        owner,
        top_permissions: options.top_permissions.unwrap_or(0o755),
        umask: options.umask,
        table_settings: options.table_settings,
    }
}

fn config(options: &MountOptions, read_only: bool, roots: &[PathBuf]) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(source_name(options.source.as_deref(), roots)),
        // As a plain option, for it reaches the kernel also when the mount is made by root.
        MountOption::CUSTOM("subtype=littfs".to_owned()),
        MountOption::NoSuid,
        MountOption::NoDev,
    ];
    // Costs a GETATTR of the folder after every creation in it: the kernel drops all attributes of
    // a changed folder and needs its mode again.
    if options.allow_other || options.default_permissions {
        config.mount_options.push(MountOption::DefaultPermissions);
    }
    if options.no_exec {
        config.mount_options.push(MountOption::NoExec);
    }
    if read_only {
        config.mount_options.push(MountOption::RO);
    }
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(options.threads.unwrap_or_else(default_threads).max(1));
    config.clone_fd = true;
    config
}

/// Some requests wait for a drive, so there are more threads than cores.
fn default_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (2 * cores).clamp(4, 16)
}

/// Keeps the device from getting one of the first three descriptors, when those are closed.
fn plug_standard_streams() -> io::Result<Vec<File>> {
    let mut plugs = Vec::new();
    loop {
        let plug = File::open("/dev/null")?;
        if plug.as_raw_fd() > 2 {
            return Ok(plugs);
        }
        plugs.push(plug);
    }
}
