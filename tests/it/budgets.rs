//! What operations cost in FUSE requests: a mount in this process counts them.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use littfs::fuse::{Mount, MountOptions};
use littfs::{Db, OpenOptions};
use tempfile::TempDir;

use crate::program::wait_until;

/// A mount in this process with the table `t`.
pub(crate) struct Counted {
    mount: Option<Mount>,
    db: Db,
    folder: TempDir,
}

impl Counted {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary directory");
        let roots = vec![folder.path().join("r")];
        let db = Db::open(OpenOptions::new(roots).create(true));
        let mut counted = Self { mount: None, db: db.expect("open"), folder };
        fs::create_dir(counted.folder.path().join("m")).expect("mkdir");
        counted.mount_afresh();
        fs::create_dir(counted.at("")).expect("a table");
        counted
    }

    /// Another mount of the same database, of which the kernel knows nothing but the table.
    fn mount_afresh(&mut self) {
        self.unmount();
        let mountpoint = self.folder.path().join("m");
        self.mount = Some(
            Mount::new(&self.db, &mountpoint, &MountOptions::default()).expect("it is mounted"),
        );
    }

    /// Mounts it afresh and has the kernel ask for the folder of the table.
    pub(crate) fn start_cold(&mut self) {
        self.mount_afresh();
        fs::metadata(self.at("")).expect("the table is there");
    }

    fn unmount(&mut self) {
        if let Some(mount) = self.mount.take() {
            assert!(mount.unmount().expect("it is unmounted"), "the session has ended");
        }
    }

    /// The folder with everything: `m` is the mountpoint.
    pub(crate) fn base(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join("m/t").join(name)
    }

    /// The requests that an action costs, as "KIND KIND=n ...". FORGET is left out: it comes when
    /// the kernel is short of memory.
    pub(crate) fn cost(&self, action: impl FnOnce()) -> String {
        let counts = self.mount.as_ref().expect("mounted").counts();
        let settle = || {
            // RELEASE comes behind the back of whoever closes.
            wait_until("not all handles are released", || {
                let of = |name| counts.by_name(name);
                of("RELEASE") == of("OPEN") + of("CREATE") && of("RELEASEDIR") == of("OPENDIR")
            });
        };
        settle();
        let before = counts.snapshot();
        action();
        settle();
        let earlier = |name: &str| before.iter().find(|(of, _)| *of == name).map_or(0, |(_, n)| *n);
        let spent = counts.snapshot().into_iter().map(|(name, n)| (name, n - earlier(name)));
        let shown = spent
            .filter(|(name, n)| *n > 0 && *name != "FORGET")
            .map(|(name, n)| if n == 1 { name.to_owned() } else { format!("{name}={n}") });
        shown.collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(mount) = self.mount.take() {
            drop(mount.unmount());
        }
    }
}

fn write_once(path: &Path, bytes: &[u8]) {
    File::create_new(path).and_then(|mut file| file.write_all(bytes)).expect("write");
}

fn read_up_to(path: &Path, bytes: usize) {
    let mut buffer = vec![0; bytes];
    let count = File::open(path).and_then(|mut file| file.read(&mut buffer)).expect("read");
    assert_eq!(count, bytes);
}

pub(crate) fn succeeds(command: &mut Command) -> String {
    let output = command.env("LC_ALL", "C").stdin(Stdio::null()).output().expect("it starts");
    assert!(output.status.success() && output.stderr.is_empty(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_file_is_written_with_lookup_create_write_flush() {
    let mut counted = Counted::new();
    // From a buffer on a page boundary, as all tools that copy have: one that lies across the
    // boundary touches a 257th page at 1 MiB, and the kernel sends 256 with one request.
    let buffer = vec![7; (1 << 20) + 4096];
    let buffer = &buffer[buffer.as_ptr().align_offset(4096)..];
    for (name, bytes) in [("tiny", 1), ("page", 4096), ("largest", 1 << 20)] {
        counted.start_cold();
        let cost = counted.cost(|| write_once(&counted.at(name), &buffer[..bytes]));
        assert_eq!(cost, "LOOKUP WRITE RELEASE FLUSH CREATE", "{bytes} bytes");
    }
    // Also when the kernel knows the folder and its other files well.
    for number in 0..3 {
        let cost = counted.cost(|| write_once(&counted.at(format!("{number}")), b"value"));
        assert_eq!(cost, "LOOKUP WRITE RELEASE FLUSH CREATE", "file {number}");
    }
}

#[test]
fn a_file_is_read_with_lookup_open_read_and_then_with_open() {
    let mut counted = Counted::new();
    for (name, bytes) in [("tiny", 1), ("page", 4096), ("largest", 128 << 10)] {
        write_once(&counted.at(name), &vec![7; bytes]);
    }
    for (name, bytes) in [("tiny", 1), ("page", 4096), ("largest", 128 << 10)] {
        counted.start_cold();
        let read = || read_up_to(&counted.at(name), bytes);
        assert_eq!(counted.cost(read), "LOOKUP OPEN READ RELEASE", "{bytes} bytes");
        assert_eq!(counted.cost(read), "OPEN RELEASE", "{bytes} bytes again");
    }
}

#[test]
fn what_was_just_written_is_read_with_open_read() {
    let counted = Counted::new();
    write_once(&counted.at("f"), b"value");
    let read = || read_up_to(&counted.at("f"), 5);
    assert_eq!(counted.cost(read), "OPEN READ RELEASE");
    assert_eq!(counted.cost(read), "OPEN RELEASE");
}

/// Takes the pages out of a cost, which depend on the length of the names.
fn without_pages(cost: &str) -> (String, u64) {
    let pages = cost.split(' ').find_map(|part| part.strip_prefix("READDIRPLUS="));
    let pages = pages.and_then(|pages| pages.parse().ok()).unwrap_or(1);
    (cost.replace(&format!("READDIRPLUS={pages}"), "READDIRPLUS"), pages)
}

#[test]
fn a_folder_is_listed_with_its_attributes_in_pages() {
    const FILES: usize = 2000;
    let mut counted = Counted::new();
    for number in 0..FILES {
        write_once(&counted.at(format!("file-{number}")), b"value");
    }
    counted.start_cold();
    let cost = counted.cost(|| {
        let entries = fs::read_dir(counted.at("")).expect("list");
        let bytes = entries.map(|entry| entry.and_then(|entry| entry.metadata()).expect("stat"));
        assert_eq!(bytes.map(|metadata| metadata.len()).sum::<u64>(), 5 * FILES as u64);
    });
    let (requests, pages) = without_pages(&cost);
    assert_eq!(requests, "OPENDIR RELEASEDIR READDIRPLUS");
    assert!(pages <= FILES as u64 / 20, "{pages} pages");

    // ls asks in addition whether the folder, and only the folder, has an access list.
    counted.start_cold();
    let cost = counted.cost(|| {
        let listed = succeeds(Command::new("ls").arg("-l").arg(counted.at("")));
        assert_eq!(listed.lines().count(), FILES + 1);
    });
    let (requests, _) = without_pages(&cost);
    let requests = requests.replace("GETXATTR=2 ", "").replace("GETXATTR ", "");
    assert_eq!(requests, "OPENDIR RELEASEDIR READDIRPLUS");
}

#[test]
fn names_that_are_listed_first_and_looked_at_later_cost_nothing_more() {
    const FILES: usize = 600;
    let mut counted = Counted::new();
    for number in 0..FILES {
        write_once(&counted.at(format!("file-{number}")), b"value");
    }
    // As du, find -size and tar do it.
    counted.start_cold();
    let cost = counted.cost(|| {
        let entries = fs::read_dir(counted.at("")).expect("list");
        let paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        assert!(paths.iter().all(|path| fs::symlink_metadata(path).is_ok_and(|m| m.len() == 5)));
        assert_eq!(paths.len(), FILES);
    });
    let cost = cost.replace("READDIR ", "");
    assert_eq!(without_pages(&cost).0.trim(), "OPENDIR RELEASEDIR READDIRPLUS");
}

#[test]
fn rsync_of_an_unchanged_tree_asks_nothing_about_files() {
    const FILES: usize = 300;
    let counted = Counted::new();
    let source = counted.base().join("source");
    for number in 0..FILES {
        let folder = source.join(format!("folder-{}", number % 3));
        fs::create_dir_all(&folder).expect("mkdir");
        fs::write(folder.join(format!("file-{number}")), format!("{number}")).expect("write");
    }
    let source = format!("{}/", source.display());
    let rsync =
        || succeeds(Command::new("rsync").args(["-a", "-i", &source]).arg(counted.at("copy")));
    assert_eq!(rsync().lines().filter(|line| line.starts_with(">f")).count(), FILES);
    assert_eq!(rsync(), "", "nothing has changed");
    let cost = counted.cost(|| assert_eq!(rsync(), "", "nothing has changed"));
    // Whether the folder may be entered.
    assert_eq!(cost, "ACCESS");
}
