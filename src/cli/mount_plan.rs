//! What was typed for a mount, understood: arguments, the words behind `-o` and the configuration
//! file, put together.

use std::path::PathBuf;

use littfs::config::Config;
use littfs::config::mount_options::{self, Options, Unknown};

use super::args::MountArguments;
use super::{Failure, database, fail};

/// A mount to be made.
#[derive(Clone, Debug)]
pub(super) struct MountPlan {
    pub(super) config: Config,
    pub(super) options: Options,
    pub(super) mountpoint: PathBuf,
    /// What the mount table shows as the source, when it is not the first root.
    pub(super) source: Option<String>,
}

impl MountPlan {
    pub(super) fn new(arguments: &MountArguments) -> Result<Self, Failure> {
        let unknown = if arguments.sloppy { Unknown::Ignored } else { Unknown::Refused };
        let mut options =
            mount_options::parse(&arguments.options, unknown).map_err(Failure::Message)?;
        if options.remount {
            return fail(
                "a mount is changed by `mount -o remount,ro` or `mount -o remount,rw`; \
                    everything else needs `littfs umount` and a new mount",
            );
        }
        options.degraded |= arguments.database.degraded;
        let mut database = arguments.database.clone();
        database.roots.append(&mut options.roots);
        database.config = database.config.or(options.config.take());
        let mut config = database::configuration(&database)?;
        if let Some(interval) = options.flush_interval {
            config.engine.flush_interval = interval;
        }
        if let Some(threads) = options.threads {
            config.threads = threads;
        }
        if let Some(file) = &arguments.log_file {
            config.log_file = Some(database::absolute(file)?);
        }
        let mountpoint = database::absolute(&arguments.mountpoint)?;
        Ok(Self { config, options, mountpoint, source: arguments.source.clone() })
    }
}
