//! Drives that are full, and people who are not root.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::mounted::{Mounted, names_in};
use crate::program::wait_until;

fn administer(program: &str, arguments: &[&str]) -> Output {
    let paths = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", paths).output().expect("it starts")
}

/// A small drive of its own, in a file.
pub(crate) struct Drive(PathBuf);

impl Drive {
    /// Mounts a new file system of this size on a directory.
    pub(crate) fn new(mountpoint: &Path, mib: u32) -> Self {
        let image = mountpoint.with_extension("image");
        fs::create_dir(mountpoint).expect("mkdir");
        let (image_name, directory) =
            (image.to_str().expect("text"), mountpoint.to_str().expect("text"));
        let size = format!("{mib}M");
        for command in [
            &["truncate", "-s", &size, image_name][..],
            &["mkfs.ext4", "-q", "-m", "0", image_name],
            // The loop device goes with the mount.
            &["mount", "-o", "loop", image_name, directory],
            &["rmdir", &format!("{directory}/lost+found")],
        ] {
            let output = administer(command[0], &command[1..]);
            assert!(output.status.success(), "{command:?}: {output:?}");
        }
        Self(mountpoint.to_path_buf())
    }

    /// From now on the drive refuses everything, as a broken one does.
    pub(crate) fn break_down(&self) {
        let script = "import fcntl, os, struct, sys; \
            fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        let output = administer("python3", &["-c", script, self.0.to_str().expect("text")]);
        assert!(output.status.success(), "EXT4_IOC_SHUTDOWN: {output:?}");
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        administer("umount", &["-l", self.0.to_str().unwrap_or_default()]);
    }
}

/// Copies files of this length until one is refused; returns how many were taken. None may be
/// refused for anything but space.
pub(crate) fn fill(home: &Mounted, bytes: usize, files_max: usize) -> usize {
    home.sh(&format!("head -c {bytes} /dev/urandom > source"));
    let script = format!(
        "for i in $(seq {files_max}); do cp source m/t/{bytes}-$i || exit 1; echo $i; done"
    );
    let output = home.shell(&script);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || errors.contains("No space left on device"), "{errors}");
    String::from_utf8_lossy(&output.stdout).lines().count()
}

/// Whatever has a name has all its bytes, and what was refused has none.
fn assert_whole(home: &Mounted, bytes: usize, files: usize) {
    for number in 1..=files {
        let script = format!("cmp source m/t/{bytes}-{number}");
        assert_eq!(home.sh(&script), "", "file {number} of {files}");
    }
    let refused = home.at(format!("t/{bytes}-{}", files + 1));
    wait_until("a part of a file stays", || !refused.exists());
    for name in names_in(&home.at("t")) {
        let path = home.at("t").join(&name);
        let read = fs::read(&path).expect("what is listed can be read");
        assert_eq!(read.len() as u64, fs::metadata(&path).expect("stat").len(), "{name}");
    }
}

#[test]
fn a_full_drive_refuses_writers_and_nobody_else_until_there_is_room() {
    let config = "reserve_bytes = \"4MiB\"\nspill_bytes = \"256KiB\"\n";
    let home = Mounted::on_drives(1, &[64], config);
    home.mount();
    fs::create_dir(home.at("t")).expect("a table");
    // Large ones first, then small ones into what is left.
    for bytes in [5_000_000, 100_000, 3_000] {
        let files = fill(&home, bytes, 2000);
        assert!(bytes != 5_000_000 || (5..13).contains(&files), "{files} files of {bytes}");
        assert_whole(&home, bytes, files);
    }
    home.refuses("head -c 6M /dev/zero > m/t/again", "No space left on device");
    let available = home.sh("df --output=avail -B1 m | tail -1");
    assert!(available.trim().parse::<u64>().expect("number") < 2 << 20, "{available}");
    // What is wrong can still be put right or thrown away.
    home.sh("mv m/t/5000000-1 m/t/moved; chmod 600 m/t/5000000-2; rm m/t/5000000-3 m/t/100000-*");
    // Reading and listing go on, a remount too.
    let listed = home.sh("ls -l m/t | wc -l; cat m/t/* | md5sum");
    home.remount();
    assert_eq!(home.sh("ls -l m/t | wc -l; cat m/t/* | md5sum"), listed);
    home.sh("rm m/t/5000000-4");
    // A time to live that has passed makes room, on a full drive too.
    home.sh("setfattr -n user.littfs.ttl -v 1s m/t");
    wait_until("it stays full", || {
        let available = home.sh("df --output=avail -B1 m | tail -1");
        available.trim().parse::<u64>().expect("number") > 40 << 20
    });
    home.sh("setfattr -n user.littfs.ttl -v none m/t");
    assert_eq!(home.sh("ls -A m/t"), "");
    home.sh("head -c 6M /dev/urandom > source; cp source m/t/after; cmp source m/t/after");
    home.umount();
}

#[test]
fn what_one_drive_has_no_room_for_goes_to_the_other() {
    let config = "reserve_bytes = \"4MiB\"\nsegment_bytes_max = \"8MiB\"\n";
    let home = Mounted::on_drives(2, &[64], config);
    fs::create_dir(&home.roots()[1]).expect("mkdir");
    home.mount();
    fs::create_dir(home.at("t")).expect("a table");
    for bytes in [6_000_000, 300_000] {
        let files = 15_000_000 / bytes * 10;
        assert_eq!(fill(&home, bytes, files), files, "all of {bytes} bytes are taken");
        assert_whole(&home, bytes, files);
    }
    home.remount();
    assert_eq!(home.sh("ls m/t | wc -l"), "520\n");
    home.umount();
}

#[test]
fn the_size_of_the_mount_is_that_of_its_drives() {
    let home = Mounted::on_drives(1, &[64], "reserve_bytes = \"10MiB\"\n");
    home.mount();
    let numbers = |of: &str| -> Vec<u64> {
        let line = home.sh(&format!("df --output=size,avail -B1 {of} | tail -1"));
        line.split_whitespace().map(|word| word.parse().expect("number")).collect()
    };
    let (mount, root) = (numbers("m"), numbers("r0"));
    assert!(mount[0].abs_diff(root[0]) <= 4096, "{mount:?} {root:?}");
    let reserved = root[1] - mount[1];
    assert!(reserved.abs_diff(10 << 20) < 1 << 20, "{reserved}");
    assert_eq!(home.sh("stat -f -c %l m"), "255\n");
    home.umount();
}

#[test]
fn other_people_are_let_in_only_when_asked_and_then_by_mode_and_owner() {
    let home = Mounted::new();
    home.sh("echo secret > m/t/secret; chmod 600 m/t/secret; echo open > m/t/open; \
        mkdir m/t/theirs; chown 65534 m/t/theirs; chmod 755 .");
    let other = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    home.refuses(&format!("{other} ls m"), "Permission denied");
    home.umount();
    home.mount_with(&["-o", "allow_other"]);
    assert_eq!(home.sh(&format!("{other} cat m/t/open")), "open\n");
    home.refuses(&format!("{other} cat m/t/secret"), "Permission denied");
    home.refuses(&format!("{other} touch m/t/new"), "Permission denied");
    home.refuses(&format!("{other} rm -f m/t/open"), "Permission denied");
    home.refuses(&format!("{other} mkdir m/table"), "Permission denied");
    home.refuses(&format!("{other} setfattr -n user.littfs.ttl -v 1s m/t"), "Permission denied");
    home.sh(&format!("{other} sh -c 'echo mine > m/t/theirs/f; chmod 600 m/t/theirs/f'"));
    assert_eq!(home.sh("stat -c '%u %g %a' m/t/theirs/f"), "65534 65534 600\n");
}

#[test]
fn who_is_not_root_can_mount_too() {
    let home = tempfile::tempdir().expect("temporary directory");
    let base = home.path().canonicalize().expect("real path");
    let program = base.join("littfs");
    // Where everybody may start it.
    fs::copy(env!("CARGO_BIN_EXE_littfs"), &program).expect("copy");
    let script = "set -e; chmod 755 .; mkdir user user/m; chown -R 65534:65534 user; cd user; \
        as='setpriv --reuid 65534 --regid 65534 --clear-groups env HOME='$PWD; \
        trap 'umount -l m 2>/dev/null || true' EXIT; \
        $as ../littfs mount m; \
        $as sh -c 'mkdir m/t && echo mine > m/t/f && cat m/t/f && stat -c %u m/t/f'; \
        $as ../littfs umount m; $as ../littfs get t f; \
        $as ../littfs mount m; $as fusermount3 -u m; findmnt m || echo unmounted";
    let mut shell = Command::new("bash");
    let output = shell.args(["-c", script]).current_dir(&base).output().expect("a shell");
    let mode = fs::metadata("/dev/fuse").expect("/dev/fuse").permissions().mode();
    if mode & 0o6 == 0o6 {
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "mine\n65534\nmine\nunmounted\n");
    } else {
        // As in some containers: then it must be said.
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("/dev/fuse may not be opened by this user"), "{said}");
    }
}
