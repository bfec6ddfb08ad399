//! The mount without a mount: every row of the semantics at the level of kernel words.

mod lifecycle;
mod listing;
mod names;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;

use super::{
    Answer, Caller, Changes, Errno, Fs, FsOptions, Kernel, KnownName, LookupAnswer, Opened, Result,
    Subject, TOP_INO,
};
use crate::clock::Clock;
use crate::db::{Db, OpenOptions};
use crate::format::attributes::Kind;
use crate::table::{Table, TableSettings};

const START_NS: u64 = 1_700_000_000_000_000_000;
const GRACE: Duration = Duration::from_secs(300);
const ROOT: Caller = Caller { uid: 0, gid: 0 };
const ME: Caller = Caller { uid: 1000, gid: 100 };
const W: i32 = libc::O_WRONLY;
const R: i32 = libc::O_RDONLY;

/// A kernel that writes down what it is told.
#[derive(Default)]
struct Heard {
    forgotten_all: Mutex<Vec<Vec<KnownName>>>,
    forgotten: Mutex<Vec<Vec<u8>>>,
    changed: Mutex<Vec<u64>>,
}

impl Kernel for Heard {
    fn forget_all(&self, known: &dyn Fn() -> Vec<KnownName>) {
        self.forgotten_all.lock().push(known());
    }

    fn forget_name(&self, _parent: u64, name: &[u8]) {
        self.forgotten.lock().push(name.to_vec());
    }

    fn forget_stat(&self, ino: u64) {
        self.changed.lock().push(ino);
    }
}

/// A database with one table, mounted nowhere, on a clock that stands still.
struct Fixture {
    _root: TempDir,
    clock: Clock,
    db: Db,
    kernel: Arc<Heard>,
    fs: Fs,
    /// The folder of the table "t".
    t: u64,
}

fn fixture() -> Fixture {
    let root = tempfile::tempdir().expect("temporary directory");
    let clock = Clock::manual_ns(START_NS);
    let options = OpenOptions {
        roots: vec![root.path().to_path_buf()],
        create: true,
        clock: clock.clone(),
        ..OpenOptions::default()
    };
    let db = Db::open(options).expect("opened");
    let kernel = Arc::new(Heard::default());
    let fs = mounted(&db, &kernel, false);
    let t = fs.mkdir(ME, TOP_INO, b"t", 0o755).expect("table").stat.ino;
    Fixture { _root: root, clock, db, kernel, fs, t }
}

fn mounted(db: &Db, kernel: &Arc<Heard>, read_only: bool) -> Fs {
    let settings = TableSettings { ttl: None, grace: GRACE, ..TableSettings::default() };
    let options = FsOptions {
        read_only,
        owner: ME,
        top_permissions: 0o755,
        umask: 0,
        table_settings: settings,
    };
    Fs::new(db.clone(), Arc::clone(kernel) as Arc<dyn Kernel>, options)
}

impl Fixture {
    fn table(&self) -> Arc<Table> {
        self.db.table("t").expect("table")
    }

    fn create(&self, parent: u64, name: &str) -> Result<(Answer, Opened)> {
        self.fs.create(ME, parent, name.as_bytes(), 0o644, W | libc::O_CREAT | libc::O_EXCL)
    }

    /// A file that is open, with some bytes.
    fn pending(&self, name: &str, bytes: &[u8]) -> (u64, u64) {
        let (found, opened) = self.create(self.t, name).expect("created");
        self.fs.write(opened.handle, 0, bytes, W).expect("written");
        (found.stat.ino, opened.handle)
    }

    /// A file that was written and closed; its RELEASE has come.
    fn settled(&self, name: &str, bytes: &[u8]) -> u64 {
        let (ino, handle) = self.pending(name, bytes);
        self.fs.flush(handle).expect("stored");
        self.fs.release(handle);
        ino
    }

    fn sealed(&self, name: &str, bytes: &[u8]) -> u64 {
        let ino = self.settled(name, bytes);
        self.clock.advance(GRACE + Duration::from_secs(1));
        ino
    }

    fn found(&self, parent: u64, name: &str) -> Option<Answer> {
        match self.fs.lookup(parent, name.as_bytes()).expect("looked up") {
            LookupAnswer::Found(found) => Some(found),
            LookupAnswer::Absent(_) => None,
        }
    }

    fn ino(&self, name: &str) -> Option<u64> {
        self.found(self.t, name).map(|found| found.stat.ino)
    }

    fn read_all(&self, handle: u64) -> Result<Vec<u8>> {
        let mut buffer = vec![0; 1 << 16];
        let length = self.fs.read(handle, 0, &mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    /// Opens, reads and releases by inode.
    fn bytes_of(&self, ino: u64) -> Result<Vec<u8>> {
        let opened = self.fs.open(ino, R)?;
        let bytes = self.read_all(opened.handle);
        self.fs.release(opened.handle);
        bytes
    }

    fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.ino(name).map(|ino| self.bytes_of(ino).expect("read"))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.fs.rename((self.t, from.as_bytes()), (self.t, to.as_bytes()), 0)
    }

    fn unlink(&self, name: &str) -> Result<()> {
        self.fs.unlink(self.t, name.as_bytes())
    }

    fn chmod(&self, ino: u64, mode: u32) -> Result<()> {
        self.fs.setattr(ROOT, ino, &Changes { mode: Some(mode), ..Changes::default() }).map(drop)
    }

    fn truncate(&self, ino: u64, size: u64, handle: Option<u64>) -> Result<()> {
        self.fs
            .setattr(ROOT, ino, &Changes { size: Some(size), handle, ..Changes::default() })
            .map(drop)
    }

    fn set_ttl(&self, text: &str) {
        self.fs
            .setxattr(ROOT, self.t, b"user.littfs.ttl", text.as_bytes(), super::SetMode::Any)
            .expect("set");
    }

    /// All names of a folder in pages of `page` entries.
    fn list(&self, ino: u64, page: usize) -> Vec<String> {
        let handle = self.fs.opendir(ino).expect("opened");
        let mut offset = 0;
        let mut names = Vec::new();
        loop {
            let listed = self.page(handle, offset, page);
            let Some((last, _)) = listed.last() else { break };
            offset = *last;
            names.extend(listed.into_iter().map(|(_, name)| name));
        }
        self.fs.releasedir(handle);
        names
    }

    fn page(&self, handle: u64, offset: u64, entries: usize) -> Vec<(u64, String)> {
        let mut listed = Vec::new();
        self.fs
            .readdir(handle, offset, false, &mut |item| {
                if listed.len() == entries {
                    return true;
                }
                listed.push((item.offset, String::from_utf8_lossy(item.name).into_owned()));
                false
            })
            .expect("listed");
        listed
    }
}

#[test]
fn top_folder_holds_tables_only() {
    let f = fixture();
    assert_eq!(f.create(TOP_INO, "x").err(), Some(Errno::EPERM));
    assert_eq!(f.fs.symlink(ME, TOP_INO, b"x", b"t").err(), Some(Errno::EPERM));
    assert_eq!(f.fs.rename((TOP_INO, b"t"), (TOP_INO, b"u"), 0), Err(Errno::EPERM));
    assert_eq!(f.fs.mkdir(ME, TOP_INO, b".hidden", 0o755).err(), Some(Errno::EINVAL));
    assert_eq!(f.fs.mkdir(ME, TOP_INO, b"t", 0o755).err(), Some(Errno::EEXIST));
    let found = f.found(TOP_INO, "t").expect("found");
    assert_eq!((found.stat.ino, found.stat.attributes.kind()), (f.t, Kind::Folder));
    assert_eq!(found.stat.attributes.uid, ME.uid);
    assert!(f.found(TOP_INO, "none").is_none());
    assert!(f.found(TOP_INO, ".hidden").is_none());
    assert_eq!(f.chmod(TOP_INO, 0o777), Err(Errno::EPERM));
    assert_eq!(f.list(TOP_INO, 10), [".", "..", "t"]);
}

#[test]
fn tables_go_when_nothing_lives_in_them() {
    let f = fixture();
    let (_, handle) = f.pending("a", b"x");
    assert_eq!(f.fs.rmdir(TOP_INO, b"t"), Err(Errno::ENOTEMPTY));
    f.fs.flush(handle).expect("stored");
    f.fs.release(handle);
    assert_eq!(f.fs.rmdir(TOP_INO, b"t"), Err(Errno::ENOTEMPTY));
    f.unlink("a").expect("unlinked");
    f.fs.rmdir(TOP_INO, b"t").expect("removed");
    assert!(f.found(TOP_INO, "t").is_none());
    assert_eq!(f.fs.rmdir(TOP_INO, b"t"), Err(Errno::ENOENT));
}

#[test]
fn read_only_mounts_refuse_every_change() {
    let f = fixture();
    let ino = f.settled("a", b"x");
    let fs = mounted(&f.db, &f.kernel, true);
    assert!(
        matches!(fs.lookup(f.t, b"a"), Ok(LookupAnswer::Found(found)) if found.stat.ino == ino)
    );
    let refused = Some(Errno::EROFS);
    assert_eq!(fs.create(ME, f.t, b"b", 0o644, W).err(), refused);
    assert_eq!(fs.mknod(ME, f.t, b"b", libc::S_IFREG).err(), refused);
    assert_eq!(fs.mkdir(ME, f.t, b"b", 0o755).err(), refused);
    assert_eq!(fs.mkdir(ME, TOP_INO, b"b", 0o755).err(), refused);
    assert_eq!(fs.symlink(ME, f.t, b"b", b"a").err(), refused);
    assert_eq!(fs.link(ino, f.t, b"b").err(), refused);
    assert_eq!(fs.unlink(f.t, b"a").err(), refused);
    assert_eq!(fs.rmdir(TOP_INO, b"t").err(), refused);
    assert_eq!(fs.rename((f.t, b"a"), (f.t, b"b"), 0).err(), refused);
    assert_eq!(fs.setattr(ROOT, ino, &Changes::default()).err(), refused);
    assert_eq!(
        fs.setxattr(ROOT, f.t, b"user.littfs.ttl", b"1d", super::SetMode::Any).err(),
        refused
    );
    assert_eq!(fs.open(ino, W).err(), refused);
    fs.open(ino, R).expect("opened for reading");
}

#[test]
fn the_log_names_table_and_key() {
    let f = fixture();
    let folder = f.fs.mkdir(ME, f.t, b"d", 0o755).expect("folder").stat.ino;
    let ino = f.settled("a", b"x");
    f.ino("a").expect("found");
    let (open_ino, handle) = f.pending("open\n", b"x");
    let listing = f.fs.opendir(folder).expect("opened");
    for (subject, said) in [
        (Subject::Mount, "the mount"),
        (Subject::Inode(TOP_INO), "the top folder"),
        (Subject::Name(TOP_INO, b"u"), "table \"u\""),
        (Subject::Inode(f.t), "table \"t\""),
        (Subject::Name(f.t, b"b"), "\"b\" in table \"t\""),
        (Subject::Inode(folder), "\"d/\" in table \"t\""),
        (Subject::Handle(listing), "\"d/\" in table \"t\""),
        (Subject::Name(folder, b"c"), "\"d/c\" in table \"t\""),
        (Subject::Name(open_ino, b"c"), "\"c\" in a folder that is gone"),
        (Subject::Inode(ino), "\"a\" in table \"t\""),
        (Subject::Inode(open_ino), "\"open\\n\" in table \"t\""),
        (Subject::Handle(handle), "\"open\\n\" in table \"t\""),
        (Subject::Handle(handle + 100), "an unknown handle"),
        (Subject::Inode(ino + 100), "an unknown file"),
    ] {
        assert_eq!(f.fs.describe(subject), said, "{subject:?}");
    }
    f.fs.unlink(f.t, b"open\n").expect("unlinked");
    let removed = "a file that was removed from table \"t\"";
    assert_eq!(f.fs.describe(Subject::Handle(handle)), removed);
}

#[test]
fn forgotten_inodes_are_dropped() {
    let f = fixture();
    let before = f.fs.inodes.len();
    let ino = f.settled("a", b"x");
    f.ino("a").expect("found");
    f.ino("a").expect("found");
    f.fs.forget(ino, 1);
    f.fs.getattr(ino).expect("still known");
    f.fs.forget(ino, 2);
    assert_eq!(f.fs.getattr(ino).err(), Some(Errno::ESTALE));
    assert_eq!(f.fs.inodes.len(), before);
    assert_eq!(f.ino("a"), Some(ino), "inode numbers are stable");
}
