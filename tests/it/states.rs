//! Pending, settling, sealed: who may do what to a file, and which error says no.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::process::{Command, Stdio};

use nix::errno::Errno;

use crate::mounted::{Mounted, errno};
use crate::program::wait_until;

/// A mount whose files are sealed as soon as they are closed, with the file `f` in `t`.
fn sealed() -> Mounted {
    let home = Mounted::with(1, "table_grace = \"0s\"\n");
    fs::write(home.at("t/f"), "bytes").expect("write");
    wait_until("it is not sealed", || {
        home.sh("getfattr --only-values -n user.littfs.sealed m/t/f") == "true"
    });
    home
}

#[test]
fn the_bytes_of_a_closed_file_are_fixed() {
    let home = Mounted::new();
    for (home, state) in [(&home, "settling"), (&sealed(), "sealed")] {
        let path = home.at("t/f");
        if state == "settling" {
            fs::write(&path, "bytes").expect("write");
        }
        let open = |options: &mut OpenOptions| errno(options.open(&path));
        assert_eq!(open(OpenOptions::new().write(true)), Errno::EPERM, "{state}");
        assert_eq!(open(OpenOptions::new().read(true).write(true)), Errno::EPERM, "{state}");
        assert_eq!(open(OpenOptions::new().append(true)), Errno::EPERM, "{state}");
        assert_eq!(open(OpenOptions::new().write(true).truncate(true)), Errno::EPERM, "{state}");
        assert_eq!(open(OpenOptions::new().write(true).create_new(true)), Errno::EEXIST, "{state}");
        assert_eq!(errno(File::create(&path)), Errno::EPERM, "{state}");
        let no = "Operation not permitted";
        home.refuses("echo more >> m/t/f", no);
        home.refuses("echo other > m/t/f", no);
        home.refuses("truncate -s 1 m/t/f", no);
        home.refuses("dd if=/dev/zero of=m/t/f conv=notrunc count=1", no);
        home.refuses("tee -a m/t/f < /dev/null", no);
        home.refuses("cp /etc/hostname m/t/f", no);
        nix::unistd::truncate(&path, 5).expect("nothing to do");
        assert_eq!(nix::unistd::truncate(&path, 4), Err(Errno::EPERM), "{state}");
        assert_eq!(fs::read(&path).expect("read"), b"bytes", "{state}");
    }
}

#[test]
fn a_sealed_file_keeps_its_name_and_attributes() {
    let home = sealed();
    let no = "Operation not permitted";
    for change in [
        "chmod 600 m/t/f",
        "chown 1:1 m/t/f",
        "touch -d 2001-01-01 m/t/f",
        "mv m/t/f m/t/g",
        "rm -f m/t/f",
        "touch new; mv -f new m/t/f",
        "rm -rf m/t/f",
    ] {
        home.refuses(change, no);
    }
    assert_eq!(home.sh("stat -c '%n %s %a %u' m/t/f; ls m/t"), "m/t/f 5 644 0\nf\n");
    home.refuses("rmdir m/t", "Directory not empty");
    home.remount();
    home.refuses("rm -f m/t/f", no);
    assert_eq!(fs::read(home.at("t/f")).expect("read"), b"bytes");
    home.sh("ln m/t/f m/t/linked");
    assert_eq!(home.sh("cat m/t/linked; stat -c %h m/t/f m/t/linked"), "bytes1\n1\n");
}

#[test]
fn a_settling_file_can_be_put_right_or_thrown_away() {
    let home = Mounted::new();
    home.sh("echo f > m/t/f; chmod 4640 m/t/f; chown 12:34 m/t/f; chmod 640 m/t/f; \
        touch -d '2001-02-03 04:05:06.123456789' m/t/f; mkdir m/t/d; mv m/t/f m/t/d/g");
    let expected = "640 12 34 2001-02-03 04:05:06.123456789 +0000 2\n";
    assert_eq!(home.sh("stat -c '%a %u %g %y %s' m/t/d/g"), expected);
    home.crash();
    assert_eq!(home.sh("stat -c '%a %u %g %y %s' m/t/d/g"), expected);
    home.sh("echo one > m/t/one; echo two > m/t/two; mv m/t/one m/t/two");
    assert_eq!(home.sh("cat m/t/two; ls m/t"), "one\nd\ntwo\n");
    home.sh("sed -i s/one/three/ m/t/two && cat m/t/two");
    home.sh("rm m/t/two; rm -r m/t/d");
    assert_eq!(home.sh("ls -A m/t"), "");
    home.sh("rmdir m/t");
}

#[test]
fn set_user_id_goes_with_a_new_owner_and_with_new_bytes() {
    let home = Mounted::new();
    home.sh(
        "for f in a b c d; do echo $f > m/t/$f; done; chmod 6755 m/t/a m/t/b; chmod 2745 m/t/c; \
        mkdir -m 2755 m/t/h",
    );
    // As everywhere: set-group-id stays where the group may not execute, and on folders.
    home.sh(
        "chown 5 m/t/a; chgrp 6 m/t/b; chown 5:6 m/t/c m/t/h; chmod 4755 m/t/d; chown 0:0 m/t/d",
    );
    let modes = "stat -c '%a %u %g' m/t/a m/t/b m/t/c m/t/d m/t/h";
    let expected = "755 5 0\n755 0 6\n2745 5 6\n755 0 0\n2755 5 6\n";
    assert_eq!(home.sh(modes), expected);
    home.crash();
    assert_eq!(home.sh(modes), expected);
    // Writers who may keep it do; %a alone shows whether the kernel believes an old mode.
    let write =
        "exec 3> m/t/x; chmod 6755 m/t/x; echo x >&3; exec 3>&-; stat -c %a m/t/x; rm m/t/x";
    assert_eq!(home.sh(write), "6755\n");
    let others = format!("setpriv --bounding-set=-fsetid bash -c '{write}'");
    assert_eq!(home.sh(&others), "755\n");
    for change in ["truncate -s 9 m/t/x", "fallocate -l 9 m/t/x"] {
        home.sh(&format!(
            "touch m/t/x; chmod 4755 m/t/x; {change}; stat -c '%a %s' m/t/x > shown; rm m/t/x"
        ));
        assert_eq!(home.sh("cat shown"), "755 9\n", "{change}");
    }
}

#[test]
fn an_empty_file_may_be_written_once() {
    let home = Mounted::new();
    home.sh("touch m/t/f; echo x > m/t/f");
    assert_eq!(home.sh("cat m/t/f"), "x\n");
    home.refuses("echo y > m/t/f", "Operation not permitted");
    home.sh("touch m/t/g; echo x >> m/t/g; : > m/t/h; : > m/t/h; echo z > m/t/h");
    assert_eq!(home.sh("cat m/t/g m/t/h"), "x\nz\n");
    home.sh("mktemp m/t/XXXXXX > name; echo text > $(cat name); cat $(cat name)");
    home.crash();
    assert_eq!(home.sh("cat m/t/f m/t/g m/t/h; cat $(cat name)"), "x\nx\nz\ntext\n");
}

#[test]
fn readers_see_the_bytes_so_far_and_a_second_writer_is_busy() {
    let home = Mounted::new();
    let path = home.at("t/f");
    // A process of its own, for each process that this one starts closes copies of what is open
    // here.
    let mut tee = Command::new("tee");
    let tee = tee.arg(&path).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut tee = tee.spawn().expect("tee");
    let mut writer = tee.stdin.take().expect("a pipe");
    wait_until("the file is not created", || path.exists());
    assert_eq!(fs::metadata(&path).expect("stat").len(), 0);
    let mut write = |bytes: &str, so_far: &str| {
        writer.write_all(bytes.as_bytes()).expect("write");
        wait_until(so_far, || fs::read_to_string(&path).is_ok_and(|read| read == so_far));
    };
    write("one", "one");
    let mut reader = File::open(&path).expect("open");
    assert_eq!(home.sh("cat m/t/f; stat -c ' %s' m/t/f; ls m/t"), "one 3\nf\n");
    assert_eq!(errno(OpenOptions::new().append(true).open(&path)), Errno::EBUSY);
    assert_eq!(errno(File::create(&path)), Errno::EBUSY);
    assert_eq!(errno(File::create_new(&path)), Errno::EEXIST);
    assert_eq!(errno(fs::hard_link(&path, home.at("t/g"))), Errno::EBUSY);
    write("two", "onetwo");
    let mut read = String::new();
    reader.read_to_string(&mut read).expect("read");
    assert_eq!(read, "onetwo");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
    fs::rename(&path, home.at("t/renamed")).expect("rename");
    writer.write_all(b"three").expect("write");
    drop(writer);
    assert!(tee.wait().expect("tee ends").success());
    assert_eq!(home.sh("cat m/t/renamed; stat -c ' %s %a' m/t/renamed"), "onetwothree 11 600\n");
    reader.read_to_string(&mut read).expect("read");
    assert_eq!(read, "onetwothree");
}

#[test]
fn an_unlinked_file_lives_as_long_as_it_is_open() {
    let home = Mounted::new();
    let path = home.at("t/f");
    for bytes in [100_usize, 6 << 20] {
        let value = vec![7; bytes];
        // Pending.
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create_new(true).open(&path).expect("create");
        file.write_all(&value).expect("write");
        fs::remove_file(&path).expect("unlink");
        assert_eq!(errno(fs::metadata(&path)), Errno::ENOENT);
        file.write_all(b"more").expect("write");
        assert_eq!(file.metadata().expect("stat").len(), bytes as u64 + 4);
        let reader =
            File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)));
        drop(reader);
        drop(file);
        // Settling.
        fs::write(&path, &value).expect("the name is free");
        let mut reader = File::open(&path).expect("open");
        fs::remove_file(&path).expect("unlink");
        fs::write(&path, "other").expect("the name is free");
        let mut read = Vec::new();
        reader.read_to_end(&mut read).expect("read");
        assert!(read == value, "{bytes} bytes");
        assert_eq!(reader.metadata().expect("stat").len(), bytes as u64);
        assert_eq!(fs::read(&path).expect("read"), b"other");
        fs::remove_file(&path).expect("unlink");
    }
    assert_eq!(home.sh("ls -A m/t"), "");
    home.crash();
    assert_eq!(home.sh("ls -A m/t"), "");
}

#[test]
fn of_many_creators_exactly_one_wins() {
    const PROCESSES: usize = 8;
    const NAMES: usize = 40;
    let home = Mounted::new();
    let race = |number: usize| {
        let script = format!(
            "set -C; for i in $(seq {NAMES}); do (echo {number} > m/t/$i) 2>/dev/null && echo $i; done"
        );
        let mut command = Command::new("bash");
        command.args(["-c", &script]).current_dir(home.base());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a shell")
    };
    let racers: Vec<_> = (0..PROCESSES).map(race).collect();
    let mut winners = vec![None; NAMES];
    for (number, racer) in racers.into_iter().enumerate() {
        let output = racer.wait_with_output().expect("it ends");
        for line in String::from_utf8(output.stdout).expect("text").lines() {
            let name: usize = line.parse().expect("number");
            assert_eq!(winners[name - 1].replace(number), None, "two won {name}");
        }
    }
    for (at, winner) in winners.iter().enumerate() {
        let winner = winner.expect("somebody wins");
        let read = fs::read_to_string(home.at(format!("t/{}", at + 1))).expect("read");
        assert_eq!(read, format!("{winner}\n"));
    }
}

#[test]
fn threads_that_create_one_name_agree_on_the_winner() {
    let home = Mounted::new();
    for round in 0..50 {
        let path = home.at(format!("t/{round}"));
        let wins = std::thread::scope(|scope| {
            let create = |_| {
                scope.spawn(|| match File::create_new(&path) {
                    Ok(mut file) => file.write_all(b"x").map(|()| 1).expect("write"),
                    Err(error) => {
                        assert_eq!(error.raw_os_error(), Some(Errno::EEXIST as i32));
                        0
                    }
                })
            };
            let threads: Vec<_> = (0..4).map(create).collect();
            threads.into_iter().map(|thread| thread.join().expect("thread")).sum::<i32>()
        });
        assert_eq!(wins, 1, "round {round}");
    }
}

#[test]
fn what_the_system_offers_beside_files() {
    let home = Mounted::new();
    home.sh("echo f > m/t/f; flock m/t/f true; flock -n m/t/f true");
    let unnamed = OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(home.at("t"));
    assert_eq!(errno(unnamed), Errno::EOPNOTSUPP);
    home.refuses("stty -F m/t/f", "Inappropriate ioctl");
    home.refuses("mkfifo m/t/fifo", "Operation not permitted");
    home.refuses("mknod m/t/null c 1 3", "Operation not permitted");
    home.sh("sync m/t/f m/t; sync -d m/t/f; sync");
    // Set-user-id has no effect and devices do not work here.
    assert_eq!(
        home.sh("findmnt -n -o OPTIONS m | tr , '\\n' | grep -x -e nosuid -e nodev | sort"),
        "nodev\nnosuid\n"
    );
}
