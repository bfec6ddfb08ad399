//! One segment as a whole: its metadata, its names, and that they agree with each other.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::names::Layers;
use super::records::SegmentRecords;
use super::{Checker, Finding, TableFacts, log, run};
use crate::disk::{DiskFile, DiskPath};
use crate::error::{Error, Result};
use crate::format::attributes::Kind;
use crate::format::entry::{Entry, Mention};
use crate::format::key_hash::{KeyHash, Salt};
use crate::format::location::SegmentNumber;
use crate::format::log_record::{LOG_MAGIC, LogRecord};
use crate::format::run_bloom::BloomPage;
use crate::format::run_footer::{RUN_FOOTER_BYTES, RunFooter, RunSummary};
use crate::format::run_header::is_run;
use crate::format::segment_metadata::{SEGMENT_METADATA_BYTES, SegmentMetadata};
use crate::format::sort_key::plain_key;
use crate::layout::inventory::SegmentFiles;
use crate::layout::segment_files::{keys_name, metadata_name, read_metadata, values_name};
use crate::names::run_writer::parent_sort_key;
use crate::names::{Layer, Memtable, Run};
use crate::segment::descriptors::{FileKey, RUN_FILE};
use crate::segment::key_log;

impl Checker<'_> {
    /// Checks all files of a segment. Its names go to `layers` when they can be read in order.
    pub(super) fn check_segment(
        &mut self,
        facts: &TableFacts,
        number: SegmentNumber,
        files: &SegmentFiles,
        layers: &mut Layers,
    ) {
        let metadata = self.check_metadata(facts, number, files);
        let shards = metadata.map_or(0, |metadata| u32::from(metadata.shards));
        let mut records = SegmentRecords::new(number, shards);
        for shard in 0..shards {
            if !files.values.contains_key(&shard) {
                let path = facts.usual_path(&values_name(number, shard));
                let what = "this packed shard is missing in every root: put it back, or its values \
                            are lost";
                records.fail(shard, Finding::damage(&path, what));
            }
        }
        let layer = match &files.keys {
            None => {
                let path = facts.usual_path(&keys_name(number));
                let what = format!(
                    "it is missing in every root, so no name of segment {number} is known: put \
                             it back, or `littfs check --repair` rebuilds it from the shards"
                );
                self.add(Finding::damage(&path, what));
                None
            }
            Some(path) => self
                .check_keys(facts, number, path, metadata.as_ref(), &mut records)
                .unwrap_or_else(|error| {
                    self.add(Finding::of_error(&error, path));
                    None
                }),
        };
        records.is_incomplete |= layer.is_none();
        self.finish_records(facts, &mut records);
        self.check_gaps(files, &mut records);
        layers.add(number, layer, records.is_sealed);
    }

    fn check_metadata(
        &mut self,
        facts: &TableFacts,
        number: SegmentNumber,
        files: &SegmentFiles,
    ) -> Option<SegmentMetadata> {
        let Some(path) = &files.metadata else {
            let path = facts.usual_path(&metadata_name(number));
            let what = "it is missing in every root, so the table cannot be opened unless nothing \
                        was ever stored in the segment: put it back, or `littfs check --repair` \
                        writes it again from the key file";
            self.add(Finding::damage(&path, what));
            return None;
        };
        self.report.counts.files += 1;
        match self.read_metadata(facts, number, path) {
            Ok(metadata) => Some(metadata),
            Err(error) => {
                self.add(Finding::of_error(&error, path));
                None
            }
        }
    }

    fn read_metadata(
        &mut self,
        facts: &TableFacts,
        number: SegmentNumber,
        path: &DiskPath,
    ) -> Result<SegmentMetadata> {
        let metadata = read_metadata(path)?;
        self.advance(SEGMENT_METADATA_BYTES as u64);
        if metadata.table_id != facts.file.id() || metadata.segment != number {
            return Err(Error::corrupt(path, 8, "it belongs to another table or segment"));
        }
        if metadata.salt != Salt(facts.file.salt()) {
            return Err(Error::corrupt(path, 32, "its salt is not that of the table"));
        }
        Ok(metadata)
    }

    /// Checks `N.keys`, be it a log or a run, and every record that it mentions.
    fn check_keys(
        &mut self,
        facts: &TableFacts,
        number: SegmentNumber,
        path: &Path,
        metadata: Option<&SegmentMetadata>,
        records: &mut SegmentRecords,
    ) -> Result<Option<Layer>> {
        self.report.counts.files += 1;
        let file = Arc::new(self.disk.open(path)?);
        let mut start = [0; 8];
        let filled = file.read_at(&mut start, 0)?;
        let says_run = is_run(&start[..filled]);
        let says_log = start.starts_with(&LOG_MAGIC);
        let is_marked_sealed = metadata.is_some_and(|metadata| metadata.sealed.is_some());
        if is_marked_sealed && says_log {
            let what = "the metadata says the segment is sealed, but this is a key log, not a run";
            self.add(Finding::damage(path, what).at(0));
        }
        if metadata.is_some() && !is_marked_sealed && says_run {
            let what = "sealing was cut short after the run was written; the next open finishes it";
            self.add(Finding::note(path, what));
        }
        records.is_sealed = says_run || (is_marked_sealed && !says_log);
        if records.is_sealed {
            self.check_run(facts, number, &file, metadata, records)
        } else {
            self.check_log(facts, &file, metadata, records)
        }
    }

    fn check_run(
        &mut self,
        facts: &TableFacts,
        number: SegmentNumber,
        file: &Arc<DiskFile>,
        metadata: Option<&SegmentMetadata>,
        records: &mut SegmentRecords,
    ) -> Result<Option<Layer>> {
        let opened = self.open_run(facts, number);
        let (opened, problem) = match opened {
            Ok(run) => (Some(Arc::new(run)), None),
            Err(error) => (None, Some(error)),
        };
        let mut is_good = problem.is_none();
        if let Some(error) = problem {
            let finding = Finding::of_error(&error, file.path());
            let what = format!(
                "{}; no name of segment {number} can be read: `littfs check --repair` rebuilds it \
                 from the shards",
                finding.what
            );
            self.add(Finding { what, ..finding });
        }
        let footer = self.check_footer(file);
        // Without a footer the blocks still tell where they are; what follows them is no block.
        let end = footer.map_or(file.len()?, |footer| footer.blocks_end);
        let mut counted = RunSummary::EMPTY;
        let mut guide = Guide { run: opened.clone(), folder: None, salt: Salt(facts.file.salt()) };
        let walked = run::walk(self, file, number, end, |checker, step| {
            counted.count(&step.mention);
            let key = plain_key(step.sort_key);
            checker.check_mention(file.path(), &key, &step.mention, number);
            if let Some(complaint) = guide.complaint(step) {
                checker.add(complaint);
                guide.run = None;
            }
            if let Mention::Put(entry) = &step.mention {
                checker.expect(facts, records, &key, entry);
            }
            Ok(())
        })?;
        is_good &= walked;
        self.report.counts.mentions += counted.mentions();
        if let Some(footer) = footer {
            is_good &= self.check_bloom(file, &footer)?;
            if is_good && !footer.summary.is_of(&counted) {
                let what = "the run does not hold what its footer counts";
                self.add(Finding::damage(file.path(), what).at(footer.blocks_end));
            }
            if let Some(metadata) = metadata {
                self.check_summary(facts, metadata, &footer.summary);
            }
        }
        Ok(opened.filter(|_| is_good).map(Layer::Run))
    }

    fn open_run(&self, facts: &TableFacts, number: SegmentNumber) -> Result<Run> {
        let (dirs, descriptors) = (facts.dirs.clone(), Arc::clone(&self.descriptors));
        let key = FileKey { table: facts.file.number, segment: number, file: RUN_FILE };
        let source = move || descriptors.get(key, || dirs.open(&keys_name(number)));
        Run::open(Box::new(source), Arc::clone(&facts.cache), facts.file.id(), number)
    }

    /// The footer, when there is a good one. `Run::open` has told what is wrong with a bad one.
    fn check_footer(&mut self, file: &DiskFile) -> Option<RunFooter> {
        let bytes = file.len().ok()?;
        let mut footer = [0; RUN_FOOTER_BYTES];
        file.read_exact_at(&mut footer, bytes.checked_sub(RUN_FOOTER_BYTES as u64)?).ok()?;
        let footer = RunFooter::decode(&footer, bytes).ok()?;
        self.advance(RUN_FOOTER_BYTES as u64);
        Some(footer)
    }

    fn check_bloom(&mut self, file: &DiskFile, footer: &RunFooter) -> Result<bool> {
        let mut is_good = true;
        let page_bytes = footer.bloom.page_bytes as usize;
        for number in 0..footer.bloom.pages {
            let position = footer.blocks_end + u64::from(number) * page_bytes as u64;
            let mut bytes = vec![0; page_bytes];
            file.read_exact_at(&mut bytes, position)?;
            if let Err(malformed) = BloomPage::decode(bytes, number) {
                is_good = false;
                let error = malformed.in_file(file.path(), position);
                self.add(Finding::of_error(&error, file.path()));
            }
            self.advance(page_bytes as u64);
        }
        Ok(is_good)
    }

    /// Compares the summary of the metadata with what the run counted.
    fn check_summary(&mut self, facts: &TableFacts, metadata: &SegmentMetadata, run: &RunSummary) {
        let Some(summary) = metadata.sealed else { return };
        let counts_agree = summary.files == run.files
            && summary.folders == run.folders
            && summary.removals == run.removed
            && summary.value_bytes == run.value_bytes
            && summary.value_id_max == run.id_max.0;
        let times_agree = summary.first_written_at_ns <= run.written_at_ns_min
            && summary.last_written_at_ns >= run.written_at_ns_max;
        if !counts_agree || !times_agree {
            let what = if counts_agree {
                "its times do not cover what its run holds, so it may expire too early"
            } else {
                "its counts are not those of its run"
            };
            let name = metadata_name(metadata.segment);
            let opened = facts.dirs.open(&name).map(|file| file.path().to_path_buf());
            let path = opened.unwrap_or_else(|_| facts.usual_path(&name));
            self.add(Finding::damage(&path, what).at(64));
        }
    }

    fn check_log(
        &mut self,
        facts: &TableFacts,
        file: &Arc<DiskFile>,
        metadata: Option<&SegmentMetadata>,
        records: &mut SegmentRecords,
    ) -> Result<Option<Layer>> {
        let number = records.number;
        let opened_at_ns = metadata.map_or(0, |metadata| metadata.opened_at_ns);
        let table_id = facts.file.id();
        let header = key_log::read_header(file).and_then(|header| {
            key_log::check_header(&header, table_id, number, file).map(|()| header)
        });
        match header {
            Err(error) => self.add(Finding::of_error(&error, file.path())),
            Ok(header) if metadata.is_some() && header.opened_at_ns != opened_at_ns => {
                let what = "it was opened at another time than its metadata says";
                self.add(Finding::damage(file.path(), what).at(32));
            }
            Ok(header) if metadata.is_some_and(|metadata| metadata.shards != header.shards) => {
                let what = "it has another number of shards than its metadata says";
                self.add(Finding::damage(file.path(), what).at(28));
            }
            Ok(_) => {}
        }
        let salt = Salt(facts.file.salt());
        let memtable = Arc::new(Memtable::new());
        // Records behind the last synced mark, by the end of their log record.
        let mut uncertain: Vec<(u64, (u8, u64))> = Vec::new();
        let (logged, unsettled) = (&mut records.logged, &mut records.unsettled);
        log::walk(self, file, |checker, record, end| {
            let mut take = |key: &[u8], mention: Mention| {
                checker.report.counts.mentions += 1;
                checker.check_mention(file.path(), key, &mention, number);
                if let Mention::Put(entry) = &mention {
                    let place = (entry.location.shard, entry.location.offset);
                    uncertain.push((end, place));
                    // Sealing rewrites those of folders, and of what changed after it was stored.
                    if !logged.insert(place) || entry.kind() == Kind::Folder {
                        unsettled.insert(place);
                    }
                }
                memtable.put(KeyHash::new(salt, key), key, mention);
            };
            match record {
                LogRecord::Mention(key, mention) => take(key, mention),
                LogRecord::Batch(parts) => parts.into_iter().for_each(|(key, m)| take(key, m)),
                LogRecord::Synced(bytes) => uncertain.retain(|(end, _)| *end > bytes),
            }
        })?;
        records.uncertain = uncertain.into_iter().map(|(_, place)| place).collect::<HashSet<_>>();
        for (sort_key, mention) in memtable.in_order() {
            if let Mention::Put(entry) = mention {
                self.expect(facts, records, &plain_key(&sort_key), &entry);
            }
        }
        Ok(Some(Layer::Memtable(memtable)))
    }

    /// Checks what can be known of a mention by itself.
    fn check_mention(&mut self, path: &Path, key: &[u8], mention: &Mention, own: SegmentNumber) {
        let complaint = match mention {
            _ if crate::table::check_key(key).is_err() => "no file or folder can have this name",
            Mention::Put(entry) if (entry.kind() == Kind::Folder) != key.ends_with(b"/") => {
                "its kind and its name contradict each other: folders, and only they, end in '/'"
            }
            Mention::Put(Entry { supersedes: Some(earlier), .. })
            | Mention::Removed { supersedes: Some(earlier) }
                if earlier.segment >= own =>
            {
                "it takes the place of a record that is not in an earlier segment"
            }
            _ => return,
        };
        let keys = super::AffectedKeys::one(key);
        self.add(Finding::damage(path, complaint).affecting(keys));
    }
}

/// Asks a run the questions that readers ask: its index must lead to every block, its bloom filter
/// must know every folder.
struct Guide {
    /// Gone after the first complaint.
    run: Option<Arc<Run>>,
    folder: Option<Vec<u8>>,
    salt: Salt,
}

impl Guide {
    fn complaint(&mut self, step: &run::RunMention<'_>) -> Option<Finding> {
        let run = self.run.as_ref()?;
        let keys = super::AffectedKeys::one(&plain_key(step.sort_key));
        if step.is_first_of_block {
            let what = match run.get(step.sort_key) {
                Ok(Some(mention)) if mention == step.mention => None,
                Ok(_) => Some("the index of the run does not lead to this name".to_owned()),
                // The damaged block itself is reported by the walk over all blocks.
                Err(_) => None,
            };
            if let Some(what) = what {
                return Some(Finding::damage(run.path(), what).affecting(keys));
            }
        }
        let folder = parent_sort_key(step.sort_key);
        if self.folder.as_deref() == Some(folder) {
            return None;
        }
        self.folder = Some(folder.to_vec());
        match run.may_hold_folder(KeyHash::new(self.salt, &plain_key(folder))) {
            Ok(false) => {
                let what = "the bloom filter of the run hides the folder of this name in listings";
                Some(Finding::damage(run.path(), what).affecting(keys))
            }
            Ok(true) | Err(_) => None,
        }
    }
}
