//! mv, ln and rm: names that change, while a file settles and when it is sealed.

use std::fs;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::{NO, fails, seal, succeeds};
use crate::mounted::Mounted;

#[test]
fn mv_within_a_table_keeps_the_file() {
    let home = Mounted::new();
    home.sh(
        "mkdir m/t/d m/t/e; seq 1000 > m/t/f; touch -d 2001-02-03 m/t/f; stat -c %i m/t/f > number",
    );
    succeeds(&home, "mv m/t/f m/t/g && mv m/t/g m/t/d/ && mv -n m/t/d/g m/t/d/h", "");
    succeeds(&home, "stat -c '%i %Y' m/t/d/h; seq 1000 | cmp - m/t/d/h", &{
        format!("{} 981158400\n", home.sh("cat number").trim())
    });
    // A settling file is replaced, unless -n forbids it.
    home.sh("echo other > m/t/d/i");
    succeeds(&home, "mv -f m/t/d/i m/t/d/h; cat m/t/d/h; ls m/t/d", "other\nh\n");
    home.sh("echo third > m/t/d/i; mv -n m/t/d/i m/t/d/h || true");
    succeeds(&home, "cat m/t/d/h m/t/d/i", "other\nthird\n");
    // Folders: empty ones only.
    succeeds(&home, "mv m/t/e m/t/ee; ls m/t", "d\nee\n");
    fails(
        &home,
        "mv m/t/d m/t/dd",
        1,
        "mv: cannot move 'm/t/d' to 'm/t/dd': Operation not permitted",
    );
    succeeds(&home, "ls m/t m/t/d", "m/t:\nd\nee\n\nm/t/d:\nh\ni\n");
}

#[test]
fn mv_into_and_out_of_the_mount_and_between_tables_copies() {
    let home = Mounted::new();
    home.sh("mkdir -p m/u source/d; seq 1000 > source/d/f; ln -s f source/d/link; chmod 640 source/d/f; \
        touch -d '2001-02-03 04:05:06.789' source/d/f; cp -a source expected");
    for step in [
        "mv source m/t/moved",
        "mv m/t/moved m/u/moved",
        "mv m/u/moved m/t/",
        "mv m/t/moved source",
    ] {
        succeeds(&home, step, "");
        let there = step.rsplit(' ').next().expect("a target").replace("m/t/", "m/t/moved");
        let there = there.replace("movedmoved", "moved");
        succeeds(
            &home,
            &format!("diff -r --no-dereference expected {there}; readlink {there}/d/link"),
            "f\n",
        );
        succeeds(
            &home,
            &format!("stat -c '%a %y' {there}/d/f"),
            "640 2001-02-03 04:05:06.789000000 +0000\n",
        );
    }
    succeeds(&home, "ls m/t m/u", "m/t:\n\nm/u:\n");
}

#[test]
fn rm_takes_away_what_settles_and_nothing_that_is_sealed() {
    let home = Mounted::new();
    home.sh("mkdir -p m/t/d/e m/u; for f in a b c d/f d/e/g keep; do echo $f > m/t/$f; done");
    succeeds(
        &home,
        "rm m/t/a && rm -f m/t/b m/t/none && unlink m/t/c && rm -r m/t/d; ls m/t",
        "keep\n",
    );
    succeeds(&home, "echo again > m/t/a; cat m/t/a; rm m/t/a", "again\n");
    fails(&home, "rm m/t/none", 1, "rm: cannot remove 'm/t/none': No such file or directory");
    home.sh("mkdir m/t/d; echo f > m/t/d/f");
    seal(&home, "t", &["keep", "d/f"]);
    fails(&home, "rm m/t/keep", 1, "rm: cannot remove 'm/t/keep': Operation not permitted");
    fails(&home, "rm -f m/t/keep", 1, "rm: cannot remove 'm/t/keep': Operation not permitted");
    fails(&home, "rm -rf m/t/d", 1, "rm: cannot remove 'm/t/d/f': Operation not permitted");
    fails(&home, "rmdir m/t/d", 1, "rmdir: failed to remove 'm/t/d': Directory not empty");
    fails(
        &home,
        "mv m/t/keep m/t/d/",
        1,
        "mv: cannot move 'm/t/keep' to 'm/t/d/keep': Operation not permitted",
    );
    fails(&home, "mv m/t/d m/t/dd", 1, NO);
    // mv copies before it removes: the copy stays.
    fails(&home, "mv m/t/keep m/u/", 1, "mv: cannot remove 'm/t/keep': Operation not permitted");
    fails(&home, "mv m/t/d out", 1, "mv: cannot remove 'm/t/d/f': Operation not permitted");
    succeeds(&home, "cat m/t/keep m/u/keep m/t/d/f out/f; ls m/t", "keep\nkeep\nf\nf\nd\nkeep\n");
    // A longer grace gives the names back to their owner.
    home.sh("setfattr -n user.littfs.grace -v 1h m/t");
    succeeds(&home, "rm -r m/t/d m/t/keep; ls m/t", "");
}

#[test]
fn ln_makes_a_second_file_with_the_same_bytes() {
    let home = Mounted::new();
    home.sh("seq 1000 > m/t/f; mkdir m/u");
    succeeds(
        &home,
        "ln m/t/f m/t/g; ln -f m/t/f m/t/g; cmp m/t/f m/t/g; stat -c %h m/t/f m/t/g",
        "1\n1\n",
    );
    succeeds(&home, "test m/t/f -ef m/t/g || echo two", "two\n");
    fails(&home, "ln m/t/f m/t/g", 1, "ln: failed to create hard link 'm/t/g': File exists");
    fails(&home, "ln m/t/f m/u/f", 1, "Invalid cross-device link");
    succeeds(&home, "rm m/t/f; seq 1000 | cmp - m/t/g; ln -s g m/t/s; cat m/t/s | wc -l", "1000\n");
    seal(&home, "t", &["g"]);
    succeeds(&home, "ln m/t/g m/t/h; cmp m/t/g m/t/h", "");
    fails(&home, "ln -f m/t/g m/t/h", 1, NO);
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
