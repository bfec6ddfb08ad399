//! Several users on one machine: who may do what on a mount that lets others in.

use crate::mounted::Mounted;

/// A mount of root that lets others in. The folder around it can be entered by everybody.
fn shared(options: &str) -> Mounted {
    let home = Mounted::unmounted(1, "");
    home.sh("chmod 755 .");
    home.mount_with(&["-o", &format!("allow_other{options}")]);
    home
}

/// A command as an ordinary user with no other groups than these.
fn as_user(user: &str, groups: &str, command: &str) -> String {
    let groups =
        if groups.is_empty() { "--clear-groups".to_owned() } else { format!("--groups={groups}") };
    format!("setpriv --reuid={user} --regid={user} {groups} bash -c '{command}'")
}

const ANN: &str = "1001";
const BOB: &str = "1002";

#[test]
fn tables_are_given_to_users_and_files_belong_to_who_makes_them() {
    let home = shared("");
    let ann = |command: &str| as_user(ANN, "", command);
    home.refuses(&ann("mkdir m/own"), "Permission denied");
    home.sh("mkdir m/t; chown 1001:1001 m/t");
    home.sh(&ann("umask 027; echo a > m/t/f; mkdir m/t/d; ln -s f m/t/s"));
    home.sh(&ann("umask 0; echo b > m/t/g; mkdir m/t/e; install -m 4755 m/t/g m/t/d/suid"));
    let show = "cd m; stat -c '%A %u:%g %n' t t/*";
    let expected = "drwxr-xr-x 1001:1001 t\ndrwxr-x--- 1001:1001 t/d\ndrwxrwxrwx 1001:1001 t/e\n\
        -rw-r----- 1001:1001 t/f\n-rw-rw-rw- 1001:1001 t/g\nlrwxrwxrwx 1001:1001 t/s\n";
    assert_eq!(home.sh(show), expected);
    home.crash_with(&["-o", "allow_other"]);
    assert_eq!(home.sh(show), expected, "the same after a crash");
    // set-user-id bits are kept, as rsync stores them, but have no effect.
    assert_eq!(
        home.sh("stat -c %a m/t/d/suid; findmnt -n -o OPTIONS m | grep -o nosuid"),
        "4755\nnosuid\n"
    );
}

#[test]
fn the_kernel_enforces_modes_for_owner_group_and_others() {
    let home = shared("");
    home.sh("mkdir m/t m/t/open m/t/closed m/t/group; chmod 711 m/t/closed; chmod 750 m/t/group; \
        for f in open/private open/public closed/known group/f; do echo $f > m/t/$f; done; \
        chmod 600 m/t/open/private; chmod 644 m/t/open/public m/t/closed/known m/t/group/f; \
        chown 0:3000 m/t/group; chown 1001 m/t/open/private");
    let (ann, bob) = (|command: &str| as_user(ANN, "", command), |c: &str| as_user(BOB, "", c));
    let denied = "Permission denied";
    assert_eq!(
        home.sh(&bob("cat m/t/open/public m/t/closed/known")),
        "open/public\nclosed/known\n"
    );
    assert_eq!(home.sh(&ann("cat m/t/open/private")), "open/private\n");
    home.refuses(&bob("cat m/t/open/private"), denied);
    home.refuses(&bob("ls m/t/closed"), denied);
    home.refuses(&bob("ls m/t/group"), denied);
    home.refuses(&bob("cat m/t/group/f"), denied);
    home.refuses(&bob("echo x > m/t/open/new"), denied);
    home.refuses(&bob("mkdir m/t/new"), denied);
    home.refuses(&bob("rm -f m/t/open/public"), denied);
    home.refuses(&bob("mv m/t/open/public m/t/open/other"), denied);
    home.refuses(&bob("rmdir m/t/open"), denied);
    // Supplementary groups count.
    let member = |command: &str| as_user(BOB, "3000,4", command);
    assert_eq!(home.sh(&member("ls m/t/group; cat m/t/group/f")), "f\ngroup/f\n");
    home.refuses(&member("echo x > m/t/group/new"), denied);
    home.sh("chmod 770 m/t/group");
    home.sh(&member("echo x > m/t/group/new"));
    assert_eq!(home.sh("stat -c %u:%g m/t/group/new"), "1002:1002\n");
    // Root is not squashed.
    home.sh("cat m/t/open/private > /dev/null; echo x > m/t/group/roots");
    // access(2) says the same.
    home.sh(&bob(
        "test -r m/t/open/public && ! test -w m/t/open/public && ! test -x m/t/open/public",
    ));
    home.sh(&bob("! test -r m/t/open/private && ! test -r m/t/closed && test -x m/t/closed"));
}

#[test]
fn only_owners_change_modes_and_only_root_owners() {
    let home = shared("");
    home.sh("mkdir -m 777 m/t");
    let ann = |command: &str| as_user(ANN, "3000", command);
    let bob = |command: &str| as_user(BOB, "", command);
    home.sh(&ann("echo x > m/t/f; mkdir m/t/d"));
    let no = "Operation not permitted";
    for change in [
        "chmod 600 m/t/f",
        "chmod 700 m/t/d",
        "chown 1002 m/t/f",
        "chgrp 1002 m/t/f",
        "touch -c -d @1 m/t/f",
        "chmod 777 m/t",
    ] {
        home.refuses(&bob(change), no);
    }
    for change in ["chown 1002 m/t/f", "chown 0 m/t/d", "chgrp 1002 m/t/f", "chown 1001:4000 m/t/d"]
    {
        home.refuses(&ann(change), no);
    }
    // To a group of one's own it goes, and the mode too.
    home.sh(&ann("chgrp 3000 m/t/f m/t/d; chmod 640 m/t/f; touch -d @7 m/t/f; chown 1001 m/t/f"));
    assert_eq!(home.sh("stat -c '%a %u:%g %Y' m/t/f"), "640 1001:3000 7\n");
    home.sh("chown 1002:1002 m/t/f; chmod 400 m/t/f");
    assert_eq!(home.sh(&bob("cat m/t/f")), "x\n");
    home.refuses(&ann("cat m/t/f"), "Permission denied");
    // Settings of a table are the owner's.
    home.sh("chown 1001 m/t; chmod 755 m/t");
    home.sh(&ann("setfattr -n user.littfs.ttl -v 7d m/t"));
    home.refuses(&bob("setfattr -n user.littfs.ttl -v 1s m/t"), "Permission denied");
    assert_eq!(home.sh(&bob("getfattr --only-values -n user.littfs.ttl m/t")), "7d");
}

#[test]
fn sticky_folders_protect_the_files_of_others() {
    let home = shared(",mode=1777");
    let (ann, bob) = (|command: &str| as_user(ANN, "", command), |c: &str| as_user(BOB, "", c));
    let no = "Operation not permitted";
    home.sh(&ann(
        "mkdir m/anns; mkdir -m 1777 m/anns/tmp; echo a > m/anns/tmp/a; mkdir m/anns/tmp/d",
    ));
    home.sh(&bob("mkdir m/bobs; echo b > m/anns/tmp/b"));
    home.refuses(&bob("rmdir m/anns"), no);
    for change in [
        "rm -f m/anns/tmp/a",
        "mv m/anns/tmp/a m/anns/tmp/c",
        "rmdir m/anns/tmp/d",
        "mv m/anns/tmp/b m/anns/tmp/a",
    ] {
        home.refuses(&bob(change), no);
    }
    // The owner of the folder may, and everybody with what is his own.
    home.sh(&bob("mv m/anns/tmp/b m/anns/tmp/c; rmdir m/bobs"));
    home.sh(&ann("rm -f m/anns/tmp/c m/anns/tmp/a; rmdir m/anns/tmp/d m/anns/tmp m/anns"));
    assert_eq!(home.sh("stat -c '%a %u:%g' m; ls m"), "1777 0:0\n");
}

#[test]
fn set_group_id_folders_hand_their_group_down() {
    let home = shared("");
    home.sh("mkdir m/t; chown 0:3000 m/t; chmod 2775 m/t");
    let ann = |command: &str| as_user(ANN, "3000", command);
    home.sh(&ann("umask 002; mkdir -p m/t/a/b; echo x > m/t/a/b/f; ln -s f m/t/a/b/s"));
    let show = "cd m/t; stat -c '%A %u:%g %n' a a/b a/b/*";
    let expected = "drwxrwsr-x 1001:3000 a\ndrwxrwsr-x 1001:3000 a/b\n-rw-rw-r-- 1001:3000 a/b/f\n\
        lrwxrwxrwx 1001:3000 a/b/s\n";
    assert_eq!(home.sh(show), expected);
    // Another member goes on in it.
    home.sh(&as_user(
        BOB,
        "3000",
        "umask 002; echo y > m/t/a/b/g; mkdir m/t/a/b/d; rm -f m/t/a/b/s",
    ));
    assert_eq!(
        home.sh("cd m/t/a/b; stat -c '%A %u:%g %n' d g"),
        "drwxrwsr-x 1002:3000 d\n-rw-rw-r-- 1002:3000 g\n"
    );
    // Who is not of the group does not get the bit by asking for it.
    home.sh("chmod 2777 m/t; umask 0; mkdir -m 777 m/plain");
    home.sh(&as_user(BOB, "", "echo z > m/t/z; chmod 2755 m/t/z"));
    assert_eq!(home.sh("stat -c '%a %u:%g' m/t/z"), "755 1002:3000\n");
}

#[test]
fn owner_mode_and_umask_of_a_mount_are_about_what_is_made() {
    let home = shared("");
    home.sh("mkdir m/t; echo x > m/t/old; chmod 666 m/t/old; umount m");
    assert_eq!(home.try_mount(&["-o", "allow_other,uid=1001,gid=1002,umask=027"]).code, 0);
    assert_eq!(home.sh("stat -c '%a %u:%g' m"), "750 1001:1002\n");
    home.sh(&as_user(ANN, "", "umask 0; mkdir m/u; echo x > m/u/f; mkdir m/u/d; ln -s f m/u/s"));
    home.sh("umask 077; mkdir m/v");
    let show = "cd m; stat -c '%a %u:%g %n' t/old u u/* v";
    let expected = "666 0:0 t/old\n750 1001:1001 u\n750 1001:1001 u/d\n640 1001:1001 u/f\n\
        777 1001:1001 u/s\n700 0:0 v\n";
    assert_eq!(home.sh(show), expected);
    // Nothing is shown other than it is stored: a chmod goes there and back.
    home.sh(
        "chmod 666 m/u/f; chown 5:6 m/u/f; echo 1 > f; chmod 604 f; chown 7:8 f; rsync -a f m/t/",
    );
    assert_eq!(home.sh("stat -c '%a %u:%g' m/u/f m/t/f; rsync -a -i f m/t/"), "666 5:6\n604 7:8\n");
    home.refuses("chmod 777 m", "Operation not permitted");
    home.umount();
    home.mount_with(&["-o", "mode=2775,gid=3000"]);
    assert_eq!(
        home.sh("stat -c '%a %u:%g' m; mkdir m/w; stat -c '%a %g' m/w"),
        "2775 0:3000\n2755 3000\n"
    );
}

#[test]
fn without_allow_other_a_mount_is_for_its_user_only() {
    let home = Mounted::new();
    home.sh("chmod 755 .; chmod 777 m/t; echo x > m/t/f");
    home.refuses(&as_user(ANN, "", "ls m"), "Permission denied");
    home.refuses(&as_user(ANN, "", "cat m/t/f"), "Permission denied");
    home.sh("cat m/t/f");
}

/// What users try, each with what it says and its exit code, and what is there in the end.
const TRIALS: &str = r#"
ann() { setpriv --reuid=1001 --regid=1001 --clear-groups bash -c "$1" 2>&1; echo "ann $?"; }
bob() { setpriv --reuid=1002 --regid=1002 --groups=3000 bash -c "$1" 2>&1; echo "bob $?"; }
root() { bash -c "$1" 2>&1; echo "root $?"; }
show() { stat -c '%A %u:%g %n' "$@"; }
root 'mkdir -m 1777 t; mkdir -m 2777 t/g; chgrp 3000 t/g; mkdir -m 755 t/o'
ann 'umask 0; echo a > t/a; echo b > t/g/b; mkdir t/g/d; ln -s a t/l; ln -s nowhere t/dangling'
show t t/* t/g/*
bob 'cat t/a; rm -f t/a'; bob 'mv t/a t/g/a'
ann 'chmod 4755 t/a'; show t/a; ann 'chmod 2755 t/a'; show t/a; ann 'chmod 6755 t/g/b'; show t/g/b
bob 'umask 0; echo c > t/g/c; chmod 2755 t/g/c'; show t/g/c
root 'chown 1002 t/a'; show t/a; root 'chmod 6775 t/a; chown 1001:1001 t/a'; show t/a
ann 'chgrp 3000 t/a'; bob 'chgrp 3000 t/g/c'; show t/g/c
ann 'chmod 0 t/a; cat t/a'; ann 'chmod 444 t/a; cat t/a'
for may in r w x; do ann "test -$may t/a"; bob "test -$may t/a"; root "test -$may t/a"; done
ann 'mkdir -m 0 t/zero; ls t/zero'; ann 'touch t/zero/x'; root 'touch t/zero/x; ls t/zero'; bob 'ls t/zero'
ann 'mkdir -m 311 t/wx; echo 1 > t/wx/f; cat t/wx/f; ls t/wx'
bob 'cat t/wx/f; ls t/wx'; bob 'echo 2 > t/wx/g'
ann 'mkdir -m 755 t/own; echo 1 > t/own/f'; bob 'mv t/own t/mine'; bob 'mkdir t/bobs; mv t/own/f t/bobs/'
root 'mv t/own/f t/bobs/'; show t/bobs/*; bob 'rm -f t/bobs/f'; show t/bobs
bob 'touch -c t/a'; bob 'touch -c -d @5 t/a'
bob 'echo n > t/new; chmod 666 t/new'; ann 'touch -c -d @5 t/new'
ann 'mkdir t/o/x'; ann 'chown -h 1001 t/l'; ann 'chown -h 1002 t/l'; bob 'rm -f t/l'; ann 'chown 1001 t'
bob 'chmod 777 t/g'; ann 'chmod 777 .'
root 'install -o 1001 -g 3000 -m 2750 -d t/i; install -o 1002 -g 3000 -m 640 t/a t/i/h'; show t/i t/i/h
bob 'cat t/i/h; ls t/i'; ann 'exec 3> t/w; chmod 0 t/w; echo q >&3; exec 3>&-; cat t/w'; show t/w
ann 'umask 0777; echo none > t/none; cat t/none'; show t/none; root 'cat t/none'
ann 'rmdir t/g'; bob 'rmdir t/g/d'; show t/g/*
root 'cp -a t t2; stat -c "%A %u:%g %n" t2 t2/*'
"#;

#[test]
fn permissions_are_those_of_any_file_system() {
    let home = shared("");
    home.sh("mkdir p");
    std::fs::write(home.base().join("trials"), TRIALS).expect("write");
    let here = home.sh("cd p; bash ../trials");
    assert_eq!(home.sh("cd m; bash ../trials"), here);
    for expected in ["bob 1", "ann 1", "ann 0", "Permission denied", "Operation not permitted"] {
        assert!(here.contains(expected), "no {expected:?} in {here}");
    }
}
