//! Scripts in a mount namespace of their own: what they mount, and where mount(8) finds its
//! helpers, is seen by nobody else and is gone with them.

use std::fs;
use std::process::Output;

use crate::mounted::Mounted;

/// Ends on the first failure. The links are those that `scripts/install` makes; mount(8) looks for
/// its helpers in `/sbin` only, so that is replaced by a folder of links to what is in it.
const PRELUDE: &str = r#"
set -eu
# What other tests have mounted is copied into a namespace, and would stay mounted for as long as
# this one lasts: whoever unmounts it waits for the last copy. Temporary folders are named `.tmp*`.
here=$(pwd -P)
awk -v all="${here%/*}/.tmp" -v own="$here/" \
    'index($5, all) == 1 && index($5, own) != 1 { print $5 }' /proc/self/mountinfo | tac |
    xargs -r -n 1 umount --internal-only --no-canonicalize --lazy
# Where every user can reach it.
chmod 755 .
touch program
mount --bind "$littfs" program
littfs=$PWD/program
sbin=$(realpath /sbin)
mkdir -p real links
mount --bind "$sbin" real
ln -sf "$PWD"/real/* links/
for name in mount.littfs mount.fuse.littfs umount.fuse.littfs; do
    ln -sf "$littfs" "links/$name"
done
mount --bind links "$sbin"
eventually() {
    for _ in $(seq 9000); do
        if "$@" > /dev/null 2>&1; then return 0; fi
        sleep 0.02
    done
    echo "this never succeeds: $*" >&2
    return 1
}
# The process that holds the lock of the first root, if there is one.
is_held() {
    awk -v inode="$(stat -c :%i r0/littfs.lock)" \
        'index($6, inode) { print $5; found = 1 } END { exit !found }' /proc/locks
}
# Besides the daemon, somebody has the file of the lock open.
is_waited_for() {
    [ "$(find /proc/[0-9]*/fd -lname "$PWD/r0/littfs.lock" 2> /dev/null | wc -l)" -gt 1 ]
}
is_free() { ! is_held; }
is_gone() { ! grep -q -F " $1 " /proc/self/mountinfo; }
"#;

/// The output of a script that must succeed without a word of complaint. It runs in the folder of
/// the database; `$littfs` is the program,
/// `eventually COMMAND` waits until a command succeeds, `is_held` and `is_free` say whether a daemon
/// has the first root, `is_waited_for` whether somebody waits for that, `is_gone DIR` whether nothing
/// is mounted there.
#[track_caller]
pub(crate) fn sh_apart(home: &Mounted, script: &str) -> String {
    let output = shell_apart(home, script);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{script}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn shell_apart(home: &Mounted, script: &str) -> Output {
    let littfs = env!("CARGO_BIN_EXE_littfs");
    let file = home.base().join("apart.sh");
    fs::write(&file, format!("littfs={littfs}\n{PRELUDE}{script}")).expect("write the script");
    home.shell("unshare --mount --propagation private bash apart.sh")
}
