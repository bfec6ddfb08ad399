//! The bytes of one value against their checksums.

use super::Finding;
use crate::cast;
use crate::disk::DiskFile;
use crate::format::crc32c;
use crate::format::record::{BLOCK_BYTES, RecordHeader, block_count};

const READ_BLOCKS: u64 = 16;

/// Where the bytes of a value are.
pub(super) enum ValueSource<'a> {
    /// In memory, read from this place of a file.
    Bytes(&'a [u8], &'a DiskFile, u64),
    /// In a file, from this offset on.
    File(&'a DiskFile, u64),
}

/// Verifies a value and its block checksums, which stand at `checksums_at`. The first damaged
/// block is what a finding tells, with the number of all.
pub(super) fn verify_value(
    header: &RecordHeader,
    checksums: &[u8],
    checksums_at: (&DiskFile, u64),
    source: &ValueSource<'_>,
    advance: &mut dyn FnMut(u64),
) -> Result<(), Box<Finding>> {
    let blocks = block_count(header.value_bytes);
    if blocks > 0 && crc32c(checksums) != header.value_crc {
        let (file, at) = checksums_at;
        let what = "the block checksums of the value fail their own checksum";
        return Err(Finding::damage(file.path(), what).at(at).into());
    }
    let expected = |block: u64| {
        let start = cast::to_usize(4 * block);
        match checksums.get(start..start.saturating_add(4)) {
            Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
            _ => header.value_crc,
        }
    };
    let mut bad: Option<(u64, u64)> = None;
    let mut judge = |first: u64, bytes: &[u8]| {
        let block_bytes = cast::to_usize(BLOCK_BYTES);
        for (block, part) in (first..).zip(bytes.chunks(block_bytes)) {
            if crc32c(part) != expected(block) {
                bad = Some(bad.map_or((block, 1), |(first, count)| (first, count + 1)));
            }
        }
    };
    let (file, base) = match source {
        ValueSource::Bytes(bytes, file, base) => {
            if bytes.is_empty() {
                judge_empty(header, checksums_at)?;
            }
            judge(0, bytes);
            advance(bytes.len() as u64);
            (file, *base)
        }
        ValueSource::File(file, base) => {
            let mut buffer = Vec::new();
            let mut at = 0;
            while at < header.value_bytes {
                let wanted = (header.value_bytes - at).min(READ_BLOCKS * BLOCK_BYTES);
                buffer.resize(cast::to_usize(wanted), 0);
                file.read_exact_at(&mut buffer, base + at)
                    .map_err(|error| Finding::of_error(&error, file.path()))?;
                judge(at / BLOCK_BYTES, &buffer);
                advance(wanted);
                at += wanted;
            }
            (file, *base)
        }
    };
    match bad {
        None => Ok(()),
        Some((first, count)) => {
            let what = format!(
                "the value fails its checksum in {count} of {} blocks of 64 KiB",
                blocks.max(1)
            );
            Err(Finding::damage(file.path(), what).at(base + first * BLOCK_BYTES).into())
        }
    }
}

/// The checksum of a value without bytes.
fn judge_empty(header: &RecordHeader, at: (&DiskFile, u64)) -> Result<(), Box<Finding>> {
    if header.value_crc == crc32c(&[]) {
        return Ok(());
    }
    let (file, offset) = at;
    Err(Finding::damage(file.path(), "an empty value has a checksum of something")
        .at(offset)
        .into())
}
