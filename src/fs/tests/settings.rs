//! Extended attributes, and what follows from them.

use super::super::SetMode;
use super::*;

fn get(f: &Fixture, ino: u64, name: &str) -> Result<String> {
    let value = f.fs.getxattr(ino, name.as_bytes())?;
    Ok(String::from_utf8_lossy(&value).into_owned())
}

fn set(f: &Fixture, ino: u64, name: &str, value: &str) -> Result<()> {
    f.fs.setxattr(ROOT, ino, name.as_bytes(), value.as_bytes(), SetMode::Any)
}

#[test]
fn tables_have_settings() {
    let f = fixture();
    assert_eq!(get(&f, f.t, "user.littfs.ttl").expect("read"), "none");
    assert_eq!(get(&f, f.t, "user.littfs.grace").expect("read"), "5m");
    set(&f, f.t, "user.littfs.ttl", "12h30m").expect("set");
    assert_eq!(get(&f, f.t, "user.littfs.ttl").expect("read"), "12h30m");
    set(&f, f.t, "user.littfs.grace", "0s").expect("set");
    assert_eq!(get(&f, f.t, "user.littfs.grace").expect("read"), "0s");
    set(&f, f.t, "user.littfs.shards", "4").expect("set");
    assert_eq!(get(&f, f.t, "user.littfs.shards").expect("read"), "4");
    for (name, value) in [
        ("user.littfs.ttl", "soon"),
        ("user.littfs.ttl", "0s"),
        ("user.littfs.grace", "none"),
        ("user.littfs.shards", "0"),
        ("user.littfs.shards", "256"),
    ] {
        assert_eq!(set(&f, f.t, name, value), Err(Errno::EINVAL), "{name} {value}");
    }
    let not_text = f.fs.setxattr(ROOT, f.t, b"user.littfs.ttl", b"\xff", SetMode::Any);
    assert_eq!(not_text, Err(Errno::EINVAL));
    assert_eq!(get(&f, f.t, "user.littfs.ttl").expect("read"), "12h30m", "nothing changed");
    let created = f.fs.setxattr(ROOT, f.t, b"user.littfs.ttl", b"1d", SetMode::Create);
    assert_eq!(created, Err(Errno::EEXIST));
    f.fs.setxattr(ROOT, f.t, b"user.littfs.ttl", b"1d", SetMode::Replace).expect("replaced");
    f.settled("a", b"12345");
    assert_eq!(get(&f, f.t, "user.littfs.keys").expect("read"), "1");
    assert_eq!(get(&f, f.t, "user.littfs.bytes").expect("read"), "5");
    for name in ["user.littfs.keys", "user.littfs.bytes"] {
        assert_eq!(set(&f, f.t, name, "1"), Err(Errno::EPERM));
    }
    assert_eq!(f.fs.removexattr(f.t, b"user.littfs.ttl"), Err(Errno::EPERM));
}

#[test]
fn files_show_their_state() {
    let f = fixture();
    let (ino, handle) = f.pending("a", b"x");
    assert_eq!(get(&f, ino, "user.littfs.sealed").expect("read"), "false");
    assert_eq!(get(&f, ino, "user.littfs.expires").expect("read"), "never");
    f.fs.flush(handle).expect("stored");
    f.fs.release(handle);
    f.set_ttl("1d");
    assert_eq!(get(&f, ino, "user.littfs.expires").expect("read"), "2023-11-15T22:13:20Z");
    f.clock.advance(GRACE * 2);
    assert_eq!(get(&f, ino, "user.littfs.sealed").expect("read"), "true");
    assert_eq!(set(&f, ino, "user.littfs.sealed", "true"), Err(Errno::EPERM));
    assert_eq!(set(&f, ino, "user.littfs.expires", "never"), Err(Errno::EPERM));
    assert_eq!(get(&f, ino, "user.littfs.ttl"), Err(Errno::ENODATA));
    assert_eq!(set(&f, ino, "user.littfs.ttl", "1d"), Err(Errno::EOPNOTSUPP));
    assert!(f.fs.listxattr(ino).expect("listed").is_empty());
}

#[test]
fn other_names_are_refused_without_turning_anything_off() {
    let f = fixture();
    let file = f.settled("a", b"x");
    let folder = f.fs.mkdir(ME, f.t, b"d", 0o755).expect("made").stat.ino;
    for ino in [TOP_INO, f.t, folder, file] {
        for name in ["security.capability", "system.posix_acl_access", "trusted.x"] {
            assert_eq!(get(&f, ino, name), Err(Errno::EOPNOTSUPP));
            assert_eq!(set(&f, ino, name, "x"), Err(Errno::EOPNOTSUPP));
            assert_eq!(f.fs.removexattr(ino, name.as_bytes()), Err(Errno::EOPNOTSUPP));
        }
        assert_eq!(get(&f, ino, "user.comment"), Err(Errno::ENODATA));
        assert_eq!(set(&f, ino, "user.comment", "x"), Err(Errno::EOPNOTSUPP));
        assert_eq!(f.fs.removexattr(ino, b"user.comment"), Err(Errno::ENODATA));
    }
    let listed = f.fs.listxattr(f.t).expect("listed");
    assert_eq!(listed.split(|byte| *byte == 0).count(), 5 + 1);
    assert!(f.fs.listxattr(TOP_INO).expect("listed").is_empty());
    assert!(f.fs.listxattr(folder).expect("listed").is_empty());
}

#[test]
fn a_new_ttl_is_told_to_the_kernel() {
    let f = fixture();
    let folder = f.fs.mkdir(ME, f.t, b"d", 0o755).expect("made").stat.ino;
    let (found, opened) = f.create(folder, "in").expect("created");
    f.fs.release(opened.handle);
    let file = f.settled("a", b"x");
    // Of the new table it was told, too.
    assert_eq!(f.kernel.forgotten_all.lock().drain(..).count(), 1);
    f.set_ttl("1d");
    let mut told = f.kernel.forgotten_all.lock().pop().expect("told");
    told.sort_by(|a, b| a.name.cmp(&b.name));
    let name = |parent, name: &[u8], ino| KnownName { parent, name: name.to_vec(), ino };
    let inner = name(folder, b"in", found.stat.ino);
    let table = name(TOP_INO, b"t", f.t);
    assert_eq!(told, [name(f.t, b"a", file), name(f.t, b"d", folder), inner, table]);
    set(&f, f.t, "user.littfs.ttl", "never").expect_err("refused");
    set(&f, f.t, "user.littfs.grace", "1s").expect("set");
    assert!(f.kernel.forgotten_all.lock().is_empty(), "only the time to live is cached");
}

#[test]
fn a_changed_ttl_holds_at_once() {
    let f = fixture();
    let ino = f.settled("a", b"x");
    f.clock.advance(Duration::from_secs(100));
    f.set_ttl("2m");
    assert_eq!(f.ino("a"), Some(ino));
    f.set_ttl("60s");
    assert!(f.ino("a").is_none());
}

#[test]
fn space_is_that_of_the_drives() {
    let f = fixture();
    let space = f.fs.space().expect("asked");
    assert!(space.total > 0 && space.available <= space.total);
}

#[test]
fn access_is_by_mode_and_nobody_gives_files_away() {
    let f = fixture();
    let ino = f.settled("a", b"x");
    let asked = |caller, mask| f.fs.access(caller, ino, mask);
    let stranger = Caller { uid: 77, gid: 77 };
    asked(ME, libc::R_OK | libc::W_OK).expect("the owner");
    asked(stranger, libc::R_OK).expect("everybody");
    asked(stranger, libc::F_OK).expect("it is there");
    assert_eq!(asked(stranger, libc::W_OK), Err(Errno::EACCES));
    assert_eq!(asked(ME, libc::X_OK), Err(Errno::EACCES));
    assert_eq!(asked(ROOT, libc::X_OK), Err(Errno::EACCES));
    f.chmod(ino, 0o700).expect("changed");
    asked(ROOT, libc::X_OK).expect("anybody may");
    asked(ROOT, libc::W_OK).expect("root may");
    let give = Changes { uid: Some(0), ..Changes::default() };
    assert_eq!(f.fs.setattr(ME, ino, &give).err(), Some(Errno::EPERM));
    let keep = Changes { uid: Some(ME.uid), gid: Some(5), ..Changes::default() };
    f.fs.setattr(ME, ino, &keep).expect("kept");
}
