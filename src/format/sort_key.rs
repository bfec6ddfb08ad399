//! Keys in the order of listings.
//!
//! Within the memtable and the runs a key is held as its *sort key*: the same bytes with `/`
//! replaced by 0x00, which no key contains. Plain byte comparison of sort keys then orders names
//! component by component: the names of one folder stand in byte order, and a folder (whose key
//! ends in `/`) stands where its name belongs, directly before everything below it. With plain
//! keys the folder `a/` would stand behind the file `a-b`, and a listing could not be in order.

const SEPARATOR: u8 = b'/';
/// What stands for the separator in a sort key.
pub(crate) const SORT_SEPARATOR: u8 = 0;

/// The sort key of a key.
pub(crate) fn sort_key(key: &[u8]) -> Vec<u8> {
    key.iter().map(|&byte| if byte == SEPARATOR { SORT_SEPARATOR } else { byte }).collect()
}

/// The key of a sort key.
pub(crate) fn plain_key(sort_key: &[u8]) -> Vec<u8> {
    sort_key.iter().map(|&byte| if byte == SORT_SEPARATOR { SEPARATOR } else { byte }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_folder_are_in_byte_order_with_folders_in_place() {
        let mut keys: Vec<&[u8]> = vec![b"a0", b"a-b", b"a/", b"a/z", b"a.c", b"A", b"a/b/"];
        keys.sort_by_key(|key| sort_key(key));
        let expected: Vec<&[u8]> = vec![b"A", b"a/", b"a/b/", b"a/z", b"a-b", b"a.c", b"a0"];
        assert_eq!(keys, expected);
        for key in keys {
            assert_eq!(plain_key(&sort_key(key)), key);
        }
    }
}
