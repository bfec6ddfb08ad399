//! Turning the files of a closed segment into those of a sealed one.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use super::ActiveSegment;
use super::settlement::Settlement;
use crate::error::{Error, Result};
use crate::format::attributes::Kind;
use crate::format::entry::{Entry, Mention};
use crate::format::location::{Location, ValueId};
use crate::format::record::{HEADER_BYTES, RecordHeader};
use crate::format::segment_metadata::{SegmentMetadata, SegmentSummary};
use crate::format::sort_key::plain_key;
use crate::names::RunWriter;
use crate::segment::value::RecordBytes;

impl ActiveSegment {
    /// Brings everything but the names to its last state, durably: headers of records whose name or
    /// attributes changed are written anew, those of removed ones marked dead.
    pub(in crate::table) fn settle(&self) -> Result<()> {
        self.sync()?;
        self.settle_headers()?;
        self.sync_values()
    }

    fn settle_headers(&self) -> Result<()> {
        let unsettled = self.unsettled.all();
        for (location, settlement) in &unsettled {
            if *settlement == Settlement::Bury {
                self.bury(*location)?;
            }
        }
        for (sort_key, mention) in self.memtable.in_order() {
            let Mention::Put(entry) = mention else { continue };
            let is_changed = entry.kind() == Kind::Folder
                || unsettled.get(&entry.location) == Some(&Settlement::Rewrite);
            if is_changed && self.holds(&entry) {
                self.rewrite(&plain_key(&sort_key), &entry)?;
            }
        }
        Ok(())
    }

    /// Marks a record dead, so that a rebuild from the shards does not bring it back.
    fn bury(&self, location: Location) -> Result<()> {
        let Some(shard) = self.shard(location.shard) else { return Ok(()) };
        let record = match RecordBytes::read(shard.file()?, location.offset, HEADER_BYTES) {
            // A crash in the middle of an earlier attempt has torn the header: it is dead already.
            Err(Error::Corrupt { .. }) => return Ok(()),
            other => other?,
        };
        let header = RecordHeader { dead: true, ..record.header };
        let mut bytes = Vec::new();
        header.encode(record.key(), &mut bytes);
        shard.rewrite(location.offset, &bytes)
    }

    /// Writes name and attributes of an entry into the header of its record. A crash in the middle of
    /// an earlier attempt may have left the header torn, so only what never changes is taken from it.
    fn rewrite(&self, key: &[u8], entry: &Entry) -> Result<()> {
        let Some(shard) = self.shard(entry.location.shard) else { return Ok(()) };
        let file = shard.file()?;
        let mut start = [0; HEADER_BYTES];
        file.read_exact_at(&mut start, entry.location.offset)?;
        let header = RecordHeader::rebuilt(&start, key, entry)
            .map_err(|malformed| malformed.in_file(file.path(), entry.location.offset))?;
        let mut bytes = Vec::new();
        header.encode(key, &mut bytes);
        shard.rewrite(entry.location.offset, &bytes)
    }

    /// Writes the run in the place of the key log. `given_out` is the highest value id of the table.
    pub(in crate::table) fn write_run(
        &self,
        given_out: ValueId,
        sealed_at_ns: u64,
    ) -> Result<SegmentSummary> {
        let path = self.keys_path.temporary();
        if path.exists()? {
            path.unlink()?;
        }
        let SegmentMetadata { table_id, segment, salt, .. } = self.metadata;
        let mut writer = RunWriter::create(path.disk(), &path, table_id, segment, salt)?;
        for (sort_key, mention) in self.memtable.in_order() {
            writer.push(&sort_key, &mention)?;
        }
        writer.note_given_out(given_out);
        let counted = writer.finish()?;
        path.rename(&self.keys_path)?;
        self.keys_path.sync_parent()?;
        let (_, superseded) = self.usage();
        Ok(SegmentSummary {
            sealed_at_ns,
            first_written_at_ns: counted.written_at_ns_min.min(self.last_written_ns()),
            last_written_at_ns: self.last_written_ns(),
            value_id_max: counted.id_max.0,
            files: counted.files,
            folders: counted.folders,
            removals: counted.removed,
            value_bytes: counted.value_bytes,
            superseded_keys: superseded.keys,
            superseded_bytes: superseded.bytes,
        })
    }

    /// Says durably that the segment is sealed.
    pub(in crate::table) fn mark_sealed(&self, summary: SegmentSummary) -> Result<()> {
        let metadata = SegmentMetadata { sealed: Some(summary), ..self.metadata };
        self.metadata_path.write_atomically(&metadata.encode())
    }

    /// The dedicated shards that no name of the segment leads to.
    pub(in crate::table) fn unnamed_dedicated(&self) -> impl Iterator<Item = u32> {
        let mut named = HashSet::new();
        for (_, mention) in self.memtable.in_order() {
            if let Mention::Put(entry) = mention
                && self.holds(&entry)
            {
                named.insert(entry.dedicated);
            }
        }
        let first = u32::from(self.metadata.shards);
        let end = self.next_dedicated.load(Ordering::Acquire);
        (first..end).filter(move |shard| !named.contains(shard))
    }
}
