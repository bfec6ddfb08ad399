//! Extended attributes, and mounts that change nothing.

use super::document::{answer, rows};
use super::{covers, execute_in, home, python};

#[test]
fn extended_attributes() {
    /// Name as on the page, an attribute of that name, where it is, what its value looks like, and a
    /// value to set.
    const WAYS: &[(&str, &str, &str, &str, &str)] = &[
        ("`user.littfs.ttl`", "user.littfs.ttl", "t", "none|(\\d+[dhms])+", "12h30m"),
        ("`user.littfs.grace`", "user.littfs.grace", "t", "(\\d+[dhms])+", "0s"),
        ("`user.littfs.shards`", "user.littfs.shards", "t", "\\d+", "255"),
        ("`user.littfs.keys`", "user.littfs.keys", "t", "1", "7"),
        ("`user.littfs.bytes`", "user.littfs.bytes", "t", "5", "7"),
        (
            "`user.littfs.expires`",
            "user.littfs.expires",
            "t/f",
            "never|\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?Z",
            "never",
        ),
        ("`user.littfs.sealed`", "user.littfs.sealed", "t/f", "true|false", "true"),
        ("any other `user.` name", "user.littfs.none", "t", "", "x"),
        ("`security.`, `system.`, `trusted.` names", "trusted.x", "t", "", "x"),
    ];
    let home = home();
    let mut python = python(&home);
    assert_eq!(python.run("import re; store(f'{mnt}/t/f'); os.mkdir(f'{mnt}/t/d')"), "yes");
    covers("Extended attributes", &WAYS.iter().map(|way| way.0).collect::<Vec<_>>());
    for (row, (_, name, place, form, value)) in rows("Extended attributes").iter().zip(WAYS) {
        let [_, _, get, set, listed] = row[..] else { panic!("five cells: {row:?}") };
        let listed_here = format!(
            "assert '{name}' {} os.listxattr(f'{{mnt}}/{place}')",
            if listed == "yes" { "in" } else { "not in" }
        );
        assert_eq!(python.run(&listed_here), "yes", "{name} is listed: {listed}");
        let shown = format!(
            "value = os.getxattr(f'{{mnt}}/{place}', '{name}').decode(); \
            assert re.fullmatch('{form}', value), value"
        );
        let expected = if form.is_empty() { answer(get) } else { "yes" };
        assert_eq!(python.run(&shown), expected, "getxattr {name}");
        // What the page shows as values has that form, too.
        for shown in get.split('"').skip(1).step_by(2) {
            let fits = format!("assert re.fullmatch('{form}', '{shown}')");
            assert_eq!(python.run(&fits), "yes", "{shown} of {name}");
        }
        let setting = format!(
            "os.setxattr(f'{{mnt}}/{place}', '{name}', b'{value}'); \
            assert os.getxattr(f'{{mnt}}/{place}', '{name}') == b'{value}'"
        );
        assert_eq!(python.run(&setting), answer(set), "setxattr {name}");
        if answer(set) == "yes" {
            let malformed = format!("os.setxattr(f'{{mnt}}/{place}', '{name}', b'malformed')");
            assert_eq!(python.run(&malformed), "EINVAL", "{name}");
            let kept = format!("assert os.getxattr(f'{{mnt}}/{place}', '{name}') == b'{value}'");
            assert_eq!(python.run(&kept), "yes", "a malformed value changes nothing: {name}");
        }
    }
    // Every namespace, on every kind of thing, in both directions.
    let others = "import struct
acl = struct.pack('<I', 2) + b''.join(struct.pack('<HHi', tag, 4, -1) for tag in (1, 4, 32))
for path in (mnt, f'{mnt}/t', f'{mnt}/t/d', f'{mnt}/t/f'):
    for name in ('security.x', 'system.posix_acl_access', 'trusted.x'):
        for _ in range(2):
            assert fails(errno.EOPNOTSUPP, os.getxattr, path, name), (path, name)
            assert fails(errno.EOPNOTSUPP, os.setxattr, path, name, acl), (path, name)
    assert fails(errno.ENODATA, os.getxattr, path, 'user.x') and fails(errno.EOPNOTSUPP, \
        os.setxattr, path, 'user.x', b'')
assert os.listxattr(f'{mnt}/t/f') == os.listxattr(f'{mnt}/t/d') == os.listxattr(mnt) == []";
    assert_eq!(python.run(others), "yes");
}

#[test]
fn read_only_mounts() {
    let home = home();
    home.sh("echo -n bytes > m/t/f; mkdir m/t/d");
    home.umount();
    home.mount_with(&["-o", "ro"]);
    execute_in(
        &home,
        "Read-only mounts",
        "",
        &[
            (
                "read, stat, list, getxattr",
                "assert read(f'{mnt}/t/f') == b'bytes' and os.listdir(f'{mnt}/t') == ['d', 'f']
assert os.getxattr(f'{mnt}/t', 'user.littfs.ttl') == b'none' and sealed(f'{mnt}/t/f') is False
assert os.statvfs(mnt).f_flag & os.ST_RDONLY",
            ),
            (
                "create, open for writing, truncate, mkdir, rmdir, unlink, rename, link, symlink, \
                    chmod, chown, \
                 utimens, setxattr",
                "f, g, t = f'{mnt}/t/f', f'{mnt}/t/g', f'{mnt}/t'
all_fail(lambda: create(g), lambda: os.open(f, os.O_WRONLY), lambda: os.open(f, os.O_RDONLY | os.O_TRUNC),
    lambda: os.truncate(f, 5), lambda: os.mkdir(g), lambda: os.mkdir(f'{mnt}/new'), \
        lambda: os.rmdir(f'{t}/d'),
    lambda: os.rmdir(f'{mnt}/u'), lambda: os.unlink(f), lambda: os.rename(f, g), lambda: os.link(f, g),
    lambda: os.symlink('x', g), lambda: os.chmod(f, 0o600), lambda: os.chmod(t, 0o700), \
        lambda: os.chown(f, 1, 1),
    lambda: os.utime(f), lambda: os.mknod(g), lambda: os.setxattr(t, 'user.littfs.ttl', b'1d'))",
            ),
        ],
    );
}
