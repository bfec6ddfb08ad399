//! Which keys are allowed, and taking them apart.
//!
//! A key is the path of a file inside its table: 1..=4095 bytes, no NUL, no empty, `.` or `..`
//! component, components up to 255 bytes. The key of a folder ends in `/`.

use crate::error::{Error, Result, printable};
use crate::format::record::KEY_BYTES_MAX;

/// The longest component of a key, in bytes; the limit of file names on Linux.
pub(crate) const COMPONENT_BYTES_MAX: usize = 255;

/// Refuses what cannot be the key of a file.
pub fn check_file(key: &[u8]) -> Result<()> {
    if key.last() == Some(&b'/') {
        return Err(Error::IsFolder { key: printable(key) });
    }
    check_components(key, key)
}

/// Refuses what cannot be the key of a folder.
pub(crate) fn check_folder(key: &[u8]) -> Result<()> {
    match key.strip_suffix(b"/") {
        Some(path) => check_components(path, key),
        None => Err(invalid(key, "the key of a folder ends in '/'")),
    }
}

/// Refuses what can be neither.
pub(crate) fn check(key: &[u8]) -> Result<()> {
    check_components(key.strip_suffix(b"/").unwrap_or(key), key)
}

fn check_components(path: &[u8], key: &[u8]) -> Result<()> {
    if key.len() > KEY_BYTES_MAX {
        return Err(Error::KeyTooLong { bytes: key.len() });
    }
    for component in path.split(|&byte| byte == b'/') {
        match component {
            [] if path.is_empty() => return Err(invalid(key, "it is empty")),
            [] => return Err(invalid(key, "it has an empty component")),
            b"." | b".." => return Err(invalid(key, "\".\" and \"..\" are not allowed in it")),
            _ if component.len() > COMPONENT_BYTES_MAX => {
                return Err(Error::KeyTooLong { bytes: component.len() });
            }
            _ if component.contains(&0) => return Err(invalid(key, "it contains a NUL byte")),
            _ => {}
        }
    }
    Ok(())
}

fn invalid(key: &[u8], reason: &'static str) -> Error {
    Error::InvalidKey { key: printable(key), reason }
}

/// The folder that a file or folder is in, or `None` for the table itself.
pub(crate) fn parent(key: &[u8]) -> Option<&[u8]> {
    let path = key.strip_suffix(b"/").unwrap_or(key);
    let slash = path.iter().rposition(|&byte| byte == b'/')?;
    Some(&key[..=slash])
}

/// The folders above and including `folder`, outermost first.
pub(crate) fn ancestors(folder: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = folder.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.map(|(position, _)| &folder[..=position])
}

/// The key without the slash that makes it a folder: what file and folder of a name share.
pub(crate) fn name_key(key: &[u8]) -> &[u8] {
    key.strip_suffix(b"/").unwrap_or(key)
}

/// The key of the folder of this name.
pub(crate) fn folder_key(key: &[u8]) -> Vec<u8> {
    let mut folder = Vec::with_capacity(key.len() + 1);
    folder.extend_from_slice(key);
    folder.push(b'/');
    folder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_keys_pass() {
        let long = vec![b'x'; 255];
        let keys: [&[u8]; 6] = [b"a", b"a/b/c.jpg", b"...", b"\xff\xfe", b" ", &long];
        for key in keys {
            check_file(key).unwrap();
            check_folder(&folder_key(key)).unwrap();
        }
    }

    #[test]
    fn bad_keys_are_refused_with_the_rule_they_break() {
        let too_long_name = vec![b'x'; 256];
        let too_long_key = b"abc/".repeat(1024);
        let cases: [(&[u8], &str); 10] = [
            (b"", "empty"),
            (b"/", "empty"),
            (b"/a", "empty component"),
            (b"a//b", "empty component"),
            (b"a/./b", "not allowed"),
            (b"..", "not allowed"),
            (b"a\0b", "NUL"),
            (b"a/", "is a folder"),
            (&too_long_name, "256"),
            (&too_long_key[..4096], "4096"),
        ];
        for (key, reason) in cases {
            let error = check_file(key.strip_suffix(b"!").unwrap_or(key)).unwrap_err().to_string();
            let expected = error.contains(reason) || key.ends_with(b"/");
            assert!(expected, "{error} should mention {reason}");
        }
        assert!(check_folder(b"a").is_err());
        assert!(check(b"a/").is_ok() && check(b"a").is_ok());
    }

    #[test]
    fn parents_and_ancestors() {
        assert_eq!(parent(b"a"), None);
        assert_eq!(parent(b"a/"), None);
        assert_eq!(parent(b"a/b"), Some(&b"a/"[..]));
        assert_eq!(parent(b"a/b/"), Some(&b"a/"[..]));
        let all: Vec<&[u8]> = ancestors(b"a/bc/d/").collect();
        assert_eq!(all, [&b"a/"[..], b"a/bc/", b"a/bc/d/"]);
    }
}
