//! The records that names refer to, in the order in which they stand in the shards.
//!
//! Mentions are gathered up to a limit of memory, sorted by place and read in long stretches.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::value::{ValueSource, verify_value};
use super::{AffectedKeys, Checker, Finding, Severity, TableFacts};
use crate::cast;
use crate::disk::DiskFile;
use crate::error::{Error, Result};
use crate::format::attributes::Kind;
use crate::format::entry::Entry;
use crate::format::location::SegmentNumber;
use crate::format::record::{HEADER_BYTES, RECORD_START_BYTES_MAX, RecordHeader, block_count};
use crate::layout::segment_files::values_name;

/// Keys and entries gathered before their records are read.
const BATCH_BYTES: usize = 64 << 20;
/// Records are read together up to this many bytes.
const STRETCH_BYTES: u64 = 1 << 20;
/// Bytes between two records that are rather read than passed over.
const GAP_BYTES: u64 = 16 << 10;

/// A record that a name refers to.
struct Expected {
    entry: Entry,
    key_start: usize,
    key_bytes: usize,
}

/// What was seen of the records of a segment.
pub(super) struct SegmentRecords {
    pub(super) number: SegmentNumber,
    /// Names and attributes in the headers are those of the run.
    pub(super) is_sealed: bool,
    /// Packed shards; 0 when the metadata cannot be read.
    shards: u32,
    /// Places that no synced mark covers.
    pub(super) uncertain: HashSet<(u8, u64)>,
    /// Places of all records that a log ever mentioned.
    pub(super) logged: HashSet<(u8, u64)>,
    /// Places of those whose headers are written anew when the segment is sealed.
    pub(super) unsettled: HashSet<(u8, u64)>,
    /// Shard, offset and length of every record that a name refers to.
    pub(super) extents: Vec<(u8, u64, u32)>,
    /// Dedicated shards that records refer to.
    pub(super) dedicated: BTreeSet<u32>,
    /// Names or records cannot be read, so that what they refer to is not known.
    pub(super) is_incomplete: bool,
    /// Shards that cannot be opened, with the keys that suffer.
    failed: BTreeMap<u32, (Finding, AffectedKeys)>,
    expected: Vec<Expected>,
    keys: Vec<u8>,
}

impl SegmentRecords {
    pub(super) fn new(number: SegmentNumber, shards: u32) -> Self {
        Self {
            number,
            is_sealed: false,
            shards,
            uncertain: HashSet::new(),
            logged: HashSet::new(),
            unsettled: HashSet::new(),
            extents: Vec::new(),
            dedicated: BTreeSet::new(),
            is_incomplete: false,
            failed: BTreeMap::new(),
            expected: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// Notes that a shard cannot be used.
    pub(super) fn fail(&mut self, shard: u32, finding: Finding) {
        self.is_incomplete = true;
        self.failed.entry(shard).or_insert((finding, AffectedKeys::default()));
    }

    /// Whether records may stand in this shard.
    fn is_packed(&self, shard: u32) -> bool {
        self.shards == 0 || shard < self.shards
    }

    /// Whether this shard is known to be a packed one.
    pub(super) fn is_packed_shard(&self, shard: u32) -> bool {
        shard < self.shards
    }
}

impl Checker<'_> {
    /// Takes note of a record that must be there; checks a batch of them when there are enough.
    pub(super) fn expect(
        &mut self,
        facts: &TableFacts,
        records: &mut SegmentRecords,
        key: &[u8],
        entry: &Entry,
    ) {
        if entry.location.segment != records.number
            || !records.is_packed(u32::from(entry.location.shard))
        {
            let path = facts.usual_path(&crate::layout::segment_files::keys_name(records.number));
            let what = format!("the record of this name is said to be in {}", entry.location);
            self.add(Finding::damage(&path, what).affecting(AffectedKeys::one(key)));
            return;
        }
        let Entry { location, record_bytes, .. } = entry;
        records.extents.push((location.shard, location.offset, *record_bytes));
        let key_start = records.keys.len();
        records.keys.extend_from_slice(key);
        records.expected.push(Expected { entry: *entry, key_start, key_bytes: key.len() });
        let held = records.keys.len() + records.expected.len() * size_of::<Expected>();
        if held >= BATCH_BYTES {
            self.check_batch(facts, records);
        }
    }

    /// Checks what is still to be checked, and reports the shards that could not be opened.
    pub(super) fn finish_records(&mut self, facts: &TableFacts, records: &mut SegmentRecords) {
        self.check_batch(facts, records);
        for (finding, keys) in std::mem::take(&mut records.failed).into_values() {
            self.add(finding.affecting(keys));
        }
    }

    fn check_batch(&mut self, facts: &TableFacts, records: &mut SegmentRecords) {
        let mut expected = std::mem::take(&mut records.expected);
        let keys = std::mem::take(&mut records.keys);
        expected.sort_unstable_by_key(|one| (one.entry.location.shard, one.entry.location.offset));
        for group in expected.chunk_by(|a, b| a.entry.location.shard == b.entry.location.shard) {
            let shard = u32::from(group[0].entry.location.shard);
            let opened = open_shard(facts, records.number, shard);
            match opened {
                Ok(file) => self.check_shard(facts, records, &file, group, &keys),
                Err(finding) => {
                    records.fail(shard, *finding);
                    if let Some((_, affected)) = records.failed.get_mut(&shard) {
                        for one in group {
                            affected.add(one.key(&keys));
                        }
                    }
                }
            }
        }
    }

    /// Checks records of one shard, in the order of their places.
    fn check_shard(
        &mut self,
        facts: &TableFacts,
        records: &mut SegmentRecords,
        file: &DiskFile,
        group: &[Expected],
        keys: &[u8],
    ) {
        let shard_bytes = file.len().unwrap_or(0);
        let mut buffer = Vec::new();
        let mut rest = group;
        while !rest.is_empty() {
            let (count, bytes) = stretch(rest, shard_bytes);
            let (together, behind) = rest.split_at(count);
            rest = behind;
            let start = together[0].entry.location.offset;
            buffer.resize(bytes, 0);
            let read = file.read_at(&mut buffer, start);
            for one in together {
                let key = one.key(keys);
                let result = match &read {
                    Ok(filled) => {
                        let skip = cast::to_usize(one.entry.location.offset - start).min(*filled);
                        self.check_record(facts, records, file, one, key, &buffer[skip..*filled])
                    }
                    Err(_) => self.check_alone(facts, records, file, one, key),
                };
                self.report.counts.records += 1;
                if let Err(finding) = result {
                    self.add(judge(records, one, key, *finding));
                }
            }
        }
    }

    /// Reads a record by itself after a stretch around it could not be read.
    fn check_alone(
        &mut self,
        facts: &TableFacts,
        records: &mut SegmentRecords,
        file: &DiskFile,
        one: &Expected,
        key: &[u8],
    ) -> Result<(), Box<Finding>> {
        let (_, bytes) = stretch(std::slice::from_ref(one), file.len().unwrap_or(0));
        let mut buffer = vec![0; bytes];
        let filled = file
            .read_at(&mut buffer, one.entry.location.offset)
            .map_err(|error| Finding::of_error(&error, file.path()))?;
        self.check_record(facts, records, file, one, key, &buffer[..filled])
    }

    /// Checks a record and its value. `bytes` has header and key, and all of it when it is short.
    fn check_record(
        &mut self,
        facts: &TableFacts,
        records: &mut SegmentRecords,
        file: &DiskFile,
        one: &Expected,
        key: &[u8],
        bytes: &[u8],
    ) -> Result<(), Box<Finding>> {
        if one.entry.dedicated != 0 {
            records.dedicated.insert(one.entry.dedicated);
        }
        let header = self.check_header(records, file, one, key, bytes)?;
        self.advance(header.body_offset());
        let offset = one.entry.location.offset;
        let whole_bytes = u64::from(one.entry.record_bytes);
        let (body_at, tail_at) = (header.body_offset(), header.checksums_offset());
        let (body, end) = (cast::to_usize(body_at), cast::to_usize(tail_at));
        let tail_bytes = cast::to_usize(whole_bytes - tail_at);
        let is_here = bytes.len() as u64 >= whole_bytes;
        let mut far_tail = Vec::new();
        let tail = if is_here {
            &bytes[end..end + tail_bytes]
        } else {
            far_tail.resize(tail_bytes, 0);
            file.read_exact_at(&mut far_tail, offset + tail_at)
                .map_err(|error| Finding::of_error(&error, file.path()))?;
            &far_tail[..]
        };
        let checksum_bytes = cast::to_usize(4 * block_count(header.value_bytes));
        let (checksums, padding) = tail.split_at(checksum_bytes);
        if padding.iter().any(|&byte| byte != 0) {
            let what = "the bytes that fill the record up are not zero";
            let at = offset + tail_at + checksum_bytes as u64;
            return Err(Finding::damage(file.path(), what).at(at).into());
        }
        let opened;
        let source = if header.dedicated != 0 {
            opened = open_dedicated(facts, records.number, &header)?;
            if let Some(note) = longer_than(&opened, &header)? {
                self.add(note);
            }
            self.report.counts.files += 1;
            ValueSource::File(&opened, 0)
        } else if is_here {
            ValueSource::Bytes(&bytes[body..end], file, offset + body_at)
        } else {
            ValueSource::File(file, offset + body_at)
        };
        let checksums_at = (file, offset + tail_at);
        verify_value(&header, checksums, checksums_at, &source, &mut |bytes| self.advance(bytes))?;
        if one.entry.kind() != Kind::Folder {
            self.report.counts.values += 1;
        }
        Ok(())
    }

    /// The header of a record, when it is what the entry of its name says.
    fn check_header(
        &mut self,
        records: &SegmentRecords,
        file: &DiskFile,
        one: &Expected,
        key: &[u8],
        bytes: &[u8],
    ) -> Result<RecordHeader, Box<Finding>> {
        let entry = &one.entry;
        let offset = entry.location.offset;
        let damage = |at: u64, what: String| Finding::damage(file.path(), what).at(offset + at);
        let whole_bytes = u64::from(entry.record_bytes);
        let shard_bytes = file.len().unwrap_or(0);
        if offset + whole_bytes > shard_bytes {
            let what = format!(
                "a record of {whole_bytes} bytes should be here, but the file ends at {shard_bytes}"
            );
            return Err(damage(0, what).into());
        }
        let is_unsettled = records.unsettled.contains(&(entry.location.shard, offset));
        let (header, found_key) = match RecordHeader::decode(bytes) {
            Ok(decoded) => decoded,
            Err(malformed) => match RecordHeader::rebuilt(bytes, key, entry) {
                Ok(header) if is_unsettled => {
                    let what = "a crash came while this header was being rewritten; the next open \
                                does it again, and the value is read without it until then";
                    self.add(Finding::note(file.path(), what).at(offset));
                    (header, key)
                }
                _ => {
                    let error = malformed.in_file(file.path(), offset);
                    return Err(Finding::of_error(&error, file.path()).into());
                }
            },
        };
        match difference(&header, found_key, key, entry, records.is_sealed) {
            Some((at, what)) => Err(damage(at, what).into()),
            None => Ok(header),
        }
    }
}

impl Expected {
    fn key<'k>(&self, keys: &'k [u8]) -> &'k [u8] {
        &keys[self.key_start..self.key_start + self.key_bytes]
    }

    fn end(&self) -> u64 {
        self.entry.location.offset + u64::from(self.entry.record_bytes)
    }
}

/// How many records to read together, and how many bytes.
fn stretch(records: &[Expected], shard_bytes: u64) -> (usize, usize) {
    let start = records[0].entry.location.offset;
    let mut end = records[0].end();
    if end - start > STRETCH_BYTES {
        return (1, RECORD_START_BYTES_MAX);
    }
    let mut count = 1;
    for next in &records[1..] {
        let is_near = next.entry.location.offset <= end + GAP_BYTES;
        if !is_near || next.end() - start > STRETCH_BYTES {
            break;
        }
        end = end.max(next.end());
        count += 1;
    }
    let bytes = end.min(shard_bytes).saturating_sub(start);
    (count, cast::to_usize(bytes))
}

fn open_shard(
    facts: &TableFacts,
    number: SegmentNumber,
    shard: u32,
) -> Result<DiskFile, Box<Finding>> {
    let name = values_name(number, shard);
    facts.dirs.open(&name).map_err(|error| {
        let path = facts.usual_path(&name);
        Box::new(match error {
            Error::MissingFile { .. } => Finding::damage(&path, "it is missing in every root"),
            other => Finding::of_error(&other, &path),
        })
    })
}

/// Opens a dedicated shard, which holds the value from its start on.
fn open_dedicated(
    facts: &TableFacts,
    number: SegmentNumber,
    header: &RecordHeader,
) -> Result<DiskFile, Box<Finding>> {
    let file = open_shard(facts, number, header.dedicated)?;
    let found = file.len().map_err(|error| Finding::of_error(&error, file.path()))?;
    if found < header.value_bytes {
        let what = format!("it has {found} bytes, {} expected", header.value_bytes);
        return Err(Finding::damage(file.path(), what).at(found).into());
    }
    Ok(file)
}

/// A dedicated shard is longer than its value when the writer went on: it stored the rest under
/// another record, or a crash came first. Nobody reads those bytes through this record.
fn longer_than(file: &DiskFile, header: &RecordHeader) -> Result<Option<Finding>, Box<Finding>> {
    let found = file.len().map_err(|error| Finding::of_error(&error, file.path()))?;
    let what = format!("it has {found} bytes, of which this value is {}", header.value_bytes);
    Ok((found > header.value_bytes).then(|| Finding::note(file.path(), what)))
}

/// What of a header is not as the entry says, and where in the record.
fn difference(
    header: &RecordHeader,
    found_key: &[u8],
    key: &[u8],
    entry: &Entry,
    is_sealed: bool,
) -> Option<(u64, String)> {
    if header.id != entry.id {
        return Some((32, format!("value {} expected, {} found", entry.id, header.id)));
    }
    let is_same = header.value_bytes == entry.value_bytes
        && header.dedicated == entry.dedicated
        && header.written_at_ns == entry.written_at_ns
        && header.record_bytes() == u64::from(entry.record_bytes);
    if !is_same {
        return Some((16, "length, shard or time of the value differ from its entry".to_owned()));
    }
    if !is_sealed {
        // Until the segment is sealed a renamed or re-attributed record keeps its old header.
        return None;
    }
    if header.dead {
        return Some((8, "the record is marked dead, but a name refers to it".to_owned()));
    }
    if found_key != key {
        let found = crate::error::printable(found_key);
        return Some((HEADER_BYTES as u64, format!("the record is that of {found:?}")));
    }
    (header.attributes != entry.attributes)
        .then(|| (40, "times, mode or owner differ from those of the run".to_owned()))
}

/// What a bad record means: behind the last synced mark a power cut may have left it so.
fn judge(records: &SegmentRecords, one: &Expected, key: &[u8], finding: Finding) -> Finding {
    let finding = finding.affecting(AffectedKeys::one(key));
    let location = one.entry.location;
    if !records.uncertain.contains(&(location.shard, location.offset)) {
        return finding;
    }
    let what = format!(
        "{}; it was stored after the last sync, so a power cut may have left it so, and the next \
         open drops it",
        finding.what
    );
    Finding { severity: Severity::Note, what, ..finding }
}
