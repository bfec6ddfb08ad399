//! Operations on files, in each of the three states.

use super::document::{answer, rows};
use super::{covers, home, python};

/// Rows and what they mean. The file is `f`, in the folder `d`, with the bytes `bytes`; `fd` is the
/// handle that created it as long as it is pending.
const WAYS: &[(&str, &str)] = &[
    (
        "read, map, stat, list",
        "assert read(f) == b'bytes' and os.stat(f).st_size == 5 and 'f' in os.listdir(d)
with open(f, 'rb') as file: assert mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)[:] == b'bytes'",
    ),
    (
        "write anywhere, append, ftruncate, fallocate, mapped write, by the handle that created it",
        "os.pwrite(fd, b'far', 100); os.pwrite(fd, b'B', 0); os.ftruncate(fd, 5)
os.posix_fallocate(fd, 0, 8); fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
os.lseek(fd, 0, os.SEEK_SET); os.write(fd, b'end')
map = mmap.mmap(fd, 0); map[1:2] = b'Y'; map.flush(); map.close()
assert read(f) == b'BYtes\\0\\0\\0end', read(f)",
    ),
    (
        "open for writing (`>`, `>>`, O_TRUNC)",
        "all_fail(*(lambda flags=flags: os.open(f, flags) for flags in (os.O_WRONLY, os.O_RDWR,
    os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_TRUNC, os.O_RDONLY | os.O_TRUNC,
    os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_WRONLY | os.O_CREAT | os.O_APPEND)))",
    ),
    (
        "open an empty file for writing",
        "fd2 = os.open(e, os.O_WRONLY | os.O_APPEND); os.write(fd2, b'late'); os.close(fd2)
assert read(e) == b'late' and fails(errno.EPERM, os.open, e, os.O_WRONLY)",
    ),
    (
        "truncate to the length it has",
        "os.truncate(f, 5); assert read(f) == b'bytes'",
    ),
    (
        "truncate by path to another length",
        "all_fail(lambda: os.truncate(f, 4), lambda: os.truncate(f, 0), lambda: os.truncate(f, 6))",
    ),
    ("chmod", "os.chmod(f, 0o640); assert os.stat(f).st_mode == 0o100640"),
    ("chown", "os.chown(f, 12, 34); assert (os.stat(f).st_uid, os.stat(f).st_gid) == (12, 34)"),
    (
        "utimens (`touch`)",
        "os.utime(f, ns=(1, 999_999_999)); s = os.stat(f)
assert s.st_mtime_ns == s.st_atime_ns == 999_999_999, s",
    ),
    (
        "rename within the table, to a free name",
        "os.mkdir(f'{d}/deep'); ino = os.stat(f).st_ino; os.rename(f, f'{d}/deep/g')
assert read(f'{d}/deep/g') == b'bytes' and os.stat(f'{d}/deep/g').st_ino == ino
assert fails(errno.ENOENT, os.stat, f) and 'f' not in os.listdir(d)",
    ),
    (
        "rename onto a pending or settling file",
        "store(f'{d}/g', b'other'); os.rename(f, f'{d}/g')
assert read(f'{d}/g') == b'bytes' and sorted(os.listdir(d)) == ['e', 'g', 'old']
writer = create(f'{d}/h', b'pending'); os.rename(f'{d}/g', f'{d}/h'); os.close(writer)
assert read(f'{d}/h') == b'bytes'",
    ),
    (
        "rename onto a sealed file",
        "assert sealed(old); all_fail(lambda: os.rename(f, old), lambda: os.replace(f, old))",
    ),
    (
        "rename onto any file, RENAME_NOREPLACE",
        "store(f'{d}/g', b'other')
all_fail(lambda: renameat2(f, f'{d}/g', NOREPLACE), lambda: renameat2(f, old, NOREPLACE))",
    ),
    (
        "rename, RENAME_EXCHANGE or RENAME_WHITEOUT",
        "store(f'{d}/g', b'other')
all_fail(lambda: renameat2(f, f'{d}/g', EXCHANGE), lambda: renameat2(f, f'{d}/g', WHITEOUT))",
    ),
    (
        "rename or link into another table",
        "all_fail(lambda: os.rename(f, f'{mnt}/u/f'), lambda: os.link(f, f'{mnt}/u/f'))",
    ),
    (
        "unlink",
        "other = os.open(f, os.O_RDONLY); os.unlink(f)
assert fails(errno.ENOENT, os.stat, f) and 'f' not in os.listdir(d)
assert os.read(other, 9) == b'bytes' and os.fstat(other).st_nlink == 0; os.close(other)
store(f, b'again'); assert read(f) == b'again'",
    ),
    (
        "link (`ln`, `cp -l`)",
        "os.link(f, f'{d}/g'); s, t = os.stat(f), os.stat(f'{d}/g')
assert read(f'{d}/g') == b'bytes' and s.st_ino != t.st_ino and s.st_nlink == t.st_nlink == 1",
    ),
    (
        "make anything of that name (O_EXCL, mkdir, symlink, link)",
        "all_fail(lambda: create(f), lambda: os.mkdir(f), lambda: os.symlink('x', f),
    lambda: os.mknod(f), lambda: os.link(old, f))",
    ),
    (
        "fsync, fdatasync, O_SYNC",
        "reader = os.open(f, os.O_RDONLY); os.fsync(reader); os.fdatasync(reader); os.close(reader)
if fd >= 0: os.fsync(fd); os.write(fd, b'more'); os.fdatasync(fd); assert read(f) == b'bytesmore'
synced = os.open(f'{d}/g', os.O_WRONLY | os.O_CREAT | os.O_SYNC); os.write(synced, b'x'); os.close(synced)",
    ),
    (
        "getxattr `user.littfs.expires`, `user.littfs.sealed`",
        "assert os.getxattr(f, 'user.littfs.expires') == b'never'
assert sealed(f) == (state == 'sealed')",
    ),
    (
        "setxattr of any other name",
        "all_fail(lambda: os.setxattr(f, 'user.other', b'x'), lambda: os.setxattr(f, \
            'user.littfs.ttl', b'1d'),
    lambda: os.setxattr(f, 'security.x', b'x'))",
    ),
    (
        "flock, fcntl locks",
        "one, two = os.open(f, os.O_RDONLY), os.open(f, os.O_RDONLY)
fcntl.flock(one, fcntl.LOCK_EX); assert fails(errno.EAGAIN, fcntl.flock, two, fcntl.LOCK_EX | fcntl.LOCK_NB)
fcntl.lockf(one, fcntl.LOCK_SH); os.close(one); fcntl.flock(two, fcntl.LOCK_EX); os.close(two)",
    ),
    (
        "ioctl",
        "reader = os.open(f, os.O_RDONLY)
all_fail(lambda: fcntl.ioctl(reader, 0x5401, b'x' * 100), lambda: fcntl.ioctl(reader, 0x1234))",
    ),
];

/// What makes the file of a case in each state; sealed files are in a table without grace.
const STATES: [(&str, &str); 3] = [
    ("pending", "fd = create(f); fd2 = create(e, b'')"),
    ("settling", "fd = -1; store(f); store(e, b'')"),
    ("sealed", "fd = -1; store(f); store(e, b'')"),
];

#[test]
fn operations_on_files() {
    let home = home();
    let mut python = python(&home);
    covers("Operations on files", &WAYS.iter().map(|(row, _)| *row).collect::<Vec<_>>());
    make_folders_with_a_sealed_file(&mut python);
    for (number, (row, (_, statements))) in rows("Operations on files").iter().zip(WAYS).enumerate()
    {
        for ((state, make), cell) in STATES.iter().zip(&row[1..]) {
            let case = format!("{}: {state}", row[0]);
            let table = if *state == "sealed" { "sealed" } else { "t" };
            let made = python.run(&format!(
                "state = '{state}'; d = f'{{mnt}}/{table}/{state}-{number}'
f, e, old = f'{{d}}/f', f'{{d}}/e', f'{{d}}/old'\n{make}\nassert sealed(f) == (state == 'sealed')"
            ));
            assert_eq!(made, "yes", "{case}: preparation");
            if answer(cell) == "-" {
                assert_eq!(python.run("assert fd < 0"), "yes", "{case}: no handle is left");
                continue;
            }
            assert_eq!(python.run(statements), answer(cell), "{case}: {statements}");
            if answer(cell) != "yes" {
                let left = "assert read(f) == b'bytes' and read(old) == b'old'
s = os.stat(f); assert s.st_mode == 0o100644 and s.st_uid == 0 and s.st_mtime > 1e9
assert 'f' in os.listdir(d) and not os.path.exists(f'{mnt}/u/f')";
                assert_eq!(python.run(left), "yes", "{case}: what is refused changes nothing");
            }
            let after = python.run("fd < 0 or os.close(fd); fd2 = 0");
            assert_eq!(after, "yes", "{case}: closing");
        }
    }
    // What is still open goes with the interpreter.
    drop(python);
    home.umount();
    assert_eq!(home.littfs("check", &[]).code, 0);
}

/// The folder of each case, with the file `old` that is sealed by now, while the grace of the table
/// is long enough for a case.
fn make_folders_with_a_sealed_file(python: &mut super::Python) {
    let prepared = python.run(&format!(
        "os.setxattr(f'{{mnt}}/t', 'user.littfs.grace', b'5s')
for table, states in (('t', ('pending', 'settling')), ('sealed', ('sealed',))):
    for state in states:
        for number in range({}):
            d = f'{{mnt}}/{{table}}/{{state}}-{{number}}'
            os.mkdir(d); store(f'{{d}}/old', b'old'); last = f'{{mnt}}/t/settling-{{number}}/old'
while not sealed(last): time.sleep(0.05)",
        WAYS.len()
    ));
    assert_eq!(prepared, "yes");
}
