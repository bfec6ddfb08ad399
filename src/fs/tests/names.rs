//! Unlink, rename, link, folders, symbolic links.

use super::*;

#[test]
fn unlinked_pending_files_live_for_their_handles() {
    let f = fixture();
    let (ino, handle) = f.pending("a", b"x");
    let reader = f.fs.open(ino, R).expect("opened");
    f.unlink("a").expect("unlinked");
    assert!(f.ino("a").is_none());
    assert_eq!(f.list(f.t, 10), [".", ".."]);
    f.fs.write(handle, 1, b"y", W).expect("still writable");
    assert_eq!(f.read_all(reader.handle).expect("read"), b"xy");
    assert_eq!(f.fs.getattr(ino).expect("stat").stat.links, 0);
    let (again, other) = f.create(f.t, "a").expect("the name is free");
    assert_ne!(again.stat.ino, ino);
    f.fs.flush(handle).expect("nothing is stored");
    f.fs.release(handle);
    assert_eq!(f.read_all(reader.handle).expect("read"), b"xy");
    f.fs.release(reader.handle);
    f.fs.release(other.handle);
    assert_eq!(f.bytes("a").expect("there"), b"");
}

#[test]
fn unlinking_before_the_release_leaves_nothing() {
    let f = fixture();
    let (_, handle) = f.pending("a", b"x");
    f.fs.flush(handle).expect("stored");
    f.fs.write(handle, 1, b"y", W).expect("written");
    f.unlink("a").expect("unlinked");
    f.fs.release(handle);
    assert!(f.ino("a").is_none());
    assert!(f.table().entry(b"a").expect("asked").is_none());
    assert_eq!(f.unlink("a"), Err(Errno::ENOENT));
}

#[test]
fn unlinked_settled_files_can_be_read_on() {
    let f = fixture();
    let ino = f.settled("a", b"x");
    let reader = f.fs.open(ino, R).expect("opened");
    f.unlink("a").expect("unlinked");
    assert_eq!(f.read_all(reader.handle).expect("read"), b"x");
    assert_eq!(f.fs.getattr(ino).expect("stat").stat.links, 0);
}

#[test]
fn renames_in_every_state() {
    let f = fixture();
    let (ino, handle) = f.pending("pending", b"1");
    f.rename("pending", "p2").expect("pending");
    assert!(f.ino("pending").is_none());
    assert_eq!(f.ino("p2"), Some(ino));
    f.fs.flush(handle).expect("stored");
    assert!(f.table().entry(b"p2").expect("asked").is_some());
    f.rename("p2", "p3").expect("closed, not released");
    f.fs.write(handle, 1, b"2", W).expect("written");
    f.fs.release(handle);
    assert_eq!(f.bytes("p3").expect("there"), b"12");
    f.rename("p3", "p4").expect("settling");
    assert_eq!(f.ino("p4"), Some(ino));
    assert_eq!(f.list(f.t, 10), [".", "..", "p4"]);
    assert_eq!(f.rename("p3", "p5"), Err(Errno::ENOENT));
    for flags in [libc::RENAME_EXCHANGE, libc::RENAME_WHITEOUT, 64] {
        assert_eq!(f.fs.rename((f.t, b"p4"), (f.t, b"p5"), flags), Err(Errno::EINVAL));
    }
}

#[test]
fn renames_replace_what_is_not_sealed() {
    let f = fixture();
    let old = f.settled("a", b"old");
    let reader = f.fs.open(old, R).expect("opened");
    f.settled("b", b"new");
    let flags = libc::RENAME_NOREPLACE;
    assert_eq!(f.fs.rename((f.t, b"b"), (f.t, b"a"), flags), Err(Errno::EEXIST));
    f.rename("b", "a").expect("replaced");
    assert_eq!(f.bytes("a").expect("there"), b"new");
    assert_eq!(f.read_all(reader.handle).expect("read"), b"old");
    assert_eq!(f.fs.getattr(old).expect("stat").stat.links, 0);
    // A pending file onto a stored one, and a stored one onto a pending one.
    let (ino, handle) = f.pending("c", b"newer");
    f.rename("c", "a").expect("replaced");
    assert_eq!(f.ino("a"), Some(ino));
    let newest = f.settled("d", b"newest");
    f.rename("d", "a").expect("replaced");
    f.fs.write(handle, 0, b"lost", W).expect("the handle lives on");
    f.fs.flush(handle).expect("nothing is stored");
    f.fs.release(handle);
    assert_eq!(f.ino("a"), Some(newest));
    assert_eq!(f.bytes("a").expect("there"), b"newest");
    // Both pending.
    let (_, one) = f.pending("e", b"one");
    let (_, two) = f.pending("g", b"two");
    f.rename("e", "g").expect("replaced");
    f.fs.release(two);
    f.fs.release(one);
    assert_eq!(f.bytes("g").expect("there"), b"one");
    assert_eq!(f.list(f.t, 10), [".", "..", "a", "g"]);
}

#[test]
fn renames_stay_within_a_table() {
    let f = fixture();
    let u = f.fs.mkdir(ME, TOP_INO, b"u", 0o755).expect("table").stat.ino;
    let ino = f.settled("a", b"x");
    assert_eq!(f.fs.rename((f.t, b"a"), (u, b"a"), 0), Err(Errno::EXDEV));
    assert_eq!(f.fs.link(ino, u, b"a").err(), Some(Errno::EXDEV));
    let (_, handle) = f.pending("p", b"x");
    assert_eq!(f.fs.rename((f.t, b"p"), (u, b"p"), 0), Err(Errno::EXDEV));
    f.fs.release(handle);
}

#[test]
fn links_are_copies_of_the_name() {
    let f = fixture();
    let (ino, handle) = f.pending("a", b"x");
    assert_eq!(f.fs.link(ino, f.t, b"b").err(), Some(Errno::EBUSY));
    f.fs.flush(handle).expect("stored");
    assert_eq!(f.fs.link(ino, f.t, b"b").err(), Some(Errno::EBUSY), "a duplicate is open");
    let b = std::thread::scope(|scope| {
        let linking = scope.spawn(|| f.fs.link(ino, f.t, b"b"));
        f.fs.release(handle);
        linking.join().expect("no panic").expect("the release was waited for").stat
    });
    assert_ne!(b.ino, ino);
    assert_eq!((b.links, b.size), (1, 1));
    assert_eq!(f.bytes("b").expect("there"), b"x");
    assert_eq!(f.fs.link(ino, f.t, b"b").err(), Some(Errno::EEXIST));
    f.unlink("a").expect("unlinked");
    assert_eq!(f.bytes("b").expect("there"), b"x");
}

#[test]
fn folders_nest_and_go_when_empty() {
    let f = fixture();
    let a = f.fs.mkdir(ME, f.t, b"a", 0o2750).expect("made").stat;
    assert_eq!(a.attributes.permissions(), 0o2750);
    let b = f.fs.mkdir(Caller { uid: 5, gid: 6 }, a.ino, b"b", 0o700).expect("made").stat;
    assert_eq!(b.attributes.permissions(), 0o2700, "set-group-id is handed down");
    assert_eq!((b.attributes.uid, b.attributes.gid), (5, ME.gid));
    let (found, opened) = f.create(b.ino, "file").expect("created");
    assert_eq!(found.stat.attributes.gid, ME.gid);
    assert_eq!(f.fs.rmdir(a.ino, b"b"), Err(Errno::ENOTEMPTY));
    assert_eq!(f.fs.rename((a.ino, b"b"), (f.t, b"c"), 0), Err(Errno::EPERM));
    f.fs.flush(opened.handle).expect("stored");
    f.fs.release(opened.handle);
    assert_eq!(f.fs.rmdir(a.ino, b"b"), Err(Errno::ENOTEMPTY));
    assert_eq!(f.fs.rename((a.ino, b"b"), (f.t, b"c"), 0), Err(Errno::EPERM));
    assert_eq!(f.fs.unlink(a.ino, b"b"), Err(Errno::EISDIR));
    assert_eq!(f.fs.rmdir(b.ino, b"file"), Err(Errno::ENOTDIR));
    assert_eq!(f.fs.mkdir(ME, b.ino, b"file", 0o700).err(), Some(Errno::EEXIST));
    f.fs.unlink(b.ino, b"file").expect("unlinked");
    f.fs.rename((a.ino, b"b"), (f.t, b"c"), 0).expect("empty");
    assert_eq!(f.ino("c"), Some(b.ino));
    let (_, opened) = f.create(b.ino, "under the new name").expect("created");
    f.fs.release(opened.handle);
    assert!(f.table().entry(b"c/under the new name").expect("asked").is_some());
    f.fs.unlink(b.ino, b"under the new name").expect("unlinked");
    let handle = f.fs.opendir(b.ino).expect("opened");
    f.fs.rmdir(f.t, b"c").expect("removed");
    f.fs.rmdir(f.t, b"a").expect("removed");
    assert!(f.page(handle, 0, 10).is_empty(), "a removed folder lists nothing");
    assert_eq!(f.create(b.ino, "x").err(), Some(Errno::ENOENT));
    assert_eq!(f.list(f.t, 10), [".", ".."]);
}

#[test]
fn folders_and_files_do_not_replace_each_other() {
    let f = fixture();
    f.fs.mkdir(ME, f.t, b"folder", 0o755).expect("made");
    f.fs.mkdir(ME, f.t, b"other", 0o755).expect("made");
    f.settled("file", b"x");
    assert_eq!(f.rename("file", "folder"), Err(Errno::EISDIR));
    assert_eq!(f.rename("folder", "file"), Err(Errno::ENOTDIR));
    f.rename("folder", "other").expect("an empty one is replaced");
    assert_eq!(f.list(f.t, 10), [".", "..", "file", "other"]);
    let ino = f.ino("other").expect("found");
    assert_eq!(f.fs.open(ino, R).err(), Some(Errno::EISDIR));
    assert_eq!(f.truncate(ino, 0, None), Err(Errno::EISDIR));
    f.clock.advance(GRACE * 2);
    f.chmod(ino, 0o700).expect("folders never seal");
    assert_eq!(f.fs.getattr(ino).expect("stat").stat.attributes.permissions(), 0o700);
    f.chmod(f.t, 0o711).expect("nor do tables");
    assert_eq!(f.fs.getattr(f.t).expect("stat").stat.attributes.permissions(), 0o711);
}

#[test]
fn symbolic_links_are_kept() {
    let f = fixture();
    let link = f.fs.symlink(ME, f.t, b"l", b"some/where").expect("made").stat;
    assert_eq!(link.attributes.kind(), Kind::Symlink);
    assert_eq!(link.size, 10);
    assert_eq!(f.fs.readlink(link.ino).expect("read"), b"some/where");
    let long = vec![b'x'; 4096];
    assert_eq!(f.fs.symlink(ME, f.t, b"m", &long).err(), Some(Errno::ENAMETOOLONG));
    assert_eq!(f.fs.symlink(ME, f.t, b"l", b"x").err(), Some(Errno::EEXIST));
    f.rename("l", "k").expect("renamed");
    assert_eq!(f.ino("k"), Some(link.ino));
    f.unlink("k").expect("unlinked");
    let file = f.settled("a", b"x");
    assert_eq!(f.fs.readlink(file).err(), Some(Errno::EINVAL));
}

#[test]
fn names_have_limits() {
    let f = fixture();
    let longest = "n".repeat(255);
    f.settled(&longest, b"x");
    f.unlink(&longest).expect("unlinked");
    let too_long = "n".repeat(256);
    assert_eq!(f.create(f.t, &too_long).err(), Some(Errno::ENAMETOOLONG));
    assert_eq!(f.fs.lookup(f.t, too_long.as_bytes()), Err(Errno::ENAMETOOLONG));
    let mut parent = f.t;
    for _ in 0..15 {
        parent =
            f.fs.mkdir(ME, parent, longest.as_bytes(), 0o755)
                .map_or_else(|errno| panic!("{errno:?}"), |found| found.stat.ino);
    }
    // A key of 4095 bytes: a file may have it, a folder needs one more for its slash.
    let made = f.fs.mkdir(ME, parent, longest.as_bytes(), 0o755);
    assert_eq!(made.err(), Some(Errno::ENAMETOOLONG));
    let (_, opened) = f.create(parent, &longest).expect("4095 bytes");
    f.fs.release(opened.handle);
    assert!(f.found(parent, &longest).is_some());
    let last =
        f.fs.mkdir(ME, parent, &longest.as_bytes()[1..], 0o755).expect("4095 bytes").stat.ino;
    assert_eq!(f.create(last, "x").err(), Some(Errno::ENAMETOOLONG));
    let strange: &[u8] = b"\xff\x01 \n\\";
    let (found, opened) = f.fs.create(ME, f.t, strange, 0o644, W).expect("names are bytes");
    f.fs.release(opened.handle);
    let again = f.fs.lookup(f.t, strange).expect("looked up");
    assert!(matches!(again, LookupAnswer::Found(again) if again.stat.ino == found.stat.ino));
}
