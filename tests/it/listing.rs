//! Listing large folders: positions, what changes meanwhile, and memory. The kernel is asked
//! directly, since libraries hide pages and offsets.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::mounted::Mounted;
use crate::program::{PATIENCE, wait_until};

/// Seals a segment every so many files, so that folders lie in many runs and a memtable.
const SMALL_SEGMENTS: &str = "segment_keys_max = 700\n";

/// A name as getdents64 gives it.
#[derive(Debug)]
struct Entry {
    name: String,
    /// The position behind it.
    offset: u64,
}

/// One call of getdents64 with a buffer of this size.
fn page(folder: &File, bytes: usize) -> Vec<Entry> {
    let mut buffer = vec![0_u8; bytes];
    #[expect(unsafe_code, reason = "libraries do not show single pages and their offsets")]
    // SAFETY: the kernel writes at most as many bytes as the buffer has.
    let filled = unsafe {
        libc::syscall(libc::SYS_getdents64, folder.as_raw_fd(), buffer.as_mut_ptr(), buffer.len())
    };
    let filled = usize::try_from(filled).expect("getdents64 succeeds");
    let mut rest = &buffer[..filled];
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let offset = u64::from_ne_bytes(rest[8..16].try_into().expect("eight bytes"));
        let length = u16::from_ne_bytes(rest[16..18].try_into().expect("two bytes"));
        let name = rest[19..].split(|&byte| byte == 0).next().expect("a name");
        let name = String::from_utf8(name.to_vec()).expect("text");
        entries.push(Entry { name, offset });
        rest = &rest[usize::from(length)..];
    }
    entries
}

/// Everything from where the folder stands, in pages of this size.
fn rest(folder: &File, bytes: usize) -> Vec<Entry> {
    let mut all = Vec::new();
    loop {
        let entries = page(folder, bytes);
        if entries.is_empty() {
            return all;
        }
        all.extend(entries);
    }
}

fn names(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.name.as_str()).filter(|name| !name.starts_with('.')).collect()
}

/// Shows the first difference only: the lists are long.
#[track_caller]
fn assert_same(seen: &[&str], expected: &[String], what: &str) {
    let differ = seen.iter().zip(expected).find(|(seen, expected)| *seen != *expected);
    assert!(differ.is_none(), "{what}: {differ:?}");
    assert_eq!(seen.len(), expected.len(), "{what}");
}

fn make(folder: &Path, name: &str) {
    File::create_new(folder.join(name)).expect("create");
}

/// Names of several shapes: numbered, scattered, and long ones that differ late, in pairs.
fn many_names(count: u64) -> Vec<String> {
    let scattered = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut names: Vec<String> = (0..count)
        .map(|n| match n % 4 {
            0 => format!("frame-{n:07}.jpg"),
            1 => format!("{:016x}.bin", scattered(n)),
            2 => format!("{:016x}{:032x}.data", scattered(n), scattered(n + 9)),
            _ => format!("{:016x}{:032x}.meta", scattered(n - 1), scattered(n + 8)),
        })
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn every_position_stays_between_its_names_whatever_comes_and_goes() {
    let home = Mounted::with(1, SMALL_SEGMENTS);
    let names_at_first = many_names(4000);
    for name in &names_at_first {
        make(&home.at("t"), name);
    }
    let mut folder = File::open(home.at("t")).expect("open");
    let listed = rest(&folder, 4096);
    assert_same(&names(&listed), &names_at_first, "at first");
    let follows = |folder: &mut File, offset: u64| {
        folder.seek(SeekFrom::Start(offset)).expect("seek");
        page(folder, 32 << 10)
    };
    for pair in listed.windows(2).step_by(61) {
        assert_eq!(follows(&mut folder, pair[0].offset)[0].name, pair[1].name);
    }
    // Two of three names go, and others come between and in front of those that stay.
    let mut stay = Vec::new();
    for (number, name) in names_at_first.iter().enumerate() {
        if number % 3 == 0 {
            stay.push(name.as_str());
        } else {
            fs::remove_file(home.at("t").join(name)).expect("unlink");
        }
    }
    for name in stay.iter().step_by(5) {
        make(&home.at("t"), &format!("{name}+"));
    }
    for number in 0..500 {
        make(&home.at("t"), &format!("!{number}"));
    }
    for entry in listed.iter().skip(2).step_by(37) {
        let page = follows(&mut folder, entry.offset);
        let first = names(&page).into_iter().find(|name| stay.binary_search(name).is_ok());
        let expected = stay.iter().find(|name| **name > entry.name.as_str());
        assert_eq!(first, expected.copied(), "behind {}", entry.name);
    }
    // From the very start, and then back to a position of before.
    let middle = &listed[1500];
    let again = follows(&mut folder, 0);
    assert_eq!(&again[2].name, "!0");
    let tail = follows(&mut folder, middle.offset);
    let stays = |name: &&str| stay.binary_search(name).is_ok();
    let first = names(&tail).into_iter().find(stays).map(str::to_owned);
    assert_eq!(first.as_deref(), stay.iter().find(|name| **name > middle.name.as_str()).copied());
}

#[test]
fn what_stays_is_listed_once_while_ten_writers_come_and_go() {
    let home = Mounted::with(2, SMALL_SEGMENTS);
    let folder = home.at("t/folder");
    fs::create_dir(&folder).expect("mkdir");
    let stay = many_names(2000);
    for name in &stay {
        make(&folder, name);
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..10 {
            let (folder, stop, stay) = (&folder, &stop, &stay);
            scope.spawn(move || {
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) {
                    let neighbour = &stay[(round * 131 + writer * 17) % stay.len()];
                    let name = folder.join(format!("{neighbour}-{writer}"));
                    File::create_new(&name).expect("create");
                    if round % 2 == 0 {
                        let to = folder.join(format!("{neighbour}-{writer}-moved"));
                        fs::rename(&name, &to).expect("rename");
                        fs::remove_file(&to).expect("unlink");
                    } else {
                        fs::remove_file(&name).expect("unlink");
                    }
                    round += 1;
                }
            });
        }
        // The writers fill a segment after another meanwhile.
        let segments =
            || home.segment_files()[0].iter().filter(|file| file.contains(".keys")).count();
        let enough = segments() + 3;
        let known: HashSet<&str> = stay.iter().map(String::as_str).collect();
        let result = std::panic::catch_unwind(|| {
            let started = Instant::now();
            while segments() < enough && started.elapsed() < PATIENCE {
                for bytes in [500, 4096, 32 << 10] {
                    let listed = rest(&File::open(&folder).expect("open"), bytes);
                    let seen: Vec<&str> =
                        names(&listed).into_iter().filter(|name| known.contains(name)).collect();
                    assert_same(&seen, &stay, &format!("pages of {bytes} bytes"));
                }
            }
            assert!(segments() >= enough, "no segment was sealed meanwhile");
        });
        stop.store(true, Ordering::Relaxed);
        result.expect("listed as it should be");
    });
}

#[test]
fn a_listing_goes_on_over_segments_that_expire_under_it() {
    let home = Mounted::with(1, SMALL_SEGMENTS);
    let numbers = 0..1500;
    for number in numbers.clone() {
        make(&home.at("t"), &format!("{number:05}-old"));
    }
    let first_written = Instant::now();
    // Meanwhile what is done below between the end of the old ones and that of the young ones.
    wait_until("time stands still", || first_written.elapsed() > Duration::from_secs(8));
    for number in numbers.clone() {
        make(&home.at("t"), &format!("{number:05}-young"));
    }
    let age = first_written.elapsed().as_secs() + 1;
    let folder = File::open(home.at("t")).expect("open");
    let mut listed = page(&folder, 4096);
    home.sh(&format!("setfattr -n user.littfs.ttl -v {age}s m/t"));
    let before = home.segment_files()[0].len();
    wait_until("old segments are not dropped", || home.segment_files()[0].len() < before);
    listed.extend(rest(&folder, 4096));
    let young: Vec<String> = numbers.map(|number| format!("{number:05}-young")).collect();
    let seen: Vec<&str> =
        names(&listed).into_iter().filter(|name| !name.ends_with("-old")).collect();
    assert_same(&seen, &young, "over the expiry");
    let last = home.at("t/01499-old");
    wait_until("the last old name never goes", || fs::metadata(&last).is_err());
    let all = rest(&File::open(home.at("t")).expect("open"), 4096);
    assert_same(&names(&all), &young, "what has expired is listed no more");
}

#[test]
fn duplicates_of_a_handle_share_its_position_and_other_handles_do_not() {
    let home = Mounted::with(1, SMALL_SEGMENTS);
    let all = many_names(900);
    for name in &all {
        make(&home.at("t"), name);
    }
    let one = File::open(home.at("t")).expect("open");
    let (same, other) = (one.try_clone().expect("dup"), File::open(home.at("t")).expect("open"));
    let (mut shared, mut own) = (Vec::new(), Vec::new());
    loop {
        let pages = [page(&one, 2000), page(&same, 3000)];
        own.extend(page(&other, 1000));
        if pages.iter().all(Vec::is_empty) {
            break;
        }
        shared.extend(pages.into_iter().flatten());
    }
    own.extend(rest(&other, 1000));
    assert_same(&names(&shared), &all, "by duplicates");
    assert_same(&names(&own), &all, "by its own");
    // A shell that lists with the descriptor of its parent goes on where that stands.
    let mut halves = home.sh("python3 -c 'import os
f = os.open(\"m/t\", os.O_RDONLY)
if os.fork() == 0:
    print(len(os.listdir(f)), flush=True); os._exit(0)
os.wait(); os.lseek(f, 0, os.SEEK_SET); print(len(os.listdir(f)))'");
    halves.retain(|c| !c.is_whitespace());
    assert_eq!(halves, "900900");
}

/// Takes names and inodes of the mount out of the kernel's caches, and of no other mount.
fn forget(home: &Mounted) {
    home.sh("mount -i -o remount,nosuid,nodev m");
}

#[test]
fn handles_and_forgotten_inodes_take_no_memory() {
    const FILES: u64 = 24_000;
    let home = Mounted::new();
    let all = many_names(FILES);
    for name in &all {
        make(&home.at("t"), name);
    }
    forget(&home);
    let listed = rest(&File::open(home.at("t")).expect("open"), 32 << 10);
    assert_eq!(names(&listed).len(), all.len());
    let before = home.memory_kib("VmRSS");
    let handles: Vec<File> = (0..32)
        .map(|_| {
            let folder = File::open(home.at("t")).expect("open");
            assert_eq!(names(&rest(&folder, 32 << 10)).len(), all.len());
            folder
        })
        .collect();
    let grown = home.memory_kib("VmRSS").saturating_sub(before);
    assert!(grown < 32 * 300, "32 listings to the end hold {grown} KiB");
    drop(handles);

    // Every inode becomes known to the kernel, and so to the daemon.
    let before = home.memory_kib("VmRSS");
    let asked = |name: &String| fs::metadata(home.at("t").join(name)).is_ok();
    assert!(all.iter().all(asked));
    let known = home.memory_kib("VmRSS").saturating_sub(before);
    assert!(known < FILES * 400 / 1024, "{FILES} known inodes take {known} KiB");
    forget(&home);
    wait_until("the memory of forgotten inodes does not come back", || {
        home.memory_kib("VmRSS").saturating_sub(before) < known / 3
    });
}

#[test]
fn a_large_folder_is_taken_away_as_a_whole() {
    let home = Mounted::with(1, SMALL_SEGMENTS);
    home.sh("mkdir -p m/t/d/e && cd m/t/d && seq -f %05g 3000 | xargs touch && cd e && seq 500 | \
        xargs mkdir");
    assert_eq!(home.sh("ls -U m/t/d | wc -l; find m/t/d | wc -l"), "3001\n3502\n");
    home.sh("rm -r m/t/d");
    let left: BTreeSet<String> = home.sh("ls m/t").lines().map(str::to_owned).collect();
    assert_eq!(left, BTreeSet::new());
    home.remount();
    assert_eq!(home.sh("ls m/t"), "");
}
