//! The key log and the metadata of a segment that is not sealed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::names::{self, LogParts, mentions_of};
use super::records::{Extents, Unnamed, unnamed};
use super::segment::Patient;
use super::{Facts, Repairer};
use crate::disk::{Disk, DiskFile, DiskPath, temporary_path};
use crate::error::Result;
use crate::format::entry::{Entry, Mention};
use crate::format::log_record::{LogHeader, LogRecord, encode_mention, encode_synced};
use crate::format::sort_key::sort_key;
use crate::layout::segment_files::{keys_name, values_name};
use crate::segment::key_log;
use crate::segment::value::{RecordBytes, ValueBytes};

const BUFFER_BYTES: usize = 1 << 20;
const RECORD_START_BYTES: usize = 4096;

/// What the good records of a log say.
#[derive(Default)]
struct Said {
    /// Where records stand that some mention names, with their length, by shard.
    extents: HashMap<u8, Extents>,
    /// The newest value id of each key.
    ids: HashMap<Vec<u8>, u64>,
    /// Entries behind the last synced mark, each with the end of its record.
    uncertain: Vec<(u64, Entry)>,
    id_max: u64,
}

impl Repairer {
    /// Sees to it that the log of a segment can be taken up again, and that it has all its files.
    pub(super) fn mend_unsealed(&mut self, facts: &mut Facts, patient: &Patient<'_>) -> Result<()> {
        let name = keys_name(patient.number);
        let found = patient.files.keys.clone();
        let path = found.clone().unwrap_or_else(|| Self::usual_path(facts, &name));
        let file = match &found {
            Some(path) => Some(self.disk.open(path)?),
            None => None,
        };
        // What belongs to another segment says nothing of this one.
        let is_own = |file: &DiskFile| {
            key_log::read_header(file).map_or(true, |header| {
                key_log::check_header(&header, facts.file.id(), patient.number, file).is_ok()
            })
        };
        let file = file.filter(is_own);
        let parts = match &file {
            Some(file) => names::parts_of_log(file)?,
            None => LogParts::default(),
        };
        let header = file.as_ref().and_then(|file| key_log::read_header(file).ok());
        let fits = |header: &LogHeader| {
            patient.metadata.is_none_or(|metadata| {
                metadata.shards == header.shards && metadata.opened_at_ns == header.opened_at_ns
            })
        };
        let header = header.filter(fits);
        let mut said = Said::default();
        if let Some(file) = &file {
            said.read(file, &parts)?;
        }
        self.fill_missing_shards(facts, patient, &said)?;
        let opened_at_ns = match (patient.metadata, header) {
            (Some(metadata), _) => metadata.opened_at_ns,
            (None, Some(header)) => header.opened_at_ns,
            (None, None) => self.now_ns,
        };
        if header.is_none() || parts.is_damaged {
            let header = LogHeader {
                table_id: facts.file.id(),
                segment: patient.number,
                shards: patient.shards,
                opened_at_ns,
            };
            self.rebuild_log(facts, patient, &path, &header, file.as_ref(), &parts, &said)?;
        }
        if patient.metadata.is_none() {
            let shards = header.map_or(patient.shards, |header| header.shards);
            let metadata = Self::bare_metadata(facts, patient, opened_at_ns);
            let metadata = crate::format::segment_metadata::SegmentMetadata { shards, ..metadata };
            self.write_metadata(facts, patient, &metadata, "written again from the key log")?;
        }
        Ok(())
    }

    /// Makes empty files in the place of lost packed shards, as long as what stood in them, so that
    /// new records never stand where old ones did.
    fn fill_missing_shards(
        &mut self,
        facts: &Facts,
        patient: &Patient<'_>,
        said: &Said,
    ) -> Result<()> {
        self.report_missing_shards(facts, patient);
        let there: HashSet<u8> = Self::packed(patient).map(|(shard, _)| shard).collect();
        for shard in (0..patient.shards).filter(|shard| !there.contains(shard)) {
            let path = Self::usual_path(facts, &values_name(patient.number, u32::from(shard)));
            let last = said.extents.get(&shard).and_then(|extents| extents.last_key_value());
            let file = self.disk.create_new(&path)?;
            file.set_len(last.map_or(0, |(offset, bytes)| offset + bytes))?;
            file.sync_all()?;
            self.disk.sync_parent(&path)?;
            self.mended(
                facts,
                &path,
                None,
                "made anew without its values, so that the table opens",
            );
        }
        Ok(())
    }

    /// Writes the log anew: its good records, and in front of those behind the damage mentions of
    /// the whole records that no mention names.
    #[expect(clippy::too_many_arguments, reason = "everything that is known of the old log")]
    fn rebuild_log(
        &mut self,
        facts: &mut Facts,
        patient: &Patient<'_>,
        path: &DiskPath,
        header: &LogHeader,
        old: Option<&DiskFile>,
        parts: &LogParts,
        said: &Said,
    ) -> Result<()> {
        let dropped = self.not_whole(facts, patient, said)?;
        let unnamed = self.unnamed_in_log(facts, patient, said)?;
        if !dropped.is_empty() {
            self.keep_value_ids(facts, said.id_max)?;
        }
        self.sync_shards(patient)?;
        let mut log = NewLog::create(&self.disk, path, header)?;
        let mut recovered = Some(&unnamed);
        let mut kept_records: u64 = 0;
        if let Some(file) = old {
            names::for_each_record(file, parts, |stretch, bytes, record, end| {
                if stretch > 0
                    && let Some(unnamed) = recovered.take()
                {
                    log.add_puts(unnamed)?;
                }
                if dropped.contains(&end) || matches!(record, LogRecord::Synced(_)) {
                    return Ok(());
                }
                kept_records += 1;
                log.add(bytes)
            })?;
        }
        if let Some(unnamed) = recovered {
            log.add_puts(unnamed)?;
        }
        log.finish()?;
        let root = self.root_of(path)?;
        let kept = self.aside.install(&root, path)?;
        let what = format!(
            "rebuilt: {kept_records} good records of it, {} names from the records in the shards; \
             names that were removed or renamed where it is damaged may be as before",
            unnamed.len()
        );
        self.mended(facts, path, kept, what);
        Ok(())
    }

    /// Ends of the log records behind the last synced mark whose values are not whole: a crash
    /// leaves such, and they were never promised.
    fn not_whole(&self, facts: &Facts, patient: &Patient<'_>, said: &Said) -> Result<HashSet<u64>> {
        let mut dropped = HashSet::new();
        for (end, entry) in &said.uncertain {
            let shard = u32::from(entry.location.shard);
            let path = patient.files.values.get(&shard);
            let is_whole = match path {
                Some(path) => is_whole(facts, &Arc::new(self.disk.open(path)?), entry),
                None => false,
            };
            if !is_whole {
                dropped.insert(*end);
            }
        }
        Ok(dropped)
    }

    /// The whole records in the shards that no mention names, oldest first, each key once.
    fn unnamed_in_log(
        &self,
        facts: &Facts,
        patient: &Patient<'_>,
        said: &Said,
    ) -> Result<Vec<Unnamed>> {
        let none = Extents::new();
        let mut newest: BTreeMap<Vec<u8>, Unnamed> = BTreeMap::new();
        for (shard, path) in Self::packed(patient) {
            let file = Arc::new(self.disk.open(path)?);
            let known = said.extents.get(&shard).unwrap_or(&none);
            for record in unnamed(&file, patient.number, shard, known)? {
                let is_older = said.ids.get(&record.key).is_some_and(|id| *id >= record.entry.id.0);
                // Of several records of one file the last that was written counts.
                let place = (record.entry.id, record.entry.location.offset);
                let is_beaten = newest
                    .get(&record.key)
                    .is_some_and(|other| (other.entry.id, other.entry.location.offset) > place);
                if !record.header.dead
                    && !is_older
                    && !is_beaten
                    && is_whole(facts, &file, &record.entry)
                {
                    newest.insert(record.key.clone(), record);
                }
            }
        }
        let mut records: Vec<Unnamed> = newest.into_values().collect();
        records.sort_unstable_by_key(|record| (record.entry.id, record.entry.location));
        for record in &mut records {
            record.entry.supersedes = super::run::superseded(facts, &sort_key(&record.key))?;
        }
        Ok(records)
    }

    /// What the new log says is durable must be.
    fn sync_shards(&self, patient: &Patient<'_>) -> Result<()> {
        for path in patient.files.values.values() {
            self.disk.open_writable(path)?.sync_data()?;
        }
        Ok(())
    }
}

impl Said {
    fn read(&mut self, file: &DiskFile, parts: &LogParts) -> Result<()> {
        names::for_each_record(file, parts, |_, _, record, end| {
            if let LogRecord::Synced(bytes) = record {
                self.uncertain.retain(|(end, _)| *end > bytes);
            }
            for (key, mention) in mentions_of(record) {
                if let Mention::Put(entry) = mention {
                    let extents = self.extents.entry(entry.location.shard).or_default();
                    extents.insert(entry.location.offset, u64::from(entry.record_bytes));
                    self.uncertain.push((end, entry));
                    self.id_max = self.id_max.max(entry.id.0);
                    let id = self.ids.entry(key).or_default();
                    *id = (*id).max(entry.id.0);
                }
            }
            Ok(())
        })
    }
}

/// Whether the record of an entry, and its value, are as they were written.
fn is_whole(facts: &Facts, shard: &Arc<DiskFile>, entry: &Entry) -> bool {
    let offset = entry.location.offset;
    let hint = RECORD_START_BYTES.min(entry.record_bytes as usize);
    let Ok(record) = RecordBytes::read(shard, offset, hint) else { return false };
    if record.header.id != entry.id {
        return false;
    }
    let data = match record.header.dedicated {
        0 => Ok(Arc::clone(shard)),
        dedicated => facts.dirs.open(&values_name(entry.location.segment, dedicated)).map(Arc::new),
    };
    data.and_then(|data| {
        ValueBytes::new(record.header, Arc::clone(shard), offset, data).verify_all()
    })
    .is_ok()
}

/// A log that is written beside the one it takes the place of.
struct NewLog {
    file: DiskFile,
    written: u64,
    buffer: Vec<u8>,
}

impl NewLog {
    fn create(disk: &Disk, path: &Path, header: &LogHeader) -> Result<Self> {
        let temporary = temporary_path(path);
        if disk.exists(&temporary)? {
            disk.unlink(&temporary)?;
        }
        Ok(Self { file: disk.create_new(&temporary)?, written: 0, buffer: header.encode() })
    }

    fn add(&mut self, record: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(record);
        if self.buffer.len() < BUFFER_BYTES { Ok(()) } else { self.write() }
    }

    fn add_puts(&mut self, records: &[Unnamed]) -> Result<()> {
        let mut bytes = Vec::new();
        for record in records {
            bytes.clear();
            encode_mention(&record.key, &Mention::Put(record.entry), &mut bytes);
            self.add(&bytes)?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        self.file.write_all_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Marks everything as durable, which it is, and syncs the file.
    fn finish(mut self) -> Result<()> {
        let bytes = self.written + self.buffer.len() as u64;
        encode_synced(bytes, &mut self.buffer);
        self.write()?;
        self.file.sync_all()
    }
}
