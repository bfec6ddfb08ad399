//! Whether a directory can be mounted on, and how it is let go of again.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use crate::error::{Error, Result};

const DEVICE: &str = "/dev/fuse";
const MOUNTS: &str = "/proc/self/mountinfo";
const FUSE_CONF: &str = "/etc/fuse.conf";
const FUSERMOUNT: &str = "fusermount3";

pub(super) fn refused(mountpoint: &Path, reason: impl Into<String>) -> Error {
    Error::Mount { mountpoint: mountpoint.to_path_buf(), reason: reason.into() }
}

/// Refuses what cannot be mounted on, in a sentence that names what helps; returns the absolute
/// path. [`super::Mount::new`] asks this too; ask it before opening a database, and a refused mount
/// leaves no trace.
pub fn check_mountpoint(mountpoint: &Path, allow_other: bool) -> Result<PathBuf> {
    let shown = mountpoint.display();
    let metadata = fs::metadata(mountpoint).map_err(|error| {
        let reason = if is_dead(&error) {
            left_behind(mountpoint)
        } else if error.kind() == ErrorKind::NotFound {
            format!("it does not exist; make it with `mkdir -p {shown}`")
        } else {
            error.to_string()
        };
        refused(mountpoint, reason)
    })?;
    if !metadata.is_dir() {
        return Err(refused(mountpoint, "it is not a directory"));
    }
    let path =
        fs::canonicalize(mountpoint).map_err(|error| refused(mountpoint, error.to_string()))?;
    if is_taken(&path) {
        // Attributes of a dead mount are answered from the kernel's cache; a listing is not.
        if fs::read_dir(&path).err().is_some_and(|error| is_dead(&error)) {
            return Err(refused(mountpoint, left_behind(mountpoint)));
        }
        let reason = format!(
            "it is busy: something is mounted there already; `littfs umount {shown}` ends a mount of littfs"
        );
        return Err(refused(mountpoint, reason));
    }
    let mut entries =
        fs::read_dir(&path).map_err(|error| refused(mountpoint, error.to_string()))?;
    if entries.next().is_some() {
        let reason =
            "it is not empty, and what is in it would be hidden; choose an empty directory";
        return Err(refused(mountpoint, reason));
    }
    check_fuse(mountpoint, allow_other)?;
    Ok(path)
}

fn is_dead(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOTCONN)
}

fn left_behind(mountpoint: &Path) -> String {
    let shown = mountpoint.display();
    format!("a mount whose program has died is in the way; remove it with `littfs umount {shown}`")
}

fn check_fuse(mountpoint: &Path, allow_other: bool) -> Result<()> {
    if let Err(error) = fs::OpenOptions::new().read(true).write(true).open(DEVICE) {
        let reason = match error.kind() {
            ErrorKind::NotFound => format!(
                "there is no {DEVICE}; load the kernel module with `modprobe fuse`, \
                    or give the container the device"
            ),
            ErrorKind::PermissionDenied => {
                format!("{DEVICE} may not be opened by this user; check its permissions")
            }
            _ => format!("{DEVICE} cannot be opened: {error}"),
        };
        return Err(refused(mountpoint, reason));
    }
    let device = fs::metadata(DEVICE).map_err(|error| refused(mountpoint, error.to_string()))?;
    if !is_fuse_device(&device) {
        let reason = format!(
            "{DEVICE} is not the FUSE device, which `mknod {DEVICE} c 10 229` makes; in a container, \
                give it the device of the host"
        );
        return Err(refused(mountpoint, reason));
    }
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    if find_fusermount().is_none() {
        let reason = format!(
            "mounting as an ordinary user needs {FUSERMOUNT}; install the fuse3 package, or mount as root"
        );
        return Err(refused(mountpoint, reason));
    }
    if allow_other && !others_are_allowed(&fs::read_to_string(FUSE_CONF).unwrap_or_default()) {
        let reason = format!(
            "allow_other is not allowed here; add the line user_allow_other to {FUSE_CONF}, or mount as root"
        );
        return Err(refused(mountpoint, reason));
    }
    Ok(())
}

/// Linux gives FUSE the same device number everywhere (`FUSE_MINOR`, a misc device).
fn is_fuse_device(device: &fs::Metadata) -> bool {
    let number = device.rdev();
    device.file_type().is_char_device()
        && nix::sys::stat::major(number) == 10
        && nix::sys::stat::minor(number) == 229
}

fn others_are_allowed(fuse_conf: &str) -> bool {
    fuse_conf.lines().any(|line| line.trim() == "user_allow_other")
}

fn find_fusermount() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|folder| folder.join(FUSERMOUNT))
        .find(|program| program.is_file())
}

/// Whether something is mounted on a path. A trigger of autofs is not: it waits for just such a
/// mount as is about to be made (`x-systemd.automount`).
fn is_taken(path: &Path) -> bool {
    let mounts = fs::read(MOUNTS).unwrap_or_default();
    topmost(&mounts, path).is_some_and(|mount| mount.kind != b"autofs")
}

/// The minor device number of the topmost mount at a path.
pub(super) fn mount_at(path: &Path) -> Option<u32> {
    let mounts = fs::read(MOUNTS).ok()?;
    topmost(&mounts, path)?.minor
}

/// What the mount table says of a mount.
struct MountLine<'a> {
    minor: Option<u32>,
    kind: &'a [u8],
}

fn topmost<'a>(mountinfo: &'a [u8], path: &Path) -> Option<MountLine<'a>> {
    let mut mounts = mountinfo.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let (_, minor) = std::str::from_utf8(fields.nth(2)?).ok()?.split_once(':')?;
        let is_there = unescape(fields.nth(1)?) == path;
        // Any number of optional fields stands before the hyphen.
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        is_there.then(|| MountLine { minor: minor.parse().ok(), kind })
    });
    mounts.next_back()
}

/// Undoes the octal escapes of mountinfo (`\040` for a space).
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let digits = if *first == b'\\' { tail.get(..3) } else { None };
        let escaped = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// Takes a mount off its directory, also while files in it are open.
pub(super) fn detach(path: &Path) -> io::Result<()> {
    match umount2(path, MntFlags::MNT_DETACH) {
        // Somebody else was faster.
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(Errno::EPERM) => detach_as_user(path),
        Err(errno) => Err(errno.into()),
    }
}

fn detach_as_user(path: &Path) -> io::Result<()> {
    let program =
        find_fusermount().ok_or_else(|| io::Error::other(format!("there is no {FUSERMOUNT}")))?;
    let output = Command::new(program).args(["-u", "-z", "--"]).arg(path).output()?;
    if output.status.success() || mount_at(path).is_none() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// Cuts the connection of a mount that has been detached: what still has files open in it gets
/// errors. Needs the fusectl filesystem, which is there nearly everywhere.
pub(super) fn abort(minor: u32) -> io::Result<()> {
    fs::write(format!("/sys/fs/fuse/connections/{minor}/abort"), b"1")
}

/// How the mount is named in /proc/mounts. A comma would end the option.
pub(super) fn source_name(wanted: Option<&str>, roots: &[PathBuf]) -> String {
    let root = || roots.first().map(|root| root.to_string_lossy().into_owned());
    let name = wanted.map(str::to_owned).or_else(root).unwrap_or_default();
    name.replace([',', '\n', '\0'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(mountpoint: &Path) -> String {
        check_mountpoint(mountpoint, false).expect_err("refused").to_string()
    }

    #[test]
    fn unusable_mountpoints_are_refused_with_the_reason() {
        let folder = tempfile::tempdir().expect("temporary directory");
        assert!(reason(&folder.path().join("none")).contains("mkdir -p"));
        let file = folder.path().join("file");
        fs::write(&file, b"x").expect("written");
        assert!(reason(&file).contains("not a directory"));
        assert!(reason(folder.path()).contains("not empty"));
        assert!(reason(Path::new("/proc")).contains("mounted there already"));
    }

    #[test]
    fn another_device_is_not_taken_for_fuse() {
        for other in ["/dev/null", "/", "/proc/self/exe"] {
            assert!(!is_fuse_device(&fs::metadata(other).expect("metadata")), "{other}");
        }
    }

    #[test]
    fn mountinfo_is_understood() {
        let info = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            90 22 0:51 / /mnt/a\\040b rw,nosuid - fuse.littfs /r rw\n\
            91 90 0:52 / /mnt/a\\040b rw - fuse x rw\n\
            92 22 0:53 / /mnt/auto rw shared:7 master:8 - autofs systemd-1 rw\n";
        let seen = |path: &str| {
            let mounted = topmost(info, Path::new(path))?;
            Some((mounted.minor?, String::from_utf8_lossy(mounted.kind).into_owned()))
        };
        assert_eq!(seen("/mnt/a b"), Some((52, "fuse".to_owned())));
        assert_eq!(seen("/"), Some((1, "ext4".to_owned())));
        assert_eq!(seen("/mnt/auto"), Some((53, "autofs".to_owned())));
        assert_eq!(seen("/mnt"), None);
        assert_eq!(unescape(b"a\\04"), Path::new("a\\04"));
    }

    #[test]
    fn fuse_conf_is_understood() {
        assert!(others_are_allowed("# x\n user_allow_other \n"));
        assert!(!others_are_allowed("#user_allow_other\n"));
    }

    #[test]
    fn names_have_no_commas() {
        assert_eq!(source_name(None, &["/a,b".into(), "/c".into()]), "/a_b");
        assert_eq!(source_name(Some("/a:/b"), &["/a".into()]), "/a:/b");
        assert_eq!(source_name(None, &[]), "");
    }
}
