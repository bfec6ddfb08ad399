//! What is mounted where: `/proc/self/mountinfo`, see proc(5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::{Failure, fail};

const FILE: &str = "/proc/self/mountinfo";
/// The type of every mount of ours.
const KIND: &str = "fuse.littfs";

/// Something that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub(crate) mountpoint: PathBuf,
    pub(crate) options: String,
    pub(crate) kind: String,
    pub(crate) source: OsString,
}

impl Mounted {
    /// Whether littfs made it.
    pub(crate) fn is_ours(&self) -> bool {
        self.kind == KIND
    }

    /// Whether this mount has an option, such as `noexec`.
    pub(crate) fn has_option(&self, name: &str) -> bool {
        self.options.split(',').any(|option| option == name)
    }
}

/// All mounts, later ones cover earlier ones.
pub(crate) fn all() -> Result<Vec<Mounted>, Failure> {
    let content =
        std::fs::read(FILE).or_else(|error| fail(format!("cannot read {FILE}: {error}")))?;
    Ok(parse(&content))
}

/// The topmost mount on exactly this path.
pub(crate) fn find(mountpoint: &Path) -> Result<Option<Mounted>, Failure> {
    Ok(all()?.into_iter().rfind(|mounted| mounted.mountpoint == mountpoint))
}

/// Lines that make no sense are passed over.
fn parse(content: &[u8]) -> Vec<Mounted> {
    content.split(|&byte| byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mounted> {
    let mut words = line.split(|&byte| byte == b' ');
    let (mountpoint, options) = (words.nth(4)?, words.next()?);
    // Any number of optional fields stands before the single hyphen.
    let mut rest = words.skip_while(|&word| word != b"-").skip(1);
    let (kind, source) = (rest.next()?, rest.next()?);
    Some(Mounted {
        mountpoint: PathBuf::from(OsString::from_vec(decode(mountpoint))),
        options: String::from_utf8_lossy(options).into_owned(),
        kind: String::from_utf8_lossy(&decode(kind)).into_owned(),
        source: OsString::from_vec(decode(source)),
    })
}

/// The kernel writes space, tab, newline, backslash and `#` as a backslash and three octal digits.
fn decode(word: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if byte == b'\\' => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        decoded.push(octal.unwrap_or(byte));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_and_escapes_decoded() {
        let content = b"22 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw\n\
            77 22 0:50 / /home/a\\040b/litt\\134x rw,nosuid - fuse.littfs /mnt/a\\040b\\011c rw\n\
            garbage\n78 22 0:51 / /short rw -\n\n";
        let mounts = parse(content);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].source, "/dev/sda1");
        assert!(!mounts[0].is_ours() && mounts[0].has_option("relatime"));
        assert_eq!(mounts[1].mountpoint, Path::new("/home/a b/litt\\x"));
        assert_eq!(mounts[1].kind, "fuse.littfs");
        assert_eq!(mounts[1].source, "/mnt/a b\tc");
        assert!(mounts[1].is_ours() && !mounts[1].has_option("suid"));
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        for word in [&b"a\\"[..], b"\\04", b"\\999", b"\\400"] {
            assert_eq!(decode(word), word);
        }
        assert_eq!(decode(b"\\377"), [0xff]);
    }

    #[test]
    fn the_root_file_system_is_mounted() {
        assert!(find(Path::new("/")).expect("readable").is_some());
        assert!(find(Path::new("/nowhere")).expect("readable").is_none());
    }
}
