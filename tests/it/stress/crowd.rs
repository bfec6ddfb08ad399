//! Many processes at once on the same names: what each of them sees must be one of the things
//! that can be, and what is left must be whole.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;

use super::steps::Dice;
use super::{TINY_SEGMENTS, setting};
use crate::mounted::{Mounted, names_in};
use crate::program::wait_until;

/// What a worker is to do, as words: its role, number, table, operations and the folder that holds
/// the mountpoint.
const WORKER: &str = "LITTFS_STRESS_WORKER";
/// Names that anything may happen to, and names that only whole files are given.
const WILD: [&str; 5] = ["n0", "n1", "n2", "n3", "n4"];
const WHOLE: [&str; 4] = ["p0", "p1", "p2", "p3"];
const LENGTHS: [usize; 5] = [40, 500, 3000, 5000, 70_000];
/// Names that stay as they are while others come and go.
const STAYING: usize = 150;
const HEADER_BYTES: usize = 23;
/// How often a name is looked at before it is found to change faster than that.
const LOOKS_MAX: usize = 20;
/// Files that each worker has closed before it is interrupted.
const CLOSED_MIN: usize = 10;

/// Bytes that tell whose they are and how many.
fn content(worker: usize, number: usize, bytes: usize) -> Vec<u8> {
    let mut content = format!("{worker:04} {number:08} {bytes:08}\n").into_bytes();
    let letter = |at: usize| b"abcdefghijklmnopqrstuvwxyz"[(worker + number + at / 64) % 26];
    content.extend((HEADER_BYTES..bytes).map(letter));
    content
}

/// Whether these bytes are the beginning of what somebody wrote, and whether they are all of it.
fn is_whole(bytes: &[u8]) -> Result<bool, String> {
    let Some(header) = bytes.get(..HEADER_BYTES) else {
        return if bytes.is_empty() { Ok(false) } else { Err(format!("{bytes:?}")) };
    };
    let header = String::from_utf8_lossy(header);
    let numbers: Vec<usize> =
        header.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let [worker, number, length] = numbers[..] else { return Err(format!("{header:?}")) };
    if content(worker, number, length).starts_with(bytes) {
        Ok(bytes.len() == length)
    } else {
        Err(format!("{} bytes that nobody wrote behind {header:?}", bytes.len()))
    }
}

/// One process of the crowd.
struct Worker {
    role: String,
    number: usize,
    operations: usize,
    base: PathBuf,
    folder: PathBuf,
    dice: Dice,
    written: usize,
}

impl Worker {
    fn from_words(words: &str) -> Self {
        let mut words = words.splitn(5, ' ');
        let mut word = || words.next().expect("five words").to_owned();
        let (role, number, table) = (word(), word().parse().expect("a number"), word());
        let operations = word().parse().expect("a number");
        let base = PathBuf::from(word());
        let folder = base.join("m").join(table);
        let dice = Dice::new(setting("SEED", 1).wrapping_mul(1000) + number as u64);
        Self { role, number, operations, base, folder, dice, written: 0 }
    }

    fn work(&mut self) {
        for _ in 0..self.operations {
            let step = if self.role == "list" { self.list() } else { self.fight() };
            match step {
                Ok(()) => {}
                // Nothing works without a daemon.
                Err(_) if self.base.join("killed").exists() => return,
                Err(problem) => panic!("{} {}: {problem}", self.role, self.number),
            }
        }
    }

    fn wild(&mut self) -> PathBuf {
        self.folder.join(self.dice.pick(&WILD))
    }

    fn whole(&mut self) -> PathBuf {
        self.folder.join(self.dice.pick(&WHOLE))
    }

    fn any(&mut self) -> PathBuf {
        if self.dice.below(2) == 0 { self.wild() } else { self.whole() }
    }

    /// One operation on names that others want as well.
    fn fight(&mut self) -> Result<(), String> {
        use Errno::{EBUSY, EEXIST, ENOENT};
        match self.dice.below(100) {
            0..20 => {
                let path = self.wild();
                self.create(&path, &[EEXIST, ENOENT])
            }
            20..40 => {
                let (from, to) = (self.folder.join(format!("tmp-{}", self.number)), self.whole());
                // Its own last one, expired but not known to be released yet.
                self.create(&from, &[ENOENT, EEXIST])?;
                allow("publish", fs::rename(from, to), &[ENOENT])
            }
            40..50 => {
                let name = format!("own-{}-{}", self.number, self.written);
                self.create(&self.folder.join(&name), &[ENOENT])?;
                let log = self.base.join(format!("closed-{}", self.number));
                let log = File::options().append(true).create(true).open(log);
                log.and_then(|mut log| writeln!(log, "{name}")).map_err(|error| error.to_string())
            }
            50..58 => {
                let (from, to) = (self.any(), self.wild());
                allow("rename", fs::rename(from, to), &[ENOENT])
            }
            58..62 => {
                let (from, to) = (self.whole(), self.whole());
                allow("rename", fs::rename(from, to), &[ENOENT])
            }
            62..70 => {
                let (from, to) = (self.any(), self.wild());
                allow("link", fs::hard_link(from, to), &[ENOENT, EEXIST, EBUSY])
            }
            70..78 => {
                let path = self.any();
                allow("unlink", fs::remove_file(path), &[ENOENT])
            }
            78..84 => {
                let path = self.any();
                read(&path, || allow("unlink", fs::remove_file(&path), &[ENOENT]))
            }
            _ => {
                let path = self.any();
                read(&path, || Ok(()))
            }
        }
    }

    /// Creates a file that must not be there, writes it in parts and closes it.
    fn create(&mut self, path: &Path, refusals: &[Errno]) -> Result<(), String> {
        let bytes = self.dice.pick(&LENGTHS);
        self.written += 1;
        let mut file = match File::create_new(path) {
            Err(error) => return allow::<()>("create", Err(error), refusals),
            Ok(file) => file,
        };
        let content = content(self.number, self.written, bytes);
        for part in content.chunks(bytes.div_ceil(3).max(HEADER_BYTES)) {
            allow("write", file.write_all(part), &[])?;
            // So that others meet it while it is written.
            let other = self.any();
            read(&other, || Ok(()))?;
        }
        allow("close", nix::unistd::close(file).map_err(io::Error::from), &[])
    }

    /// What stays is listed once each and in order, and no name is garbled.
    fn list(&mut self) -> Result<(), String> {
        let entries = fs::read_dir(&self.folder).map_err(|error| format!("list: {error}"))?;
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| format!("list: {error}"))?.file_name();
            names.push(name.into_string().map_err(|name| format!("garbled: {}", name.display()))?);
        }
        if !names.is_sorted_by(|one, other| one < other) {
            return Err(format!("out of order, or twice: {names:?}"));
        }
        let is_known = |name: &&String| {
            let start = name.split('-').next().expect("a part");
            ["tmp", "own", "stays"].contains(&start)
                || WILD.contains(&start)
                || WHOLE.contains(&start)
        };
        if let Some(name) = names.iter().find(|name| !is_known(name)) {
            return Err(format!("nobody made {name:?}"));
        }
        let staying = names.iter().filter(|name| name.starts_with("stays-")).count();
        if staying == STAYING { Ok(()) } else { Err(format!("{staying} names that stay")) }
    }
}

/// Opens a file, does something else, and reads it: the bytes must be those of one writer, and all
/// of them under a name that is only given to whole files.
fn read(path: &Path, meanwhile: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let mut opened = File::open(path);
    for _ in 0..LOOKS_MAX {
        // A file that comes and goes faster than the kernel looks twice.
        if !opened.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ESTALE)) {
            break;
        }
        opened = File::open(path);
    }
    let mut file = match opened {
        Err(error) => return allow::<()>("open", Err(error), &[Errno::ENOENT]),
        Ok(file) => file,
    };
    meanwhile()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| format!("read {}: {error}", path.display()))?;
    let whole = is_whole(&bytes)?;
    let name = path.file_name().and_then(|name| name.to_str()).expect("text");
    if whole || WILD.contains(&name) {
        Ok(())
    } else {
        Err(format!("{name}: only {} bytes", bytes.len()))
    }
}

fn allow<T>(what: &str, result: io::Result<T>, refusals: &[Errno]) -> Result<(), String> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => {
            let number = error.raw_os_error().map(Errno::from_raw);
            let is_allowed = number.is_some_and(|number| refusals.contains(&number));
            if is_allowed { Ok(()) } else { Err(format!("{what}: {error}")) }
        }
    }
}

/// Where the processes of the other tests here start; by itself it does nothing.
#[test]
fn worker() {
    if let Ok(words) = std::env::var(WORKER) {
        Worker::from_words(&words).work();
    }
}

/// Processes that work; killed when the test ends before they do.
struct Crowd(Vec<Child>);

impl Crowd {
    /// Writers and one lister for each table.
    fn start(home: &Mounted, tables: &[(&str, usize)], operations: usize) -> Self {
        let mut crowd = Self(Vec::new());
        for (table, fighters) in tables {
            for _ in 0..*fighters {
                crowd.add(home, "fight", table, operations);
            }
            crowd.add(home, "list", table, operations / 4);
        }
        crowd
    }

    fn add(&mut self, home: &Mounted, role: &str, table: &str, operations: usize) {
        let base = home.base();
        let words = format!("{role} {} {table} {operations} {}", self.0.len(), base.display());
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["stress::crowd::worker", "--exact", "--nocapture"]).env(WORKER, words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        self.0.push(command.spawn().expect("it starts"));
    }

    /// Waits for all; every one must have been content.
    fn join(mut self) {
        for child in self.0.drain(..) {
            let output = child.wait_with_output().expect("it ends");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "seed {}: {errors}", setting("SEED", 1));
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended by now.
            child.kill().unwrap_or_default();
            child.wait().map(drop).unwrap_or_default();
        }
    }
}

/// A mount with tiny segments and the tables `t` and `u`, in both some files that stay.
fn two_tables() -> Mounted {
    let home = Mounted::with(2, TINY_SEGMENTS);
    fs::create_dir(home.at("u")).expect("a table");
    for table in ["t", "u"] {
        for number in 0..STAYING {
            let path = home.at(table).join(format!("stays-{number:03}"));
            fs::write(path, content(9999, number, 100)).expect("write");
        }
    }
    home
}

/// Everything in a folder with its bytes, each of which must be whole (or the beginning of it
/// where that is allowed).
fn contents(folder: &Path, may_be_cut: impl Fn(&str) -> bool) -> Vec<(String, Vec<u8>)> {
    let mut names = names_in(folder);
    names.sort_unstable();
    let read = |name: String| {
        let bytes = fs::read(folder.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let whole = is_whole(&bytes).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        assert!(whole || may_be_cut(&name), "{name}: only {} bytes", bytes.len());
        (name, bytes)
    };
    names.into_iter().map(read).collect()
}

fn assert_sound(home: &Mounted) {
    home.umount();
    let check = home.littfs("check", &[]);
    assert_eq!(check.code, 0, "{check:?}");
    home.mount();
}

/// Every file of a worker's own that it had closed, by its log.
fn assert_closed_are_there(home: &Mounted, table: &str, worker: usize) {
    let log = fs::read_to_string(home.base().join(format!("closed-{worker}"))).unwrap_or_default();
    for name in log.lines() {
        assert!(home.at(table).join(name).exists(), "{name} was closed");
    }
}

fn operations() -> usize {
    usize::try_from(setting("OPERATIONS", 300)).expect("it fits")
}

#[test]
fn a_crowd_sees_only_what_can_be_and_leaves_whole_files() {
    let home = two_tables();
    Crowd::start(&home, &[("t", 5), ("u", 2)], operations()).join();
    let look = || ["t", "u"].map(|table| contents(&home.at(table), |_| false));
    let before = look();
    home.crash();
    assert!(look() == before, "after a crash");
    assert_sound(&home);
    assert!(look() == before, "after a remount");
    for worker in 0..5 {
        assert_closed_are_there(&home, "t", worker);
    }
}

#[test]
fn a_kill_in_the_middle_of_a_crowd_leaves_what_was_closed() {
    let home = two_tables();
    let crowd = Crowd::start(&home, &[("t", 5), ("u", 2)], usize::MAX);
    let closed = |worker: usize| {
        let log = fs::read_to_string(home.base().join(format!("closed-{worker}")));
        log.unwrap_or_default().lines().count()
    };
    wait_until("they do nothing", || (0..5).all(|worker| closed(worker) > CLOSED_MIN));
    fs::write(home.base().join("killed"), "").expect("write");
    home.kill();
    crowd.join();
    home.remount();
    // A file that took the place of a stored one before it was closed may be there in part.
    let look = || ["t", "u"].map(|table| contents(&home.at(table), |name| WILD.contains(&name)));
    let before = look();
    for worker in 0..5 {
        assert_closed_are_there(&home, "t", worker);
    }
    assert_sound(&home);
    assert!(look() == before, "after a remount");
}

#[test]
fn a_table_that_expires_under_a_crowd_takes_nothing_else_with_it() {
    let home = two_tables();
    let mut held: Vec<File> = (0..STAYING)
        .map(|number| File::open(home.at(format!("t/stays-{number:03}"))).expect("open"))
        .collect();
    let mut crowd = Crowd::start(&home, &[("u", 2)], operations());
    for _ in 0..4 {
        crowd.add(&home, "fight", "t", operations());
    }
    wait_until("they do nothing", || home.base().join("closed-3").exists());
    home.sh("setfattr -n user.littfs.ttl -v 1ms m/t");
    let expired = |number: usize| {
        let path = home.at(format!("t/stays-{number:03}"));
        assert_eq!(fs::metadata(&path).err().and_then(|error| error.raw_os_error()), Some(2));
        assert_eq!(File::open(&path).err().and_then(|error| error.raw_os_error()), Some(2));
    };
    (0..STAYING).for_each(expired);
    assert!(!names_in(&home.at("t")).iter().any(|name| name.starts_with("stays")));
    crowd.join();
    (0..STAYING).for_each(expired);
    wait_until("something stays", || names_in(&home.at("t")).is_empty());
    for (number, file) in held.iter_mut().enumerate() {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("a handle reads on");
        assert!(bytes == content(9999, number, 100), "{number}");
    }
    drop(held);
    let before = contents(&home.at("u"), |_| false);
    assert!(before.len() >= STAYING);
    home.crash();
    assert_eq!(names_in(&home.at("t")), Vec::<String>::new());
    assert!(contents(&home.at("u"), |_| false) == before, "after a crash");
    home.sh("setfattr -n user.littfs.ttl -v none m/t; echo x > m/t/n0; cat m/t/n0; ls m/t");
    assert_sound(&home);
}
