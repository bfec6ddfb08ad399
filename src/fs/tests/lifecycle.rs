//! Pending, settling, sealed, expired.

use super::super::SetTime;
use super::*;
use crate::cast;

#[test]
fn pending_files_are_seen_by_everybody() {
    let f = fixture();
    let (ino, handle) = f.pending("a", b"so far");
    let found = f.found(f.t, "a").expect("found");
    assert_eq!((found.stat.ino, found.stat.size, found.stat.links), (ino, 6, 1));
    assert_eq!(f.list(f.t, 10), [".", "..", "a"]);
    let reader = f.fs.open(ino, R).expect("opened");
    assert!(reader.direct_io && !reader.keep_cache && reader.no_flush);
    assert_eq!(f.read_all(reader.handle).expect("read"), b"so far");
    f.fs.write(handle, 6, b", more", W).expect("written");
    assert_eq!(f.read_all(reader.handle).expect("read"), b"so far, more");
    assert!(f.table().entry(b"a").expect("asked").is_none(), "nothing is stored yet");
    f.fs.flush(handle).expect("stored");
    f.fs.release(handle);
    assert_eq!(f.read_all(reader.handle).expect("read"), b"so far, more");
    f.fs.release(reader.handle);
    assert_eq!(f.bytes("a").expect("there"), b"so far, more");
}

#[test]
fn pending_files_take_any_write() {
    let f = fixture();
    let (ino, handle) = f.pending("a", b"0123456789");
    f.fs.write(handle, 12, b"x", W).expect("behind the end");
    f.fs.write(handle, 0, b"AB", W).expect("at the start");
    f.fs.write(handle, 0, b"!", W | libc::O_APPEND).expect("appended");
    assert_eq!(f.bytes_of(ino).expect("read"), b"AB23456789\0\0x!");
    f.truncate(ino, 4, Some(handle)).expect("truncated by the handle");
    assert_eq!(f.truncate(ino, 2, None), Err(Errno::EBUSY));
    f.truncate(ino, 4, None).expect("to the length it has");
    f.fs.fallocate(handle, 0, 6, 0).expect("extended");
    f.fs.fallocate(handle, 0, 99, libc::FALLOC_FL_KEEP_SIZE).expect("nothing happens");
    let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    assert_eq!(f.fs.fallocate(handle, 0, 1, punch), Err(Errno::EOPNOTSUPP));
    assert_eq!(f.fs.fallocate(handle, u64::MAX, 2, 0), Err(Errno::EFBIG));
    f.fs.fsync(handle).expect("synced");
    f.fs.flush(handle).expect("stored");
    f.fs.release(handle);
    assert_eq!(f.bytes("a").expect("there"), b"AB23\0\0");
}

#[test]
fn one_writer_per_name() {
    let f = fixture();
    let (ino, handle) = f.pending("a", b"x");
    assert_eq!(f.create(f.t, "a").err(), Some(Errno::EEXIST));
    assert_eq!(f.fs.create(ME, f.t, b"a", 0o644, W).err(), Some(Errno::EBUSY));
    assert_eq!(f.fs.open(ino, W).err(), Some(Errno::EBUSY));
    f.fs.flush(handle).expect("stored");
    assert_eq!(f.fs.open(ino, W).err(), Some(Errno::EBUSY), "a duplicate is open");
    // Behind the last close the release is under way, and is waited for.
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| f.fs.open(ino, W).err());
        f.fs.release(handle);
        assert_eq!(opening.join().expect("opened"), Some(Errno::EPERM));
    });
    assert_eq!(f.fs.open(ino, W | libc::O_APPEND).err(), Some(Errno::EPERM));
    assert_eq!(f.fs.open(ino, R | libc::O_TRUNC).err(), Some(Errno::EPERM));
    assert_eq!(f.create(f.t, "a").err(), Some(Errno::EEXIST));
    assert_eq!(f.fs.create(ME, f.t, b"a", 0o644, W).err(), Some(Errno::EPERM));
    let (found, _) = f.fs.create(ME, f.t, b"a", 0o644, R | libc::O_CREAT).expect("opened");
    assert_eq!(found.stat.ino, ino);
}

#[test]
fn of_many_creators_one_wins() {
    let f = fixture();
    let f = &f;
    for round in 0..20 {
        let name = format!("n{round}");
        let wins = std::thread::scope(|scope| {
            let name = &name;
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(move || f.create(f.t, name).is_ok())).collect();
            threads.into_iter().map(|t| t.join().expect("ran")).filter(|w| *w).count()
        });
        assert_eq!(wins, 1, "{name}");
    }
}

#[test]
fn closing_stores_and_duplicates_lose_nothing() {
    let f = fixture();
    let (ino, handle) = f.pending("a", b"first\n");
    f.fs.flush(handle).expect("a duplicate was closed");
    let stored = f.table().entry(b"a").expect("asked").expect("stored");
    assert_eq!(stored.value_bytes, 6);
    f.fs.write(handle, 6, b"2\n", W).expect("written by the other duplicate");
    f.fs.flush(handle).expect("closed");
    let found = f.found(f.t, "a").expect("found");
    assert_eq!((found.stat.ino, found.stat.size), (ino, 8), "right from the close on");
    assert_eq!(f.bytes("a").expect("there"), b"first\n2\n");
    let stored = f.table().entry(b"a").expect("asked").expect("stored");
    assert_eq!(stored.value_bytes, 8, "whatever was closed is stored");
    f.fs.write(handle, 8, b"and much more\n", W).expect("written");
    f.fs.write(handle, 22, b"end\n", W).expect("written");
    f.fs.release(handle);
    assert_eq!(f.bytes("a").expect("there"), b"first\n2\nand much more\nend\n");
    assert_eq!(f.ino("a"), Some(ino));
}

#[test]
fn closing_very_many_duplicates_does_not_write_the_square() {
    let f = fixture();
    let (_, handle) = f.pending("a", &vec![7; 700 << 10]);
    f.fs.flush(handle).expect("a duplicate was closed");
    let mut length = 700 << 10;
    let mut places = std::collections::BTreeSet::new();
    for _ in 0..100 {
        f.fs.write(handle, length, b"a line\n", W).expect("written");
        length += 7;
        f.fs.flush(handle).expect("a duplicate was closed");
        let stored = f.table().entry(b"a").expect("asked").expect("stored");
        places.insert((stored.location.shard, stored.location.offset));
    }
    assert!((2..5).contains(&places.len()), "{places:?}");
    f.fs.release(handle);
    assert_eq!(f.found(f.t, "a").expect("there").stat.size, length);
    assert_eq!(f.table().get(b"a").expect("read").expect("stored").len() as u64, length);
}

#[test]
fn what_was_closed_outlives_the_session() {
    let f = fixture();
    let (_, closed) = f.pending("closed", b"1");
    f.fs.flush(closed).expect("stored");
    f.fs.write(closed, 1, b"23", W).expect("written");
    let (_, never) = f.pending("never", b"x");
    f.fs.finish_all();
    assert_eq!(f.fs.write(never, 0, b"y", W), Err(Errno::EBADF));
    let fs = mounted(&f.db, &f.kernel, false);
    assert!(
        matches!(fs.lookup(f.t, b"closed"), Ok(LookupAnswer::Found(found)) if found.stat.size == 3)
    );
    assert!(matches!(fs.lookup(f.t, b"never"), Ok(LookupAnswer::Absent(_))));
}

#[test]
fn settling_files_keep_bytes_and_take_attributes() {
    let f = fixture();
    let ino = f.settled("a", b"bytes");
    assert_eq!(f.truncate(ino, 0, None), Err(Errno::EPERM));
    f.truncate(ino, 5, None).expect("to the length it has");
    let changes = Changes {
        mode: Some(0o4711),
        uid: Some(7),
        gid: Some(8),
        mtime: Some(SetTime::At(-1_500_000_000)),
        ..Changes::default()
    };
    f.clock.advance(Duration::from_secs(1));
    let stat = f.fs.setattr(ROOT, ino, &changes).expect("changed").stat;
    assert_eq!(stat.attributes.permissions(), 0o4711, "setuid is kept");
    assert_eq!((stat.attributes.uid, stat.attributes.gid), (7, 8));
    assert_eq!(stat.attributes.mtime_ns, -1_500_000_000);
    assert_eq!(stat.attributes.ctime_ns, cast::saturate_signed_ns(START_NS + 1_000_000_000));
    assert_eq!(f.fs.getattr(ino).expect("stat").stat, stat);
    let entry = f.table().entry(b"a").expect("asked").expect("stored");
    assert_eq!(entry.attributes, stat.attributes);
    // The attribute change began the grace anew.
    f.clock.advance(GRACE * 9 / 10);
    f.chmod(ino, 0o600).expect("still settling");
}

#[test]
fn sealed_files_change_no_more() {
    let f = fixture();
    let ino = f.sealed("a", b"bytes");
    assert_eq!(f.chmod(ino, 0o600), Err(Errno::EPERM));
    let touch = Changes { mtime: Some(SetTime::Now), ..Changes::default() };
    assert_eq!(f.fs.setattr(ROOT, ino, &touch).err(), Some(Errno::EPERM));
    assert_eq!(f.rename("a", "b"), Err(Errno::EPERM));
    assert_eq!(f.unlink("a"), Err(Errno::EPERM));
    assert_eq!(f.fs.open(ino, W).err(), Some(Errno::EPERM));
    assert_eq!(f.truncate(ino, 0, None), Err(Errno::EPERM));
    f.truncate(ino, 5, None).expect("to the length it has");
    f.settled("b", b"other");
    assert_eq!(f.rename("b", "a"), Err(Errno::EPERM));
    let flags = libc::RENAME_NOREPLACE;
    assert_eq!(f.fs.rename((f.t, b"b"), (f.t, b"a"), flags), Err(Errno::EEXIST));
    let link = f.fs.link(ino, f.t, b"c").expect("linked");
    assert_ne!(link.stat.ino, ino);
    assert_eq!(f.bytes("a").expect("there"), b"bytes");
    assert_eq!(f.bytes("c").expect("there"), b"bytes");
}

#[test]
fn empty_files_may_be_written_once() {
    let f = fixture();
    let ino = f.settled("a", b"");
    let opened = f.fs.open(ino, W | libc::O_TRUNC).expect("opened again");
    assert!(opened.direct_io);
    assert_eq!(f.ino("a"), Some(ino));
    f.fs.write(opened.handle, 0, b"late", W).expect("written");
    assert_eq!(f.found(f.t, "a").expect("found").stat.size, 4);
    f.fs.flush(opened.handle).expect("stored");
    f.fs.release(opened.handle);
    assert_eq!(f.ino("a"), Some(ino));
    assert_eq!(f.bytes("a").expect("there"), b"late");
    assert_eq!(f.fs.open(ino, W).err(), Some(Errno::EPERM));
    let sealed = f.sealed("b", b"");
    assert_eq!(f.fs.open(sealed, W).err(), Some(Errno::EPERM));
}

#[test]
fn a_refused_rename_stores_nothing() {
    let f = fixture();
    f.sealed("sealed", b"x");
    let (_, handle) = f.pending("a", b"never closed");
    assert_eq!(f.rename("a", "sealed"), Err(Errno::EPERM));
    assert!(f.table().entry(b"a").expect("looked up").is_none());
    f.fs.release(handle);
}

#[test]
fn who_has_an_empty_file_open_reads_what_is_written_into_it() {
    let f = fixture();
    // Opened while it was first open for writing, and when it was closed.
    let (ino, handle) = f.pending("a", b"");
    let early = f.fs.open(ino, R).expect("opened").handle;
    f.fs.flush(handle).expect("closed");
    f.fs.release(handle);
    let late = f.fs.open(ino, R).expect("opened").handle;
    let read = |expected: &[u8]| {
        for handle in [early, late] {
            assert_eq!(f.read_all(handle).expect("read"), expected);
        }
    };
    read(b"");
    let writer = f.fs.open(ino, W).expect("written once").handle;
    read(b"");
    f.fs.write(writer, 0, b"x", W).expect("written");
    read(b"x");
    f.unlink("a").expect("pending");
    f.fs.flush(writer).expect("closed");
    f.fs.release(writer);
    read(b"x");
    // With its name it is the engine that has the bytes.
    let ino = f.settled("b", b"");
    let reader = f.fs.open(ino, R).expect("opened").handle;
    let writer = f.fs.open(ino, W).expect("written once").handle;
    f.fs.write(writer, 0, b"y", W).expect("written");
    f.fs.flush(writer).expect("closed");
    f.fs.release(writer);
    assert_eq!(f.read_all(reader).expect("read"), b"y");
    for handle in [early, late, reader] {
        f.fs.release(handle);
    }
}

#[test]
fn empty_files_may_be_written_before_their_release_came() {
    let f = fixture();
    let (ino, touch) = f.pending("a", b"");
    assert_eq!(f.fs.open(ino, W).err(), Some(Errno::EBUSY));
    f.fs.flush(touch).expect("stored");
    let opened = f.fs.open(ino, W | libc::O_TRUNC).expect("opened again");
    f.fs.write(opened.handle, 0, b"x", W).expect("written");
    f.fs.release(touch);
    f.fs.flush(opened.handle).expect("stored");
    f.fs.release(opened.handle);
    assert_eq!(f.bytes("a").expect("there"), b"x");
}

#[test]
fn mknod_makes_an_empty_file_and_nothing_else() {
    let f = fixture();
    let found = f.fs.mknod(ME, f.t, b"a", libc::S_IFREG | 0o600).expect("made");
    assert_eq!((found.stat.size, found.stat.attributes.permissions()), (0, 0o600));
    let opened = f.fs.open(found.stat.ino, W).expect("opened");
    f.fs.write(opened.handle, 0, b"x", W).expect("written");
    f.fs.release(opened.handle);
    assert_eq!(f.bytes("a").expect("there"), b"x");
    for kind in [libc::S_IFIFO, libc::S_IFSOCK, libc::S_IFCHR, libc::S_IFBLK] {
        assert_eq!(f.fs.mknod(ME, f.t, b"b", kind).err(), Some(Errno::EPERM));
    }
    assert_eq!(f.fs.mknod(ME, f.t, b"a", 0).err(), Some(Errno::EEXIST));
}

#[test]
fn times_follow_writes_until_they_are_set() {
    let f = fixture();
    let (ino, handle) = f.pending("a", b"x");
    f.clock.advance(Duration::from_secs(5));
    f.fs.write(handle, 1, b"y", W).expect("written");
    let stat = f.fs.getattr(ino).expect("stat").stat;
    assert_eq!(stat.attributes.mtime_ns, cast::saturate_signed_ns(START_NS + 5_000_000_000));
    let set = Changes { mtime: Some(SetTime::At(42)), ..Changes::default() };
    f.fs.setattr(ROOT, ino, &set).expect("set");
    f.clock.advance(Duration::from_secs(5));
    f.fs.write(handle, 2, b"z", W).expect("written");
    f.fs.flush(handle).expect("stored");
    f.fs.release(handle);
    let stat = f.fs.getattr(ino).expect("stat").stat;
    assert_eq!(stat.attributes.mtime_ns, 42);
    assert_eq!(stat.attributes.ctime_ns, cast::saturate_signed_ns(START_NS + 10_000_000_000));
}

#[test]
fn attribute_changes_right_behind_the_close_hold() {
    let f = fixture();
    let (ino, handle) = f.pending("a", b"x");
    f.chmod(ino, 0o640).expect("pending");
    f.fs.flush(handle).expect("stored");
    f.chmod(ino, 0o600).expect("closed, not released");
    let entry = f.table().entry(b"a").expect("asked").expect("stored");
    assert_eq!(entry.attributes.permissions(), 0o600);
    f.fs.release(handle);
    assert_eq!(f.fs.getattr(ino).expect("stat").stat.attributes.permissions(), 0o600);
}

#[test]
fn set_user_id_goes_with_a_new_owner_or_length() {
    let f = fixture();
    let (ino, handle) = f.pending("a", b"x");
    let permissions = || f.fs.getattr(ino).expect("stat").stat.attributes.permissions();
    f.chmod(ino, 0o4755).expect("pending");
    f.fs.write(handle, 1, b"y", W).expect("written by one who may keep it");
    assert_eq!((permissions(), f.kernel.changed.lock().len()), (0o4755, 0));
    f.fs.write_drops_set_ids(handle).expect("dropped");
    assert_eq!(permissions(), 0o755);
    f.chmod(ino, 0o6755).expect("pending");
    f.truncate(ino, 9, Some(handle)).expect("longer");
    assert_eq!(permissions(), 0o755);
    f.chmod(ino, 0o4755).expect("pending");
    f.fs.fallocate(handle, 0, 20, 0).expect("longer");
    f.fs.write_drops_set_ids(handle).expect("nothing to drop");
    assert_eq!(permissions(), 0o755);
    assert_eq!(*f.kernel.changed.lock(), [ino, ino, ino], "the kernel is told of each");
    f.chmod(ino, 0o4755).expect("pending");
    f.fs.flush(handle).expect("stored");
    f.fs.release(handle);
    let give = Changes { uid: Some(5), ..Changes::default() };
    let stat = f.fs.setattr(ROOT, ino, &give).expect("settling").stat;
    assert_eq!((stat.attributes.permissions(), stat.attributes.uid), (0o755, 5));
    assert_eq!(f.kernel.changed.lock().len(), 3, "the answer carries it");
}

#[test]
fn a_file_held_open_for_long_is_pending_all_the_while() {
    let f = fixture();
    let (ino, handle) = f.pending("a", b"x");
    f.fs.flush(handle).expect("a duplicate was closed");
    f.clock.advance(GRACE * 2);
    f.chmod(ino, 0o600).expect("pending");
    f.rename("a", "b").expect("pending");
    f.fs.write(handle, 1, b"y", W).expect("written");
    f.fs.flush(handle).expect("closed");
    f.fs.release(handle);
    assert_eq!(f.bytes("b").expect("there"), b"xy");
    assert!(f.ino("a").is_none());
    assert_eq!(f.fs.getattr(ino).expect("stat").stat.attributes.permissions(), 0o600);
    let (_, handle) = f.pending("c", b"x");
    f.fs.flush(handle).expect("a duplicate was closed");
    f.clock.advance(GRACE * 2);
    f.unlink("c").expect("pending");
    f.fs.release(handle);
    assert!(f.ino("c").is_none());
}

#[test]
fn a_file_held_open_for_long_can_be_replaced() {
    let f = fixture();
    let held = |name: &str| {
        let (_, handle) = f.pending(name, b"old");
        f.fs.flush(handle).expect("a duplicate was closed");
        handle
    };
    let handles = [held("a"), held("b"), held("c"), held("d")];
    let sealed = f.sealed("sealed", b"sealed");
    f.clock.advance(GRACE * 2);
    // By a closed file, by one that was never stored, by one that is in the same state.
    f.settled("new", b"new");
    f.rename("new", "a").expect("replaced");
    let (_, handle) = f.pending("new", b"newer");
    f.rename("new", "b").expect("replaced");
    f.rename("c", "d").expect("replaced");
    // Not by a sealed one, which leaves what was in its way as it is.
    let last = held("e");
    f.clock.advance(GRACE * 2);
    assert_eq!(f.rename("sealed", "e"), Err(Errno::EPERM));
    f.fs.write(handles[2], 0, b"newest", W).expect("written");
    for handle in handles.into_iter().chain([handle, last]) {
        f.fs.flush(handle).expect("closed");
        f.fs.release(handle);
    }
    assert_eq!(f.list(f.t, 10), [".", "..", "a", "b", "d", "e", "sealed"]);
    for (name, bytes) in [("a", &b"new"[..]), ("b", b"newer"), ("d", b"newest"), ("e", b"old")] {
        assert_eq!(f.bytes(name).expect("there"), bytes, "{name}");
    }
    assert_eq!(f.ino("sealed"), Some(sealed));
}

#[test]
fn expiry_is_exact_and_spares_open_handles() {
    let f = fixture();
    f.set_ttl("60s");
    let ino = f.settled("a", b"x");
    let found = f.found(f.t, "a").expect("found");
    assert!(found.name_valid < Duration::from_secs(60));
    assert!(found.name_valid > Duration::from_secs(59));
    f.clock.advance(Duration::from_secs(59));
    let opened = f.fs.open(ino, R).expect("opened");
    assert!(f.found(f.t, "a").expect("found").name_valid < Duration::from_secs(1));
    f.clock.advance(Duration::from_secs(1));
    assert!(f.ino("a").is_none());
    assert_eq!(f.list(f.t, 10), [".", ".."]);
    assert_eq!(f.fs.open(ino, R).err(), Some(Errno::ESTALE));
    assert_eq!(f.read_all(opened.handle).expect("read"), b"x");
    f.fs.getattr(ino).expect("the handle keeps it");
    f.fs.release(opened.handle);
    assert_eq!(f.fs.getattr(ino).err(), Some(Errno::ENOENT));
    let (again, _) = f.create(f.t, "a").expect("the name is free");
    assert_ne!(again.stat.ino, ino);
}

#[test]
fn pages_cached_while_pending_are_dropped_once() {
    let f = fixture();
    let ino = f.settled("a", b"x");
    let first = f.fs.open(ino, R).expect("opened");
    let second = f.fs.open(ino, R).expect("opened");
    assert!(!first.keep_cache && second.keep_cache);
    assert!(!first.direct_io && first.no_flush);
}

#[test]
fn who_reads_a_file_whose_stored_form_has_expired_reads_on() {
    let f = fixture();
    f.set_ttl("1h");
    let (ino, handle) = f.pending("a", b"x");
    f.fs.flush(handle).expect("a duplicate was closed");
    let reader = f.fs.open(ino, R).expect("opened").handle;
    f.clock.advance(Duration::from_secs(2 * 3600));
    for _ in 0..2 {
        f.db.upkeep().expect("its segment is dropped");
    }
    f.fs.release(handle);
    assert_eq!(f.read_all(reader).expect("read"), b"x");
    f.fs.release(reader);
    assert_eq!(f.ino("a"), None);
}

#[test]
fn a_file_whose_bytes_are_gone_is_to_be_looked_up_again() {
    let f = fixture();
    f.set_ttl("1h");
    let ino = f.settled("a", b"x");
    f.clock.advance(Duration::from_secs(2 * 3600));
    for _ in 0..2 {
        f.db.upkeep().expect("its segment is dropped");
    }
    f.set_ttl("none");
    assert_eq!(f.fs.open(ino, R).err(), Some(Errno::ESTALE));
}

#[test]
fn a_file_that_is_released_while_somebody_looks_at_it_has_its_name() {
    let f = fixture();
    let (_, handle) = f.pending("a", b"x");
    let found = f.fs.names.get(f.t, b"a").expect("open");
    f.fs.flush(handle).expect("closed");
    f.fs.release(handle);
    assert_eq!(Fs::found_open(&found).stat.links, 1);
}

#[test]
fn a_file_that_is_released_while_it_is_looked_up_can_be_opened() {
    let f = fixture();
    let (ino, handle) = f.pending("a", b"bytes");
    f.fs.flush(handle).expect("stored");
    // A lookup has found the open file; before it goes on the kernel forgets the inode, and RELEASE
    // comes.
    let file = f.fs.names.get(f.t, b"a").expect("open");
    f.fs.forget(ino, 1);
    f.fs.release(handle);
    assert!(f.fs.learn_open(&file).is_none(), "nobody has it open any more");
    assert_eq!(f.found(f.t, "a").expect("found").stat.ino, ino);
    let reader = f.fs.open(ino, R).expect("opened");
    assert_eq!(f.read_all(reader.handle).expect("read"), b"bytes");
}
