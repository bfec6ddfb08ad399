//! One table: its settings, its files, its segments in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Facts, Repairer};
use crate::cast;
use crate::disk::{DiskFile, DiskPath};
use crate::error::{Error, Result};
use crate::format::segment_metadata::SegmentMetadata;
use crate::format::table_file::TableFile;
use crate::layout::inventory::{Inventory, SecondFile};
use crate::layout::segment_files::{Listing, SegmentDirs, SegmentFile, read_metadata};
use crate::layout::table_file::{
    CopyContent, TableFileCopy, encode, good_copies, newest, read_copies,
};
use crate::layout::{TABLE_FILE, table_dirs};
use crate::names::BlockCache;
use crate::root_id::RootId;
use crate::settings::TableSettings;

const COMPARE_BYTES: usize = 1 << 20;

impl Repairer {
    pub(super) fn mend_table(&mut self, name: &str) -> Result<()> {
        let table_dirs = table_dirs(&self.roots, name);
        let dirs = SegmentDirs::new(name, &table_dirs);
        let listing = dirs.list()?;
        let Some(file) = self.mend_settings(name, &table_dirs, &listing)? else { return Ok(()) };
        let mut facts = Facts {
            name: name.to_owned(),
            file,
            dirs,
            table_dirs,
            cache: Arc::new(BlockCache::default()),
            older: Vec::new(),
        };
        let inventory = Inventory::of(listing);
        if !self.mend_twice(&facts, &inventory)? {
            return Ok(());
        }
        for dir in facts.dirs.all() {
            self.disk.create_dir_all(dir)?;
        }
        self.mend_keymap(&facts)?;
        for (number, files) in inventory.segments {
            if number.0 >= facts.file.lowest_segment {
                self.mend_segment(&mut facts, number, &files)?;
            }
        }
        Ok(())
    }

    /// Brings `table.metadata` to every root from the newest good copy, or makes it anew.
    fn mend_settings(
        &mut self,
        name: &str,
        table_dirs: &[DiskPath],
        listing: &Listing,
    ) -> Result<Option<TableFile>> {
        let copies = read_copies(table_dirs);
        let first_id = good_copies(&copies).next().map(|(_, file)| file.id());
        let newest = newest(&copies).map(|(_, file)| file.clone());
        let mut outdated = Vec::new();
        for TableFileCopy { path, content } in copies {
            match content {
                CopyContent::Hidden(error) => return Err(error),
                CopyContent::Bad(Error::FutureVersion { .. }) => {
                    let what = "a newer littfs wrote it, so the table is left as it is";
                    self.lost(name, &path, what);
                    return Ok(None);
                }
                CopyContent::Good { file, .. } if Some(file.id()) != first_id => {
                    let what = "the roots disagree which table this is; move the wrong folder away";
                    self.lost(name, &path, what);
                    return Ok(None);
                }
                CopyContent::Good { file, .. } if Some(&*file) == newest.as_ref() => {}
                CopyContent::Good { .. } | CopyContent::Missing | CopyContent::Bad(_) => {
                    outdated.push(path);
                }
            }
        }
        let (file, is_new) = match newest {
            Some(newest) => (newest, false),
            None => match self.settings_of_segments(name, listing)? {
                Some(made) => (made, true),
                None => return Ok(None),
            },
        };
        for path in outdated {
            let what = if is_new {
                "made anew from the segments, since no root has a good copy: time to live none, \
                 grace and mode as in a new table; set what you want again"
            } else {
                "written again from the copy of another root"
            };
            path.folder().create_dir_all()?;
            let kept = self.write_settings(&path, &file)?;
            self.mended_of(name, &path, kept, what);
        }
        Ok(Some(file))
    }

    fn write_settings(&mut self, path: &DiskPath, file: &TableFile) -> Result<Option<PathBuf>> {
        let content = encode(file, path)?;
        let root = self.root_of(path)?;
        self.aside.replace(&root, path, &content)
    }

    /// Settings for a table that lost them in every root. Identity and salt stand in the metadata
    /// of every segment.
    fn settings_of_segments(&mut self, name: &str, listing: &Listing) -> Result<Option<TableFile>> {
        let mut found: Vec<SegmentMetadata> = Vec::new();
        for (file, path) in &listing.files {
            if matches!(file, SegmentFile::Metadata(_))
                && let Ok(metadata) = read_metadata(path)
            {
                found.push(metadata);
            }
        }
        found.sort_unstable_by_key(|metadata| metadata.segment);
        let (Some(oldest), Some(newest)) = (found.first(), found.last()) else {
            let path = self.roots.dir(RootId::FIRST).join(name);
            let what = "neither its table.metadata nor any N.metadata is good, so nobody knows its \
                        salt; put one of them back from a backup, or move the folder away";
            if listing.files.iter().any(|(file, ..)| file.segment().is_some()) {
                self.lost(name, &path, what);
            }
            return Ok(None);
        };
        let settings = TableSettings::default();
        let number = self.roots.take_table_number()?;
        let mut file = TableFile::new(oldest.table_id, number, oldest.salt.0);
        file.created_at_ns = oldest.opened_at_ns;
        file.grace_ns = cast::saturate_ns(settings.grace);
        file.shards = newest.shards;
        file.mode = 0o755;
        file.uid = nix::unistd::geteuid().as_raw();
        file.gid = nix::unistd::getegid().as_raw();
        file.mtime_ns = cast::saturate_signed_ns(self.now_ns);
        file.lowest_segment = oldest.segment.0.max(1);
        Ok(Some(file))
    }

    /// Sees to it that value ids up to this one are never given out again, although no name that
    /// is left has them.
    pub(super) fn keep_value_ids(&mut self, facts: &mut Facts, id_max: u64) -> Result<()> {
        if facts.file.next_value_id > id_max {
            return Ok(());
        }
        facts.file.next_value_id = id_max + 1;
        facts.file.revision += 1;
        for dir in facts.table_dirs.clone() {
            self.write_settings(&dir.join(TABLE_FILE), &facts.file)?;
        }
        Ok(())
    }

    /// Leaves one of each segment file. Of equal files in two roots one is moved away; when they
    /// differ nobody knows which one is right. Tells whether there is now one of each.
    fn mend_twice(&mut self, facts: &Facts, inventory: &Inventory) -> Result<bool> {
        let mut is_clear = true;
        for SecondFile { first, second, .. } in
            inventory.segments.values().flat_map(|files| &files.twice)
        {
            if self.are_equal(first, second)? {
                let what = format!("moved away, since {} is the same", first.display());
                let root = self.root_of(second)?;
                let kept = self.aside.remove(&root, second)?;
                self.mended(facts, second, Some(kept), what);
            } else {
                let what = format!(
                    "{} has the same name and other bytes; move away the one that is not wanted, \
                     then repair again",
                    first.display()
                );
                self.lost(&facts.name, second, what);
                is_clear = false;
            }
        }
        Ok(is_clear)
    }

    fn are_equal(&self, one: &Path, other: &Path) -> Result<bool> {
        let (one, other) = (self.disk.open(one)?, self.disk.open(other)?);
        let bytes = one.len()?;
        if bytes != other.len()? {
            return Ok(false);
        }
        let read = |file: &DiskFile, at| {
            let mut buffer = vec![0; COMPARE_BYTES];
            let filled = file.read_at(&mut buffer, at)?;
            buffer.truncate(filled);
            Ok(buffer)
        };
        for at in (0..bytes).step_by(COMPARE_BYTES) {
            if read(&one, at)? != read(&other, at)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The directory of the root that a path is in.
    pub(super) fn root_of(&self, path: &DiskPath) -> Result<DiskPath> {
        let root = path.root().map(|root| self.roots.dir(root).clone());
        root.ok_or_else(|| Error::Root {
            root: path.to_path_buf(),
            reason: "this path is in none of the roots".to_owned(),
        })
    }

    /// Where a file of this name is to be made when it is missing.
    pub(super) fn usual_path(facts: &Facts, name: &str) -> DiskPath {
        facts.dirs.usual_path(name)
    }
}
