//! Names in folders and the keys they make: how long a name may be, and which part of a key it is.

/// Longest name of a file or folder, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// Splits a key into the key of its folder (empty, or with a final `/`) and its name, without the
/// final `/` that folders have.
pub(super) fn split_key(key: &[u8]) -> (&[u8], &[u8]) {
    let bare = key.strip_suffix(b"/").unwrap_or(key);
    let name_at = bare.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    bare.split_at(name_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_split_into_folder_and_name() {
        assert_eq!(split_key(b"a"), (&b""[..], &b"a"[..]));
        assert_eq!(split_key(b"a/"), (&b""[..], &b"a"[..]));
        assert_eq!(split_key(b"a/b/c"), (&b"a/b/"[..], &b"c"[..]));
        assert_eq!(split_key(b"a/b/c/"), (&b"a/b/"[..], &b"c"[..]));
    }
}
