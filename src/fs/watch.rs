//! Tells the kernel when what it was allowed to remember of a table ceases to be true.

use std::sync::Arc;

use super::ino::{TOP_INO, ino_of};
use super::inodes::Inodes;
use super::kernel::{Kernel, KnownName};
use crate::format::location::ValueId;
use crate::table::Watcher;

/// Hears of tables that come, go or get another time to live, by the mount or by the library.
pub(super) struct TableWatch {
    pub(super) kernel: Arc<dyn Kernel>,
    pub(super) inodes: Arc<Inodes>,
}

impl Watcher for TableWatch {
    fn table_changed(&self, name: &str, number: u16) {
        self.kernel.forget_all(&|| {
            let ino = ino_of(number, ValueId(0));
            let mut known = self.inodes.known_names(number);
            known.push(KnownName { parent: TOP_INO, name: name.as_bytes().to_vec(), ino });
            known
        });
    }
}
