//! The run and the metadata of a sealed segment.

use std::path::Path;
use std::sync::Arc;

use super::names::{self, Mentions};
use super::records::{Extents, Unnamed, unnamed};
use super::segment::Patient;
use super::{Facts, Repairer};
use crate::disk::{DiskFile, temporary_path};
use crate::error::Result;
use crate::format::entry::{Entry, Mention};
use crate::format::key_hash::Salt;
use crate::format::location::Location;
use crate::format::log_record::LOG_MAGIC;
use crate::format::run_footer::RunSummary;
use crate::format::segment_metadata::{SegmentMetadata, SegmentSummary};
use crate::format::sort_key::sort_key;
use crate::layout::segment_files::keys_name;
use crate::names::{Run, RunWriter};
use crate::segment::key_log;
use crate::segment::value::RecordBytes;

impl Repairer {
    /// Sees to it that a sealed segment has a good run, and metadata that agrees with it.
    pub(super) fn mend_sealed(&mut self, facts: &mut Facts, patient: &Patient<'_>) -> Result<()> {
        self.report_missing_shards(facts, patient);
        let opened = match &patient.files.keys {
            None => None,
            Some(path) => self.good_run(facts, patient, path).ok(),
        };
        let run = match opened {
            Some(run) => run,
            None => self.rebuild_run(facts, patient)?,
        };
        self.mend_summary(facts, patient, &run)?;
        facts.older.push(run);
        Ok(())
    }

    /// The run, every byte of which was verified.
    fn good_run(&self, facts: &Facts, patient: &Patient<'_>, path: &Path) -> Result<Arc<Run>> {
        let file = Arc::new(self.disk.open(path)?);
        let source = move || Ok(Arc::clone(&file));
        let (cache, id) = (Arc::clone(&facts.cache), facts.file.id());
        let run = Run::open(Box::new(source), cache, id, patient.number)?;
        run.verify()?;
        Ok(Arc::new(run))
    }

    /// Writes a run anew: from what the old one still says, and from the records that it does not
    /// name.
    fn rebuild_run(&mut self, facts: &Facts, patient: &Patient<'_>) -> Result<Arc<Run>> {
        let name = keys_name(patient.number);
        let found = patient.files.keys.clone();
        let path = found.unwrap_or_else(|| Self::usual_path(facts, &name));
        let mut mentions = self.mentions_left(facts, patient)?;
        let known = mentions.len();
        self.add_unnamed(facts, patient, &mut mentions)?;
        let recovered = mentions.len() - known;
        self.drop_keymap(facts, &format!("the run of segment {} was rebuilt", patient.number))?;
        let temporary = temporary_path(&path);
        if self.disk.exists(&temporary)? {
            self.disk.unlink(&temporary)?;
        }
        let salt = Salt(facts.file.salt());
        let mut writer =
            RunWriter::create(&self.disk, &temporary, facts.file.id(), patient.number, salt)?;
        for (sort_key, mention) in &mentions {
            writer.push(sort_key, mention)?;
        }
        let counted = writer.finish()?;
        let root = self.root_of(&path)?;
        let kept = self.aside.install(&root, &path)?;
        let what = format!(
            "rebuilt: {known} names from what was left of it, {recovered} from the records in the \
             shards; names that this segment removed, renamed or stored again may be as before"
        );
        if let Some(summary) = patient.metadata.and_then(|metadata| metadata.sealed) {
            let (had, has) = (summary.files + summary.folders, counted.files + counted.folders);
            if has < had {
                let lost = had - has;
                self.lost(&facts.name, &path, format!("{lost} of {had} names of the segment"));
            }
        }
        self.mended(facts, &path, kept, what);
        self.good_run(facts, patient, &path)
    }

    /// What can still be read of the key file, be it a damaged run or a log in its place.
    fn mentions_left(&self, facts: &Facts, patient: &Patient<'_>) -> Result<Mentions> {
        let Some(path) = &patient.files.keys else { return Ok(Mentions::new()) };
        let file = self.disk.open(path)?;
        let mut start = [0; 3];
        let filled = file.read_at(&mut start, 0)?;
        if start[..filled] != LOG_MAGIC {
            let is_foreign = names::footer(&file).is_some_and(|footer| {
                footer.table != facts.file.id() || footer.segment != patient.number
            });
            if is_foreign {
                return Ok(Mentions::new());
            }
            let mut mentions = names::of_run(&file, patient.number)?;
            self.retain_own(patient, &mut mentions, |_, _| true)?;
            return Ok(mentions);
        }
        if !is_log_of(&file, facts, patient) {
            return Ok(Mentions::new());
        }
        // Records were brought up to date when the segment was sealed, so they count more than an
        // older log.
        let mut mentions = names::of_log(&file)?;
        self.retain_own(patient, &mut mentions, |key, record| {
            !record.header.dead && sort_key(record.key()) == key
        })?;
        Ok(mentions)
    }

    /// Drops the mentions whose record is that of another value, or is refused by `is_right`.
    fn retain_own(
        &self,
        patient: &Patient<'_>,
        mentions: &mut Mentions,
        is_right: impl Fn(&[u8], &RecordBytes) -> bool,
    ) -> Result<()> {
        mentions.retain(|_, mention| is_own(mention, patient));
        for (shard, path) in Self::packed(patient) {
            let file = self.disk.open(path)?;
            mentions.retain(|key, mention| match mention {
                Mention::Put(entry) if entry.location.shard == shard => {
                    // What cannot be read is not judged: its name stays, and readers get the error.
                    RecordBytes::read(&file, entry.location.offset, 0).map_or(true, |record| {
                        record.header.id == entry.id && is_right(key, &record)
                    })
                }
                _ => true,
            });
        }
        Ok(())
    }

    /// Adds the records of the shards that no mention names.
    fn add_unnamed(
        &self,
        facts: &Facts,
        patient: &Patient<'_>,
        mentions: &mut Mentions,
    ) -> Result<()> {
        let sealed = patient.metadata.and_then(|metadata| metadata.sealed);
        let is_plausible = |record: &Unnamed| {
            !record.header.dead
                && sealed.is_none_or(|sealed| {
                    record.entry.id.0 <= sealed.value_id_max
                        && record.entry.written_at_ns <= sealed.last_written_at_ns
                })
        };
        for (shard, path) in Self::packed(patient) {
            let known: Extents = extents(mentions.values(), shard);
            let found = unnamed(&self.disk.open(path)?, patient.number, shard, &known)?;
            for record in found.into_iter().filter(is_plausible) {
                let key = sort_key(&record.key);
                let is_newer = match mentions.get(&key) {
                    Some(Mention::Put(entry)) => entry.id < record.entry.id,
                    Some(Mention::Removed { .. }) | None => true,
                };
                if is_newer {
                    let supersedes = superseded(facts, &key)?;
                    mentions.insert(key, Mention::Put(Entry { supersedes, ..record.entry }));
                }
            }
        }
        Ok(())
    }

    /// Writes the metadata when it is damaged or does not agree with the run.
    fn mend_summary(
        &mut self,
        facts: &mut Facts,
        patient: &Patient<'_>,
        run: &Arc<Run>,
    ) -> Result<()> {
        let counted = run.summary();
        let old = patient.metadata.and_then(|metadata| metadata.sealed);
        if let (Some(_), None) = (patient.metadata, old) {
            // The next open finishes the sealing.
            return Ok(());
        }
        if old.is_some_and(|old| agrees(&old, counted)) {
            return Ok(());
        }
        if let Some(old) = old.filter(|old| old.value_id_max > counted.id_max.0) {
            self.keep_value_ids(facts, old.value_id_max)?;
        }
        let superseded_keys = count_superseded(run)?;
        let summary = summary_of(counted, old, superseded_keys, self.now_ns);
        let bare = Self::bare_metadata(facts, patient, summary.first_written_at_ns);
        let metadata =
            SegmentMetadata { sealed: Some(summary), ..patient.metadata.unwrap_or(bare) };
        self.write_metadata(facts, patient, &metadata, "written again from the run of the segment")
    }
}

/// How many keys of earlier segments the run took the place of.
fn count_superseded(run: &Run) -> Result<u64> {
    let mut scan = run.scan_all()?;
    let mut count = 0;
    while let Some((_, mention)) = scan.next()? {
        let (Mention::Put(Entry { supersedes, .. }) | Mention::Removed { supersedes }) = mention;
        count += u64::from(supersedes.is_some());
    }
    Ok(count)
}

/// Whether a key log belongs to this segment, as far as its header tells.
fn is_log_of(file: &DiskFile, facts: &Facts, patient: &Patient<'_>) -> bool {
    key_log::read_header(file).map_or(true, |header| {
        header.table_id == facts.file.id() && header.segment == patient.number
    })
}

/// Whether a mention can be one of this segment.
fn is_own(mention: &Mention, patient: &Patient<'_>) -> bool {
    match mention {
        Mention::Put(entry) => {
            entry.location.segment == patient.number && entry.location.shard < patient.shards
        }
        Mention::Removed { .. } => true,
    }
}

/// Where in a shard the records of these mentions stand.
pub(super) fn extents<'m>(mentions: impl Iterator<Item = &'m Mention>, shard: u8) -> Extents {
    let put = mentions.filter_map(|mention| match mention {
        Mention::Put(entry) if entry.location.shard == shard => Some(entry),
        _ => None,
    });
    put.map(|entry| (entry.location.offset, u64::from(entry.record_bytes))).collect()
}

/// The record of an earlier segment that a key takes the place of.
pub(super) fn superseded(facts: &Facts, sort_key: &[u8]) -> Result<Option<Location>> {
    for run in facts.older.iter().rev() {
        match run.get(sort_key)? {
            Some(Mention::Put(entry)) => return Ok(Some(entry.location)),
            Some(Mention::Removed { .. }) => return Ok(None),
            None => {}
        }
    }
    Ok(None)
}

fn agrees(summary: &SegmentSummary, run: &RunSummary) -> bool {
    summary.files == run.files
        && summary.folders == run.folders
        && summary.removals == run.removed
        && summary.value_bytes == run.value_bytes
        && summary.value_id_max == run.id_max.0
        && summary.first_written_at_ns <= run.written_at_ns_min
        && summary.last_written_at_ns >= run.written_at_ns_max
}

fn summary_of(
    run: &RunSummary,
    old: Option<SegmentSummary>,
    superseded_keys: u64,
    now_ns: u64,
) -> SegmentSummary {
    let first = run.written_at_ns_min.min(run.written_at_ns_max);
    SegmentSummary {
        sealed_at_ns: old.map_or(now_ns, |old| old.sealed_at_ns),
        first_written_at_ns: old.map_or(first, |old| old.first_written_at_ns.min(first)),
        last_written_at_ns: run.written_at_ns_max.max(old.map_or(0, |old| old.last_written_at_ns)),
        value_id_max: run.id_max.0,
        files: run.files,
        folders: run.folders,
        removals: run.removed,
        value_bytes: run.value_bytes,
        superseded_keys,
        superseded_bytes: old.map_or(0, |old| old.superseded_bytes),
    }
}
