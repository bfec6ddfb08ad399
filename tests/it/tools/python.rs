//! Python's own ways of writing files.

use super::{seal, succeeds, with_source};
use crate::mounted::Mounted;

/// Runs a Python script in the folder that holds the mountpoint; it must print this.
#[track_caller]
fn python(home: &Mounted, script: &str, stdout: &str) {
    succeeds(home, &format!("python3 - <<'END'\n{script}\nEND"), stdout);
}

#[test]
fn open_writes_and_refuses_as_it_should() {
    let home = with_source();
    python(
        &home,
        r"
import os
with open('m/t/f', 'w') as f:
    f.write('one\n'); f.flush(); f.write('two\n')
    assert open('m/t/f').read() == 'one\ntwo\n'[:os.path.getsize('m/t/f')]
with open('m/t/g', 'wb+') as f:
    f.write(b'0123456789'); f.seek(3); f.write(b'xyz'); f.truncate(8); f.seek(0)
    assert f.read() == b'012xyz67'
with open('m/t/h', 'x') as f:
    print(*range(100000), sep='\n', file=f)
    os.fsync(f.fileno())
assert open('m/t/h').read().split() == [str(i) for i in range(100000)]
for mode, error in [('w', PermissionError), ('a', PermissionError), ('r+', PermissionError), ('x', \
    FileExistsError)]:
    try:
        open('m/t/f', mode)
    except error as e:
        print(mode, e)
print(open('m/t/f').read(), open('m/t/g').read())
",
        "w [Errno 1] Operation not permitted: 'm/t/f'\na [Errno 1] Operation not permitted: 'm/t/f'\n\
        r+ [Errno 1] Operation not permitted: 'm/t/f'\nx [Errno 17] File exists: 'm/t/f'\none\ntwo\n \
            012xyz67\n",
    );
}

#[test]
fn shutil_and_tempfile_work_as_they_are() {
    let home = with_source();
    python(
        &home,
        r"
import os, shutil, tempfile, filecmp
shutil.copy2('source/short', 'm/t/copy2')
s, d = os.stat('source/short'), os.stat('m/t/copy2')
assert (s.st_mtime_ns, s.st_mode, s.st_size) == (d.st_mtime_ns, d.st_mode, d.st_size)
shutil.copyfile('source/long', 'm/t/copyfile')
shutil.copytree('source', 'm/t/tree')
assert not filecmp.dircmp('source', 'm/t/tree').diff_files
shutil.move('m/t/copyfile', 'm/t/tree/moved')
for content in ['first', 'second']:
    with tempfile.NamedTemporaryFile('w', dir='m/t', delete=False) as f:
        f.write(content); f.flush(); os.fsync(f.fileno())
    os.chmod(f.name, 0o640)
    os.replace(f.name, 'm/t/atomic')
    assert open('m/t/atomic').read() == content
with tempfile.TemporaryFile(dir='m/t') as f:
    f.write(b'gone'); f.seek(0); assert f.read() == b'gone'
with tempfile.TemporaryDirectory(dir='m/t') as d:
    open(os.path.join(d, 'f'), 'w').close()
shutil.rmtree('m/t/tree')
shutil.make_archive('m/t/archive', 'zip', 'source')
shutil.unpack_archive('m/t/archive.zip', 'm/t/unpacked')
assert not filecmp.dircmp('source', 'm/t/unpacked').diff_files
print(sorted(os.listdir('m/t')))
",
        "['archive.zip', 'atomic', 'copy2', 'unpacked']\n",
    );
    seal(&home, "t", &["atomic"]);
    python(
        &home,
        r"
import os, shutil
for change in [lambda: os.replace('m/t/copy2', 'm/t/atomic'), lambda: os.remove('m/t/atomic'),
               lambda: os.utime('m/t/atomic'), lambda: shutil.copy2('source/long', 'm/t/atomic')]:
    try:
        change()
    except PermissionError as e:
        print(e.errno)
print(open('m/t/atomic').read())
",
        "1\n1\n1\n1\nsecond\n",
    );
}

#[test]
fn mmap_reads_and_writes() {
    let home = with_source();
    python(
        &home,
        r"
import mmap
with open('m/t/f', 'w+b') as f:
    f.truncate(1 << 20)
    with mmap.mmap(f.fileno(), 0) as m:
        m[0:5] = b'begin'; m[-3:] = b'end'; m[500000] = 7
        m.flush()
with open('m/t/f', 'rb') as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:
    assert len(m) == 1 << 20 and m[:5] == b'begin' and m[-3:] == b'end' and m[500000] == 7
    assert m.find(b'end') == (1 << 20) - 3
with open('source/long', 'rb') as f: source = f.read()
with open('m/t/long', 'wb') as f: f.write(source)
with open('m/t/long', 'rb') as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:
    assert m[:] == source
with open('m/t/long', 'rb') as f:
    try:
        mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_WRITE)
    except PermissionError as e:
        print(e)
",
        "[Errno 13] Permission denied\n",
    );
    home.crash();
    succeeds(
        &home,
        "cmp m/t/long source/long; head -c 5 m/t/f; tail -c 3 m/t/f; stat -c ' %s' m/t/f",
        "beginend 1048576\n",
    );
}
