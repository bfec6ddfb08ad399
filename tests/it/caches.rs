//! What the kernel remembers is never wrong: names, attributes and pages, when things expire, are
//! dropped, or are changed through the library beside the mount.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use littfs::Clock;
use littfs::fuse::{Mount, MountOptions};
use littfs::{Attributes, Db, Kind, OpenOptions, TableSettings};
use memmap2::Mmap;
use nix::errno::Errno;
use tempfile::TempDir;

use crate::mounted::errno;

/// A database that is mounted in this process, on a clock that is moved by hand.
struct Embedded {
    mount: Mount,
    db: Db,
    clock: Clock,
    folder: TempDir,
}

impl Embedded {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary directory");
        let clock = Clock::manual(std::time::SystemTime::now());
        let options = OpenOptions::new([folder.path().join("r")]).create(true).clock(clock.clone());
        let db = Db::open(options).expect("opened");
        let mountpoint = folder.path().join("m");
        fs::create_dir(&mountpoint).expect("mkdir");
        let mount = Mount::new(&db, &mountpoint, &MountOptions::default()).expect("mounted");
        Self { mount, db, clock, folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join("m").join(name)
    }

    fn make_table(&self, name: &str) {
        let owner = Attributes::new(Kind::Folder, 0o755, 0, 0, self.db.clock().now());
        self.db.create_table_with(name, TableSettings::default(), owner).expect("a table");
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.mount.unmount());
    }
}

/// Every way of asking for a name, all of which the kernel could answer from memory.
fn is_there(path: &Path) -> bool {
    let parent = path.parent().expect("a folder");
    let listed = fs::read_dir(parent).is_ok_and(|entries| {
        entries.flatten().any(|entry| Some(entry.file_name().as_os_str()) == path.file_name())
    });
    let answers = [
        listed,
        fs::symlink_metadata(path).is_ok(),
        File::open(path).is_ok(),
        fs::read(path).is_ok_and(|bytes| bytes == b"bytes"),
        nix::unistd::access(path, nix::unistd::AccessFlags::R_OK).is_ok(),
    ];
    assert!(answers.iter().all(|answer| *answer == answers[0]), "they agree: {answers:?}");
    answers[0]
}

/// A handle and a mapping that were made before, which go on showing what they showed.
struct Held {
    file: File,
    mapped: Mmap,
}

impl Held {
    #[expect(unsafe_code, reason = "a stored file never changes, which is what is tested")]
    fn new(path: &Path) -> Self {
        let file = File::open(path).expect("open");
        // SAFETY: nobody writes to the file: it is stored.
        let mapped = unsafe { Mmap::map(&file) }.expect("mapped");
        Self { file, mapped }
    }

    fn assert_goes_on(&self) {
        let mut bytes = [0; 5];
        self.file.read_exact_at(&mut bytes, 0).expect("read");
        assert_eq!((&bytes, &self.mapped[..]), (b"bytes", &b"bytes"[..]));
        assert_eq!(self.file.metadata().expect("fstat").size(), 5);
    }
}

#[test]
fn all_agree_when_a_shorter_ttl_lets_files_expire() {
    let embedded = Embedded::new();
    fs::create_dir_all(embedded.at("t/d")).expect("mkdir");
    let paths = ["t/a", "t/d/b"].map(|name| embedded.at(name));
    let table = embedded.db.table("t").expect("a table");
    for shorten_by_the_library in [false, true] {
        for path in &paths {
            fs::write(path, b"bytes").expect("write");
            assert!(is_there(path));
        }
        let held = paths.each_ref().map(|path| Held::new(path));
        embedded.clock.advance(Duration::from_secs(60));
        assert!(paths.iter().all(|path| is_there(path)), "there is no time to live");
        let ttl = Duration::from_secs(30);
        if shorten_by_the_library {
            table.set_ttl(Some(ttl)).expect("set");
        } else {
            let set = std::process::Command::new("setfattr")
                .args(["-n", "user.littfs.ttl", "-v", "30s"])
                .arg(embedded.at("t"))
                .status();
            assert!(set.expect("setfattr").success());
        }
        for path in &paths {
            assert!(!is_there(path), "{path:?} by the library: {shorten_by_the_library}");
        }
        held.iter().for_each(Held::assert_goes_on);
        // Another file of that name is another file.
        fs::create_dir_all(embedded.at("t/d")).expect("mkdir");
        fs::write(&paths[0], b"other").expect("write");
        assert_eq!(fs::read(&paths[0]).expect("read"), b"other");
        held.iter().for_each(Held::assert_goes_on);
        fs::remove_file(&paths[0]).expect("unlink");
        table.set_ttl(None).expect("set");
    }
}

#[test]
fn all_agree_when_the_library_drops_and_makes_tables() {
    let embedded = Embedded::new();
    let path = embedded.at("t/f");
    for round in 0..3 {
        assert!(!is_there(&embedded.at("t")) && !is_there(&path), "round {round}");
        embedded.make_table("t");
        assert!(fs::metadata(embedded.at("t")).expect("stat").is_dir());
        fs::write(&path, b"bytes").expect("write");
        assert!(is_there(&path));
        let held = Held::new(&path);
        let mut writer = File::create(embedded.at("t/pending")).expect("create");
        std::io::Write::write_all(&mut writer, b"x").expect("write");
        embedded.db.drop_table("t").expect("dropped");
        assert!(!is_there(&path), "round {round}");
        assert_eq!(errno(fs::metadata(embedded.at("t"))), Errno::ENOENT);
        assert_eq!(errno(File::create(&path)), Errno::ENOENT);
        let listed = fs::read_dir(embedded.at("")).expect("list").count();
        assert_eq!(listed, 0, "round {round}");
        held.assert_goes_on();
        // What was being written to it has no place any more, and says so.
        assert!(
            std::io::Write::write_all(&mut writer, b"y").and_then(|()| writer.sync_all()).is_err()
        );
    }
}

#[test]
fn what_the_library_puts_and_removes_is_seen_after_a_refresh() {
    let embedded = Embedded::new();
    embedded.make_table("t");
    let table = embedded.db.table("t").expect("a table");
    let path = embedded.at("t/f");
    for _ in 0..3 {
        assert!(!is_there(&path));
        table.put(b"f", b"bytes").expect("put");
        embedded.db.refresh_mounts();
        assert!(is_there(&path));
        table.remove(b"f").expect("removed");
        embedded.db.refresh_mounts();
    }
    assert!(!is_there(&path));
}
