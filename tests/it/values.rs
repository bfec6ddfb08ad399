//! Bytes in, the same bytes out: large, many, in any order, through any door.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::mounted::Mounted;
use crate::program::wait_until;

/// Fills a block with numbers that depend on the block and are not the same twice.
fn fill(block: &mut [u8], number: u64) {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for word in block.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
}

#[test]
fn a_large_file_goes_in_and_out_in_bounded_memory() {
    const MEMORY_KIB_MAX: u64 = 200 << 10;
    const BLOCK_BYTES: usize = 1 << 20;
    // More where there is time and room: LITTFS_TEST_MIB=5000 cargo test
    let mib = std::env::var("LITTFS_TEST_MIB").map_or(300, |text| text.parse().expect("a number"));
    let home = Mounted::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut file = File::create(home.at("t/large")).expect("create");
    for number in 0..mib {
        fill(&mut block, number);
        file.write_all(&block).expect("write");
    }
    drop(file);
    let mut read = vec![0; BLOCK_BYTES];
    let mut file = File::open(home.at("t/large")).expect("open");
    for number in 0..mib {
        fill(&mut block, number);
        file.read_exact(&mut read).expect("read");
        assert!(read == block, "block {number}");
    }
    assert_eq!(file.read(&mut read).expect("read"), 0, "the end");
    let memory_kib = home.memory_kib("VmHWM");
    assert!(memory_kib < MEMORY_KIB_MAX, "{memory_kib} KiB");
    let memory_kib = home.memory_kib("RssAnon");
    assert!(memory_kib < MEMORY_KIB_MAX, "{memory_kib} KiB of its own");
}

#[test]
fn many_files_that_are_written_at_once_share_bounded_memory() {
    let home = Mounted::with(1, "pending_bytes_max = \"16MiB\"\n");
    let mut block = vec![0; 1 << 20];
    let create = |number| File::create(home.at(format!("t/{number}"))).expect("create");
    let mut files: Vec<File> = (0..40).map(create).collect();
    for round in 0..3 {
        for (number, file) in (0..).zip(&mut files) {
            fill(&mut block, round * 100 + number);
            file.write_all(&block).expect("write");
        }
    }
    let memory_kib = home.memory_kib("VmHWM");
    assert!(memory_kib < 120 << 10, "{memory_kib} KiB for 120 MiB");
    drop(files);
    for number in 0..40 {
        let read = fs::read(home.at(format!("t/{number}"))).expect("read");
        for (round, part) in (0..).zip(read.chunks(1 << 20)) {
            fill(&mut block, round * 100 + number);
            assert!(part == block, "file {number}, MiB {round}");
        }
    }
}

#[test]
fn many_tiny_files_in_one_folder() {
    const FILES: usize = 20_000;
    let letter = |number: usize| b"abcdefghijklmnopqrstuvwxyz"[number % 26];
    let home = Mounted::new();
    for number in 0..FILES {
        fs::write(home.at(format!("t/{number:05}")), [letter(number)]).expect("write");
    }
    let check = || {
        let listed = fs::read_dir(home.at("t")).expect("list");
        let names: Vec<String> = listed
            .map(|entry| entry.expect("entry").file_name().into_string().expect("text"))
            .collect();
        // In the order of their bytes, each exactly once.
        assert!(names.iter().enumerate().all(|(at, name)| *name == format!("{at:05}")));
        assert_eq!(names.len(), FILES);
        assert_eq!(home.sh("find m/t -type f -size -2c | wc -l"), format!("{FILES}\n"));
        let all = home.sh("cat m/t/*");
        assert_eq!(all.len(), FILES);
        assert!(all.bytes().enumerate().all(|(number, byte)| byte == letter(number)));
    };
    check();
    home.remount();
    check();
}

#[test]
fn writes_in_any_order_seeks_and_truncation_before_the_close() {
    let home = Mounted::new();
    // Below and above the length from which a value has a file of its own.
    for (name, block_bytes) in [("short", 1 << 10), ("long", 256 << 10)] {
        const BLOCKS: u64 = 97;
        let file = File::create(home.at("t").join(name)).expect("create");
        let mut block = vec![0; block_bytes];
        for step in 0..BLOCKS {
            // 31 and 97 have no common part: every block once.
            let number = step * 31 % BLOCKS;
            fill(&mut block, number);
            file.write_all_at(&block, number * block_bytes as u64).expect("write");
        }
        // Over what is there, also across a boundary.
        file.write_all_at(b"over", block_bytes as u64 - 2).expect("write");
        drop(file);
        let read = fs::read(home.at("t").join(name)).expect("read");
        let mut expected = Vec::new();
        for number in 0..BLOCKS {
            fill(&mut block, number);
            expected.extend_from_slice(&block);
        }
        expected[block_bytes - 2..block_bytes + 2].copy_from_slice(b"over");
        assert!(read == expected, "{name}");
    }

    let mut sparse = File::create(home.at("t/sparse")).expect("create");
    sparse.seek(SeekFrom::Start(3 << 20)).expect("seek");
    sparse.write_all(b"end").expect("write");
    sparse.set_len((10 << 20) + 1).expect("truncate");
    drop(sparse);
    let read = fs::read(home.at("t/sparse")).expect("read");
    assert_eq!(read.len(), (10 << 20) + 1);
    assert_eq!(&read[3 << 20..][..4], b"end\0");
    assert!(read.iter().enumerate().all(|(at, byte)| *byte == 0 || (at >> 20) == 3));

    let file = File::create(home.at("t/cut")).expect("create");
    file.write_all_at(b"0123456789", 0).expect("write");
    file.set_len(4).expect("truncate");
    file.set_len(6).expect("extend");
    file.write_all_at(b"x", 7).expect("write");
    drop(file);
    assert_eq!(fs::read(home.at("t/cut")).expect("read"), b"0123\0\0\0x");

    home.sh("printf abcdef | dd of=m/t/dd bs=1 seek=3 status=none; truncate -s 5 m/t/new; \
        fallocate -l 9 m/t/room");
    assert_eq!(fs::read(home.at("t/dd")).expect("read"), b"\0\0\0abcdef");
    assert_eq!(fs::read(home.at("t/new")).expect("read"), b"\0\0\0\0\0");
    assert_eq!(fs::read(home.at("t/room")).expect("read"), [0; 9]);
    home.crash();
    assert_eq!(fs::read(home.at("t/cut")).expect("read"), b"0123\0\0\0x");
    assert_eq!(fs::metadata(home.at("t/sparse")).expect("stat").len(), (10 << 20) + 1);
}

#[test]
fn appends_and_duplicates_lose_nothing() {
    let home = Mounted::new();
    let append = || OpenOptions::new().append(true).create_new(true).clone();
    let mut file = append().open(home.at("t/append")).expect("create");
    for number in 0..100 {
        // Where the handle stands does not matter.
        file.seek(SeekFrom::Start(0)).expect("seek");
        writeln!(file, "{number}").expect("write");
    }
    drop(file);
    let read = fs::read_to_string(home.at("t/append")).expect("read");
    assert_eq!(read, home.sh("seq 0 99"));

    home.sh("(echo a; /bin/echo b; (echo c)) > m/t/subshell; \
        exec 3> m/t/exec; echo a >&3; /bin/echo b >&3; (echo c >&3); exec 3>&-; \
        exec 4>> m/t/seq; for i in $(seq 300); do /bin/echo $i >&4; done; exec 4>&-; \
        { seq 10; seq 20; } > m/t/group; seq 1000 | tee m/t/tee > m/t/other");
    for name in ["subshell", "exec"] {
        assert_eq!(fs::read(home.at("t").join(name)).expect("read"), b"a\nb\nc\n", "{name}");
    }
    assert_eq!(home.sh("cat m/t/seq"), home.sh("seq 300"));
    assert_eq!(home.sh("cat m/t/group"), home.sh("seq 10; seq 20"));
    assert_eq!(home.sh("cat m/t/tee m/t/other"), home.sh("seq 1000; seq 1000"));

    // The name, the length and the bytes are right from the moment that close returns.
    for number in 0..200 {
        let (from, to) = (home.at(format!("t/{number}.tmp")), home.at(format!("t/{number}.txt")));
        fs::write(&from, number.to_string()).expect("write");
        fs::rename(&from, &to).expect("rename");
        assert_eq!(fs::read_to_string(&to).expect("read"), number.to_string());
    }
}

#[test]
fn a_mapping_is_a_way_to_write() {
    let home = Mounted::new();
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).open(home.at("t/map"));
    let file = file.expect("create");
    file.set_len(100_000).expect("truncate");
    #[expect(unsafe_code, reason = "a mapping is what is tested")]
    // SAFETY: nobody else maps, writes or truncates this file.
    let mut map = unsafe { memmap2::MmapMut::map_mut(&file) }.expect("map");
    map[..5].copy_from_slice(b"first");
    map[99_996..].copy_from_slice(b"last");
    map.flush().expect("msync");
    drop(map);
    drop(file);
    let read = fs::read(home.at("t/map")).expect("read");
    assert_eq!(
        (read.len(), &read[..6], &read[99_995..]),
        (100_000, &b"first\0"[..], &b"\0last"[..])
    );
    // What is stored can be mapped for reading.
    let file = File::open(home.at("t/map")).expect("open");
    #[expect(unsafe_code, reason = "a mapping is what is tested")]
    // SAFETY: a stored file does not change any more.
    let map = unsafe { memmap2::Mmap::map(&file) }.expect("map");
    assert!(map[..] == read);
    drop((map, file));
    home.crash();
    assert!(fs::read(home.at("t/map")).expect("read") == read);
}

#[test]
fn what_was_synced_survives_a_kill_while_it_is_open() {
    let home = Mounted::new();
    let mut synced = File::create(home.at("t/synced")).expect("create");
    let mut lost = File::create(home.at("t/lost")).expect("create");
    let large = vec![7; 9 << 20];
    let mut streamed = File::create(home.at("t/streamed")).expect("create");
    synced.write_all(b"so far").expect("write");
    synced.sync_all().expect("fsync");
    streamed.write_all(&large).expect("write");
    streamed.sync_data().expect("fdatasync");
    lost.write_all(b"never closed, never synced").expect("write");
    let closed = home.at("t/closed");
    fs::write(&closed, "closed").expect("write");
    home.kill();
    drop((synced, lost, streamed));
    home.remount();
    assert_eq!(fs::read(home.at("t/synced")).expect("read"), b"so far");
    assert!(fs::read(home.at("t/streamed")).expect("read") == large);
    assert_eq!(fs::read(closed).expect("read"), b"closed");
    assert!(!home.at("t/lost").exists(), "a pending file is absent after a crash");
    assert_eq!(home.sh("ls m/t"), "closed\nstreamed\nsynced\n");
}

#[test]
fn a_killed_writer_leaves_what_it_had_written() {
    let home = Mounted::new();
    let script = format!("exec > {}; echo start; exec sleep 1000", home.at("t/f").display());
    let mut writer =
        Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).spawn().expect("a shell");
    wait_until("it writes", || fs::read(home.at("t/f")).is_ok_and(|read| read == b"start\n"));
    kill(Pid::from_raw(writer.id().cast_signed()), Signal::SIGKILL).expect("kill");
    writer.wait().expect("it ends");
    assert_eq!(fs::read(home.at("t/f")).expect("read"), b"start\n");
    home.crash();
    assert_eq!(fs::read(home.at("t/f")).expect("read"), b"start\n");
    // It can be thrown away, and its name used again.
    fs::remove_file(home.at("t/f")).expect("unlink");
    fs::write(home.at("t/f"), "again").expect("write");
    assert_eq!(fs::read(home.at("t/f")).expect("read"), b"again");
}
