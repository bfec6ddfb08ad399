//! Making, opening and closing a table: its folders, its settings, its keymap.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::Table;
use super::context::Context;
use super::group_flush::GroupFlush;
use super::health::Health;
use super::identity::TableIdentity;
use super::ids::ValueIds;
use super::index::Index;
use super::lifetime::{Lifetime, duration_ns};
use super::locks::Locks;
use super::sealed::RunFiles;
use super::segments::{Segments, Surroundings};
use super::signals::TableSignals;
use crate::disk::DiskPath;
use crate::error::{Error, Result};
use crate::format::attributes::Attributes;
use crate::format::key_hash::Salt;
use crate::format::location::SegmentNumber;
use crate::format::table_file::TableFile;
use crate::keymap::Keymap;
use crate::layout::segment_files::SegmentDirs;
use crate::layout::table_file::{
    CopyContent, TableFileCopy, good_copies, newest, read_copies, write_everywhere,
};
use crate::layout::{KEYMAP_DIR, SEGMENTS_DIR, TABLE_FILE, keymap_folders, table_dirs};
use crate::root_id::RootId;
use crate::settings::TableSettings;

/// What a new table starts with.
pub(crate) struct NewTable {
    pub(crate) number: u16,
    pub(crate) id: [u8; 16],
    pub(crate) salt: [u8; 16],
    pub(crate) settings: TableSettings,
    pub(crate) attributes: Attributes,
}

impl Table {
    /// Makes the folders and files of a new table in every root, durably.
    pub(crate) fn create(context: &Context, name: &str, new: &NewTable) -> Result<()> {
        let now_ns = context.clock.now_ns();
        let mut file = TableFile::new(new.id, new.number, new.salt);
        file.created_at_ns = now_ns;
        file.ttl_ns = new.settings.ttl.map(duration_ns);
        file.grace_ns = duration_ns(new.settings.grace);
        file.shards = new.settings.shards;
        file.mode = new.attributes.permissions();
        file.uid = new.attributes.uid;
        file.gid = new.attributes.gid;
        file.mtime_ns = new.attributes.mtime_ns;
        file.ctime_ns = new.attributes.ctime_ns;
        let table_dirs = table_dirs(&context.roots, name);
        for dir in &table_dirs {
            dir.join(SEGMENTS_DIR).create_dir_all()?;
        }
        write_everywhere(&table_dirs, |_| false, &file)?;
        for dir in &table_dirs {
            dir.sync_dir()?;
            dir.sync_parent()?;
        }
        Ok(())
    }

    /// Opens a table.
    pub(crate) fn open(context: &Arc<Context>, name: &str) -> Result<Arc<Self>> {
        let table_dirs = table_dirs(&context.roots, name);
        let file = read_table_file(context, name, &table_dirs)?;
        let dirs = SegmentDirs::new(name, &table_dirs);
        if !context.read_only {
            for dir in dirs.all() {
                dir.create_dir_all()?;
            }
            // Whoever made what is there may have been killed before the names were durable, and
            // what is flushed from now on relies on them.
            dirs.sync()?;
            for dir in &table_dirs {
                dir.sync_dir()?;
                dir.sync_parent()?;
            }
        }
        let keymap = open_keymap(context, &table_dirs, file.id())?;
        let run_files = RunFiles {
            table_number: file.number,
            table_id: file.id(),
            dirs: dirs.clone(),
            descriptors: Arc::clone(&context.descriptors),
            cache: Arc::clone(&context.run_cache),
        };
        let identity = Arc::new(TableIdentity {
            name: name.to_owned(),
            id: file.id(),
            number: file.number,
            salt: Salt(file.salt()),
        });
        let signals = Arc::new(TableSignals::default());
        let health = Arc::new(Health::new(&identity, context, &signals));
        let ids = ValueIds::new(&identity, file.next_value_id);
        let locks = Locks::new(&identity);
        let index = Index::new(&identity, context, &signals, run_files, keymap);
        let lowest = SegmentNumber(file.lowest_segment);
        let lifetime = Arc::new(Lifetime::new(context, &health, table_dirs, file));
        let around = Surroundings {
            identity: &identity,
            context,
            health: &health,
            lifetime: &lifetime,
            signals: &signals,
        };
        let segments = Segments::new(&around, dirs, lowest);
        let table = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            identity,
            context: Arc::clone(context),
            ids,
            locks,
            lifetime,
            health,
            segments,
            index,
            upkeep_io: Mutex::default(),
            flushing: GroupFlush::default(),
            signals,
        });
        table.recover().inspect_err(|_| table.abandon())?;
        Ok(table)
    }

    /// Ends all use of the table: what was stored is durable, the keymap is marked complete.
    pub(crate) fn close(&self) -> Result<()> {
        if let Err(error) = self.lifetime.keep_marks(self.ids.next()) {
            log::debug!(
                "table {}: what moved with use is not written down: {error}",
                self.identity.name
            );
        }
        self.health.close();
        if self.context.read_only {
            return Ok(());
        }
        // Afterwards the roots are given back, and what was written until now is to be flushed.
        let _at_rest = self.come_to_rest();
        // A table that was poisoned before says so here once more: not all of it is durable.
        let flushed = self.flush();
        self.segments.discard_spare();
        flushed.and_then(|()| self.index.mark_all(&self.segments.view()))
    }

    /// Returns when nobody seals, writes or changes settings any more who found the table open: its
    /// use has ended. As long as the guard lives nobody will.
    pub(crate) fn come_to_rest(&self) -> MutexGuard<'_, ()> {
        let at_rest = self.upkeep_io.lock();
        self.lifetime.wait_for_change();
        self.segments.wait_for_writes();
        at_rest
    }

    /// Ends all use of the table without keeping what it holds, since it is being dropped.
    pub(crate) fn abandon(&self) {
        self.health.drop_table();
        self.context.descriptors.forget(self.identity.number, |_| true);
    }
}

/// The newest good copy of the table file. Copies that are missing or older, which a crash leaves
/// behind, are written again; damaged ones too, with a warning.
fn read_table_file(context: &Context, name: &str, table_dirs: &[DiskPath]) -> Result<TableFile> {
    let copies = read_copies(table_dirs);
    let newest = newest(&copies).map(|(_, file)| file.clone());
    let first_id = good_copies(&copies).next().map(|(_, file)| file.id());
    let mut failure = None;
    let mut is_uniform = true;
    for TableFileCopy { path, content } in copies {
        match content {
            CopyContent::Good { file, .. } if Some(file.id()) != first_id => {
                let reason = "it is that of another table than in the other roots";
                return Err(Error::corrupt(&path, 0, reason));
            }
            CopyContent::Good { file, .. } => {
                is_uniform &=
                    newest.as_ref().is_some_and(|newest| newest.revision == file.revision);
            }
            CopyContent::Missing => is_uniform = false,
            CopyContent::Hidden(error) | CopyContent::Bad(error @ Error::FutureVersion { .. }) => {
                return Err(error);
            }
            CopyContent::Bad(error) => {
                is_uniform = false;
                failure = Some(error);
            }
        }
    }
    let Some(newest) = newest else {
        return Err(failure.unwrap_or_else(|| Error::MissingFile {
            table: name.to_owned(),
            name: TABLE_FILE.to_owned(),
        }));
    };
    if let Some(failure) = failure {
        log::warn!("{failure}; the copy of another root is used");
    }
    if !is_uniform && !context.read_only {
        for dir in table_dirs {
            dir.create_dir_all()?;
        }
        write_everywhere(table_dirs, |_| false, &newest)?;
    }
    Ok(newest)
}

/// Opens the keymap wherever it is; a new one goes to the first root.
fn open_keymap(
    context: &Context,
    table_dirs: &[DiskPath],
    table_id: [u8; 16],
) -> Result<Option<Keymap>> {
    let mut places = keymap_folders(table_dirs)?;
    if let [first, second, ..] = places.as_slice() {
        let (first, second) = (first.to_path_buf(), second.to_path_buf());
        return Err(Error::DuplicateFile { first, second });
    }
    let usual = || table_dirs[RootId::FIRST.position()].join(KEYMAP_DIR);
    let dir = places.pop().unwrap_or_else(usual);
    if context.read_only {
        return Keymap::open_read_only(dir.disk(), &dir, table_id);
    }
    let (keymap, reason) = Keymap::open(dir.disk(), &dir, table_id)?;
    if let Some(reason) = reason {
        log::info!("{}: the keymap is made anew: {reason}", dir.display());
    }
    Ok(Some(keymap))
}
