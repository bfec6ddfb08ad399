//! `mount.littfs` and `umount.fuse.littfs`: the names under which mount(8) and umount(8) start this
//! program, for `/etc/fstab`, `mount -t littfs` and `umount`. Both are links to it.
//!
//! The source is what mount(8) shows and compares, so `mount -a` sees what is mounted already. A
//! word such as `littfs` in its place says nothing; then the first root is shown, and mounting the
//! same again is no mistake.
//!
//! Exit codes are those of mount(8): 1 usage, 2 system, 32 it cannot be mounted.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use littfs::config::mount_options::{self, Options, Unknown};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, umount2};

use super::args::{DatabaseArguments, MountArguments};
use super::mount_plan::MountPlan;
use super::mountinfo::Mounted;
use super::{Failure, explain_as, fail, mount, preflight, say, umount};

const EXIT_USAGE: u8 = 1;
const EXIT_SYSTEM: u8 = 2;
const EXIT_MOUNT: u8 = 32;

/// A name that no table can have: making it fails, and how tells whether anything can be made.
const IMPOSSIBLE_TABLE: &str = ".remount";

const MOUNT_EXAMPLES: &str = "\
Examples:
  mount -t littfs /mnt/a/litt /srv/litt
  mount -t littfs -o ro,allow_other /mnt/a/litt:/mnt/b/litt /srv/litt
  mount -t littfs -o remount,ro /srv/litt

Lines of /etc/fstab:
  /mnt/a/litt:/mnt/b/litt  /srv/litt  littfs  allow_other,x-systemd.requires-mounts-for=/mnt/a  0 0
  /etc/littfs.toml         /srv/litt  littfs  allow_other,nofail  0 0

The root directories must exist; empty ones become a new database, or join the others. \
`littfs mount --help` explains the options.";

/// What mount(8) passes.
#[derive(Debug, Parser)]
#[command(name = "mount.littfs", version, about = "Mount a littfs database; started by mount(8)")]
#[command(after_help = MOUNT_EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
struct MountHelper {
    /// Root directories joined with ':', or a configuration file; any word when the options have
    /// root= or config=
    source: OsString,
    /// The directory to mount on
    directory: PathBuf,
    /// Mount options, separated by commas
    #[arg(short = 'o', value_name = "OPT,...")]
    options: Vec<String>,
    /// Ignore unknown options
    #[arg(short)]
    sloppy: bool,
    /// Check what was asked for, but mount nothing
    #[arg(short)]
    fake: bool,
    /// Say more
    #[arg(short)]
    verbose: bool,
    /// Accepted for mount(8): there is no table of mounts to write
    #[arg(short)]
    no_mtab: bool,
    /// Accepted for mount(8): there is one type only
    #[arg(short = 't', value_name = "TYPE")]
    kind: Option<String>,
}

/// What umount(8) passes.
#[derive(Debug, Parser)]
#[command(name = "umount.fuse.littfs", version, about = "Unmount littfs; started by umount(8)")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
struct UmountHelper {
    /// Where the database is mounted
    directory: PathBuf,
    /// Cut off what waits for the mount
    #[arg(short)]
    force: bool,
    /// Take it out of the tree now, let it end when nothing uses it any more
    #[arg(short)]
    lazy: bool,
    /// When it is busy, make it read-only
    #[arg(short)]
    read_only: bool,
    /// Accepted for umount(8)
    #[arg(short)]
    verbose: bool,
    /// Accepted for umount(8): there is no table of mounts to write
    #[arg(short)]
    no_mtab: bool,
    /// Accepted for umount(8): there is one type only
    #[arg(short = 't', value_name = "TYPE")]
    kind: Option<String>,
}

/// Runs `mount.littfs`.
pub(super) fn mount() -> ExitCode {
    let helper = match MountHelper::try_parse() {
        Ok(helper) => helper,
        Err(error) => return explain_as(&error, "mount.littfs", EXIT_USAGE),
    };
    match run_mount(&helper) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, failure)) => refuse(code, failure),
    }
}

/// Runs `umount.fuse.littfs`.
pub(super) fn umount() -> ExitCode {
    let helper = match UmountHelper::try_parse() {
        Ok(helper) => helper,
        Err(error) => return explain_as(&error, "umount.fuse.littfs", EXIT_USAGE),
    };
    match run_umount(&helper) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => refuse(EXIT_MOUNT, failure),
    }
}

fn refuse(code: u8, failure: Failure) -> ExitCode {
    if let Failure::Message(message) = failure {
        say(&message);
    }
    ExitCode::from(code)
}

fn run_mount(helper: &MountHelper) -> Result<(), (u8, Failure)> {
    let usage = |failure| (EXIT_USAGE, failure);
    let parse = |unknown| {
        mount_options::parse(&helper.options, unknown).map_err(Failure::Message).map_err(usage)
    };
    let unmountable = |failure| (EXIT_MOUNT, failure);
    let unknown = if helper.sloppy { Unknown::Ignored } else { Unknown::Refused };
    // Of a remount mount(8) hands over all options there are, those of the kernel included.
    let options = parse(Unknown::Ignored)?;
    if options.remount {
        let mounted = umount::find(&helper.directory).map_err(unmountable)?;
        let done = if helper.fake { Ok(()) } else { remount(&mounted, &options) };
        return done.map_err(unmountable);
    }
    parse(unknown)?;
    let arguments = understand(helper, &options).map_err(usage)?;
    let plan = MountPlan::new(&arguments).map_err(usage)?;
    if helper.fake {
        return Ok(());
    }
    if arguments.source.is_none() && is_mounted_already(&plan) {
        if helper.verbose {
            say(&format!("{} is mounted already", plan.mountpoint.display()));
        }
        return Ok(());
    }
    let plan = preflight::check(plan).map_err(unmountable)?;
    let child = mount::start(&arguments).map_err(|failure| (EXIT_SYSTEM, failure))?;
    mount::wait_for_answer(child, &plan).map_err(unmountable)?;
    Ok(())
}

/// What mount(8) has typed, in the words of `littfs mount`.
fn understand(helper: &MountHelper, options: &Options) -> Result<MountArguments, Failure> {
    let mut database = DatabaseArguments::default();
    let source = &helper.source;
    let mut shown = Some(source.to_string_lossy().into_owned());
    if !source.as_bytes().contains(&b'/') {
        if options.roots.is_empty() && options.config.is_none() {
            return fail(format!(
                "the source {} names no data: give root directories such as /mnt/a/litt:/mnt/b/litt \
                    or a configuration file, or root=DIR or config=FILE among the options",
                source.display()
            ));
        }
        shown = None;
    } else if let Ok(real) = fs::canonicalize(source) {
        // As mount(8) compares it.
        shown = Some(real.to_string_lossy().into_owned());
        if real.is_file() {
            database.config = Some(real);
        } else {
            database.roots = vec![real];
        }
    } else {
        database.roots = roots_in(source)?;
    }
    let mut mount_options = helper.options.clone();
    mount_options.push("existing_roots".to_owned());
    Ok(MountArguments {
        database,
        foreground: false,
        options: mount_options,
        log_file: None,
        source: shown,
        sloppy: helper.sloppy,
        background_child: false,
        mountpoint: helper.directory.clone(),
    })
}

fn roots_in(source: &OsStr) -> Result<Vec<PathBuf>, Failure> {
    let parts = source.as_bytes().split(|byte| *byte == b':');
    let roots: Vec<PathBuf> = parts.map(|part| PathBuf::from(OsStr::from_bytes(part))).collect();
    match roots.iter().find(|root| !root.is_absolute()) {
        None => Ok(roots),
        Some(root) => fail(format!(
            "the source {} has the part {:?}, which is no absolute directory name",
            source.display(),
            root.display().to_string()
        )),
    }
}

/// Whether this database is on this directory, as it was asked for.
fn is_mounted_already(plan: &MountPlan) -> bool {
    let Ok(mounted) = umount::find(&plan.mountpoint) else { return false };
    let of = |path: &Path| preflight::real_path(path);
    mounted.has_option("ro") == plan.options.read_only
        && umount::first_root(&mounted.source).map(|root| of(&root))
            == plan.config.roots.first().map(|root| of(root))
}

/// Makes a mount read-only or writable. The kernel does it; the daemon goes on as it was.
fn remount(mounted: &Mounted, options: &Options) -> Result<(), Failure> {
    let shown = mounted.mountpoint.display();
    let set = |read_only: bool| {
        let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        flags.set(MsFlags::MS_NOEXEC, options.no_exec || mounted.has_option("noexec"));
        flags.set(MsFlags::MS_RDONLY, read_only);
        nix::mount::mount(None::<&str>, &mounted.mountpoint, None::<&str>, flags, None::<&str>)
    };
    match set(options.read_only) {
        Ok(()) => {}
        Err(Errno::EBUSY) => {
            return fail(format!(
                "{shown} is busy: files in it are being written; `fuser -vm {shown}` shows by whom"
            ));
        }
        Err(error) => return fail(format!("cannot remount {shown}: {error}")),
    }
    if options.read_only {
        return Ok(());
    }
    let refused = fs::create_dir(mounted.mountpoint.join(IMPOSSIBLE_TABLE)).err();
    if refused.is_some_and(|error| error.kind() == std::io::ErrorKind::ReadOnlyFilesystem) {
        set(true).or_else(|error| fail(format!("cannot remount {shown}: {error}")))?;
        return fail(format!(
            "{shown} was mounted read-only and stays so; unmount it and mount it again without ro"
        ));
    }
    Ok(())
}

fn run_umount(helper: &UmountHelper) -> Result<(), Failure> {
    let mounted = umount::find(&helper.directory)?;
    let shown = mounted.mountpoint.display();
    if helper.lazy {
        return if umount::detach(&mounted.mountpoint) {
            Ok(())
        } else {
            fail(format!("cannot unmount {shown}"))
        };
    }
    if helper.force {
        // What waits for an answer gets an error, so that it no longer keeps the mount busy.
        umount2(&mounted.mountpoint, MntFlags::MNT_FORCE | MntFlags::UMOUNT_NOFOLLOW)
            .or_else(|error| fail(format!("cannot unmount {shown}: {error}")))?;
    } else if let Err(busy) = umount::unmount(&mounted.mountpoint) {
        if helper.read_only {
            let options = Options { read_only: true, ..Options::default() };
            return remount(&mounted, &options);
        }
        return Err(busy);
    }
    umount::wait_for_end(&mounted)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understood(arguments: &[&str]) -> Result<MountArguments, String> {
        let helper = MountHelper::try_parse_from([&["mount.littfs"], arguments].concat());
        let helper = helper.map_err(|error| error.to_string())?;
        let options = mount_options::parse(&helper.options, Unknown::Ignored)?;
        understand(&helper, &options).map_err(|failure| match failure {
            Failure::Message(message) => message,
            Failure::Closed => "closed".to_owned(),
        })
    }

    #[test]
    fn sources_name_roots_or_a_configuration_file() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let base = folder.path().canonicalize().expect("real path");
        let at = |name: &str| base.join(name).to_str().expect("text").to_owned();
        fs::create_dir(at("a:b")).expect("mkdir");
        fs::write(at("c.toml"), "").expect("write");
        std::os::unix::fs::symlink("a:b", at("link")).expect("symlink");

        let of = |source: &str| understood(&[source, "/m", "-o", "rw"]).expect("understood");
        let several = of("/x/a:/x/b");
        assert_eq!(several.database.roots, [Path::new("/x/a"), Path::new("/x/b")]);
        assert_eq!(several.source.as_deref(), Some("/x/a:/x/b"));
        assert_eq!(several.options, ["rw", "existing_roots"]);
        for name in ["a:b", "link"] {
            let one = of(&at(name));
            assert_eq!(
                one.database.roots,
                [base.join("a:b")],
                "a colon in a directory that exists"
            );
            assert_eq!(one.source, Some(at("a:b")));
        }
        assert_eq!(of(&at("c.toml")).database.config, Some(base.join("c.toml")));
    }

    #[test]
    fn words_need_roots_among_the_options() {
        let word = understood(&["littfs", "/m", "-o", "root=/x"]).expect("understood");
        assert_eq!((word.source, word.database.roots.len()), (None, 0));
        assert!(understood(&["none", "/m"]).expect_err("nothing").contains("names no data"));
        for source in ["a/b", "/a:b/", "/a:"] {
            let message = understood(&[source, "/m"]).expect_err(source);
            assert!(message.contains("no absolute directory name"), "{message}");
        }
    }

    #[test]
    fn the_forms_of_mount_are_understood() {
        for rest in [&["-sfnv"][..], &["-t", "fuse.littfs", "-o", "ro", "-o", "rw"], &["-n"]] {
            understood(&[&["/x", "/m"], rest].concat()).expect("understood");
        }
        assert!(UmountHelper::try_parse_from(["u", "/m", "-flnrv", "-t", "fuse.littfs"]).is_ok());
    }
}
