//! What a client can send: numbers at their limits, names that are orders to a terminal.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;

use crate::mounted::{Mounted, errno};

/// Sets the modification time of an open file and returns what is shown then.
fn set_time(file: &File, seconds: i64, nanoseconds: i64) -> (i64, i64) {
    use std::os::unix::fs::MetadataExt as _;
    let at = TimeSpec::new(seconds, nanoseconds);
    futimens(file, &at, &at).expect("any time can be set");
    let metadata = file.metadata().expect("stat");
    (metadata.mtime(), metadata.mtime_nsec())
}

/// Times beyond what 64 bits of nanoseconds hold become the nearest that can be kept. The earliest
/// one ended a thread of the mount, each time it was set.
#[test]
fn times_at_the_limits_are_kept_as_near_as_possible() {
    let home = Mounted::new();
    let file = File::create_new(home.at("t/f")).expect("create");
    let (earliest, latest) = ((-9_223_372_037, 145_224_192), (9_223_372_036, 854_775_807));
    // More often than there are threads.
    for _ in 0..8 {
        for seconds in [i64::MIN, i64::MIN + 1, i64::MIN / 2] {
            assert_eq!(set_time(&file, seconds, 1), earliest, "{seconds}");
        }
    }
    for seconds in [i64::MAX, i64::MAX - 1, i64::MAX / 2] {
        assert_eq!(set_time(&file, seconds, 999_999_999), latest, "{seconds}");
    }
    assert_eq!(set_time(&file, -1, 1), (-1, 1));
    drop(file);
    home.remount();
    assert_eq!(home.sh("stat -c %.9Y m/t/f"), "-0.999999999\n");
}

#[test]
fn sizes_and_offsets_at_the_limits_are_too_large() {
    let home = Mounted::new();
    let file = File::create_new(home.at("t/f")).expect("create");
    file.write_all_at(b"kept", 0).expect("written");
    let far = i64::MAX.cast_unsigned();
    for offset in [1 << 43, 1 << 62, far - 1] {
        assert_eq!(errno(file.write_at(b"x", offset)), Errno::EFBIG, "{offset}");
        assert_eq!(errno(file.set_len(offset)), Errno::EFBIG, "{offset}");
        let reserved = fallocate(&file, FallocateFlags::empty(), 0, offset.cast_signed());
        assert_eq!(reserved, Err(Errno::EFBIG), "{offset}");
        let mut byte = [0];
        assert_eq!(file.read_at(&mut byte, offset).expect("read"), 0, "behind the end");
    }
    let (offset, length) = ((far - 1).cast_signed(), 1000);
    let reserved = fallocate(&file, FallocateFlags::empty(), offset, length);
    assert_eq!(reserved, Err(Errno::EFBIG));
    drop(file);
    assert_eq!(home.sh("cat m/t/f"), "kept");
}

/// A name that sets the title of a terminal, colours what follows, and begins a line of its own.
const EVIL: &[u8] = b"\x1b]0;title\x07\x1b[31m\nERROR forged \x9b";

#[test]
fn names_cannot_give_orders_to_terminals_nor_forge_lines_of_the_log() {
    let home = Mounted::new();
    let name = OsString::from_vec(EVIL.to_vec());
    fs::write(home.at("t").join(&name), "bytes").expect("any name is a name");
    let listed = fs::read_dir(home.at("t")).expect("list").next().expect("one").expect("entry");
    assert_eq!(listed.file_name(), name, "the mount gives bytes back as they are");
    drop(listed);
    home.umount();
    // As a value file that nobody knows, too; and a record that is damaged.
    let segments = home.roots()[0].join("t/segments");
    fs::write(segments.join(&name), "foreign").expect("write");
    home.sh("for f in r0/t/segments/1-*.values; do \
        test -s $f && printf X | dd of=$f bs=1 seek=200 conv=notrunc status=none; done; true");
    let check = home.littfs("check", &[]);
    let get = home.littfs("get", &["t", "\x1b[31mnothing\n"]);
    home.mount();
    let _unread = fs::read(home.at("t").join(&name));
    home.umount();
    let log = fs::read(home.roots()[0].join("littfs.log")).expect("log");
    for said in [&log, &check.stdout, &check.stderr.into_bytes(), &get.stderr.into_bytes()] {
        let text = String::from_utf8_lossy(said);
        assert!(!text.contains(|letter: char| letter.is_control() && letter != '\n'), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("ERROR")), "{text:?}");
    }
    assert!(String::from_utf8_lossy(&log).contains("\\u{1b}"), "the name is told");
    // Data for programs is as it is.
    let keys = home.littfs("keys", &["--null", "t"]);
    assert_eq!(keys.stdout, [EVIL, b"\0"].concat());
    // For a person at a terminal it is not.
    let program = env!("CARGO_BIN_EXE_littfs");
    let at_terminal = home.sh(&format!("script -qec '{program} keys --root r0 t' /dev/null"));
    // Behind what the terminal is warned of.
    let shown = at_terminal.lines().last().expect("a line");
    assert!(!shown.contains(char::is_control) && shown.contains("\\u{1b}]0;title"), "{shown:?}");
}

#[test]
fn attributes_of_any_name_and_size_are_answered() {
    let home = Mounted::new();
    let long = "x".repeat(60_000);
    fs::write(home.base().join("long"), &long).expect("write");
    home.sh("python3 -c \"
import os
value = open('long', 'rb').read()
def refused(errno, call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        assert os.strerror(error.errno) == errno, (error, arguments[1])
    else:
        raise SystemExit(f'{arguments[1]} is taken')
for _ in range(50):
    refused('Invalid argument', os.setxattr, 'm/t', 'user.littfs.ttl', value)
    refused('Invalid argument', os.setxattr, 'm/t', 'user.littfs.grace', bytes(range(256)))
    refused('Invalid argument', os.setxattr, 'm/t', 'user.littfs.shards', b'9' * 4000)
    refused('Operation not supported', os.setxattr, 'm/t', 'user.' + 'n' * 250, value)
    refused('Operation not supported', os.setxattr, 'm/t', 'security.x', value)
    refused('No data available', os.getxattr, 'm/t', 'user.littfs.')
\"");
    assert_eq!(home.sh("getfattr --only-values -n user.littfs.ttl m/t"), "none");
}

/// Paths as long as keys may be, many times over: they take memory only while they are asked for.
#[test]
fn deep_paths_are_made_listed_and_refused_beyond_the_limit() {
    let home = Mounted::new();
    home.sh("python3 -c \"
import os
top = os.open('m/t', os.O_RDONLY)
for chain in range(20):
    folder, length = os.dup(top), 0
    for depth in range(500):
        name = f'{chain:03}-{depth:05}'
        length += len(name) + 1
        try:
            os.mkdir(name, dir_fd=folder)
        except OSError as error:
            assert os.strerror(error.errno) == 'File name too long', error
            assert length > 4090, length
            break
        inner = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    else:
        raise SystemExit('no end')
    os.close(folder)
\"");
    assert_eq!(home.sh("find m/t -mindepth 1 -maxdepth 1 | wc -l"), "20\n");
    assert!(home.memory_kib("VmHWM") < 200 << 10, "{} KiB", home.memory_kib("VmHWM"));
}
