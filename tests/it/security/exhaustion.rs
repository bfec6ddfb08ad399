//! Clients that want too much: memory and descriptors have their limits, and nothing stored is lost.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::mounted::{Mounted, errno};
use crate::program::{daemon_of, run, wait_until};

/// Lets this process open as many files as it may.
fn allow_many_files() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit");
}

/// Sizes from 1 byte to 1 MiB in an order that looks random.
fn length_of(number: usize) -> usize {
    [1, 900, 20_000, 4096, 100_000, 17, 1 << 20, 65_537][number * 7 % 8]
}

/// Files that are being written share `pending_bytes_max`; what is beyond waits on the drives.
#[test]
fn thousands_of_pending_files_share_the_memory_for_pending_bytes() {
    allow_many_files();
    let home = Mounted::with(1, "pending_bytes_max = \"32MiB\"\nreserve_bytes = 0\n");
    let before = home.memory_kib("VmRSS");
    let bytes = vec![7; 1 << 20];
    let count = 3000;
    let mut open = Vec::new();
    for number in 0..count {
        let mut file = File::create_new(home.at(format!("t/{number}"))).expect("create");
        file.write_all(&bytes[..length_of(number)]).expect("write");
        open.push(file);
    }
    // Beside the bytes there is a record of each open file. 250 MiB would be needed for all.
    let peak = home.memory_kib("VmHWM");
    assert!(peak < before + (110 << 10), "{peak} KiB, {before} before");
    drop(open);
    for number in 0..count {
        let length = fs::metadata(home.at(format!("t/{number}"))).expect("stat").len();
        assert_eq!(length, length_of(number) as u64, "{number}");
    }
    home.crash();
    for number in (0..count).step_by(13) {
        let read = fs::read(home.at(format!("t/{number}"))).expect("read");
        assert!(read == bytes[..length_of(number)], "{number}");
    }
}

#[test]
fn thousands_of_open_listings_take_little_memory() {
    allow_many_files();
    let home = Mounted::new();
    home.sh("cd m/t; seq -f %0200g 2000 | xargs touch");
    let before = home.memory_kib("VmRSS");
    let mut listings = Vec::new();
    for _ in 0..2000 {
        let mut listing = fs::read_dir(home.at("t")).expect("open");
        listing.next().expect("a name").expect("listed");
        listings.push(listing);
    }
    let peak = home.memory_kib("VmHWM");
    assert!(peak < before + (64 << 10), "{peak} KiB, {before} before");
    assert_eq!(listings.pop().expect("one").count(), 1999);
}

/// A mount that may open few files. Its clients may open more.
fn mounted_with_few_descriptors(descriptors: u32) -> Mounted {
    allow_many_files();
    let home = Mounted::unmounted(1, "spill_bytes = \"64KiB\"\nreserve_bytes = 0\n");
    let program = env!("CARGO_BIN_EXE_littfs");
    let script = format!(
        "prlimit --nofile={descriptors}:{descriptors} {program} mount --config config.toml --root r0 m"
    );
    home.sh(&script);
    fs::create_dir(home.at("t")).expect("a table");
    home
}

/// Values that are large take a descriptor each while they are written or read. When there are no
/// more, that is what is said; whatever was stored stays, and all goes on when some are free.
#[test]
fn running_out_of_descriptors_is_said_and_loses_nothing() {
    let home = mounted_with_few_descriptors(160);
    home.sh("echo first > m/t/first");
    let bytes = vec![9; 200_000];
    let mut open = Vec::new();
    let mut refused = 0;
    for number in 0..250 {
        let path = home.at(format!("t/{number}"));
        let written = File::create_new(&path).and_then(|file| {
            file.write_all_at(&bytes, 0)?;
            Ok(file)
        });
        match written {
            Ok(file) => open.push((number, file)),
            Err(error) => {
                assert_eq!(errno::<()>(Err(error)), Errno::ENFILE);
                refused += 1;
            }
        }
    }
    assert!(refused > 50 && open.len() > 50, "{refused} refused, {} open", open.len());
    // A background flush meets the same, and must not take it for a failed drive.
    let synced = open[0].1.sync_all();
    assert!(synced.is_ok() || errno(synced) == Errno::ENFILE);
    let stored = |number: usize| fs::read(home.at(format!("t/{number}"))).ok();
    let mut acknowledged = Vec::new();
    for (number, file) in open {
        match nix::unistd::close(file) {
            Ok(()) => acknowledged.push(number),
            Err(refused) => assert_eq!(refused, Errno::ENFILE, "{number}"),
        }
    }
    assert!(acknowledged.len() > 50, "{} were stored", acknowledged.len());
    // RELEASE comes behind the back of whoever closes, and gives descriptors back.
    wait_until("descriptors do not come back", || fs::write(home.at("t/after"), &bytes).is_ok());
    wait_until("it cannot be synced", || {
        File::open(home.at("t")).and_then(|folder| folder.sync_all()).is_ok()
    });
    home.crash();
    for number in acknowledged {
        assert_eq!(stored(number).as_ref(), Some(&bytes), "{number}");
    }
    assert_eq!(stored_length(&home, "after"), 200_000);
}

fn stored_length(home: &Mounted, name: &str) -> u64 {
    fs::metadata(home.at("t").join(name)).expect("stat").len()
}

#[test]
fn a_mount_takes_as_many_descriptors_as_it_may() {
    let home = Mounted::unmounted(1, "");
    let program = env!("CARGO_BIN_EXE_littfs");
    home.sh(&format!("prlimit --nofile=64:5000 {program} mount --root r0 m"));
    let daemon = daemon_of(&home.roots()[0]).expect("a daemon");
    let limits = fs::read_to_string(format!("/proc/{daemon}/limits")).expect("limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers, ["5000", "5000"]);
    assert_eq!(run(&home.base(), &["umount", "m"]).code, 0);
}
