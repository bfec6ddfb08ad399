//! How fast a mount is, against a mount that does nothing and against the drive's own file system.
//!
//! Run as root with `cargo bench --bench mount [-- FILES [MIB [DIRECTORY]]]`. Small files are
//! created, read with cold kernel caches, and read again, by turns in a littfs mount and in that
//! of `null_fs.rs`. One large file is written and read cold, by turns in the littfs mount and
//! beside it. Both mounts are served by processes of their own, as in real use.
//!
//! `cargo bench --bench mount -- --listing [FILES [DIRECTORY]]` lists one large folder instead
//! (`listing.rs`).
#![allow(clippy::print_stdout, reason = "the report of a bench")]

mod listing;
mod null_fs;

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

type Outcome<T> = Result<T, Box<dyn Error>>;

const ROUNDS: usize = 5;
const LARGE_ROUNDS: usize = 3;
const FILE_BYTES: usize = 4096;
const THREADS: usize = 4;
const CHUNK_BYTES: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(10);
/// This program is started again with it to serve the file system that does nothing.
const SERVE_NULL: &str = "--serve-null";
const LISTING: &str = "--listing";
const LISTED_FILES: usize = 1_000_000;

fn main() -> Outcome<()> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [first, mountpoint] = arguments.as_slice()
        && first == SERVE_NULL
    {
        return Ok(null_fs::serve(Path::new(mountpoint), THREADS)?);
    }
    if !nix::unistd::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        println!("NOT MEASURED: mounting for this bench takes root and /dev/fuse");
        return Ok(());
    }
    let is_listing = arguments.first().is_some_and(|first| first == LISTING);
    let mut arguments = arguments.iter().skip(usize::from(is_listing));
    if is_listing {
        let files = arguments.next().map_or(Ok(LISTED_FILES), |files| files.parse::<usize>())?;
        let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
        let scratch = tempfile::tempdir_in(parent)?;
        return listing::measure(&Served::littfs(scratch.path())?, scratch.path(), files);
    }
    let files = arguments.next().map_or(Ok(5000), |files| files.parse::<usize>())?;
    let mib = arguments.next().map_or(Ok(1024), |mib| mib.parse::<usize>())?;
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let scratch = tempfile::tempdir_in(parent)?;
    let litt = Served::littfs(scratch.path())?;
    let null = Served::null(scratch.path())?;
    small_files(&litt, &null, files)?;
    large_file(&litt, scratch.path(), mib)
}

/// A mount and the process that serves it.
struct Served {
    mountpoint: PathBuf,
    server: Child,
}

impl Served {
    fn littfs(scratch: &Path) -> Outcome<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_littfs"));
        command.args(["mount", "--foreground", "-o", &format!("threads={THREADS}"), "--root"]);
        command.arg(scratch.join("root")).env("RUST_LOG", "warn");
        Self::start(command, scratch.join("littfs"))
    }

    fn null(scratch: &Path) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(SERVE_NULL);
        Self::start(command, scratch.join("null"))
    }

    /// Starts the server and waits until the mount answers; makes a folder in it for the files.
    fn start(mut command: Command, mountpoint: PathBuf) -> Outcome<Self> {
        fs::create_dir(&mountpoint)?;
        let server = command.arg(&mountpoint).stdin(Stdio::null()).spawn()?;
        let mut mounted = Self { mountpoint, server };
        let start = Instant::now();
        while !mounted.is_mounted()? {
            if let Some(status) = mounted.server.try_wait()? {
                return Err(format!("the server of a mount has ended: {status}").into());
            }
            if start.elapsed() > PATIENCE {
                return Err("a mount does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        fs::create_dir(mounted.folder())?;
        Ok(mounted)
    }

    fn is_mounted(&self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let parent = self.mountpoint.parent().unwrap_or(Path::new("/"));
        Ok(fs::metadata(&self.mountpoint)?.dev() != fs::metadata(parent)?.dev())
    }

    fn folder(&self) -> PathBuf {
        self.mountpoint.join("bench")
    }

    fn server_id(&self) -> u32 {
        self.server.id()
    }

    /// Makes the kernel forget names, attributes and pages of this mount, and of no other.
    fn forget(&self) -> Outcome<()> {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(None::<&str>, &self.mountpoint, None::<&str>, flags, None::<&str>)?;
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.mountpoint, MntFlags::MNT_DETACH) {
            println!("{}: {error}", self.mountpoint.display());
        }
        if let Err(error) = self.server.wait() {
            println!("{}: {error}", self.mountpoint.display());
        }
    }
}

/// Seconds per round of one kind of work, on both sides.
#[derive(Default)]
struct Pairs {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Pairs {
    /// The seconds of one round on our side (0) or on the other.
    fn note(&mut self, side: usize, seconds: f64) {
        if side == 0 { &mut self.ours } else { &mut self.theirs }.push(seconds);
    }

    fn report(&self, what: &str, count: usize, unit: &str, against: &str) {
        let ratios: Vec<f64> = self.ours.iter().zip(&self.theirs).map(|(a, b)| b / a).collect();
        let per_second = |seconds: &[f64]| float(count) / median(seconds);
        println!(
            "{what:34} {:>8.0} {unit}, {against} {:>8.0} {unit}, ratio {:.2}",
            per_second(&self.ours),
            per_second(&self.theirs),
            median(&ratios)
        );
    }
}

/// The middle of the values, the upper one of two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

#[expect(clippy::cast_precision_loss, reason = "a report with three digits")]
fn float(count: usize) -> f64 {
    count as f64
}

fn seconds(work: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

fn small_files(litt: &Served, null: &Served, files: usize) -> Outcome<()> {
    let (mut write, mut cold, mut warm) = (Pairs::default(), Pairs::default(), Pairs::default());
    for round in 0..ROUNDS {
        for (served, is_ours) in [(litt, true), (null, false)] {
            let names: Vec<PathBuf> =
                (0..files).map(|file| served.folder().join(format!("{round}-{file:08}"))).collect();
            let note = |pairs: &mut Pairs, seconds: f64| {
                pairs.note(usize::from(!is_ours), seconds);
            };
            note(&mut write, seconds(|| create_all(&names))?);
            served.forget()?;
            note(&mut cold, seconds(|| read_all(&names))?);
            note(&mut warm, seconds(|| read_all(&names))?);
        }
    }
    write.report("create, write 4 KiB, close", files, "files/s", "null");
    cold.report("open, read 4 KiB, close, cold", files, "files/s", "null");
    warm.report("open, read 4 KiB, close, warm", files, "files/s", "null");
    Ok(())
}

fn create_all(names: &[PathBuf]) -> Outcome<()> {
    let content = [0x6c; FILE_BYTES];
    for name in names {
        let mut file = OpenOptions::new().write(true).create_new(true).open(name)?;
        file.write_all(&content)?;
    }
    Ok(())
}

fn read_all(names: &[PathBuf]) -> Outcome<()> {
    let mut content = [0; FILE_BYTES];
    for name in names {
        File::open(name)?.read_exact(&mut content)?;
    }
    Ok(())
}

fn large_file(litt: &Served, scratch: &Path, mib: usize) -> Outcome<()> {
    let (mut write, mut read) = (Pairs::default(), Pairs::default());
    for round in 0..LARGE_ROUNDS {
        let ours = litt.folder().join(format!("large-{round}"));
        let theirs = scratch.join(format!("large-{round}"));
        write.ours.push(seconds(|| write_large(&ours, mib))?);
        write.theirs.push(seconds(|| write_large(&theirs, mib))?);
        litt.forget()?;
        forget_pages(scratch)?;
        read.ours.push(seconds(|| read_large(&ours, mib))?);
        forget_pages(scratch)?;
        read.theirs.push(seconds(|| read_large(&theirs, mib))?);
        fs::remove_file(&theirs)?;
    }
    write.report("write one large file and fsync", mib, "MiB/s", "plain");
    read.report("read one large file, cold", mib, "MiB/s", "plain");
    Ok(())
}

fn write_large(path: &Path, mib: usize) -> Outcome<()> {
    let chunk = vec![0x6c; CHUNK_BYTES];
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    for _ in 0..mib {
        file.write_all(&chunk)?;
    }
    file.sync_all()?;
    Ok(())
}

fn read_large(path: &Path, mib: usize) -> Outcome<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut file = File::open(path)?;
    for _ in 0..mib {
        file.read_exact(&mut chunk)?;
    }
    Ok(())
}

/// Makes the kernel forget the pages of the files below a directory, mounts left out.
fn forget_pages(dir: &Path) -> Outcome<()> {
    use std::os::unix::fs::MetadataExt;
    let device = fs::metadata(dir)?.dev();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let metadata = fs::metadata(&path)?;
        if metadata.dev() != device {
            continue;
        }
        if metadata.is_dir() {
            forget_pages(&path)?;
        } else {
            let file = File::open(&path)?;
            posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        }
    }
    Ok(())
}
