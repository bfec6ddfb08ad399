//! `scripts/install` and what it installs.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::mounted::{Mounted, names_in};
use crate::program::PATIENCE;

/// Runs the script with a prefix and links in the folder of the database.
#[track_caller]
fn install(home: &Mounted, arguments: &[&str]) {
    let base = home.base();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/install");
    let mut command = Command::new(script);
    // With a destination nothing is told to the systemd of this machine.
    command.env("DESTDIR", "/").env("PREFIX", base.join("usr")).env("SBINDIR", base.join("sbin"));
    let output = command.args(arguments).stdin(Stdio::null()).output().expect("it starts");
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
}

fn installed(home: &Mounted) -> Vec<String> {
    let found =
        home.sh("find usr sbin -not -type d -printf '%M %p %l\\n' | sort -k 2 2> /dev/null");
    found
        .lines()
        .map(|line| line.trim_end().replace(home.base().to_str().expect("text"), "~"))
        .collect()
}

#[test]
fn everything_is_installed_and_taken_away_again() {
    let home = Mounted::unmounted(1, "");
    fs::create_dir_all(home.base().join("sbin")).expect("mkdir");
    let build = ["--binary", env!("CARGO_BIN_EXE_littfs")];
    // The second time over a program that may be running.
    install(&home, &build);
    install(&home, &build);
    let expected = [
        "lrwxrwxrwx sbin/mount.fuse.littfs ~/usr/bin/littfs",
        "lrwxrwxrwx sbin/mount.littfs ~/usr/bin/littfs",
        "lrwxrwxrwx sbin/umount.fuse.littfs ~/usr/bin/littfs",
        "-rwxr-xr-x usr/bin/littfs",
        "-rw-r--r-- usr/lib/systemd/system/littfs@.service",
        "-rw-r--r-- usr/share/doc/littfs/CHANGELOG.md",
        "-rw-r--r-- usr/share/doc/littfs/LICENSE",
        "-rw-r--r-- usr/share/doc/littfs/README.md",
        "-rw-r--r-- usr/share/doc/littfs/operations.md",
        "-rw-r--r-- usr/share/doc/littfs/semantics.md",
    ];
    assert_eq!(installed(&home), expected);
    assert!(home.sh("sbin/mount.littfs --version").starts_with("mount.littfs "));
    // What leads elsewhere was not installed by this.
    fs::remove_file(home.base().join("sbin/mount.littfs")).expect("unlink");
    symlink("/elsewhere", home.base().join("sbin/mount.littfs")).expect("symlink");
    install(&home, &["--uninstall"]);
    assert_eq!(installed(&home), ["lrwxrwxrwx sbin/mount.littfs /elsewhere"]);
}

#[test]
fn wrong_arguments_change_nothing() {
    let home = Mounted::unmounted(1, "");
    for (arguments, prefix) in [
        (&["--bananas"][..], "/nowhere"),
        (&["--binary", "/nowhere"], "/nowhere"),
        (&[], "relative"),
    ] {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/install");
        let mut command = Command::new(script);
        command.args(arguments).env("PREFIX", prefix).env("DESTDIR", home.base());
        let output = command.stdin(Stdio::null()).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
    assert_eq!(names_in(&home.base()), ["m"]);
}

/// The unit as systemd sees it for the mountpoint `m`, with the configuration of the test.
fn unit(home: &Mounted) -> (PathBuf, String) {
    install(home, &["--binary", env!("CARGO_BIN_EXE_littfs")]);
    let base = home.base();
    let template = base.join("usr/lib/systemd/system/littfs@.service");
    let text = fs::read_to_string(template).expect("the unit");
    let name = base.join("m").to_str().expect("text")[1..].replace('-', "\\x2d").replace('/', "-");
    let file = base.join(format!("littfs@{name}.service"));
    fs::write(&file, &text).expect("write");
    (file, text)
}

#[test]
fn the_unit_is_understood_by_systemd() {
    let home = Mounted::unmounted(1, "");
    let (file, text) = unit(&home);
    assert!(!text.contains("@PROGRAM@") && !text.contains("@DOCUMENTS@"), "{text}");
    // A mount made in a mount namespace of its own is seen by nobody else.
    for setting in ["ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateMounts", "ReadWritePaths"]
    {
        assert!(!text.lines().any(|line| line.starts_with(setting)), "{setting}");
    }
    match Command::new("systemd-analyze").arg("verify").arg(&file).output() {
        Ok(output) => {
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        }
        Err(_) => eprintln!("NOT CHECKED by systemd-analyze, which is not installed"),
    }
}

#[test]
fn the_command_of_the_unit_serves_until_it_is_stopped() {
    let home = Mounted::unmounted(1, "");
    let (_, text) = unit(&home);
    let (base, root) = (home.base(), home.roots()[0].clone());
    let config = base.join("config.toml");
    fs::write(&config, format!("roots = [{root:?}]\n")).expect("write");
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    let options = text.lines().find_map(|line| line.strip_prefix("Environment=LITTFS_OPTIONS="));
    let words: Vec<OsString> = line
        .split(' ')
        .map(|word| match word {
            "/etc/littfs/%i.toml" => config.clone().into_os_string(),
            "%f" => base.join("m").into_os_string(),
            word => word.replace("${LITTFS_OPTIONS}", options.expect("options")).into(),
        })
        .collect();
    assert!(!words.iter().any(|word| word.to_string_lossy().contains(['%', '$'])), "{words:?}");
    let socket = UnixDatagram::bind(base.join("notify")).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let start = || {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().env("NOTIFY_SOCKET", base.join("notify"));
        command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts")
    };

    // The drive of the root is not there yet.
    let output = start().wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("is its drive mounted?"), "{said}");

    fs::create_dir(&root).expect("mkdir");
    for round in 0..2 {
        let mut service = start();
        let mut state = [0; 16];
        let length = socket.recv(&mut state).expect("it is told");
        assert_eq!(&state[..length], b"READY=1");
        home.sh(&format!("mkdir m/t{round}; findmnt -n -o OPTIONS m | grep -q -w allow_other"));
        // The first is killed and leaves a dead mount; the second is as systemd starts it then.
        service.kill().expect("killed");
        service.wait().expect("it ends");
        crate::program::wait_until("its roots are not free", || {
            crate::program::daemon_of(&root).is_none()
        });
    }
    home.umount();
    assert_eq!(home.littfs("ls", &[]).code, 0);
}
