//! Finding the records in a packed shard without anybody who names them.

use std::collections::BTreeMap;

use crate::disk::DiskFile;
use crate::disk::window::Window;
use crate::error::Result;
use crate::format::attributes::Kind;
use crate::format::entry::Entry;
use crate::format::location::{Location, RECORD_ALIGNMENT, SegmentNumber};
use crate::format::record::{self, HEADER_BYTES, RECORD_START_BYTES_MAX, RecordHeader};

/// A record that nobody names.
pub(super) struct Unnamed {
    pub(super) key: Vec<u8>,
    pub(super) entry: Entry,
    pub(super) header: RecordHeader,
}

/// Where in a shard known records stand, and how long they are.
pub(super) type Extents = BTreeMap<u64, u64>;

/// The records of a shard that are not among the known ones, dead ones included. Bytes within a
/// known record, or within one whose header is damaged but whose length can still be told, are not
/// searched: a value may hold anything, a whole shard too.
pub(super) fn unnamed(
    file: &DiskFile,
    segment: SegmentNumber,
    shard: u8,
    known: &Extents,
) -> Result<Vec<Unnamed>> {
    let end = file.len()?;
    let mut window = Window::new(file, end);
    let mut found = Vec::new();
    let mut at = 0;
    while at < end {
        if let Some(bytes) = known.get(&at) {
            at += (*bytes).max(RECORD_ALIGNMENT);
            continue;
        }
        let location = Location { segment, shard, offset: at };
        match header_at(&mut window, at, end)? {
            Some((header, key)) => {
                at += header.record_bytes();
                if let Ok(entry) = header.entry(location)
                    && is_sane(&key, &entry)
                {
                    found.push(Unnamed { key, entry, header });
                }
            }
            None => at = behind_damage(&mut window, at, end)?,
        }
    }
    Ok(found)
}

fn is_sane(key: &[u8], entry: &Entry) -> bool {
    crate::table::check_key(key).is_ok() && (entry.kind() == Kind::Folder) == key.ends_with(b"/")
}

/// The good header of a record that ends before `end`, and its key.
fn header_at(
    window: &mut Window<'_>,
    at: u64,
    end: u64,
) -> Result<Option<(RecordHeader, Vec<u8>)>> {
    let start = window.slice(at, HEADER_BYTES)?;
    let Some(wanted) = record::peek_bytes(start).filter(|&bytes| bytes <= RECORD_START_BYTES_MAX)
    else {
        return Ok(None);
    };
    let Ok((header, key)) = RecordHeader::decode(window.slice(at, wanted)?) else {
        return Ok(None);
    };
    let fits = header.record_bytes() <= end - at;
    Ok(fits.then(|| (header, key.to_vec())))
}

/// Where the search goes on: behind the whole damaged record, if a good one or the end is there.
fn behind_damage(window: &mut Window<'_>, at: u64, end: u64) -> Result<u64> {
    let claimed = record::claimed_bytes(window.slice(at, HEADER_BYTES)?);
    if let Some(next) = claimed.and_then(|bytes| at.checked_add(bytes))
        && (next == end || (next < end && header_at(window, next, end)?.is_some()))
    {
        return Ok(next);
    }
    Ok(at + RECORD_ALIGNMENT)
}
