//! What the words behind `-o` mean.

use std::time::Duration;

use littfs::config::parse_duration;

use super::{Failure, fail};

const THREADS_MAX: usize = 64;
const ALLOWED: &str =
    "ro, rw, allow_other, default_permissions, degraded, threads=N, flush=DURATION";
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
    "exec",
    "async",
];

/// The mount options, put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct Options {
    pub(crate) read_only: bool,
    pub(crate) allow_other: bool,
    pub(crate) default_permissions: bool,
    pub(crate) degraded: bool,
    pub(crate) threads: Option<usize>,
    pub(crate) flush_interval: Option<Duration>,
}

/// Reads all `-o` arguments; of contradicting options the last one counts, as with mount(8).
pub(crate) fn parse(arguments: &[String]) -> Result<Options, Failure> {
    let mut options = Options::default();
    let words = arguments.iter().flat_map(|argument| argument.split(','));
    for word in words.map(str::trim).filter(|word| !word.is_empty()) {
        apply(&mut options, word)?;
    }
    Ok(options)
}

fn apply(options: &mut Options, word: &str) -> Result<(), Failure> {
    match word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value))) {
        ("ro", None) => options.read_only = true,
        ("rw", None) => options.read_only = false,
        ("allow_other", None) => options.allow_other = true,
        ("default_permissions", None) => options.default_permissions = true,
        ("degraded", None) => options.degraded = true,
        ("threads", value) => {
            let threads = value.and_then(|value| value.parse().ok());
            match threads.filter(|threads| (1..=THREADS_MAX).contains(threads)) {
                Some(threads) => options.threads = Some(threads),
                None => {
                    return fail(format!(
                        "invalid option {word:?}: threads=N takes a number from 1 to {THREADS_MAX}"
                    ));
                }
            }
        }
        ("flush", value) => match parse_duration(value.unwrap_or_default()) {
            Ok(interval) if interval >= Duration::from_millis(10) => {
                options.flush_interval = Some(interval);
            }
            _ => {
                return fail(format!(
                    "invalid option {word:?}: flush=DURATION takes 10ms or more, such as flush=1s"
                ));
            }
        },
        (name, None) if IGNORED.contains(&name) => {}
        (name, _) if name.starts_with("x-") || name == "comment" => {}
        _ => return fail(format!("unknown option {word:?} for -o; allowed are {ALLOWED}")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Options, String> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        parse(&words).map_err(|failure| match failure {
            Failure::Message(message) => message,
            Failure::Closed => "closed".to_owned(),
        })
    }

    #[test]
    fn options_add_up_and_the_last_one_counts() {
        let options = parsed(&["ro,allow_other,threads=3", "degraded,rw,flush=250ms"]);
        let expected = Options {
            allow_other: true,
            degraded: true,
            threads: Some(3),
            flush_interval: Some(Duration::from_millis(250)),
            ..Options::default()
        };
        assert_eq!(options, Ok(expected));
    }

    #[test]
    fn fstab_words_mean_nothing() {
        let words = ["defaults,noatime,nosuid,nodev,user,,x-systemd.automount,nofail,comment=a"];
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
            ("noexec", "unknown option"),
        ] {
            let message = parsed(&[word]).expect_err(word);
            assert!(message.contains(part), "{message}");
        }
    }
}
