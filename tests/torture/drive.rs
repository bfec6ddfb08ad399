//! A drive of its own in a file, whose power can be cut for real: the file system on it stops in
//! the middle of everything, and what its journal has not is gone.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::statvfs::statvfs;

use crate::home::{PATIENCE, Trouble, is_mounted};

/// The ioctl that shuts a file system down; ext4 and XFS have it under the same number.
const SHUTDOWN: libc::Ioctl = 0x8004_587D_u32 as libc::Ioctl;
/// Names of the journal's last words: none, all, or all data as well.
pub(crate) const WITHOUT_LOG: u32 = 2;
pub(crate) const WITH_LOG: u32 = 1;
pub(crate) const WITH_EVERYTHING: u32 = 0;

/// The file systems, each with the size of its drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ext4,
    Xfs,
}

impl Kind {
    fn mebibytes(self) -> u64 {
        match self {
            Self::Ext4 => 192,
            // The least that mkfs.xfs makes is 300.
            Self::Xfs => 320,
        }
    }

    fn mkfs(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 => &["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard"],
            Self::Xfs => &["mkfs.xfs", "-q", "-f", "-K"],
        }
    }

    fn fsck(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 => &["e2fsck", "-fn"],
            Self::Xfs => &["xfs_repair", "-n"],
        }
    }
}

/// A drive. Dropped, it is taken away, whatever state it is in.
pub(crate) struct Drive {
    pub(crate) kind: Kind,
    image: PathBuf,
    mountpoint: PathBuf,
    /// Where the image is, if that is a file system of its own in memory.
    store: Option<PathBuf>,
}

impl Drive {
    /// Makes a new file system and mounts it on a directory, which is made.
    pub(crate) fn new(kind: Kind, mountpoint: &Path) -> Result<Self, Trouble> {
        Self::at(kind, mountpoint, mountpoint.with_extension("image"), None)
    }

    /// Makes one whose image is in a file system of its own in memory, so that writes to it can be made
    /// to fail.
    pub(crate) fn in_memory(kind: Kind, mountpoint: &Path) -> Result<Self, Trouble> {
        let store = mountpoint.with_extension("store");
        fs::create_dir(&store).map_err(|error| format!("a mountpoint: {error}"))?;
        let size = format!("size={}m", kind.mebibytes() + 64);
        administer(&["mount", "-t", "tmpfs", "-o", &size, "tmpfs"], &[&store])?;
        Self::at(kind, mountpoint, store.join("image"), Some(store))
    }

    fn at(
        kind: Kind,
        mountpoint: &Path,
        image: PathBuf,
        store: Option<PathBuf>,
    ) -> Result<Self, Trouble> {
        let file = File::create(&image).map_err(|error| format!("an image: {error}"))?;
        file.set_len(kind.mebibytes() << 20).map_err(|error| format!("an image: {error}"))?;
        fs::create_dir(mountpoint).map_err(|error| format!("a mountpoint: {error}"))?;
        let drive = Self { kind, image, mountpoint: mountpoint.to_path_buf(), store };
        administer(kind.mkfs(), &[&drive.image])?;
        drive.mount()?;
        Ok(drive)
    }

    /// Mounts the file system, which replays its journal.
    pub(crate) fn mount(&self) -> Result<(), Trouble> {
        administer(&["mount", "-o", "loop"], &[&self.image, &self.mountpoint])?;
        if self.store.is_some() { self.write_by_pages() } else { Ok(()) }
    }

    /// Has each page written by itself. The loop device takes a write of which only the first pages
    /// could be stored for done; what is wanted is a drive that fails, not one that lies.
    fn write_by_pages(&self) -> Result<(), Trouble> {
        let mounts = fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
        let here = self.mountpoint.to_string_lossy();
        let device = mounts.lines().filter_map(|line| line.split_once(' '));
        let device = device.rev().find(|(_, rest)| rest.starts_with(&*here));
        let device = device.and_then(|(device, _)| device.strip_prefix("/dev/"));
        let device = device.ok_or("the loop device is not found")?;
        let setting = format!("/sys/block/{device}/queue/max_sectors_kb");
        fs::write(&setting, "4").map_err(|error| format!("{setting}: {error}"))
    }

    /// Cuts the power.
    pub(crate) fn cut(&self, how: u32) -> Result<(), Trouble> {
        let folder = File::open(&self.mountpoint).map_err(|error| format!("cut: {error}"))?;
        #[expect(unsafe_code, reason = "no safe call shuts a file system down")]
        // SAFETY: the descriptor is open, and the kernel only reads the flags.
        let result = unsafe { libc::ioctl(folder.as_raw_fd(), SHUTDOWN, &raw const how) };
        if result != 0 {
            return Err(format!("the power cannot be cut: {}", std::io::Error::last_os_error()));
        }
        Ok(())
    }

    /// Takes the file system away and brings it back as the drive has it.
    pub(crate) fn come_back(&self, with_fsck: bool) -> Result<(), Trouble> {
        self.umount()?;
        self.mount()?;
        if with_fsck {
            self.umount()?;
            administer(self.kind.fsck(), &[&self.image])?;
            self.mount()?;
        }
        Ok(())
    }

    fn umount(&self) -> Result<(), Trouble> {
        let started = Instant::now();
        loop {
            match administer(&["umount"], &[&self.mountpoint]) {
                Ok(()) => return Ok(()),
                Err(trouble) if started.elapsed() > PATIENCE => return Err(trouble),
                // Whoever was killed lets go of its files a moment later.
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// From now on the drive refuses to write where nothing was written before.
    pub(crate) fn refuse_writes(&self) -> Result<(), Trouble> {
        let store = self.store.as_ref().ok_or("this drive cannot be made to fail")?;
        let text = |error: std::io::Error| format!("filling up: {error}");
        let ballast = File::create(store.join("ballast")).map_err(text)?;
        let mut bytes = 0;
        loop {
            let left = statvfs(store).map_err(|errno| text(errno.into()))?;
            let left = left.blocks_available() * left.fragment_size();
            let left = i64::try_from(left).map_err(|_| "too large")?;
            if left == 0 {
                return Ok(());
            }
            // The drive is written to meanwhile.
            match nix::fcntl::posix_fallocate(&ballast, bytes, left) {
                Ok(()) => bytes += left,
                Err(Errno::ENOSPC) => {}
                Err(errno) => return Err(text(errno.into())),
            }
        }
    }

    /// It writes again as if nothing had happened.
    pub(crate) fn accept_writes(&self) {
        if let Some(store) = &self.store {
            drop(fs::remove_file(store.join("ballast")));
        }
    }

    /// Saves the image of a drive in memory, for whoever looks for the cause.
    pub(crate) fn keep(&self) {
        if self.store.is_some() && self.umount().is_ok() {
            drop(fs::copy(&self.image, self.mountpoint.with_extension("image")));
        }
    }

    /// Room left, in bytes.
    pub(crate) fn room(&self) -> u64 {
        statvfs(&self.mountpoint).map_or(0, |stat| stat.blocks_available() * stat.fragment_size())
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        if is_mounted(&self.mountpoint) && self.umount().is_err() {
            // In the end nothing may stay, not even what is still in use.
            drop(administer(&["umount", "-l"], &[&self.mountpoint]));
        }
        if let Some(store) = &self.store {
            drop(administer(&["umount", "-l"], &[store]));
        }
    }
}

/// Runs a command of administrators.
fn administer(command: &[&str], paths: &[&Path]) -> Result<(), Trouble> {
    let search = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output =
        Command::new(command[0]).args(&command[1..]).args(paths).env("PATH", search).output();
    let output = output.map_err(|error| format!("{}: {error}", command[0]))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?} {paths:?}, {}: {said}", output.status))
}
