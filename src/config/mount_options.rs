//! What the words behind `-o` mean, for whoever mounts a database as `littfs mount` and
//! `mount.littfs` do.

use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::{Group, User};

use super::parse_duration;

const THREADS_MAX: usize = 64;
const ALLOWED: &str = "ro, rw, allow_other, default_permissions, degraded, existing_roots, noexec, root=DIR, \
    config=FILE, uid=USER, gid=GROUP, mode=OCTAL, umask=OCTAL, threads=N, flush=DURATION";
/// Options of mount(8) and fstab(5) that are already so, or mean nothing here.
const IGNORED: &[&str] = &[
    "defaults",
    "auto",
    "noauto",
    "user",
    "users",
    "nouser",
    "owner",
    "group",
    "nofail",
    "_netdev",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "async",
];

/// The mount options, put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Options {
    /// `ro`: nothing can be stored or changed.
    pub read_only: bool,
    /// Others than who mounts may use the mount.
    pub allow_other: bool,
    /// The kernel checks owners and modes, although only one user can use the mount.
    pub default_permissions: bool,
    /// `noexec`: no program can be run from it.
    pub no_exec: bool,
    /// The database is opened although roots are missing; then it is read-only.
    pub degraded: bool,
    /// A root that does not exist is refused instead of made.
    pub existing_roots: bool,
    /// The mount is there already; only ro and rw can change.
    pub remount: bool,
    /// Root directories, besides those that are named otherwise.
    pub roots: Vec<PathBuf>,
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// Owner of the top folder.
    pub uid: Option<u32>,
    /// Group of the top folder.
    pub gid: Option<u32>,
    /// Permissions of the top folder.
    pub mode: Option<u32>,
    /// Permissions that new files and folders never get.
    pub umask: Option<u32>,
    /// Threads that serve the mount, 1..=64.
    pub threads: Option<usize>,
    /// How often what was stored is made safe from power cuts, 10 ms or more.
    pub flush_interval: Option<Duration>,
}

impl Options {
    /// The permissions of the top folder: those that were asked for, or all that the umask leaves.
    #[must_use]
    pub fn top_permissions(&self) -> Option<u32> {
        self.mode.or_else(|| self.umask.map(|umask| 0o777 & !umask))
    }
}

/// What becomes of options that nobody here knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// They are a mistake.
    Refused,
    /// As mount(8) wants it with `-s`.
    Ignored,
}

/// Reads all `-o` arguments; of contradicting options the last one counts, as with mount(8). What is
/// wrong is one line for a person.
pub fn parse(arguments: &[String], unknown: Unknown) -> Result<Options, String> {
    let mut options = Options::default();
    for word in arguments.iter().flat_map(|argument| split(argument)) {
        if !apply(&mut options, &word)? && unknown == Unknown::Refused {
            return Err(format!("unknown option {word:?} for -o; allowed are {ALLOWED}"));
        }
    }
    Ok(options)
}

/// Commas divide, but not between double quotes, which are taken off.
fn split(argument: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for letter in argument.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => words.push(String::new()),
            letter => {
                if let Some(word) = words.last_mut() {
                    word.push(letter);
                }
            }
        }
    }
    let words = words.into_iter().map(|word| word.trim().to_owned());
    words.filter(|word| !word.is_empty()).collect()
}

/// Takes one option over; whether it is known.
fn apply(options: &mut Options, word: &str) -> Result<bool, String> {
    let (name, value) =
        word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    match (name, value) {
        ("ro", None) => options.read_only = true,
        ("rw", None) => options.read_only = false,
        ("exec", None) => options.no_exec = false,
        ("noexec", None) => options.no_exec = true,
        ("allow_other", None) => options.allow_other = true,
        ("default_permissions", None) => options.default_permissions = true,
        ("degraded", None) => options.degraded = true,
        ("existing_roots", None) => options.existing_roots = true,
        ("remount", None) => options.remount = true,
        ("root", Some(root)) if !root.is_empty() => options.roots.push(root.into()),
        ("config", Some(file)) if !file.is_empty() => options.config = Some(file.into()),
        ("root" | "config", _) => {
            return Err(format!("invalid option {word:?}: root=DIR and config=FILE name a path"));
        }
        ("uid", value) => options.uid = Some(user(word, value)?),
        ("gid", value) => options.gid = Some(group(word, value)?),
        ("mode", value) => options.mode = Some(permissions(word, value, 0o7777)?),
        ("umask", value) => options.umask = Some(permissions(word, value, 0o777)?),
        ("threads", value) => options.threads = Some(threads(word, value)?),
        ("flush", value) => options.flush_interval = Some(interval(word, value)?),
        (name, None) if IGNORED.contains(&name) => {}
        ("comment" | "user", _) => {}
        (name, _) if name.starts_with("x-") || name.starts_with("X-") => {}
        _ => return Ok(false),
    }
    Ok(true)
}

fn threads(word: &str, value: Option<&str>) -> Result<usize, String> {
    let threads = value.and_then(|value| value.parse().ok());
    threads.filter(|threads| (1..=THREADS_MAX).contains(threads)).map_or_else(
        || {
            let allowed = format!("threads=N takes a number from 1 to {THREADS_MAX}");
            Err(format!("invalid option {word:?}: {allowed}"))
        },
        Ok,
    )
}

fn interval(word: &str, value: Option<&str>) -> Result<Duration, String> {
    match parse_duration(value.unwrap_or_default()) {
        Ok(interval) if interval >= Duration::from_millis(10) => Ok(interval),
        _ => Err(format!(
            "invalid option {word:?}: flush=DURATION takes 10ms or more, such as flush=1s"
        )),
    }
}

fn permissions(word: &str, value: Option<&str>, most: u32) -> Result<u32, String> {
    let given = value.filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
    let bits = given.and_then(|value| u32::from_str_radix(value, 8).ok());
    bits.filter(|bits| *bits <= most).map_or_else(
        || Err(format!("invalid option {word:?}: it takes an octal number of at most {most:o}")),
        Ok,
    )
}

fn user(word: &str, value: Option<&str>) -> Result<u32, String> {
    let value = value.unwrap_or_default();
    let named = || User::from_name(value).ok().flatten().map(|user| user.uid.as_raw());
    value.parse().ok().filter(|id| *id != u32::MAX).or_else(named).map_or_else(
        || Err(format!("invalid option {word:?}: there is no such user; give a name or a number")),
        Ok,
    )
}

fn group(word: &str, value: Option<&str>) -> Result<u32, String> {
    let value = value.unwrap_or_default();
    let named = || Group::from_name(value).ok().flatten().map(|group| group.gid.as_raw());
    value.parse().ok().filter(|id| *id != u32::MAX).or_else(named).map_or_else(
        || Err(format!("invalid option {word:?}: there is no such group; give a name or a number")),
        Ok,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Options, String> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        parse(&words, Unknown::Refused)
    }

    #[test]
    fn options_add_up_and_the_last_one_counts() {
        let options = parsed(&["ro,allow_other,threads=3", "degraded,rw,flush=250ms,noexec"]);
        let expected = Options {
            allow_other: true,
            degraded: true,
            no_exec: true,
            threads: Some(3),
            flush_interval: Some(Duration::from_millis(250)),
            ..Options::default()
        };
        assert_eq!(options, Ok(expected));
        let options = parsed(&["root=/a,root=\"/b,c\"", "config=/d=e,uid=root,gid=7,mode=1777"]);
        let expected = Options {
            roots: vec!["/a".into(), "/b,c".into()],
            config: Some("/d=e".into()),
            uid: Some(0),
            gid: Some(7),
            mode: Some(0o1777),
            ..Options::default()
        };
        assert_eq!(options, Ok(expected));
    }

    #[test]
    fn the_top_folder_has_what_the_umask_leaves_unless_a_mode_is_given() {
        for (word, expected) in
            [("", None), ("umask=027", Some(0o750)), ("umask=0,mode=2775", Some(0o2775))]
        {
            assert_eq!(parsed(&[word]).map(|options| options.top_permissions()), Ok(expected));
        }
    }

    #[test]
    fn fstab_words_mean_nothing() {
        let words = [
            "defaults,noatime,nosuid,nodev,user,,x-systemd.automount,nofail,comment=a,_netdev",
            "noauto,X-mount.mkdir=0755,x-systemd.requires-mounts-for=/a,x-gvfs-show,user=me,exec",
        ];
        assert_eq!(parsed(&words), Ok(Options::default()));
    }

    #[test]
    fn mistakes_are_named_with_what_is_allowed() {
        for (word, part) in [
            ("bananas", "unknown option \"bananas\" for -o; allowed are ro, rw, allow_other"),
            ("ro=1", "unknown option \"ro=1\""),
            ("threads", "a number from 1 to 64"),
            ("threads=0", "a number from 1 to 64"),
            ("flush=now", "flush=DURATION"),
            ("flush=0s", "10ms or more"),
            ("sync", "unknown option"),
            ("root", "name a path"),
            ("config=", "name a path"),
            ("uid=nobody at all", "there is no such user"),
            ("uid=-1", "there is no such user"),
            ("gid", "there is no such group"),
            ("umask=1000", "an octal number of at most 777"),
            ("mode=+7", "an octal number of at most 7777"),
            ("mode=8", "an octal number"),
        ] {
            let message = parsed(&[word]).expect_err(word);
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn unknown_options_can_be_ignored_but_mistakes_are_none() {
        let words = ["bananas,ro".to_owned()];
        let options = parse(&words, Unknown::Ignored).expect("tolerated");
        assert_eq!(options, Options { read_only: true, ..Options::default() });
        assert!(parse(&["flush=now".to_owned()], Unknown::Ignored).is_err());
    }
}
