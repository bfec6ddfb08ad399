//! One segment: what it must have been, by what is left of it.

use std::collections::BTreeSet;
use std::path::Path;

use super::records::{Extents, unnamed};
use super::{Facts, Repairer, names};
use crate::disk::DiskPath;
use crate::error::{Error, Result};
use crate::format::entry::Mention;
use crate::format::key_hash::Salt;
use crate::format::location::SegmentNumber;
use crate::format::log_record::{LOG_HEADER_BYTES, LOG_MAGIC};
use crate::format::run_header::is_run;
use crate::format::segment_metadata::SegmentMetadata;
use crate::layout::inventory::SegmentFiles;
use crate::layout::segment_files::{metadata_name, read_metadata, values_name};
use crate::segment::key_log;

/// What a key file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyFile {
    Missing,
    Run,
    Log,
    Unknown,
}

/// A segment under repair.
pub(super) struct Patient<'a> {
    pub(super) number: SegmentNumber,
    pub(super) files: &'a SegmentFiles,
    /// The metadata, if it is good.
    pub(super) metadata: Option<SegmentMetadata>,
    /// Packed shards.
    pub(super) shards: u8,
}

impl Repairer {
    pub(super) fn mend_segment(
        &mut self,
        facts: &mut Facts,
        number: SegmentNumber,
        files: &SegmentFiles,
    ) -> Result<()> {
        if files.metadata.is_none() && self.is_blank(files)? {
            // The making of it was cut short; the next open removes it.
            return Ok(());
        }
        let metadata = files.metadata.as_ref().map(|path| own_metadata(facts, number, path));
        if let Some(Err(Error::FutureVersion { path, .. })) = &metadata {
            self.lost(
                &facts.name,
                path,
                "a newer littfs wrote it, so the segment is left as it is",
            );
            return Ok(());
        }
        let metadata = metadata.and_then(Result::ok);
        let shards = match metadata {
            Some(metadata) => metadata.shards,
            None => match self.shards_of_keys(facts, number, files)? {
                Some(shards) => shards,
                None => self.guess_shards(facts, number, files)?,
            },
        };
        let patient = Patient { number, files, metadata, shards };
        let is_sealed = metadata.is_some_and(|metadata| metadata.sealed.is_some());
        match self.kind_of(files.keys.as_deref())? {
            KeyFile::Run => self.mend_sealed(facts, &patient),
            _ if is_sealed => self.mend_sealed(facts, &patient),
            KeyFile::Unknown if metadata.is_none() && self.ends_like_a_run(files)? => {
                self.mend_sealed(facts, &patient)
            }
            KeyFile::Log | KeyFile::Missing | KeyFile::Unknown => {
                self.mend_unsealed(facts, &patient)
            }
        }
    }

    /// Whether nothing was ever stored in it.
    fn is_blank(&self, files: &SegmentFiles) -> Result<bool> {
        for path in files.values.values().chain(&files.keys) {
            if self.disk.open(path)?.len()? > LOG_HEADER_BYTES as u64 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn kind_of(&self, keys: Option<&Path>) -> Result<KeyFile> {
        let Some(path) = keys else { return Ok(KeyFile::Missing) };
        let mut start = [0; 8];
        let filled = self.disk.open(path)?.read_at(&mut start, 0)?;
        Ok(match &start[..filled] {
            start if is_run(start) => KeyFile::Run,
            start if start.starts_with(&LOG_MAGIC) => KeyFile::Log,
            _ => KeyFile::Unknown,
        })
    }

    fn ends_like_a_run(&self, files: &SegmentFiles) -> Result<bool> {
        match &files.keys {
            Some(path) => Ok(names::footer(&self.disk.open(path)?).is_some()),
            None => Ok(false),
        }
    }

    /// How many shards are packed ones by the key file: a log says so, a run names records in them.
    fn shards_of_keys(
        &self,
        facts: &Facts,
        number: SegmentNumber,
        files: &SegmentFiles,
    ) -> Result<Option<u8>> {
        let Some(path) = &files.keys else { return Ok(None) };
        let file = self.disk.open(path)?;
        if let Ok(header) = key_log::read_header(&file) {
            let is_own = key_log::check_header(&header, facts.file.id(), number, &file).is_ok();
            return Ok(is_own.then_some(header.shards));
        }
        let is_own = names::footer(&file)
            .is_some_and(|footer| footer.table == facts.file.id() && footer.segment == number);
        if !is_own {
            return Ok(None);
        }
        let mentions = names::of_run(&file, number)?;
        let named = mentions.values().filter_map(|mention| match mention {
            Mention::Put(entry) => Some(entry.location.shard),
            Mention::Removed { .. } => None,
        });
        let named = named.max().map_or(0, |shard| shard.saturating_add(1));
        Ok(Some(named.max(self.guess_shards(facts, number, files)?)))
    }

    /// How many shards are packed ones when nothing says it: those from 0 on that are empty or
    /// hold records and that no record names as the file of its value. One too many does no harm.
    fn guess_shards(
        &self,
        facts: &Facts,
        number: SegmentNumber,
        files: &SegmentFiles,
    ) -> Result<u8> {
        let mut dedicated = BTreeSet::new();
        let mut count: u8 = 0;
        while let Some(path) = files.values.get(&u32::from(count)) {
            if dedicated.contains(&u32::from(count)) || count == u8::MAX {
                break;
            }
            let file = self.disk.open(path)?;
            let found = unnamed(&file, number, count, &Extents::new())?;
            if found.is_empty() && !file.is_empty()? && count >= facts.file.shards {
                break;
            }
            dedicated.extend(found.iter().map(|record| record.header.dedicated));
            count += 1;
        }
        Ok(count.max(1))
    }

    /// Writes the metadata of a segment.
    pub(super) fn write_metadata(
        &mut self,
        facts: &Facts,
        patient: &Patient<'_>,
        metadata: &SegmentMetadata,
        what: &str,
    ) -> Result<()> {
        let found = patient.files.metadata.clone();
        let path = found.unwrap_or_else(|| Self::usual_path(facts, &metadata_name(patient.number)));
        let root = self.root_of(&path)?;
        let kept = self.aside.replace(&root, &path, &metadata.encode())?;
        self.mended(facts, &path, kept, what);
        Ok(())
    }

    /// The metadata of a segment that has none: everything but whether and how it was sealed.
    pub(super) fn bare_metadata(
        facts: &Facts,
        patient: &Patient<'_>,
        opened_at_ns: u64,
    ) -> SegmentMetadata {
        SegmentMetadata {
            table_id: facts.file.id(),
            segment: patient.number,
            shards: patient.shards,
            salt: Salt(facts.file.salt()),
            opened_at_ns,
            sealed: None,
        }
    }

    /// The packed shards that are there, each with its number.
    pub(super) fn packed<'f>(
        patient: &Patient<'f>,
    ) -> impl Iterator<Item = (u8, &'f DiskPath)> + use<'f> {
        let files = patient.files;
        (0..patient.shards).filter_map(move |shard| {
            let path = files.values.get(&u32::from(shard))?;
            Some((shard, path))
        })
    }

    /// Reports the packed shards that are not there.
    pub(super) fn report_missing_shards(&mut self, facts: &Facts, patient: &Patient<'_>) {
        for shard in 0..patient.shards {
            if !patient.files.values.contains_key(&u32::from(shard)) {
                let path = Self::usual_path(facts, &values_name(patient.number, u32::from(shard)));
                let what = "it is missing in every root: its values are lost unless it is put back";
                self.lost(&facts.name, &path, what);
            }
        }
    }
}

/// The metadata at this path, if it is good and that of this segment.
fn own_metadata(facts: &Facts, number: SegmentNumber, path: &DiskPath) -> Result<SegmentMetadata> {
    let metadata = read_metadata(path)?;
    if metadata.table_id != facts.file.id()
        || metadata.segment != number
        || metadata.salt != Salt(facts.file.salt())
    {
        return Err(Error::corrupt(path, 8, "it belongs to another table or segment"));
    }
    Ok(metadata)
}
