//! Who must hear when answers given about a table cease to be true.
//!
//! A mount lets the kernel remember names and attributes until they expire. Whoever shortens that
//! behind its back, by another time to live or by making or dropping a table through the library,
//! tells it here.

use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

/// Somebody who remembers, or lets others remember, what was said about tables.
pub(crate) trait Watcher: Send + Sync {
    /// Nothing that was said about this table, whether it exists included, need be true any more.
    /// Called without any lock of the engine, and must not wait for operations under way.
    fn table_changed(&self, name: &str, number: u16);
}

/// All watchers of a database that still exist.
#[derive(Default)]
pub(crate) struct Watchers(Mutex<Vec<Weak<dyn Watcher>>>);

impl Watchers {
    pub(crate) fn add(&self, watcher: &Arc<dyn Watcher>) {
        let mut watchers = self.0.lock();
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(Arc::downgrade(watcher));
    }

    pub(crate) fn tell(&self, name: &str, number: u16) {
        let watchers: Vec<_> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        for watcher in watchers {
            watcher.table_changed(name, number);
        }
    }
}

impl fmt::Debug for Watchers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} watchers", self.0.lock().len())
    }
}
