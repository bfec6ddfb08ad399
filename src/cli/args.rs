//! What may be typed. No meaning is given to it here.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const ABOUT: &str = "Files that are written once and expire";

const LONG_ABOUT: &str = "\
littfs keeps very many files that are written once and never change, and drops them when their \
time is up. It is mounted as a folder: every folder in it is a table with its own time to live, \
and cp, cat, tar, rsync and every other program use it as it is.

A database lives in one or more root directories (--root), usually one on each drive. Without \
--root and without a configuration file it lives in $XDG_DATA_HOME/littfs, or \
~/.local/share/littfs.";

const EXAMPLES: &str = "\
Examples:
  mkdir -p ~/litt && littfs mount ~/litt     mount the default database
  mkdir ~/litt/logs                          make a table
  setfattr -n user.littfs.ttl -v 7d ~/litt/logs
                                             its files disappear after seven days
  cp -r /var/log/app ~/litt/logs/            store files
  littfs umount ~/litt                       make everything durable and end the mount

Exit codes: 0 good, 1 `check` found something wrong, 2 wrong usage or environment.
Environment: RUST_LOG sets what is logged (error, warn, info, debug, trace).";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "littfs", version, about = ABOUT, long_about = LONG_ABOUT, after_help = EXAMPLES)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Mount the database as a folder
    #[command(long_about = MOUNT_HELP)]
    Mount(MountArguments),
    /// Make everything durable and end a mount
    Umount(UmountArguments),
    /// List the tables
    Ls(ListArguments),
    /// Show drives, settings and sizes
    Info(TableArguments),
    /// Verify every stored byte against its checksum, and mend what can be mended
    Check(CheckArguments),
    /// Store one value, from a file or from standard input
    Put(PutArguments),
    /// Write one value to standard output
    Get(GetArguments),
    /// List the keys of a table, in order
    Keys(KeysArguments),
    /// Measure how fast this machine stores and reads values
    #[command(long_about = BENCH_HELP)]
    Bench(BenchArguments),
}

/// Which database.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct DatabaseArguments {
    /// A root directory of the database; give it once for each root, in any order
    #[arg(long = "root", value_name = "DIR")]
    pub(crate) roots: Vec<PathBuf>,
    /// Read roots and limits from this TOML file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Open read-only although roots are missing; what they hold cannot be read until they are back
    #[arg(long)]
    pub(crate) degraded: bool,
}

const MOUNT_HELP: &str = "\
Mounts the database on MOUNTPOINT, an existing directory, and returns when the mount answers. \
The database is made when the roots are empty or do not exist yet; an empty root given beside \
existing ones joins them. The mount goes on in the background until `littfs umount`, \
`fusermount3 -u`, SIGTERM or SIGINT, which make everything durable first.

Options for -o, separated by commas:
  ro                    refuse every change
  rw                    allow changes (default)
  allow_other           let other users in; the kernel then enforces owner and mode
                        (users other than root need user_allow_other in /etc/fuse.conf)
  default_permissions   let the kernel enforce owner and mode also for yourself
  uid=USER, gid=GROUP   who owns the top folder, in which tables are made; a table belongs to
                        whoever makes it [default: the user that mounts]
  mode=OCTAL            the permissions of the top folder [default: 0755]; with 1777 every user
                        may make tables and remove only their own
  umask=OCTAL           permissions that nothing new gets, besides the umask of its maker;
                        without mode= the top folder has what this leaves of 0777
  noexec                let no program in the mount be run
  root=DIR              the same as --root
  config=FILE           the same as --config
  degraded              the same as --degraded
  existing_roots        refuse a root that does not exist (is its drive mounted?) instead of
                        making it
  threads=N             threads that serve the mount
  flush=DURATION        how often what was stored is made safe from power cuts, such as 1s
Options known from fstab that have no meaning here (defaults, noatime, nosuid, nodev, user, \
noauto, nofail, _netdev, x-...) are accepted and ignored. A value with commas goes between \
double quotes.

With the links that scripts/install makes, `mount -t littfs DIR[:DIR...] MOUNTPOINT` and \
/etc/fstab do the same; see docs/operations.md.";

fn mount_examples() -> String {
    format!(
        "\
Examples:
  littfs mount ~/litt
  littfs mount --root /mnt/a/litt --root /mnt/b/litt /srv/litt
  littfs mount --config /etc/littfs.toml -o ro,allow_other /srv/litt
  littfs mount -f ~/litt                     stay in the foreground, log to stderr

Entries of a configuration file, all of them optional:
{}",
        littfs::config::Config::describe_entries()
    )
}

/// Arguments of `mount`.
#[derive(Args, Debug)]
#[command(after_help = mount_examples())]
pub(crate) struct MountArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    /// Stay in the foreground and log to stderr
    #[arg(short, long)]
    pub(crate) foreground: bool,
    /// Mount options, separated by commas
    #[arg(short = 'o', value_name = "OPT,...")]
    pub(crate) options: Vec<String>,
    /// Where a mount in the background logs to [default: littfs.log in the first root]
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
    /// What the mount table shows as the source [default: the first root]
    #[arg(long, hide = true, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Ignore options that are not known, as mount(8) wants it with -s
    #[arg(long, hide = true)]
    pub(crate) sloppy: bool,
    /// Set by littfs itself: this process is the background mount, its stdout tells the starter
    #[arg(long, hide = true, conflicts_with = "foreground")]
    pub(crate) background_child: bool,
    /// The directory to mount on
    pub(crate) mountpoint: PathBuf,
}

impl MountArguments {
    /// The command line of the background mount that these arguments ask for.
    pub(crate) fn in_background(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["mount".into(), "--background-child".into()];
        let mut add = |name: &str, value: &OsStr| words.extend([name.into(), value.to_owned()]);
        for root in &self.database.roots {
            add("--root", root.as_os_str());
        }
        for option in &self.options {
            add("-o", option.as_ref());
        }
        if let Some(file) = &self.database.config {
            add("--config", file.as_os_str());
        }
        if let Some(file) = &self.log_file {
            add("--log-file", file.as_os_str());
        }
        if let Some(name) = &self.source {
            add("--source", name.as_ref());
        }
        let flags = [("--degraded", self.database.degraded), ("--sloppy", self.sloppy)];
        words.extend(flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag.into()));
        words.extend(["--".into(), self.mountpoint.clone().into_os_string()]);
        words
    }
}

/// Arguments of `umount`.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  littfs umount ~/litt\n\nReturns when everything is durable and \
    the roots are free for other commands."
)]
pub(crate) struct UmountArguments {
    /// Where the database is mounted
    pub(crate) mountpoint: PathBuf,
}

/// Arguments of `ls`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  littfs ls --json --root /mnt/a/litt")]
pub(crate) struct ListArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    /// Answer in JSON, for scripts
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `info`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  littfs info\n  littfs info logs")]
pub(crate) struct TableArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    /// Answer in JSON, for scripts
    #[arg(long)]
    pub(crate) json: bool,
    /// Only this table
    pub(crate) table: Option<String>,
}

const CHECK_HELP: &str = "\
Examples:
  littfs check
  littfs check --json logs
  littfs check --repair

Nothing may be mounted. Exits with 0 when all is good, with 1 when something is damaged or lost, with
2 when nothing could be checked. Without --repair nothing is changed. With it, what stands twice is
mended: root and table settings, key files, metadata, keymaps. Damaged values stay as they are. Every
file that is replaced is kept in the folder .replaced-N of its root, until you delete that.";

/// Arguments of `check`.
#[derive(Args, Debug)]
#[command(after_help = CHECK_HELP)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    /// Rebuild what can be rebuilt, then check
    #[arg(long, conflicts_with = "degraded")]
    pub(crate) repair: bool,
    /// Answer in JSON, for scripts
    #[arg(long)]
    pub(crate) json: bool,
    /// Only this table
    pub(crate) table: Option<String>,
}

/// Arguments of `put`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  littfs put logs 2026/11/app.log app.log\n  \
    pg_dump shop | littfs put dumps shop.sql\n\nThe table and the folders above the key are made \
    when they are missing. A key that exists is never overwritten.")]
pub(crate) struct PutArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    /// The table; made when missing
    pub(crate) table: String,
    /// The key, a path within the table
    pub(crate) key: OsString,
    /// Where the value comes from; standard input when absent or `-`
    pub(crate) file: Option<PathBuf>,
}

/// Arguments of `get`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  littfs get logs 2026/11/app.log | less")]
pub(crate) struct GetArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    /// The table
    pub(crate) table: String,
    /// The key, a path within the table
    pub(crate) key: OsString,
}

/// Arguments of `keys`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  littfs keys logs --prefix 2026/11/ --reverse | head")]
pub(crate) struct KeysArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    /// The table
    pub(crate) table: String,
    /// Only keys that start with this
    #[arg(long, value_name = "P")]
    pub(crate) prefix: Option<OsString>,
    /// From the last key to the first
    #[arg(long)]
    pub(crate) reverse: bool,
    /// Folders too; their keys end in a slash
    #[arg(long)]
    pub(crate) folders: bool,
    /// End each key with a zero byte instead of a newline
    #[arg(long, short = '0')]
    pub(crate) null: bool,
}

const BENCH_HELP: &str = "\
Measures how fast this machine stores and reads values, in a scratch database that is removed \
afterwards. What the file system itself can do is measured beside it, in turns, so that the ratio \
means something on any machine:

  puts        two pwrites for each value (its bytes, and 100 bytes to another file),
              then one fdatasync of both files
  gets        one pread of the value's length at a random place in the page cache
  large puts  pwrites of the same bytes one behind the other, then one fdatasync

Rates and ratios are medians over the rounds. Puts include the final flush.";

/// What `bench` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Store small values, then read them in random order
    PutGet,
    /// Store and read large values likewise, against plain sequential writing
    Large,
    /// Open a database that was closed cleanly
    Reopen,
    /// Open a database whose keymap was removed
    Rebuild,
    /// Let everything expire at once while somebody goes on writing
    Expire,
}

/// Arguments of `bench`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    littfs bench\n  \
    littfs bench --threads 2 --keys 1000000 --dir /mnt/a\n  \
    littfs bench --scenario large --value-bytes 64KiB --json\n  \
    littfs bench --scenario rebuild --keys 10000000")]
pub(crate) struct BenchArguments {
    /// What is measured
    #[arg(long, value_enum, default_value_t = Scenario::PutGet)]
    pub(crate) scenario: Scenario,
    /// How many values are stored [default: 300000; large: 16384; reopen, rebuild, expire: 1000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub(crate) keys: Option<u64>,
    /// Length of each value [default: 1KiB; large: 64KiB; reopen, rebuild, expire: 100]
    #[arg(long, value_name = "SIZE", value_parser = littfs::config::parse_bytes)]
    pub(crate) value_bytes: Option<u64>,
    /// Length of each key; keys look random
    #[arg(long, value_name = "N", default_value_t = 32)]
    #[arg(value_parser = clap::value_parser!(u16).range(16..=255))]
    pub(crate) key_bytes: u16,
    /// How many values are read, in random order [default: as many as are stored]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub(crate) reads: Option<u64>,
    /// Threads that store and read; with more than one, one alone is measured too
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: u16,
    /// Into how many rounds puts and gets are divided
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=99))]
    pub(crate) rounds: u16,
    /// Where the scratch database is made; the drive under it is what is measured [default: where
    /// the default database is]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Answer in JSON, for scripts
    #[arg(long)]
    pub(crate) json: bool,
    /// Set by littfs itself: open this database in a fresh process and report what that took
    #[arg(long, hide = true, value_name = "ROOT")]
    pub(crate) open_only: Option<PathBuf>,
}
