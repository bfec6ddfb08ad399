//! The process that serves a mount: from opening the database to closing it.

use std::fs::{DirEntry, OpenOptions};
use std::io::Write;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use littfs::config::Config;
use littfs::fuse::{Mount, MountOptions};
use littfs::{Db, LOG_FILE_NAME};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::database::Access;
use super::log_file::LogFile;
use super::mount_plan::MountPlan;
use super::signals::Signals;
use super::{EXIT_USAGE, Failure, Outcome, database, fail, notify, say};

/// What the background mount writes when it can be used.
pub(super) const READY: &str = "ready\n";
/// How long a mount that is told to end may take to do so with files still open in it.
const END_WAIT: Duration = Duration::from_secs(10);

/// Where a background mount logs to.
pub(super) fn log_path(config: &Config) -> PathBuf {
    match (&config.log_file, config.roots.first()) {
        (Some(file), _) => file.clone(),
        (None, Some(root)) => root.join(LOG_FILE_NAME),
        (None, None) => PathBuf::from(LOG_FILE_NAME),
    }
}

/// Serves in this process until the mount ends.
pub(super) fn serve_in_foreground(plan: &MountPlan) -> Outcome {
    let mounted = || {
        notify::tell(notify::READY);
        Ok(())
    };
    serve(plan, mounted, || notify::tell(notify::STOPPING))
}

/// Serves as the background mount: whatever goes wrong before it can be used goes to stdout,
/// where the starter reads it.
pub(super) fn serve_in_background(plan: impl FnOnce() -> Result<MountPlan, Failure>) -> Outcome {
    close_inherited();
    let served = plan().and_then(|plan| {
        let log = match &plan.config.log_file {
            Some(file) => LogFile::at(file)?,
            None => LogFile::later(log_path(&plan.config)),
        };
        log.install();
        std::env::set_current_dir("/").or_else(|error| fail(format!("cannot enter /: {error}")))?;
        let mut detached = false;
        let mounted = || {
            // Own session: no signals from the terminal of the starter. Not before the mount is
            // made: autofs makes everybody wait for it who is not of the group of processes that
            // mounts, which mount(8) and its helpers share.
            nix::unistd::setsid()
                .or_else(|error| fail(format!("cannot leave the session: {error}")))?;
            report(READY);
            detached = true;
            detach(&log)
        };
        let outcome = serve(&plan, mounted, || {});
        match outcome {
            // The starter is gone; what ended the mount belongs into the log.
            Err(Failure::Message(message)) if detached => {
                log::error!("{message}");
                Ok(ExitCode::from(EXIT_USAGE))
            }
            outcome => outcome,
        }
    });
    if let Err(Failure::Message(message)) = served {
        report(&format!("{}\n", message.replace('\n', " ")));
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    served
}

/// Closes what the starter's shell had open beyond the three standard streams: a lock of its script
/// must not last as long as the mount, nor another mount be kept busy by it. To be called before
/// anything is opened here.
fn close_inherited() {
    // Without /proc nothing can be listed, and nothing else would work either.
    let Ok(listed) = std::fs::read_dir("/proc/self/fd") else { return };
    let number = |entry: DirEntry| entry.file_name().to_str()?.parse::<RawFd>().ok();
    let inherited: Vec<RawFd> = listed.flatten().filter_map(number).collect();
    for descriptor in inherited.into_iter().filter(|number| *number > 2) {
        // The one it was listed by is closed already.
        nix::unistd::close(descriptor).unwrap_or_default();
    }
}

/// Tells the starter. When it is gone there is nobody to tell.
fn report(message: &str) {
    let mut stdout = std::io::stdout().lock();
    drop(stdout.write_all(message.as_bytes()).and_then(|()| stdout.flush()));
}

/// Lets go of the starter's stdout and stderr, so that whoever reads them sees their end.
fn detach(log: &LogFile) -> Result<(), Failure> {
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .or_else(|error| fail(format!("cannot open /dev/null: {error}")))?;
    let stderr = log.open().or_else(|error| {
        say(&format!("note: there will be no log: {error}"));
        null.try_clone()
    });
    let stderr = stderr.or_else(|error| fail(format!("cannot copy a descriptor: {error}")))?;
    nix::unistd::dup2_stderr(stderr)
        .and_then(|()| nix::unistd::dup2_stdin(&null))
        .and_then(|()| nix::unistd::dup2_stdout(&null))
        .or_else(|error| fail(format!("cannot let go of the terminal: {error}")))
}

/// Opens, mounts, calls `mounted`, serves, calls `ending` when that is over, closes.
fn serve(
    plan: &MountPlan,
    mounted: impl FnOnce() -> Result<(), Failure>,
    ending: impl FnOnce(),
) -> Outcome {
    let signals = Signals::watch()?;
    raise_descriptor_limit();
    let access = if plan.options.read_only { Access::Read } else { Access::Write };
    let db = Db::open(database::open_options(&plan.config, access, plan.options.degraded))?;
    let mount = Mount::new(&db, &plan.mountpoint, &mount_options(plan))?;
    let (ended, is_ended) = channel::<()>();
    let unmounter = mount.unmounter();
    let closing = db.clone();
    signals.on_end(move || {
        // Which mount is meant is known there: by now another may be on the same directory.
        if let Err(error) = unmounter.unmount() {
            log::warn!("{error}; it stays behind as a dead mount");
        }
        close_when_it_lasts(&is_ended, &closing);
    });
    mounted()?;
    log::info!("{} is mounted, littfs {}", plan.mountpoint.display(), env!("CARGO_PKG_VERSION"));
    mount.join();
    ending();
    drop(ended);
    log::info!("{} is unmounted", plan.mountpoint.display());
    db.close()?;
    Ok(ExitCode::SUCCESS)
}

/// Takes as many descriptors as are allowed: files that clients keep open take one each when they
/// are large, and the usual 1024 are meant for programs that are no file system.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_soft, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        log::info!("the limit of open files stays as it is: {error}");
    }
}

fn mount_options(plan: &MountPlan) -> MountOptions {
    let MountPlan { config, options, source, .. } = plan;
    MountOptions {
        read_only: options.read_only,
        allow_other: options.allow_other,
        default_permissions: options.default_permissions,
        no_exec: options.no_exec,
        source: source.clone(),
        top_owner: options.uid,
        top_group: options.gid,
        top_permissions: options.top_permissions(),
        umask: options.umask.unwrap_or(0),
        threads: Some(config.threads),
        table_settings: config.table,
    }
}

/// A mount that was taken away lives on in the kernel as long as programs have files open there.
/// They had their time; everything stored is made durable and the process ends.
fn close_when_it_lasts(is_ended: &Receiver<()>, db: &Db) {
    if is_ended.recv_timeout(END_WAIT) == Err(RecvTimeoutError::Disconnected) {
        return;
    }
    log::warn!("files are still open after {} s; ending without them", END_WAIT.as_secs());
    let code = match db.close() {
        Ok(()) => 0,
        Err(error) => {
            log::error!("{error}");
            i32::from(EXIT_USAGE)
        }
    };
    std::process::exit(code);
}
