//! Times to live, and the extended attributes that set and show them.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;

use crate::mounted::{Mounted, errno};
use crate::program::wait_until;

/// How much later than its time a name may be seen to be gone, tools and machine included: an answer
/// of the mount may be held up before the kernel has it.
const TOLERANCE: Duration = Duration::from_millis(200);

/// A way to look whether a name is there.
type IsThere = fn(&Path) -> bool;

fn set_ttl(home: &Mounted, ttl: &str) {
    home.sh(&format!("setfattr -n user.littfs.ttl -v {ttl} m/t"));
}

fn get(home: &Mounted, name: &str, of: &str) -> String {
    home.sh(&format!("getfattr --absolute-names --only-values -n {name} {of}"))
}

/// When a file expires, by its attribute.
fn expires(home: &Mounted, of: &str) -> SystemTime {
    humantime::parse_rfc3339(&get(home, "user.littfs.expires", of)).expect("a time")
}

/// Looks at a name in one way until it is gone, and checks that this is when its time is up.
fn assert_gone_at(expires: SystemTime, way: &str, is_there: impl Fn() -> bool) {
    assert_gone_between(expires, expires, way, is_there);
}

/// Looks at a name until it is gone, when it is not known exactly when its time is up.
fn assert_gone_between(
    first: SystemTime,
    last: SystemTime,
    way: &str,
    is_there: impl Fn() -> bool,
) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let before = SystemTime::now();
        let there = is_there();
        let after = SystemTime::now();
        if there {
            assert!(before < last + TOLERANCE, "{way}: still there after {before:?}");
            assert!(Instant::now() < deadline, "{way}: it never goes");
        } else {
            assert!(after >= first, "{way}: gone too early");
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_listed(path: &Path) -> bool {
    let entries = fs::read_dir(path.parent().expect("parent")).expect("list");
    entries.flatten().any(|entry| Some(entry.file_name().as_os_str()) == path.file_name())
}

#[test]
fn a_name_is_gone_for_everybody_at_the_moment_its_time_is_up() {
    let home = Mounted::new();
    // Time for what is done before, on a machine that has much else to do too.
    set_ttl(&home, "5s");
    // What looks at one of them must not help the others.
    let ways: [(&str, IsThere); 4] = [
        ("stat", |path| fs::symlink_metadata(path).is_ok()),
        ("open", |path| File::open(path).is_ok()),
        ("list", is_listed),
        ("access", |path| nix::unistd::access(path, nix::unistd::AccessFlags::F_OK).is_ok()),
    ];
    for (name, _) in ways {
        fs::write(home.at("t").join(name), "value").expect("write");
    }
    // The kernel knows all of it.
    home.sh("ls -lR m; cat m/t/*");
    let mut reader = File::open(home.at("t/stat")).expect("open");
    std::thread::scope(|scope| {
        for (name, is_there) in ways {
            let path = home.at("t").join(name);
            let at = expires(&home, path.to_str().expect("text"));
            scope.spawn(move || assert_gone_at(at, name, || is_there(&path)));
        }
    });
    for (name, _) in ways {
        let path = home.at("t").join(name);
        assert_eq!(errno(fs::metadata(&path)), Errno::ENOENT, "{name}");
        assert_eq!(errno(File::open(&path)), Errno::ENOENT, "{name}");
    }
    assert_eq!(home.sh("ls -A m/t"), "");
    // Its files are gone soon, and the handle goes on reading.
    wait_until("the segment stays", || {
        home.segment_files()[0].iter().all(|name| name.starts_with('2'))
    });
    let mut read = String::new();
    reader.read_to_string(&mut read).expect("read");
    assert_eq!(read, "value");
    // The names are free.
    fs::write(home.at("t/stat"), "another").expect("write");
    assert_eq!(fs::read(home.at("t/stat")).expect("read"), b"another");
    reader.seek(SeekFrom::Start(1)).expect("seek");
    let mut read = String::new();
    reader.read_to_string(&mut read).expect("read");
    assert_eq!(read, "alue");
}

#[test]
fn large_values_and_folders_expire_and_their_space_comes_back() {
    let home = Mounted::new();
    set_ttl(&home, "8s");
    home.sh("mkdir -p m/t/a/b; head -c 20M /dev/zero > m/t/a/b/large; seq 100000 > m/t/a/b/small");
    let mut reader = File::open(home.at("t/a/b/large")).expect("open");
    let at = expires(&home, "m/t/a/b/large");
    assert_gone_at(at, "large", || fs::metadata(home.at("t/a/b/large")).is_ok());
    wait_until("space is not given back", || {
        home.sh("du -sm r0/t/segments | cut -f 1").trim().parse::<u32>().expect("MiB") < 10
    });
    wait_until("the folders stay", || home.sh("ls -A m/t").is_empty());
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("read");
    assert_eq!(bytes.len(), 20 << 20);
    home.sh("mkdir -p m/t/a/b; echo x > m/t/a/b/large; cat m/t/a/b/large; \
        rmdir m/t/a 2>&1 | grep -q 'not empty'");
}

#[test]
fn a_file_lives_from_its_close_and_a_writer_may_take_its_time() {
    let home = Mounted::new();
    set_ttl(&home, "1s");
    let mut file = File::create(home.at("t/slow")).expect("create");
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1500) {
        file.write_all(b"x").expect("write");
        assert!(fs::metadata(home.at("t/slow")).is_ok(), "a pending file does not expire");
        std::thread::sleep(Duration::from_millis(10));
    }
    let ttl = Duration::from_secs(1);
    let first = SystemTime::now() + ttl;
    drop(file);
    let last = SystemTime::now() + ttl;
    assert_gone_between(first, last, "closed", || fs::metadata(home.at("t/slow")).is_ok());
}

#[test]
fn a_changed_ttl_holds_at_once_for_what_is_there() {
    let home = Mounted::new();
    home.sh("mkdir m/t/d; echo a > m/t/a; echo b > m/t/d/b; touch other");
    assert_eq!(get(&home, "user.littfs.ttl", "m/t"), "none");
    assert_eq!(get(&home, "user.littfs.expires", "m/t/a"), "never");
    home.sh("ls -lR m; cat m/t/a m/t/d/b");
    // The kernel was told that they last for ever.
    set_ttl(&home, "6s");
    let at = expires(&home, "m/t/d/b");
    assert_gone_at(at, "shortened", || fs::metadata(home.at("t/d/b")).is_ok());
    assert_eq!(home.sh("ls m/t"), "");
    set_ttl(&home, "1h");
    home.sh("echo c > m/t/c; ls -l m/t");
    let written = SystemTime::now();
    let expires_at = expires(&home, "m/t/c");
    let hour = expires_at.duration_since(written).expect("in the future");
    assert!(hour <= Duration::from_secs(3600) && hour > Duration::from_secs(3590), "{hour:?}");
    set_ttl(&home, "none");
    assert_eq!(get(&home, "user.littfs.expires", "m/t/c"), "never");
    assert_eq!(home.sh("cat m/t/c"), "c\n");
}

#[test]
fn a_shorter_ttl_that_is_made_longer_in_time_loses_nothing() {
    let home = Mounted::new();
    set_ttl(&home, "4s");
    home.sh("echo f > m/t/f; ls -l m/t");
    set_ttl(&home, "1h");
    let written = Instant::now();
    while written.elapsed() < Duration::from_millis(4300) {
        assert_eq!(fs::read(home.at("t/f")).expect("read"), b"f\n");
        std::thread::sleep(Duration::from_millis(20));
    }
    home.remount();
    assert_eq!(home.sh("cat m/t/f"), "f\n");
}

#[test]
fn settings_survive_a_remount_and_a_crash() {
    let home = Mounted::new();
    home.sh("setfattr -n user.littfs.ttl -v 7d m/t; setfattr -n user.littfs.grace -v 1m30s m/t; \
        setfattr -n user.littfs.shards -v 3 m/t; echo x > m/t/f");
    for again in [Mounted::remount, Mounted::crash] {
        again(&home);
        assert_eq!(get(&home, "user.littfs.ttl", "m/t"), "7d");
        assert_eq!(get(&home, "user.littfs.grace", "m/t"), "1m30s");
        assert_eq!(get(&home, "user.littfs.shards", "m/t"), "3");
        assert_eq!(get(&home, "user.littfs.keys", "m/t"), "1");
        assert_eq!(get(&home, "user.littfs.sealed", "m/t/f"), "false");
    }
    let left = expires(&home, "m/t/f").duration_since(SystemTime::now()).expect("future");
    assert!(left > Duration::from_secs(7 * 86_400 - 60), "{left:?}");
    // What expires while nothing is mounted is not there afterwards.
    set_ttl(&home, "4s");
    home.sh("echo x > m/t/g");
    let expires_at = expires(&home, "m/t/g");
    home.umount();
    wait_until("time passes", || SystemTime::now() > expires_at);
    home.mount();
    assert_eq!(home.sh("ls -A m/t"), "");
    wait_until("the segment stays", || {
        !home.segment_files()[0].iter().any(|name| name.ends_with(".values"))
    });
}

#[test]
fn malformed_settings_are_invalid_and_change_nothing() {
    let home = Mounted::new();
    // In quotes, for setfattr takes a bare 0s as the mark of base64.
    home.sh("setfattr -n user.littfs.ttl -v 12h30m m/t; \
        setfattr -n user.littfs.grace -v '\"0s\"' m/t");
    for (name, values) in [
        (
            "ttl",
            &["", "7", "7 weeks and", "-1s", "s", "7d7", "never", "0m", "99999999999999999999d"][..],
        ),
        ("grace", &["", "none", "-1s", "5", "1y1"]),
        ("shards", &["", "0", "-1", "256", "two", "1.5", " "]),
    ] {
        for value in values {
            let set = format!("setfattr -n user.littfs.{name} -v '{value}' m/t");
            home.refuses(&set, "Invalid argument");
        }
    }
    assert_eq!(get(&home, "user.littfs.ttl", "m/t"), "12h30m");
    assert_eq!(get(&home, "user.littfs.grace", "m/t"), "0s");
    assert_eq!(get(&home, "user.littfs.shards", "m/t"), "8");
}

#[test]
fn other_attributes_are_refused_in_the_right_words() {
    let home = Mounted::new();
    home.sh("echo f > m/t/f; mkdir m/t/d");
    let (no, none, not) =
        ("Operation not permitted", "No such attribute", "Operation not supported");
    for (script, words) in [
        ("setfattr -n user.littfs.keys -v 1 m/t", no),
        ("setfattr -n user.littfs.bytes -v 1 m/t", no),
        ("setfattr -n user.littfs.expires -v never m/t/f", no),
        ("setfattr -n user.littfs.sealed -v true m/t/f", no),
        ("setfattr -x user.littfs.ttl m/t", no),
        ("getfattr -n user.other m/t", none),
        ("getfattr -n user.other m/t/f", none),
        ("getfattr -n user.littfs.ttl m/t/f", none),
        ("getfattr -n user.littfs.expires m/t", none),
        ("setfattr -n user.other -v x m/t", not),
        ("setfattr -n user.other -v x m/t/f", not),
        ("setfattr -n user.littfs.ttl -v 1s m/t/f", not),
        ("setfattr -n user.littfs.ttl -v 1s m/t/d", not),
        ("setfattr -n security.other -v x m/t/f", not),
        ("getfattr -n security.other m/t/f", not),
        ("setfattr -n trusted.other -v x m/t/f", not),
        ("getfattr -n trusted.other m/t/f", not),
        ("getfattr -n system.posix_acl_access m/t/f", not),
        ("setfattr -n user.littfs.ttl -v 1s m", not),
    ] {
        home.refuses(script, words);
    }
    // Only what a copy may take with it is listed: nothing on files.
    let listed = home.sh("getfattr -d -m - m/t | grep -o '^[a-z.]*'");
    let settings =
        ["bytes", "grace", "keys", "shards", "ttl"].map(|name| format!("user.littfs.{name}\n"));
    assert_eq!(listed, settings.concat());
    assert_eq!(home.sh("getfattr -d -m - m/t/f m/t/d m"), "");
    home.sh("cp -a m/t/f m/t/g; rsync -aX m/t/f m/t/h; cp -a m/t/f .; ls -l m/t");
    // None of these was answered in a way that makes the kernel stop asking.
    home.sh("setfattr -n user.littfs.ttl -v 1d m/t; getfattr -n user.littfs.ttl m/t");
}

#[test]
fn usage_is_counted() {
    let home = Mounted::new();
    home.sh("echo 12345 > m/t/a; echo 1 > m/t/b; mkdir m/t/d");
    assert_eq!(get(&home, "user.littfs.keys", "m/t"), "2");
    assert_eq!(get(&home, "user.littfs.bytes", "m/t"), "8");
    assert_eq!(fs::metadata(home.at("t/a")).expect("stat").blocks(), 1);
}
