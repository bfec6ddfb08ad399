//! mount(8), umount(8) and /etc/fstab.

use std::fs;

use crate::apart::{sh_apart, shell_apart};
use crate::mounted::Mounted;
use crate::program::daemon_of;

/// A database of two roots, which exist, and the file `fstab` with this line.
fn with_fstab(line: &str) -> Mounted {
    let home = Mounted::unmounted(2, "");
    for root in home.roots() {
        fs::create_dir(root).expect("mkdir");
    }
    let base = home.base();
    let line = line.replace('~', base.to_str().expect("text"));
    fs::write(base.join("fstab"), format!("{line}\n")).expect("write");
    home
}

#[test]
fn fstab_mounts_once_and_umount_waits_for_the_daemon() {
    let home = with_fstab(
        "~/r0:~/r1 ~/m littfs allow_other,_netdev,nofail,x-systemd.automount,x-gvfs-show 0 0",
    );
    let said = sh_apart(
        &home,
        r#"
        for i in 1 2; do mount -a -v -T fstab; findmnt -n -t fuse.littfs -o SOURCE "$PWD/m"; done
        mkdir m/t
        echo kept > m/t/f
        umount --no-canonicalize "$PWD/m"
        "$littfs" keys t --root r0 --root r1
        mount -T fstab "$PWD/m"
        cat m/t/f
        findmnt -n -o FSTYPE,OPTIONS "$PWD/m" | grep -o -e fuse.littfs -e nosuid -e nodev -e allow_other
        umount m
        "#,
    );
    let base = home.base();
    let (base, source) = (base.display(), format!("{0}/r0:{0}/r1", base.display()));
    let lines: Vec<String> =
        said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        &format!("{base}/m : successfully mounted"),
        &source,
        &format!("{base}/m : already mounted"),
        &source,
        "f",
        "kept",
        "fuse.littfs",
        "nosuid",
        "nodev",
        "allow_other",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn umount_returns_when_a_slow_daemon_has_ended() {
    let home = with_fstab("~/r0 ~/m littfs defaults 0 0");
    let said = sh_apart(
        &home,
        r#"
        mount -T fstab m; mkdir m/t
        for way in 'umount --no-canonicalize' "$littfs umount"; do
            daemon=$(is_held)
            kill -STOP "$daemon"
            ($way "$PWD/m"; is_free; echo "$way waited") &
            eventually is_waited_for
            is_gone "$PWD/m"
            kill -CONT "$daemon"
            wait "$!"
            mount -T fstab m
        done
        "$littfs" umount m
        "#,
    );
    let base = home.base();
    let expected =
        format!("umount --no-canonicalize waited\n{}/program umount waited\n", base.display());
    assert_eq!(said, expected);
}

#[test]
fn mounting_again_waits_for_a_daemon_that_is_slow_to_end() {
    let home = with_fstab("~/r0 ~/m littfs defaults 0 0");
    let said = sh_apart(
        &home,
        r#"
        mount -T fstab m; mkdir m/t; echo kept > m/t/f
        daemon=$(is_held)
        kill -STOP "$daemon"
        umount --internal-only --no-canonicalize "$PWD/m"
        mount -T fstab m &
        eventually is_waited_for
        kill -CONT "$daemon"
        wait "$!"
        cat m/t/f
        mkdir other; code=0; mount -t littfs "$PWD/r0" other 2>&1 || code=$?; echo $code
        "$littfs" umount m
        "#,
    );
    assert!(said.starts_with("kept\nmount.littfs: ") && said.ends_with("\n32\n"), "{said}");
    assert!(said.contains("in use by another littfs") && said.lines().count() == 3, "{said}");
}

#[test]
fn an_automount_is_mounted_on() {
    if !fs::read_to_string("/proc/filesystems").expect("proc").contains("autofs") {
        eprintln!("NOT CHECKED with autofs, which this kernel does not have");
        return;
    }
    let home = with_fstab("~/r0 ~/m littfs x-systemd.automount 0 0");
    // As systemd does it: whoever is not of this group of processes waits for the mount.
    let said = sh_apart(
        &home,
        r#"
        exec 8> >(exec cat > /dev/null 2>&1)
        group=$(cut -d ' ' -f 5 "/proc/$$/stat")
        mount -i -t autofs -o "fd=8,pgrp=$group,minproto=5,maxproto=5,direct" systemd-1 "$PWD/m"
        timeout --foreground 180 mount -T fstab m
        mkdir m/t; findmnt -n -o FSTYPE m
        "$littfs" umount "$PWD/m"; is_free
        findmnt -n -o FSTYPE m
        umount "$PWD/m"
        "#,
    );
    assert_eq!(said, "autofs\nfuse.littfs\nautofs\n");
}

#[test]
fn a_source_is_roots_a_file_or_a_word() {
    let home = with_fstab("littfs ~/m littfs root=~/r0,root=~/r1,noauto 0 0");
    let said = sh_apart(
        &home,
        r#"
        show() { findmnt -n -o SOURCE "$PWD/m" | sed "s:$PWD:~:g"; ls m; }
        mount -T fstab m && mkdir m/t
        mount -T fstab m && show && umount --no-canonicalize "$PWD/m"
        echo "roots = [\"$PWD/r0\", \"$PWD/r1\"]" > c.toml
        mount -t littfs c.toml m && show && umount --no-canonicalize "$PWD/m"
        mount -t littfs -o config="$PWD/c.toml" none m && show && umount --no-canonicalize "$PWD/m"
        ln -s r0 link
        mount -t fuse.littfs -o root="$PWD/link",root="$PWD/r1" none m && show
        umount --no-canonicalize "$PWD/m"
        mount -t littfs "$PWD/r1:$PWD/link" m && show && "$littfs" umount m
        mkdir -p 'r 2'
        mount -t littfs "$PWD/r0:$PWD/r1:$PWD/r 2" m && show && "$littfs" umount m
        echo "$PWD/r0:$PWD/r1:$PWD/r\0402 $PWD/m littfs defaults 0 0" > fstab
        mount -a -v -T fstab | grep -o success
        mount -a -v -T fstab | grep -o already
        "$littfs" umount m
        mkdir d && ln -s d one && ln -s m n
        echo "$PWD/one/ $PWD/n/ littfs defaults 0 0" > fstab
        mount -a -v -T fstab | grep -o success
        mount -a -v -T fstab | grep -o already
        show && "$littfs" umount n/
        test -f r0/t/table.metadata && test -f 'r 2/littfs.root'
        "#,
    );
    let expected = "~/r0\nt\n~/c.toml\nt\n~/r0\nt\n~/link\nt\n~/r1:~/link\nt\n~/r0:~/r1:~/r 2\nt\n\
        success\nalready\nsuccess\nalready\n~/d\n";
    assert_eq!(said, expected);
    for root in home.roots() {
        assert_eq!(daemon_of(root), None, "every daemon was waited for");
    }
}

#[test]
fn remount_changes_between_read_only_and_writable() {
    let home = with_fstab("~/r0 ~/m littfs noexec,threads=2 0 0");
    let said = sh_apart(
        &home,
        r#"
        flags() { findmnt -n -o OPTIONS m | grep -o -w -e ro -e rw -e noexec | xargs; }
        mount -T fstab m; flags
        mkdir m/t; echo 1 > m/t/a
        exec 3> m/t/open
        code=0; mount -o remount,ro m 2> said || code=$?
        echo $code; grep -c -x "mount.fuse.littfs: $PWD/m is busy: .*" said
        exec 3>&-
        # RELEASE comes behind the back of whoever closes.
        eventually mount -o remount,ro "$PWD/m"
        flags
        { echo 2 > m/t/b; } 2>&1 | grep -o 'Read-only file system'
        mount -T fstab -o remount,rw m; flags
        echo 3 > m/t/c; ls m/t
        "$littfs" umount m
        mount -T fstab -o ro m; flags
        code=0; mount -o remount,rw m 2> said || code=$?
        echo $code; grep -o 'was mounted read-only and stays so.*' said; flags
        "$littfs" umount m
        "#,
    );
    let expected = "rw noexec\n32\n1\nro noexec\nRead-only file system\nrw noexec\na\nc\nopen\n\
        ro noexec\n32\nwas mounted read-only and stays so; unmount it and mount it again without ro\n\
        ro noexec\n";
    assert_eq!(said, expected);
}

#[test]
fn programs_cannot_be_run_with_noexec() {
    let home = Mounted::unmounted(1, "");
    home.mount_with(&["-o", "noexec"]);
    home.sh("mkdir m/t; cp /bin/true m/t/");
    home.refuses("m/t/true", "Permission denied");
    home.umount();
    home.mount();
    home.sh("m/t/true");
}

/// What `mount -t littfs` with these arguments comes to: the exit code and the only line it says.
#[track_caller]
fn refused(home: &Mounted, arguments: &str) -> (i32, String) {
    let script = format!("code=0; mount -t littfs {arguments} 2>&1 || code=$?; echo $code");
    let said = sh_apart(home, &script);
    let (line, code) = said.trim_end().split_once('\n').expect("a line and a code");
    assert!(line.starts_with("mount.littfs: ") && !code.contains('\n'), "{said}");
    (code.parse().expect("a code"), line.replace(home.base().to_str().expect("text"), "~"))
}

#[test]
fn what_cannot_be_mounted_is_told_in_one_line() {
    let home = with_fstab("");
    for (arguments, code, part) in [
        ("-o bananas ~/r0 m", 1, "unknown option \"bananas\" for -o; allowed are ro, rw"),
        ("-o uid=nobody-at-all ~/r0 m", 1, "there is no such user"),
        ("none m", 1, "the source none names no data: give root directories such as"),
        ("~/r0:r1 m", 1, "has the part \"r1\", which is no absolute directory name"),
        ("-o remount,ro ~/r0 m", 32, "m is not mounted"),
        ("~/absent m", 32, "root ~/absent: there is no such directory; is its drive mounted?"),
        ("~/r0:~/absent m", 32, "root ~/absent: there is no such directory; is its drive"),
        ("~/r0 ~/absent", 32, "it does not exist; make it with `mkdir -p"),
        ("~/r0 ~/fstab", 32, "it is not a directory"),
        ("~/r0 ~", 32, "inside one another"),
    ] {
        let base = home.base();
        let arguments = arguments.replace('~', base.to_str().expect("text"));
        let (seen, line) = refused(&home, &arguments);
        assert_eq!(seen, code, "{arguments}: {line}");
        assert!(line.contains(part), "{arguments}: {line}");
    }
    let names = |root: &std::path::PathBuf| fs::read_dir(root).expect("list").count();
    assert_eq!(home.roots().iter().map(names).sum::<usize>(), 0, "nothing was made");
    assert!(!home.base().join("absent").exists(), "nothing was made");
}

#[test]
fn nothing_is_needed_of_the_environment_and_flags_are_understood() {
    let home = with_fstab("");
    let said = sh_apart(
        &home,
        r#"
        env -i /sbin/mount.littfs "$PWD/r0" "$PWD/m" -n -v -s -o rw,bananas,user=me -t fuse.littfs
        findmnt -n -o SOURCE "$PWD/m" | sed "s:.*/::"
        code=0; env -i /sbin/mount.littfs "$PWD/r0" "$PWD/m" 2>&1 || code=$?; echo $code
        code=0; mount -t littfs "$PWD/r0" 2> /dev/null || code=$?; echo $code
        env -i /sbin/umount.fuse.littfs "$PWD/m" -n -v -t fuse.littfs
        mountpoint m || true
        env -i /sbin/mount.littfs -f "$PWD/r0" "$PWD/m"; mountpoint m || true
        code=0; /sbin/mount.littfs "$PWD/r0" 2>&1 || code=$?; echo $code
        code=0; /sbin/umount.fuse.littfs m 2>&1 || code=$?; echo $code
        /sbin/mount.littfs --help | grep -c 'Lines of /etc/fstab'
        "#,
    );
    let base = home.base();
    let expected = format!(
        "r0\nmount.littfs: cannot mount on {0}/m: it is busy: something is mounted there already; \
        `littfs umount {0}/m` ends a mount of littfs\n32\n1\nm is not a mountpoint\n\
        m is not a mountpoint\nmount.littfs: the following required arguments were not provided: \
        <DIRECTORY>; see `mount.littfs --help`\n1\numount.fuse.littfs: m is not mounted\n32\n1\n",
        base.display()
    );
    assert_eq!(said, expected);
}

#[test]
fn umount_can_be_lazy_forced_or_content_with_read_only() {
    let home = with_fstab("~/r0 ~/m littfs defaults 0 0");
    let said = sh_apart(
        &home,
        r#"
        mount -T fstab m; mkdir m/t; echo 1 > m/t/a
        exec 3< m/t/a
        code=0; umount -c "$PWD/m" 2>&1 || code=$?; echo $code
        umount -c -r "$PWD/m"; findmnt -n -o OPTIONS m | grep -o -w ro
        umount -l "$PWD/m"; mountpoint m || true
        cat <&3; exec 3<&-
        eventually mount -T fstab m
        cat m/t/a
        umount -f "$PWD/m"; mountpoint m || true
        "#,
    );
    let base = home.base();
    let expected = format!(
        "umount.fuse.littfs: {0}/m is busy: a program has a file open in it or works in it; `fuser \
        -vm {0}/m` shows which\n32\nro\nm is not a mountpoint\n1\n1\nm is not a mountpoint\n",
        base.display()
    );
    assert_eq!(said, expected);
}

#[test]
fn a_mount_whose_daemon_died_is_mounted_anew() {
    let home = with_fstab("~/r0 ~/m littfs defaults 0 0");
    let output = shell_apart(
        &home,
        r#"
        mount -T fstab m; mkdir m/t; echo kept > m/t/f
        kill -KILL "$(is_held)"
        eventually is_free
        mount -T fstab m
        cat m/t/f; findmnt -n -o TARGET -t fuse.littfs | grep -c -x "$PWD/m"
        "$littfs" umount m
        "#,
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), "kept\n1\n", "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("mount.littfs: note: on ") && said.lines().count() == 1, "{said}");
}
