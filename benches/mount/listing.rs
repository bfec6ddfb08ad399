//! Listing one large folder, in a littfs mount and on an ext4 image of its own, by turns.
//!
//! Cold means that the kernel has forgotten names and inodes; of the image it has forgotten every
//! page as well. What the daemon takes of memory is shown beside.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::{Outcome, Pairs, Served, median, seconds};

const ROUNDS: usize = 3;
/// What an inode and its name take on the image, and more.
const IMAGE_BYTES_PER_FILE: u64 = 512;
const IMAGE_BYTES_MIN: u64 = 64 << 20;

/// An ext4 file system in a file, mounted.
struct Image {
    file: PathBuf,
    mountpoint: PathBuf,
}

impl Image {
    fn new(scratch: &Path, files: usize) -> Outcome<Self> {
        let image = Self { file: scratch.join("image"), mountpoint: scratch.join("ext4") };
        let bytes = IMAGE_BYTES_MIN + IMAGE_BYTES_PER_FILE * files as u64;
        File::create_new(&image.file)?.set_len(bytes)?;
        fs::create_dir(&image.mountpoint)?;
        let inodes = (files + 1000).to_string();
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-b", "4096", "-N", &inodes])
            .arg(&image.file))?;
        image.mount()?;
        fs::create_dir(image.folder())?;
        Ok(image)
    }

    fn folder(&self) -> PathBuf {
        self.mountpoint.join("bench")
    }

    fn mount(&self) -> Outcome<()> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.file).arg(&self.mountpoint))
    }

    /// Makes the kernel forget everything that is on the image.
    fn forget(&self) -> Outcome<()> {
        run(Command::new("umount").arg(&self.mountpoint))?;
        let file = File::open(&self.file)?;
        file.sync_all()?;
        posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        self.mount()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("umount").arg(&self.mountpoint)) {
            println!("{error}");
        }
    }
}

fn run(command: &mut Command) -> Outcome<()> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}

/// Fills a folder on both sides and lists it in every way.
pub(crate) fn measure(litt: &Served, scratch: &Path, files: usize) -> Outcome<()> {
    let image = Image::new(scratch, files)?;
    let folders = [litt.folder(), image.folder()];
    let forget = |side: usize| if side == 0 { litt.forget() } else { image.forget() };
    let mut create = [Pairs::default(), Pairs::default()];
    let tenth = files / 10;
    for (side, folder) in folders.iter().enumerate() {
        for part in 0..10 {
            let spent = seconds(|| {
                (part * tenth..(part + 1) * tenth).try_for_each(|number| {
                    // Not in the order of the names.
                    let name = format!("file-{:09}.dat", number * 7919 % (10 * tenth));
                    Ok(File::create_new(folder.join(name)).map(drop)?)
                })
            })?;
            if part == 0 {
                create[0].note(side, spent);
            } else if part == 9 {
                create[1].note(side, spent);
            }
        }
    }
    create[0].report("create, the first tenth", tenth, "files/s", "ext4");
    create[1].report("create, the last tenth", tenth, "files/s", "ext4");
    show_memory(litt, "all created")?;
    let ways: [(&str, bool, bool); 4] = [
        ("names, cold", true, false),
        ("names, warm", false, false),
        ("names and attributes, cold", true, true),
        ("names and attributes, warm", false, true),
    ];
    for (what, is_cold, with_attributes) in ways {
        let (mut all, mut first) = (Pairs::default(), [Vec::new(), Vec::new()]);
        for _ in 0..ROUNDS {
            for (side, folder) in folders.iter().enumerate() {
                if is_cold {
                    forget(side)?;
                }
                let start = Instant::now();
                first[side].push(list(folder, 10 * tenth, with_attributes)?);
                all.note(side, start.elapsed().as_secs_f64());
            }
        }
        all.report(what, 10 * tenth, "names/s", "ext4");
        let [ours, theirs] = first.map(|spent| median(&spent) * 1e3);
        println!("{:34} {ours:>8.1} ms, ext4 {theirs:>8.1} ms", "    until the first ones");
        show_memory(litt, what)?;
    }
    litt.forget()?;
    show_memory(litt, "all forgotten")
}

/// Lists a folder to its end; the seconds until the first names were there.
fn list(folder: &Path, files: usize, with_attributes: bool) -> Outcome<f64> {
    let start = Instant::now();
    let mut entries = fs::read_dir(folder)?.peekable();
    entries.peek();
    let first = start.elapsed().as_secs_f64();
    let mut count = 0;
    for entry in entries {
        let entry = entry?;
        if with_attributes {
            entry.metadata()?;
        }
        count += 1;
    }
    if count == files { Ok(first) } else { Err(format!("{count} of {files} listed").into()) }
}

fn show_memory(litt: &Served, when: &str) -> Outcome<()> {
    let status = fs::read_to_string(format!("/proc/{}/status", litt.server_id()))?;
    let line = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap_or_default().trim().to_owned()
    };
    println!(
        "{:34} {:>12}, at most {}",
        format!("    memory: {when}"),
        line("VmRSS:"),
        line("VmHWM:")
    );
    Ok(())
}
