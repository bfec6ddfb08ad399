//! A database: many tables over the same roots, opened and closed together.

mod folders;
mod options;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

pub use self::options::OpenOptions;

use self::folders::{UnopenedTable, remove_table_dirs, same_numbers, unopened_tables};
use crate::cast;
use crate::clock::Clock;
use crate::engine_options::EngineOptions;
use crate::error::{Error, Result};
use crate::format::attributes::{Attributes, Kind};
use crate::layout::check_table_name;
use crate::names::BlockCache;
use crate::roots::{Roots, RootsOptions};
use crate::segment::descriptors::Descriptors;
use crate::table::{
    Context, ExpiryHold, NewTable, Table, TableSettings, Threads, Watcher, Watchers,
};

/// Room on the drives of all roots, in bytes. Roots on one drive count once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Space {
    /// Size of the drives.
    pub total: u64,
    /// What is free on them.
    pub free: u64,
    /// What can still be stored: what is free, less the reserve.
    pub available: u64,
}

/// An open database. Clones share it; the last one to go closes it.
#[derive(Clone, Debug)]
pub struct Db(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    context: Arc<Context>,
    tables: RwLock<BTreeMap<String, OpenTable>>,
    /// Tables that could not be opened, each with the reason.
    unavailable: BTreeMap<String, String>,
    /// Tables that could not be dropped to the end, by name, each with its id. What is left of them
    /// must be gone before the name is used again.
    half_dropped: Mutex<HashMap<String, String>>,
    is_closed: AtomicBool,
}

#[derive(Debug)]
struct OpenTable {
    table: Arc<Table>,
    threads: Threads,
}

impl Db {
    /// Opens a database, or makes one.
    pub fn open(options: OpenOptions) -> Result<Self> {
        let roots_options = RootsOptions {
            create: options.create,
            degraded: options.degraded,
            read_only: options.read_only,
            reserve_bytes: options.engine.reserve_bytes,
        };
        let roots = Roots::open(&options.disk, &options.roots, roots_options)?;
        // What is written beside a missing root could not be told from what that root holds when it
        // comes back: segment numbers would be given twice, marks and keymaps would differ.
        let is_incomplete = !roots.missing().is_empty();
        if is_incomplete && !options.read_only {
            log::warn!("a root is missing, so the database is open read-only");
        }
        let cache_bytes = cast::to_usize(options.engine.cache_bytes);
        let context = Arc::new(Context {
            clock: options.clock,
            roots,
            descriptors: Arc::new(Descriptors::new(options.engine.descriptors_max)),
            run_cache: Arc::new(BlockCache::new(cache_bytes)),
            pending_bytes: AtomicU64::new(0),
            read_only: options.read_only || is_incomplete,
            watchers: Watchers::default(),
            hold: ExpiryHold::new(options.engine.expiry_hold),
            owner: (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
            engine: options.engine,
        });
        let unopened = unopened_tables(&context)?;
        let mut inner = Inner {
            tables: RwLock::default(),
            unavailable: BTreeMap::new(),
            half_dropped: Mutex::default(),
            is_closed: AtomicBool::new(false),
            context,
        };
        let copies = same_numbers(&unopened);
        for UnopenedTable { name, .. } in unopened {
            let opened = match copies.get(&name) {
                Some(reason) => {
                    Err(Error::Unavailable { table: name.clone(), reason: reason.clone() })
                }
                None => Table::open(&inner.context, &name),
            };
            match opened {
                Ok(table) => inner.show(table)?,
                Err(error) => inner.set_aside(name, error),
            }
        }
        let db = Self(Arc::new(inner));
        let tables = db.tables();
        let last_written_ns = tables.iter().filter_map(|table| table.last_written_ns()).max();
        db.0.context.hold.opened(&db.0.context.clock, last_written_ns);
        for table in tables {
            table.wake_upkeep();
        }
        Ok(db)
    }

    /// The table of this name, made with these settings if there is none. The settings of a table
    /// that is there stay as they are.
    pub fn open_or_create_table(&self, name: &str, settings: TableSettings) -> Result<Arc<Table>> {
        match self.table(name) {
            Err(Error::NoSuchTable { .. }) => match self.create_table(name, settings) {
                // Somebody else was faster.
                Err(Error::TableExists { .. }) => self.table(name),
                made => made,
            },
            found => found,
        }
    }

    /// Makes a table. Where it is mounted, it belongs to whoever runs this program, who alone can
    /// write to it (mode 0755).
    pub fn create_table(&self, name: &str, settings: TableSettings) -> Result<Arc<Table>> {
        let attributes = self.0.context.default_attributes(Kind::Folder);
        self.create_table_with(name, settings, attributes)
    }

    /// Makes a table. Mode, owner and times of its folder come from `attributes`.
    pub fn create_table_with(
        &self,
        name: &str,
        settings: TableSettings,
        attributes: Attributes,
    ) -> Result<Arc<Table>> {
        self.check_writable()?;
        check_table_name(name)?;
        settings.check()?;
        let mut tables = self.0.tables.write();
        if tables.contains_key(name) {
            return Err(Error::TableExists { name: name.to_owned() });
        }
        self.check_available(name)?;
        let context = &self.0.context;
        self.finish_drop(name)?;
        let new = NewTable {
            number: context.roots.take_table_number()?,
            id: random()?,
            salt: random()?,
            settings,
            attributes,
        };
        let mut is_free = true;
        for root in context.roots.dirs() {
            is_free &= !root.join(name).exists()?;
        }
        let made = Table::create(context, name, &new).and_then(|()| Table::open(context, name));
        let table = made.inspect_err(|_| {
            // Half a table would be in the way of the next open, on a full drive for example. But
            // what was there before is not ours to remove.
            let id = format!("{:032x}", u128::from_be_bytes(new.id));
            if is_free && let Err(error) = remove_table_dirs(context, name, &id) {
                log::warn!("the table {name}, which could not be made, cannot be removed: {error}");
            }
        })?;
        let threads = Threads::start(&table)?;
        tables.insert(name.to_owned(), OpenTable { table: Arc::clone(&table), threads });
        drop(tables);
        context.watchers.tell(name, table.number());
        Ok(table)
    }

    /// The table of this name; [`Error::Unavailable`] when its files did not let it be opened.
    pub fn table(&self, name: &str) -> Result<Arc<Table>> {
        self.check_open()?;
        self.check_available(name)?;
        let tables = self.0.tables.read();
        let found = tables.get(name).map(|open| Arc::clone(&open.table));
        found.ok_or_else(|| Error::NoSuchTable { name: name.to_owned() })
    }

    /// The table of this number.
    #[must_use]
    pub fn table_by_number(&self, number: u16) -> Option<Arc<Table>> {
        let tables = self.0.tables.read();
        let found = tables.values().find(|open| open.table.number() == number);
        found.map(|open| Arc::clone(&open.table))
    }

    /// All tables that could be opened, in byte order of their names.
    #[must_use]
    pub fn tables(&self) -> Vec<Arc<Table>> {
        self.0.tables.read().values().map(|open| Arc::clone(&open.table)).collect()
    }

    /// The tables that could not be opened, in byte order of their names, each with the reason and
    /// what helps. One damaged table keeps none of the others from opening.
    #[must_use]
    pub fn unavailable_tables(&self) -> Vec<(String, String)> {
        self.0.unavailable.clone().into_iter().collect()
    }

    /// Drops a table and everything in it. Values that are open for reading can be read on; whoever
    /// has a handle of the table gets [`Error::TableDropped`] from its methods, and an iterator that
    /// is under way is no longer complete.
    pub fn drop_table(&self, name: &str) -> Result<()> {
        self.drop_table_if(name, |_| true)
    }

    /// Drops the table of this name if it is the one that is meant.
    fn drop_table_if(&self, name: &str, is_meant: impl Fn(&Arc<Table>) -> bool) -> Result<()> {
        self.check_writable()?;
        self.check_available(name)?;
        let mut tables = self.0.tables.write();
        if !tables.get(name).is_some_and(|open| is_meant(&open.table)) {
            return Err(Error::NoSuchTable { name: name.to_owned() });
        }
        let Some(OpenTable { table, threads }) = tables.remove(name) else {
            return Err(Error::NoSuchTable { name: name.to_owned() });
        };
        table.abandon();
        threads.stop(&table);
        // What had begun works by path, and must not come upon the files of a new table of this name.
        drop(table.come_to_rest());
        // Noted before the name is free: whoever takes it removes these folders first.
        self.0.half_dropped.lock().insert(name.to_owned(), table.id_hex());
        // What is in memory of it goes with the last handle; its folders go now.
        drop(tables);
        self.0.context.watchers.tell(name, table.number());
        self.finish_drop(name)
    }

    /// Removes what is left on disk of a dropped table of this name.
    fn finish_drop(&self, name: &str) -> Result<()> {
        let mut half_dropped = self.0.half_dropped.lock();
        if let Some(id) = half_dropped.get(name) {
            remove_table_dirs(&self.0.context, name, id)?;
            half_dropped.remove(name);
        }
        Ok(())
    }

    /// Drops a table that holds nothing live.
    pub fn remove_table(&self, name: &str) -> Result<()> {
        let table = self.table(name)?;
        self.check_writable()?;
        if !table.abandon_if_empty()? {
            return Err(Error::TableNotEmpty { name: name.to_owned() });
        }
        // Somebody else may have dropped it since, and made another one of its name.
        self.drop_table_if(name, |found| Arc::ptr_eq(found, &table))
    }

    /// Returns when everything stored before the call survives a power cut.
    pub fn flush(&self) -> Result<()> {
        self.check_open()?;
        let results: Vec<Result<()>> = self.tables().iter().map(|table| table.flush()).collect();
        results.into_iter().collect()
    }

    /// Does now what background threads do in their own time: seals closed segments, drops expired
    /// ones, mends keymaps. Every table has its turn, whatever happens to the others; the first
    /// failure is returned.
    pub fn upkeep(&self) -> Result<()> {
        self.check_open()?;
        let results: Vec<Result<()>> = self.tables().iter().map(|table| table.upkeep()).collect();
        results.into_iter().collect()
    }

    /// Makes everything durable, ends background work and gives the roots back. Every table is
    /// closed, whatever happens to the others; the first failure is returned.
    pub fn close(&self) -> Result<()> {
        self.0.close()
    }

    /// Room on the drives.
    pub fn space(&self) -> Result<Space> {
        self.check_open()?;
        let space = self.0.context.roots.space();
        Ok(Space { total: space.total, free: space.free, available: space.available })
    }

    /// Makes mounts of this database in this process forget what they remember of all tables.
    ///
    /// A mount sees at once when the library makes or drops a table or changes a time to live, but
    /// it cannot tell values that the library puts, renames or removes from its own: call this
    /// after such changes. Before Linux 6.16 names that were looked for in vain stay remembered for
    /// up to a day.
    pub fn refresh_mounts(&self) {
        for table in self.tables() {
            self.0.context.watchers.tell(table.name(), table.number());
        }
    }

    /// Who is told of every table that comes, goes or gets another time to live.
    #[cfg_attr(
        not(feature = "mount"),
        expect(dead_code, reason = "only a mount lets others remember")
    )]
    pub(crate) fn watch(&self, watcher: &Arc<dyn Watcher>) {
        self.0.context.watchers.add(watcher);
    }

    /// The clock that expiry goes by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.context.clock
    }

    /// The limits and sizes it was opened with.
    #[must_use]
    pub fn engine_options(&self) -> &EngineOptions {
        &self.0.context.engine
    }

    /// Whether every change is refused.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.context.read_only
    }

    /// The root directories.
    #[must_use]
    pub fn roots(&self) -> Vec<PathBuf> {
        self.0.context.roots.paths()
    }

    /// Roots of the database that were not there when it was opened degraded: where they were last.
    #[must_use]
    pub fn missing_roots(&self) -> Vec<PathBuf> {
        self.0.context.roots.missing().iter().map(|missing| missing.path.clone()).collect()
    }

    /// Roots that have failed since, each with the first failure.
    #[must_use]
    pub fn failed_roots(&self) -> Vec<(PathBuf, String)> {
        let roots = &self.0.context.roots;
        let failed = roots.ids().filter_map(|root| {
            roots.failure(root).map(|reason| (roots.dir(root).to_path_buf(), reason.to_owned()))
        });
        failed.collect()
    }

    /// The identity of the database, 32 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        self.0.context.roots.database_id()
    }

    /// Ends like a killed process: nothing is flushed, only the locks go.
    #[cfg(test)]
    pub(crate) fn kill(&self) {
        self.0.is_closed.store(true, Ordering::Release);
        for open in std::mem::take(&mut *self.0.tables.write()).into_values() {
            open.table.abandon();
            open.threads.stop(&open.table);
        }
        self.0.context.roots.release();
    }

    #[cfg(test)]
    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.0.context
    }

    fn check_open(&self) -> Result<()> {
        if self.0.is_closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    /// Refuses a table that could not be opened.
    fn check_available(&self, name: &str) -> Result<()> {
        match self.0.unavailable.get(name) {
            None => Ok(()),
            Some(reason) => {
                Err(Error::Unavailable { table: name.to_owned(), reason: reason.clone() })
            }
        }
    }

    fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        if self.is_read_only() { Err(Error::ReadOnly) } else { Ok(()) }
    }
}

impl Inner {
    /// Starts the threads of a table that is being opened and shows it.
    fn show(&mut self, table: Arc<Table>) -> Result<()> {
        let threads = Threads::start(&table)?;
        self.tables.get_mut().insert(table.name().to_owned(), OpenTable { table, threads });
        Ok(())
    }

    /// Notes a table that cannot be opened. The others are not kept from it.
    fn set_aside(&mut self, name: String, error: Error) {
        let reason = match error {
            Error::Unavailable { reason, .. } => reason,
            other => other.to_string(),
        };
        log::error!("table {name} is unavailable: {reason}");
        self.unavailable.insert(name, reason);
    }

    fn close(&self) -> Result<()> {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let tables = std::mem::take(&mut *self.tables.write());
        let mut result = Ok(());
        for open in tables.into_values() {
            open.threads.stop(&open.table);
            result = result.and(open.table.close());
        }
        self.context.roots.release();
        result
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            log::error!("closing the database: {error}");
        }
    }
}

fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::NoRandom { source: error.into() })?;
    Ok(bytes)
}
