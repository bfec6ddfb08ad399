//! Many writers at once, segments that are sealed under them, and a kill in the middle.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use crate::mounted::{Mounted, names_in};

/// Small segments, so that many are sealed while a test runs.
const SMALL_SEGMENTS: &str =
    "segment_keys_max = 60\nsegment_bytes_max = \"1MiB\"\nspill_bytes = \"64KiB\"\n";

/// What a file of this name holds: short ones, and some that get a file of their own.
fn value(name: &str) -> Vec<u8> {
    let number = name.bytes().fold(7_usize, |sum, byte| (sum * 31 + usize::from(byte)) % 10_007);
    let length = if number % 20 == 0 { 70_000 + number } else { number % 3000 };
    name.bytes().chain(*b"\n").cycle().take(length).collect()
}

#[test]
fn files_can_be_put_right_after_their_segment_was_sealed() {
    const FILES: usize = 600;
    let home = Mounted::with(2, SMALL_SEGMENTS);
    fs::create_dir(home.at("t/d")).expect("mkdir");
    let mut expected = HashMap::new();
    for number in 0..FILES {
        let name = format!("{number}");
        fs::write(home.at("t").join(&name), value(&name)).expect("write");
        expected.insert(name.clone(), (value(&name), 0o644));
    }
    // Most of them are in sealed segments by now.
    for number in 0..FILES {
        let name = format!("{number}");
        let path = home.at("t").join(&name);
        let (bytes, mode) = expected.remove(&name).expect("it was stored");
        match number % 6 {
            0 => {
                fs::rename(&path, home.at("t/d").join(&name)).expect("rename");
                expected.insert(format!("d/{name}"), (bytes, mode));
            }
            1 => {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
                expected.insert(name, (bytes, 0o600));
            }
            2 => fs::remove_file(&path).expect("unlink"),
            3 => {
                fs::hard_link(&path, home.at("t/d").join(&name)).expect("link");
                expected.insert(format!("d/{name}"), (bytes.clone(), mode));
                expected.insert(name, (bytes, mode));
            }
            4 => {
                // Onto one that is there.
                let other = format!("{}", number + 1);
                fs::rename(&path, home.at("t").join(&other)).expect("rename");
                expected.insert(other, (bytes, mode));
            }
            // The name has another value now.
            _ => drop(expected.insert(name, (value(&format!("{}", number - 1)), mode))),
        }
    }
    let check = || {
        for (name, (bytes, mode)) in &expected {
            let path = home.at("t").join(name);
            let read = fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(read == *bytes, "{name}: {} bytes, not {}", read.len(), bytes.len());
            let found = fs::metadata(&path).expect("stat").permissions().mode() & 0o777;
            assert_eq!(found, *mode, "{name}");
        }
        let listed = home.sh("cd m/t && find . -type f | wc -l");
        assert_eq!(listed.trim(), expected.len().to_string());
    };
    check();
    home.crash();
    check();
    home.umount();
    home.sh("rm -r r?/t/keymap");
    home.mount();
    check();
}

/// A process that stores files for ever and says each name once the file is closed.
fn writer(home: &Mounted, number: usize, source: &str) -> Child {
    // Every second one under a temporary name first, as all careful programs do.
    let script = format!(
        "for i in $(seq 100000); do n={number}-$i; \
         if [ $((i % 2)) = 0 ]; then cat {source} > m/t/$n || exit; \
         else cat {source} > m/t/.$n.tmp && mv m/t/.$n.tmp m/t/$n || exit; fi; \
         echo $n; done"
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script]).current_dir(home.base()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a shell")
}

#[test]
fn what_was_closed_before_a_kill_is_there_and_nothing_is_there_in_part() {
    const FILES_EACH: usize = 60;
    let home = Mounted::with(2, SMALL_SEGMENTS);
    let lengths = [0, 10, 5000, 200_000];
    for (number, length) in lengths.into_iter().enumerate() {
        let bytes = value(&format!("source {number}")).into_iter().chain(*b"x").cycle();
        fs::write(
            home.base().join(format!("source-{number}")),
            bytes.take(length).collect::<Vec<u8>>(),
        )
        .expect("write");
    }
    let mut closed = Vec::new();
    for round in 0..2 {
        let start = |number| writer(&home, round * 10 + number, &format!("source-{number}"));
        let mut writers: Vec<Child> = (0..lengths.len()).map(start).collect();
        let mut outputs = Vec::new();
        for writer in &mut writers {
            let mut lines = BufReader::new(writer.stdout.take().expect("a pipe")).lines();
            closed.extend(lines.by_ref().take(FILES_EACH).map(|line| line.expect("text")));
            outputs.push(lines);
        }
        home.kill();
        // They fail at once, without a mount.
        for (writer, lines) in writers.iter_mut().zip(outputs) {
            closed.extend(lines.map(|line| line.expect("text")));
            writer.wait().expect("it ends");
        }
        home.remount();
        assert!(closed.len() >= (round + 1) * lengths.len() * FILES_EACH);
        let listed = names_in(&home.at("t"));
        for name in &closed {
            assert!(listed.contains(name), "{name} was closed");
        }
        for name in &listed {
            let writer: usize = name
                .trim_start_matches('.')
                .split('-')
                .next()
                .and_then(|text| text.parse().ok())
                .expect("the number of a writer");
            let source = fs::read(home.base().join(format!("source-{}", writer % 10)));
            let read = fs::read(home.at("t").join(name)).expect("read");
            // A shell closes a duplicate before the first byte: an empty file, until there is more.
            let is_empty = read.is_empty() && !closed.contains(name);
            assert!(is_empty || read == source.expect("read"), "{name}: {} bytes", read.len());
        }
    }
}

#[test]
fn a_listing_shows_what_stays_exactly_once_whatever_comes_and_goes() {
    const FILES: usize = 4000;
    let home = Mounted::with(1, "segment_keys_max = 1000\n");
    for number in 0..FILES {
        File::create(home.at(format!("t/{number:05}"))).expect("create");
    }
    let mut seen = Vec::new();
    for (at, entry) in fs::read_dir(home.at("t")).expect("list").enumerate() {
        seen.push(entry.expect("entry").file_name().into_string().expect("text"));
        if at % 10 == 0 && at < FILES {
            // Before and behind the place of the listing.
            let other = (at * 7 + FILES / 2) % FILES / 10 * 10;
            drop(fs::remove_file(home.at(format!("t/{other:05}"))));
            File::create(home.at(format!("t/{other:05}-new"))).map(drop).unwrap_or_default();
        }
    }
    let stays = |name: &&String| name.len() == 5 && !name.ends_with('0');
    let stayed: Vec<&String> = seen.iter().filter(stays).collect();
    assert_eq!(stayed.len(), FILES / 10 * 9);
    assert!(stayed.windows(2).all(|pair| pair[0] < pair[1]), "in order, once each");
}
