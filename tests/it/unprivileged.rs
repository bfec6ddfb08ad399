//! Mounting without being root, by fusermount3, which is started set-user-id root.

use crate::apart::sh_apart;
use crate::mounted::Mounted;
use crate::program::daemon_of;

/// Two users that every system has, and a FUSE device for everybody: fusermount3 wants to know the
/// name of its user, and the device is root's alone on some machines. `m` and `r0` are the first
/// user's.
const USERS: &str = r#"
mkdir dev
mount -t tmpfs none dev
mknod -m 666 dev/fuse c 10 229
mount --bind dev/fuse /dev/fuse
: > fuse.conf
mount --bind fuse.conf /etc/fuse.conf
mkdir -p r0
chown daemon:daemon r0 m
user() { setpriv --reuid=daemon --regid=daemon --clear-groups -- "$@"; }
other() { setpriv --reuid=bin --regid=bin --clear-groups -- "$@"; }
mounts() { user "$littfs" mount --root "$PWD/r0" "$@"; }
stored() { user "$littfs" keys t --root "$PWD/r0"; }
# What a command says that must fail, and with which code.
refused() { code=0; "$@" 2>&1 || code=$?; echo "$code"; }
"#;

#[track_caller]
fn sh_users(home: &Mounted, script: &str) -> String {
    let said = sh_apart(home, &format!("{USERS}{script}"));
    said.replace(home.base().to_str().expect("text"), "~")
}

#[test]
fn a_user_mounts_writes_reads_and_unmounts() {
    let home = Mounted::unmounted(1, "");
    let said = sh_users(
        &home,
        r#"
        mounts m
        findmnt -n -o FSTYPE,SOURCE m
        findmnt -n -o OPTIONS m | grep -o -w -e nosuid -e nodev -e "user_id=$(id -u daemon)"
        user mkdir m/t
        user bash -c 'for i in 1 2 3; do echo $i > m/t/$i; done; cat m/t/*; chmod 600 m/t/1; rm m/t/2'
        user stat -c '%U:%G %a' m m/t m/t/1
        refused other ls m
        refused ls m
        user "$littfs" umount m; stored
        mounts m; user fusermount3 -u m; eventually stored
        mounts m; user umount "$PWD/m"; stored
        mounts m; "$littfs" umount m; stored
        "#,
    );
    // Three times; `eventually` says nothing.
    let keys = "1\n3\n".repeat(3);
    let expected = format!(
        "fuse.littfs ~/r0\nnosuid\nnodev\nuser_id=1\n1\n2\n3\n\
        daemon:daemon 755\ndaemon:daemon 755\ndaemon:daemon 600\n\
        ls: cannot access 'm': Permission denied\n2\n\
        ls: cannot access 'm': Permission denied\n2\n{keys}"
    );
    assert_eq!(said, expected);
    assert_eq!(daemon_of(&home.roots()[0]), None);
}

#[test]
fn others_are_let_in_only_if_the_machine_allows_it() {
    let home = Mounted::unmounted(1, "");
    let said = sh_users(
        &home,
        r#"
        refused mounts -o allow_other m
        ls r0
        echo user_allow_other > fuse.conf
        mounts -o allow_other,mode=1777 m
        user mkdir m/t
        user bash -c 'umask 077; echo 1 > m/t/private; umask 022; echo 2 > m/t/public'
        other cat m/t/public
        refused other cat m/t/private
        refused other bash -c 'echo x > m/t/new'
        cat m/t/private
        other mkdir m/u; other bash -c 'echo 3 > m/u/f'; stat -c %U m/u m/u/f
        refused user chown daemon m/u/f
        refused other rmdir m/t
        mkdir m/roots; chown daemon m/roots; user bash -c 'echo 4 > m/roots/f'; stat -c %U:%G m/roots
        user "$littfs" umount m; stored
        "#,
    );
    let expected = "littfs: cannot mount on ~/m: allow_other is not allowed here; add the line \
        user_allow_other to /etc/fuse.conf, or mount as root\n2\n2\n\
        cat: m/t/private: Permission denied\n1\nbash: line 1: m/t/new: Permission denied\n1\n1\n\
        bin\nbin\nchown: changing ownership of 'm/u/f': Operation not permitted\n1\n\
        rmdir: failed to remove 'm/t': Operation not permitted\n1\ndaemon:root\nprivate\npublic\n";
    assert_eq!(said, expected);
}

#[test]
fn what_a_user_lacks_is_named() {
    let home = Mounted::unmounted(1, "");
    let said = sh_users(
        &home,
        r#"
        mkdir theirs; refused mounts theirs
        chmod 600 dev/fuse; refused mounts m; chmod 666 dev/fuse
        mount --bind /dev/null "$(command -v fusermount3)"; refused mounts m
        umount "$(command -v fusermount3)"
        refused other "$littfs" mount --root "$PWD/r0" m
        ls r0
        "#,
    );
    let lines: Vec<&str> = said.lines().collect();
    let expected = [
        "fusermount3: user has no write access to mountpoint ~/theirs",
        "/dev/fuse may not be opened by this user; check its permissions",
        "mounting as an ordinary user needs fusermount3; install the fuse3 package, or mount as root",
    ];
    for (number, part) in expected.into_iter().enumerate() {
        assert!(lines[2 * number].contains(part), "{said}");
        assert_eq!(lines[2 * number + 1], "2", "{said}");
    }
    assert!(lines[6].contains("Permission denied") && lines[7] == "2", "{said}");
}

#[test]
fn a_dead_mount_of_a_user_is_taken_away_by_his_next() {
    let home = Mounted::unmounted(1, "");
    let said = sh_users(
        &home,
        r#"
        mounts m; user mkdir m/t; user bash -c 'echo kept > m/t/f'
        kill -KILL "$(is_held)"
        eventually is_free
        mounts m 2>&1
        user cat m/t/f; grep -c -F " $PWD/m " /proc/self/mountinfo
        user "$littfs" umount m
        "#,
    );
    let expected = "littfs: note: on ~/m was a mount whose program had died; it is taken away\n\
        kept\n1\n";
    assert_eq!(said, expected);
}

#[test]
fn a_root_of_another_user_is_not_touched() {
    let home = Mounted::unmounted(1, "");
    let said = sh_users(
        &home,
        r#"
        echo x | "$littfs" put t f --root "$PWD/theirs"
        show() { find theirs -printf '%p %u %m %s\n' | sort; }
        show > before
        refused user "$littfs" mount --root "$PWD/theirs" m
        show | diff before -
        "#,
    );
    assert!(said.contains("theirs") && said.contains("Permission denied"), "{said}");
    assert!(said.starts_with("littfs: ") && said.ends_with("\n2\n"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}
