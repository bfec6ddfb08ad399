//! Inode numbers: the number of a table above 48 bits of value id.
//!
//! They are made from what is stored and from nothing else, so that a number means one thing for as
//! long as the database lives, over remounts too.

use crate::format::location::ValueId;

/// The inode of the mount's top folder.
pub(crate) const TOP_INO: u64 = 1;
/// What listings call the tables that cannot be opened, from here on. No lookup ever answers it.
pub(super) const UNAVAILABLE_INO_MIN: u64 = 2;
const ID_BITS: u32 = 48;

/// The inode number of a value; that of the table's own folder for value id 0.
pub(super) fn ino_of(table: u16, id: ValueId) -> u64 {
    (u64::from(table) << ID_BITS) | id.0
}

/// The table number in an inode number; None for the top folder.
pub(super) fn table_number(ino: u64) -> Option<u16> {
    u16::try_from(ino >> ID_BITS).ok().filter(|number| *number != 0)
}

/// Whether this is the inode of a table's own folder.
pub(super) fn is_table_folder(ino: u64) -> bool {
    ino.trailing_zeros() >= ID_BITS && ino != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_apart_as_they_were_put_together() {
        let ino = ino_of(7, ValueId(99));
        assert_eq!(table_number(ino), Some(7));
        assert!(!is_table_folder(ino));
        assert!(is_table_folder(ino_of(7, ValueId(0))));
        assert_eq!(table_number(ino_of(u16::MAX, ValueId::MAX)), Some(u16::MAX));
        assert_eq!(table_number(TOP_INO), None);
        assert!(!is_table_folder(TOP_INO));
    }
}
