//! Who a table is: what stays the same for as long as it is open.

use crate::format::key_hash::{KeyHash, Salt};

/// Name, numbers and salt of a table.
#[derive(Debug)]
pub(super) struct TableIdentity {
    /// Of its folder in the roots.
    pub(super) name: String,
    /// In every file of the table.
    pub(super) id: [u8; 16],
    /// 1..=65535: the upper 16 bits of the inode numbers in it.
    pub(super) number: u16,
    pub(super) salt: Salt,
}

impl TableIdentity {
    /// The id as hexadecimal digits.
    pub(super) fn id_hex(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.id))
    }

    /// The hash of a key, which differs from table to table.
    pub(super) fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash::new(self.salt, key)
    }
}
