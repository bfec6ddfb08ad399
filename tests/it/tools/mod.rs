//! Programs that have their own ways of writing a file.

use std::fs;
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::mounted::Mounted;

#[test]
fn tools_that_write_work_as_they_are() {
    let home = Mounted::with(2, "segment_keys_max = 100\n");
    home.sh("mkdir source m/t/d; seq 100000 > source/long; echo short > source/short; : > source/empty; \
        chmod 751 source/short; touch -d '1999-12-31 23:59:59.5' source/short");
    for (way, script) in [
        ("cp -p", "cp -p source/* m/t/d/"),
        ("install", "install -m 640 -t m/t/d source/*"),
        ("dd", "for f in source/*; do dd if=$f of=m/t/d/${f##*/} bs=777 status=none; done"),
        (
            "dd fsync",
            "for f in source/*; do dd if=$f of=m/t/d/${f##*/} conv=fsync status=none; done",
        ),
        (
            "dd sync",
            "for f in source/*; do dd if=$f of=m/t/d/${f##*/} bs=64k oflag=sync status=none; done",
        ),
        (
            "dd direct",
            "for f in source/*; do dd if=$f of=m/t/d/${f##*/} bs=4k oflag=direct status=none; done",
        ),
        (
            "dd append",
            "for f in source/*; do dd if=$f of=m/t/d/${f##*/} oflag=append conv=notrunc status=none; done",
        ),
        ("tee", "for f in source/*; do tee < $f m/t/d/${f##*/} > /dev/null; done"),
        ("rsync", "rsync -a source/ m/t/d"),
        ("rsync --inplace", "rsync -a --inplace source/ m/t/d"),
        ("rsync --fsync", "rsync -a --fsync source/ m/t/d"),
        ("rsync --delay-updates", "rsync -a --delay-updates source/ m/t/d"),
        ("rsync --sparse", "rsync -a --sparse source/ m/t/d"),
        ("rsync --temp-dir", "mkdir m/t/tmp; rsync -a --temp-dir=$PWD/m/t/tmp source/ m/t/d"),
        ("tar", "tar -C source -c . | tar -C m/t/d -x"),
        ("tar twice", "for i in 1 2; do tar -C source -c . | tar -C m/t/d -x; done"),
        ("cp --reflink", "cp --reflink=auto --sparse=always source/* m/t/d/"),
        ("cp --remove-destination", "cp source/* m/t/d; cp --remove-destination source/* m/t/d"),
        ("mv", "cp -rp source other; mv other/* m/t/d/; test -z \"$(ls other)\"; rmdir other"),
        (
            "split",
            "split -b 100000 source/long m/t/d/part.; cat m/t/d/part.* > m/t/d/long; rm m/t/d/part.*; cp source/short source/empty m/t/d",
        ),
        ("sort -o", "sort -n -o m/t/d/long source/long; cp source/short source/empty m/t/d"),
        ("gzip", "cp source/* m/t/d; gzip -9 m/t/d/long; gzip -d m/t/d/long.gz"),
        ("sed -i", "cp source/* m/t/d; sed -i s/o/O/ m/t/d/short; sed -i s/O/o/ m/t/d/short"),
        ("truncate", "cp source/short m/t/d; truncate -s 0 m/t/d/empty; cp source/long m/t/d"),
        (
            "ln and mv",
            "for f in source/*; do cat $f > m/t/d/x; ln m/t/d/x m/t/d/${f##*/}; rm m/t/d/x; done",
        ),
        (
            "append in steps",
            "cp source/empty source/short m/t/d; split -n l/5 source/long source/p.; (for p in source/p.*; do cat $p; done) >> m/t/d/long; rm source/p.*",
        ),
    ] {
        home.sh(script);
        assert_eq!(home.sh("diff -r source m/t/d"), "", "{way}");
        home.sh("rm -r m/t/*; mkdir m/t/d");
    }
    home.sh("cp -p source/* m/t/d/");
    assert_eq!(
        home.sh("cd m/t/d; stat -c '%n %a %y' short"),
        "short 751 1999-12-31 23:59:59.500000000 +0000\n"
    );
    home.crash();
    assert_eq!(home.sh("diff -r source m/t/d; cd m/t/d; stat -c %Y short"), "946684799\n");
}

#[test]
fn renames_with_flags() {
    let home = Mounted::new();
    home.sh("echo one > m/t/one; echo two > m/t/two");
    let (one, two) = (home.at("t/one"), home.at("t/two"));
    let rename = |flags| renameat2(AT_FDCWD, &one, AT_FDCWD, &two, flags);
    assert_eq!(rename(RenameFlags::RENAME_NOREPLACE), Err(Errno::EEXIST));
    assert_eq!(rename(RenameFlags::RENAME_EXCHANGE), Err(Errno::EINVAL));
    assert_eq!(rename(RenameFlags::RENAME_WHITEOUT), Err(Errno::EINVAL));
    assert_eq!(home.sh("cat m/t/one m/t/two"), "one\ntwo\n");
    fs::remove_file(&two).expect("unlink");
    assert_eq!(rename(RenameFlags::RENAME_NOREPLACE), Ok(()));
    assert_eq!(
        home.sh("cat m/t/two; ls m/t; mv m/t/two m/t/two 2>&1 | grep -c same"),
        "one\ntwo\n1\n"
    );
    assert_eq!(rename(RenameFlags::empty()), Err(Errno::ENOENT));
}

#[test]
fn many_programs_at_once_do_not_get_in_each_others_way() {
    let home = Mounted::with(2, "segment_keys_max = 200\n");
    home.sh("mkdir source; for i in $(seq 150); do head -c $((i * i * 7)) /dev/urandom > source/$i; done; mkdir m/u");
    let ways = [
        "cp -r source m/t/1",
        "cp -r source m/u/1",
        "rsync -a source/ m/t/2",
        "rsync -a source/ m/u/2",
        "mkdir m/t/3; tar -C source -c . | tar -C m/t/3 -x",
        "mkdir m/t/4; cp source/* m/t/4; mkdir m/t/5; mv m/t/4/* m/t/5; rmdir m/t/4",
        "for i in $(seq 30); do ls -lR m > /dev/null; find m -type f | head -50 | xargs cat > /dev/null 2>&1; done",
    ];
    let start = |script: &&str| {
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(home.base()).spawn().expect("a shell")
    };
    let running: Vec<_> = ways.iter().map(start).collect();
    let ended: Vec<_> =
        running.into_iter().map(|mut child| child.wait().expect("it ends")).collect();
    // The last one meets files that are renamed away under it.
    for (way, status) in ways.iter().zip(ended).take(ways.len() - 1) {
        assert!(status.success(), "{way}: {status:?}");
    }
    let check = || {
        home.sh("for copy in m/t/1 m/t/2 m/t/3 m/t/5 m/u/1 m/u/2; do diff -r source $copy; done; ls m/t m/u")
    };
    assert_eq!(check(), "m/t:\n1\n2\n3\n5\n\nm/u:\n1\n2\n");
    home.crash();
    assert_eq!(check(), "m/t:\n1\n2\n3\n5\n\nm/u:\n1\n2\n");
}
