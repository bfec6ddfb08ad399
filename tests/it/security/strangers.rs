//! Other users of the machine, on a mount that lets them in.

use std::os::unix::fs::OpenOptionsExt as _;

use crate::mounted::Mounted;

const NO: &str = "Operation not permitted";

fn bob(command: &str) -> String {
    format!("setpriv --reuid=1002 --regid=1002 --clear-groups bash -c '{command}'")
}

fn shared() -> Mounted {
    let home = Mounted::unmounted(1, "");
    home.sh("chmod 755 .");
    home.mount_with(&["-o", "allow_other"]);
    home
}

/// A shorter time to live takes everything in the table away for good: to be allowed to make files
/// there must not be enough.
#[test]
fn settings_of_a_table_are_for_its_owner_and_root() {
    let home = shared();
    home.sh("mkdir -m 777 m/t; echo kept > m/t/f");
    for (name, value) in [("ttl", "1s"), ("grace", "0"), ("shards", "1")] {
        let set = format!("setfattr -n user.littfs.{name} -v {value} m/t");
        home.refuses(&bob(&set), NO);
        home.refuses(&bob(&format!("setfattr -x user.littfs.{name} m/t")), NO);
    }
    home.sh("mkdir m/t/folder; chmod 777 m/t/folder");
    home.refuses(&bob("setfattr -n user.littfs.ttl -v 1s m/t/folder"), "not supported");
    assert_eq!(
        home.sh(&bob("cat m/t/f; getfattr --only-values -n user.littfs.ttl m/t")),
        "kept\nnone"
    );
    // The owner may, although somebody else mounted; root always.
    home.sh("chown 1002 m/t; setfattr -n user.littfs.grace -v 1h m/t");
    home.sh(&bob("setfattr -n user.littfs.ttl -v 7d m/t"));
    assert_eq!(home.sh("getfattr --only-values -n user.littfs.ttl m/t"), "7d");
}

#[test]
fn a_file_of_somebody_else_is_reached_by_no_detour() {
    let home = shared();
    home.sh("mkdir -m 777 m/t; umask 077; echo secret > m/t/private; mkdir m/t/closed; \
        echo inside > m/t/closed/f; chmod 644 m/t/closed/f; \
        echo open > m/t/shown; chmod 644 m/t/shown");
    let denied = "Permission denied";
    home.refuses(&bob("cat m/t/private"), denied);
    home.refuses(&bob("cat m/t/closed/f"), denied);
    home.refuses(&bob("cp -l m/t/private m/t/mine"), NO);
    home.refuses(&bob("mv m/t/closed m/t/c2"), NO);
    home.refuses(&bob("chmod 644 m/t/private"), NO);
    home.refuses(&bob("chown 1002 m/t/private"), NO);
    home.refuses(&bob("setfattr -n user.littfs.sealed -v true m/t/private"), denied);
    home.refuses(&bob("truncate -s 0 m/t/private"), denied);
    home.refuses(&bob("touch -d 2001-01-01 m/t/shown"), denied);
    // A descriptor that was handed over reads, and opens nothing more than its name allows.
    home.refuses(&format!("exec 3< m/t/private; {}", bob("cat /proc/self/fd/3")), denied);
    home.refuses(&format!("exec 3< m/t/shown; {}", bob("echo x > /proc/self/fd/3")), denied);
    assert_eq!(home.sh(&format!("exec 3< m/t/private; {}", bob("cat <&3"))), "secret\n");
    // Neither does a handle of the folder above.
    home.refuses(&format!("cd m/t/closed; {}", bob("cat f")), denied);
    assert_eq!(home.sh("cat m/t/private m/t/closed/f m/t/shown"), "secret\ninside\nopen\n");
}

/// Inode numbers can be guessed: a file handle made of one must not open what its path would not.
#[test]
fn file_handles_are_not_for_ordinary_users() {
    let home = shared();
    home.sh("mkdir -m 777 m/t; umask 077; echo secret > m/t/private");
    home.refuses(
        &bob("python3 -c \"import ctypes, os; libc = ctypes.CDLL(None, use_errno=True); \
            handle = ctypes.create_string_buffer(bytes([12, 0, 0, 0, 129, 0, 0, 0]) + bytes(12)); \
            mount = os.open(\\\"m/t\\\", os.O_RDONLY); \
            fd = libc.open_by_handle_at(mount, handle, os.O_RDONLY); \
            raise SystemExit(os.strerror(ctypes.get_errno()) if fd < 0 else 0)\""),
        NO,
    );
}

/// One user who writes and never closes keeps nobody else from writing, reading and listing.
#[test]
fn a_user_who_holds_files_open_stops_nobody_else() {
    let home = shared();
    home.sh("mkdir -m 777 m/t; mkdir -m 755 m/mine");
    let mut held = Vec::new();
    for number in 0..300 {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o644);
        held.push(options.open(home.at(format!("t/held-{number}"))).expect("create"));
    }
    home.sh("echo stored > m/mine/f; cp m/mine/f m/t/f; ls m/t | wc -l > count");
    assert_eq!(home.sh("cat count m/mine/f m/t/f"), "301\nstored\nstored\n");
    drop(held);
}
