//! Walks the key log of a segment that is not sealed, and judges how it ends.
//!
//! The first bad record ends a log. A crash leaves such an end: a record that was written in part.
//! It is told from damage by what it looks like: the file ends within the record, or whole sectors
//! of it were never written. A record that is all there and yet fails its checksum, or has good
//! ones behind it, was whole once.

use super::window::Window;
use super::{AffectedKeys, Finding, Session};
use crate::disk::DiskFile;
use crate::error::Result;
use crate::format::log_record::{
    self, BODY_BYTES_MAX, LOG_HEADER_BYTES, LogRecord, RECORD_HEADER_BYTES,
};

/// Bytes that are checksummed while looking for good records behind a bad one.
const SEARCH_BYTES_MAX: u64 = 1 << 30;
/// The unit in which drives write.
const SECTOR_BYTES: u64 = 512;
const KIND_MAX: u8 = 5;

/// Hands every record up to the first bad one to `visit`, with the offset behind it. Reports how
/// the log ends.
pub(super) fn walk(
    session: &mut Session<'_>,
    file: &DiskFile,
    mut visit: impl FnMut(&mut Session<'_>, LogRecord<'_>, u64),
) -> Result<()> {
    let end = file.len()?;
    let mut window = Window::new(file, end);
    let mut at = LOG_HEADER_BYTES as u64;
    while at < end {
        let bytes = record_bytes(window.slice(at, RECORD_HEADER_BYTES)?);
        match log_record::decode(window.slice(at, bytes)?) {
            Ok((record, bytes)) => {
                visit(session, record, at + bytes as u64);
                session.advance(bytes as u64);
                at += bytes as u64;
            }
            Err(malformed) => {
                let error = malformed.in_file(file.path(), at);
                let finding = Finding::of_error(&error, file.path());
                let judged = judge_end(&mut window, at, end, finding)?;
                session.add(judged);
                break;
            }
        }
    }
    Ok(())
}

/// The bytes a record claims to have, within the limits.
fn record_bytes(header: &[u8]) -> usize {
    let body = log_record::peek_body_bytes(header).unwrap_or(0);
    RECORD_HEADER_BYTES + body.min(BODY_BYTES_MAX)
}

/// What to say of the bad record at `at`.
fn judge_end(window: &mut Window<'_>, at: u64, end: u64, finding: Finding) -> Result<Finding> {
    let (records, keys) = good_records_behind(window, at + 1, end)?;
    let cut_bytes = end - at;
    if records > 0 {
        let what = format!(
            "{}; {records} good records behind it are lost with it: the next open cuts the log \
             here, {cut_bytes} bytes",
            finding.what
        );
        return Ok(Finding { what, ..finding }.affecting(keys));
    }
    if is_torn(window, at, end)? {
        let what = format!(
            "the last record was not written whole; the next open cuts {cut_bytes} bytes off"
        );
        return Ok(Finding::note(&finding.file, what).at(at));
    }
    let what = format!("{}; the next open cuts the log here", finding.what);
    Ok(Finding { what, ..finding })
}

/// Counts the good records behind a bad one, and the keys in them.
fn good_records_behind(
    window: &mut Window<'_>,
    from: u64,
    end: u64,
) -> Result<(u64, AffectedKeys)> {
    let (mut records, mut keys) = (0, AffectedKeys::default());
    let mut budget = SEARCH_BYTES_MAX;
    let mut at = from;
    while at + (RECORD_HEADER_BYTES as u64) < end && budget > 0 {
        let header = window.slice(at, RECORD_HEADER_BYTES)?;
        let may_be = matches!(header, [.., kind, 0, 0, 0] if (1..=KIND_MAX).contains(kind));
        let bytes = record_bytes(header);
        if !may_be || bytes as u64 > end - at {
            at += 1;
            continue;
        }
        budget = budget.saturating_sub(bytes as u64);
        match log_record::decode(window.slice(at, bytes)?) {
            Ok((record, bytes)) => {
                records += 1;
                match record {
                    LogRecord::Mention(key, _) => keys.add(key),
                    LogRecord::Batch(parts) => parts.iter().for_each(|(key, _)| keys.add(key)),
                    LogRecord::Synced(_) => {}
                }
                at += bytes as u64;
            }
            Err(_) => at += 1,
        }
    }
    Ok((records, keys))
}

/// Whether the rest of a log looks as a crash leaves it.
fn is_torn(window: &mut Window<'_>, at: u64, end: u64) -> Result<bool> {
    let rest_bytes = usize::try_from(end - at).unwrap_or(usize::MAX);
    if rest_bytes < RECORD_HEADER_BYTES {
        return Ok(true);
    }
    let rest = window.slice(at, rest_bytes.min(RECORD_HEADER_BYTES + BODY_BYTES_MAX))?;
    let claimed =
        log_record::peek_body_bytes(rest).unwrap_or(0).saturating_add(RECORD_HEADER_BYTES);
    if claimed > rest_bytes {
        // It may be whole and only its length be wrong; the checksum covers the length.
        let mut patched = rest.to_vec();
        let body = u32::try_from(rest.len() - RECORD_HEADER_BYTES).unwrap_or(u32::MAX);
        patched[4..8].copy_from_slice(&body.to_le_bytes());
        return Ok(log_record::decode(&patched).is_err());
    }
    let Some(last) = rest.iter().rposition(|&byte| byte != 0) else { return Ok(true) };
    let written_end = (at + last as u64 + 1).next_multiple_of(SECTOR_BYTES);
    Ok(written_end < end)
}
