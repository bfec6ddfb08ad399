//! Folders, the top folder, names, and what else can be made.

use super::execute;

/// The rows of the section on folders.
const FOLDERS: &[(&str, &str)] = &[
    (
        "mkdir, nested to any depth",
        "os.makedirs(f'{d}/' + '/'.join('x' * 60)); store(f'{d}/' + '/'.join('x' * 60) + '/f')
s = os.stat(f'{d}/x'); assert stat.S_ISDIR(s.st_mode) and s.st_nlink >= 1",
    ),
    ("create a file in a folder that does not exist", "create(f'{d}/none/f')"),
    (
        "list",
        "names = ['b', 'a-b', 'a', '\\u00fc', 'Z', '.h']
for name in names: store(f'{d}/{name}')
os.mkdir(f'{d}/a.d'); first = ['.', '..']
found = list(entry.name for entry in os.scandir(d))
assert found == sorted(names + ['a.d', 'full', 'empty', 'file'], key=os.fsencode), found
assert {e.name: e.is_dir() for e in os.scandir(d)}['a.d']",
    ),
    (
        "telldir, seekdir, rewinddir",
        "for number in range(300): store(f'{d}/{number:03}')
libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
libc.telldir.restype = ctypes.c_long; libc.telldir.argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
libc.readdir.argtypes = libc.rewinddir.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]
dir = libc.opendir(os.fsencode(d))
def next_name():
    entry = libc.readdir(dir)
    return entry and ctypes.string_at(entry + 19)
places = []
while True:
    place = libc.telldir(dir); name = next_name()
    if not name: break
    places.append((place, name))
assert len(places) == 305, len(places)
for place, name in reversed(places):
    libc.seekdir(dir, place); assert next_name() == name, name
libc.rewinddir(dir); assert next_name() == b'.'
libc.closedir(dir)",
    ),
    (
        "chmod, chown, utimens",
        "os.chmod(d, 0o2750); os.chown(d, 12, 34); os.utime(d, ns=(0, 5_000_000_007)); s = os.stat(d)
assert (s.st_mode & 0o7777, s.st_uid, s.st_gid, s.st_mtime_ns) == (0o2750, 12, 34, 5_000_000_007), s
store(f'{d}/new'); moved = os.stat(d).st_mtime_ns; assert moved > 5_000_000_007
os.utime(d, (1, 1)); os.unlink(f'{d}/new'); assert os.stat(d).st_mtime_ns > 10**18",
    ),
    (
        "fsync",
        "fd = os.open(d, os.O_RDONLY | os.O_DIRECTORY); os.fsync(fd); os.fdatasync(fd); os.close(fd)",
    ),
    (
        "rmdir, empty",
        "os.rmdir(f'{d}/empty'); assert fails(errno.ENOENT, os.stat, f'{d}/empty')",
    ),
    ("rmdir, with entries", "os.rmdir(f'{d}/full')"),
    ("unlink", "all_fail(lambda: os.unlink(f'{d}/empty'), lambda: os.unlink(f'{d}/full'))"),
    (
        "open for writing",
        "all_fail(lambda: os.open(d, os.O_WRONLY), lambda: os.open(d, os.O_RDWR),
    lambda: os.open(d, os.O_WRONLY | os.O_CREAT))",
    ),
    (
        "rename, empty",
        "ino = os.stat(f'{d}/empty').st_ino; os.rename(f'{d}/empty', f'{d}/full/moved')
assert os.stat(f'{d}/full/moved').st_ino == ino and not os.path.exists(f'{d}/empty')",
    ),
    (
        "rename, with entries",
        "all_fail(lambda: os.rename(f'{d}/full', f'{d}/moved'), lambda: os.rename(f'{d}/full', \
            f'{d}/empty'))",
    ),
    (
        "rename onto an empty folder",
        "os.mkdir(f'{d}/two'); ino = os.stat(f'{d}/two').st_ino; os.rename(f'{d}/two', f'{d}/empty')
assert os.stat(f'{d}/empty').st_ino == ino and not os.path.exists(f'{d}/two')",
    ),
    ("rename onto a folder with entries", "os.rename(f'{d}/empty', f'{d}/full')"),
    ("rename into itself", "os.rename(f'{d}/empty', f'{d}/empty/sub')"),
    ("rename into another table", "os.rename(f'{d}/empty', f'{mnt}/u/empty')"),
    ("link", "os.link(f'{d}/empty', f'{d}/linked')"),
    (
        "rmdir of a file, or a path through a file",
        "all_fail(lambda: os.rmdir(f'{d}/file'), lambda: os.stat(f'{d}/file/x'),
    lambda: os.mkdir(f'{d}/file/x'), lambda: os.listdir(f'{d}/file'))",
    ),
];

#[test]
fn folders() {
    let prepare = "os.mkdir(d); os.mkdir(f'{d}/empty'); os.mkdir(f'{d}/full')
store(f'{d}/full/f'); store(f'{d}/file')";
    execute("Folders", prepare, FOLDERS);
}

#[test]
fn the_top_folder() {
    const WAYS: &[(&str, &str)] = &[
        (
            "mkdir of 1 to 128 letters, digits, `-`, `_`, `.`, not beginning with `.`",
            "for name in ('A', '0', '-rf', '_x', 'a-b_c.d', 'n' * 128):
    os.mkdir(f'{mnt}/{name}'); store(f'{mnt}/{name}/f'); assert read(f'{mnt}/{name}/f') == b'bytes'",
        ),
        (
            "mkdir of any other name",
            "all_fail(*(lambda name=name: os.mkdir(f'{mnt}/{name}')
    for name in ('.hidden', 'a b', '\\u00fc', 'a:b', 'a+b', '~', 'n' * 129, 'a\\nb')))",
        ),
        ("mkdir of a table that is there", "os.mkdir(f'{mnt}/t')"),
        (
            "rmdir of a table with nothing live in it",
            "os.mkdir(f'{mnt}/gone'); store(f'{mnt}/gone/f'); os.unlink(f'{mnt}/gone/f')
os.rmdir(f'{mnt}/gone'); assert 'gone' not in os.listdir(mnt)",
        ),
        (
            "rmdir of any other table",
            "store(f'{mnt}/u/f'); all_fail(lambda: os.rmdir(f'{mnt}/t'), lambda: os.rmdir(f'{mnt}/u'))",
        ),
        (
            "create, link or symlink",
            "all_fail(lambda: create(f'{mnt}/f'), lambda: os.link(f'{d}/f', f'{mnt}/g'),
    lambda: os.symlink('t', f'{mnt}/s'), lambda: os.mknod(f'{mnt}/n'), lambda: os.mkfifo(f'{mnt}/p'))",
        ),
        (
            "rename of a table",
            "all_fail(lambda: os.rename(f'{mnt}/t', f'{mnt}/renamed'), lambda: os.rename(f'{mnt}/sealed', d),
    lambda: os.rename(f'{d}/sub', f'{mnt}/sub'))",
        ),
        (
            "chmod, chown, utimens of a table",
            "os.chmod(f'{mnt}/t', 0o1777); os.chown(f'{mnt}/t', 12, 34); os.utime(f'{mnt}/t', (7, 7))
s = os.stat(f'{mnt}/t'); assert (s.st_mode & 0o7777, s.st_uid, s.st_mtime) == (0o1777, 12, 7)",
        ),
        (
            "chmod, chown, utimens of the top folder",
            "all_fail(lambda: os.chmod(mnt, 0o777), lambda: os.chown(mnt, 1, 1), \
                lambda: os.utime(mnt, (1, 1)))",
        ),
    ];
    execute("The top folder", "os.mkdir(d); store(f'{d}/f'); os.mkdir(f'{d}/sub')", WAYS);
}

#[test]
fn names() {
    const WAYS: &[(&str, &str)] = &[
        (
            "any bytes but NUL and `/`: newlines, blanks at the end, `-rf`, `.hidden`, invalid UTF-8",
            "b = os.fsencode(d)
names = [bytes([byte]) for byte in range(1, 256) if byte not in b'/.'] + [b'new\\nline', b'end ', b'-rf',
    b'.hidden', b'...', b'\\xf0\\x9f\\x92\\xbe', b'\\xff\\xfe', b'e\\xcc\\x81', b'\\xc3\\xa9', \
        bytes(range(1, 47))]
for name in names: store(b + b'/' + name, name)
assert os.listdir(b) == sorted(names)
for name in names: assert read(b + b'/' + name) == name
for name in names[::2]: os.rename(b + b'/' + name, b + b'/' + name + b'x'); os.unlink(b + b'/' + name + b'x')
assert os.listdir(b) == sorted(names[1::2])",
        ),
        ("a component of 255 bytes", "store(f'{d}/' + 'n' * 255); os.mkdir(f'{d}/' + 'd' * 255)"),
        (
            "a component of 256 bytes",
            "n = f'{d}/' + 'n' * 256
all_fail(lambda: create(n), lambda: os.mkdir(n), lambda: os.stat(n), lambda: os.symlink('x', n),
    lambda: os.rename(f'{d}/f', n), lambda: os.link(f'{d}/f', n))",
        ),
        (
            "a path within a table of 4095 bytes",
            "os.chdir(f'{mnt}/u')
for _ in range(15): os.mkdir('d' * 255); os.chdir('d' * 255)
store('f' * 255); assert read('f' * 255) == b'bytes' and os.listdir('.') == ['f' * 255]
os.rename('f' * 255, 'g' * 255); assert os.stat('g' * 255).st_size == 5",
        ),
        (
            "a path within a table of 4096 bytes",
            "os.mkdir('e' * 254); os.chdir('e' * 254)
all_fail(lambda: create('f'), lambda: os.mkdir('f'), lambda: os.rename('../' + 'g' * 255, 'f'),
    lambda: os.mkdir('../' + 'h' * 255))",
        ),
    ];
    execute("Names", "os.mkdir(d); store(f'{d}/f') if d[-1] == '2' else None", WAYS);
}

#[test]
fn what_else_can_be_made() {
    const WAYS: &[(&str, &str)] = &[
        (
            "symlink, with a target of up to 4095 bytes",
            "for target in ('f', '../nowhere', 'x' * 4095, '\\udcff'):
    os.symlink(target, f'{d}/s'); assert os.readlink(f'{d}/s') == target
    assert os.lstat(f'{d}/s').st_size == len(os.fsencode(target)); os.unlink(f'{d}/s')",
        ),
        (
            "mknod of a regular file",
            "os.mknod(f'{d}/n', 0o640 | stat.S_IFREG); s = os.stat(f'{d}/n')
assert s.st_size == 0 and stat.S_ISREG(s.st_mode) and s.st_mode & 0o7777 == 0o640",
        ),
        (
            "mkfifo, mknod of a device or socket",
            "all_fail(lambda: os.mkfifo(f'{d}/p'), *(lambda kind=kind: os.mknod(f'{d}/n', \
                0o600 | kind, os.makedev(1, 3))
    for kind in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)))",
        ),
        ("bind of a Unix socket", "os.chdir(d); socket.socket(socket.AF_UNIX).bind('s')"),
        (
            "open, O_TMPFILE",
            "all_fail(lambda: os.open(d, os.O_TMPFILE | os.O_RDWR), lambda: os.open(d, \
                os.O_TMPFILE | os.O_WRONLY))",
        ),
        (
            "fallocate, FALLOC_FL_PUNCH_HOLE",
            "fd = create(f'{d}/h'); libc.fallocate.argtypes = [ctypes.c_int] * 2 + [ctypes.c_long] * 2
try: check(libc.fallocate(fd, 3, 0, 2))
finally: os.close(fd)",
        ),
        (
            "copy_file_range, sendfile into a new file",
            "content = os.urandom(3_000_000); store(f'{d}/from', content); \
                source = os.open(f'{d}/from', os.O_RDONLY)
fd = create(f'{d}/copy', b''); left = len(content)
while left: left -= os.copy_file_range(source, fd, left)
os.close(fd); assert read(f'{d}/copy') == content
fd = create(f'{d}/sent', b''); at = 0
while at < len(content): at += os.sendfile(fd, source, at, len(content) - at)
os.close(fd); assert read(f'{d}/sent') == content",
        ),
    ];
    execute("What else can be made", "os.mkdir(d)", WAYS);
}
