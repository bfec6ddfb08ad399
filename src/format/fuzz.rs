//! What the fuzzer does with every decoder: hands it bytes as they are, and once more with their
//! checksums made right, since random bytes hardly ever pass one. What decodes must encode to the
//! same bytes again.

use super::bytes::Fields;
use super::key_hash::{KeyHash, Salt};
use super::keymap_header::KeymapHeader;
use super::keymap_page::{self, PAGE_BYTES, PageBytes, SLOTS, Slot};
use super::location::{Location, SegmentNumber};
use super::log_record::{self, LOG_HEADER_BYTES, LogHeader, LogRecord, RECORD_HEADER_BYTES};
use super::record::{self, HEADER_BYTES, RecordHeader};
use super::run_block::{BLOCK_BYTES_MAX, RunBlock, Walk};
use super::run_bloom::BloomPage;
use super::run_entry::MentionDecoder;
use super::run_footer::{RUN_FOOTER_BYTES, RunFooter};
use super::segment_metadata::SegmentMetadata;
use super::size_class::SizeClass;
use super::table_file::TableFile;
use super::{Malformed, crc32c, run_header, run_index};
use crate::cast;

/// Puts the checksum of `bytes[from..to]` where the four bytes at `at` are.
fn mend(bytes: &mut [u8], at: usize, from: usize, to: usize) {
    if let Some(covered) = bytes.get(from..to) {
        let crc = crc32c(covered);
        if let Some(field) = bytes.get_mut(at..at + 4) {
            field.copy_from_slice(&crc.to_le_bytes());
        }
    }
}

/// The bytes as they are and with one checksum made right.
fn both(bytes: &[u8], at: usize, from: usize, to: usize) -> [Vec<u8>; 2] {
    let mut mended = bytes.to_vec();
    mend(&mut mended, at, from, to);
    [bytes.to_vec(), mended]
}

/// Record headers.
pub(crate) fn record(bytes: &[u8]) {
    let end = record::peek_bytes(bytes).unwrap_or(0);
    for bytes in both(bytes, 4, 8, end) {
        let Ok((header, key)) = RecordHeader::decode(&bytes) else { continue };
        let mut again = Vec::new();
        header.encode(key, &mut again);
        assert_eq!(again, bytes[..again.len()]);
        assert!(header.record_bytes() >= again.len() as u64);
        let location = Location { segment: SegmentNumber(1), shard: 2, offset: 8 };
        if let Ok(entry) = header.entry(location) {
            let rebuilt = RecordHeader::rebuilt(&bytes, key, &entry).expect("its own entry");
            assert_eq!(rebuilt, RecordHeader { dead: false, ..header });
        }
    }
}

/// The header and the records of a key log.
pub(crate) fn log(bytes: &[u8]) {
    for bytes in both(bytes, 4, 8, LOG_HEADER_BYTES) {
        if let Ok(header) = LogHeader::decode(&bytes) {
            assert_eq!(header.encode(), bytes[..LOG_HEADER_BYTES]);
        }
    }
    let mut rest = bytes.to_vec();
    mend_log_records(&mut rest);
    let mut rest = &rest[..];
    while let Ok((record, length)) = log_record::decode(rest) {
        let mut again = Vec::new();
        match &record {
            LogRecord::Mention(key, mention) => {
                log_record::encode_mention(key, mention, &mut again);
            }
            LogRecord::Synced(log_bytes) => log_record::encode_synced(*log_bytes, &mut again),
            LogRecord::Batch(mentions) => {
                let pairs = mentions.iter().map(|(key, mention)| (*key, mention));
                log_record::encode_batch(pairs, &mut again);
            }
        }
        assert_eq!(again, rest[..length], "{record:?}");
        rest = &rest[length..];
    }
}

/// Makes the checksums of records right, as far as their lengths lead.
fn mend_log_records(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(body_bytes) = bytes.get(at..).and_then(log_record::peek_body_bytes) {
        let end = at.saturating_add(RECORD_HEADER_BYTES).saturating_add(body_bytes);
        mend(bytes, at, at + 4, end);
        at = end;
    }
}

/// Blocks of a run, walked and searched; index blocks too.
pub(crate) fn run_block(bytes: &[u8]) {
    let Some(position) = bytes.get(8..16).and_then(|field| Fields::new(field).u64().ok()) else {
        return;
    };
    let mut mended = bytes.to_vec();
    mended.truncate(BLOCK_BYTES_MAX);
    let length = cast::to_u32(mended.len());
    mended[4..8].copy_from_slice(&length.to_le_bytes());
    let length = mended.len();
    mend(&mut mended, 0, 4, length);
    for bytes in [bytes.to_vec(), mended] {
        let Ok(block) = RunBlock::decode(bytes, position) else { continue };
        if block.level() == 0 {
            drop(walk_block(&block));
        } else {
            for number in 0..block.restarts() {
                drop(run_index::child(&block, number));
            }
        }
        drop(block.restart_for(b"a/b"));
    }
}

fn walk_block(block: &RunBlock) -> Result<(), Malformed> {
    let mut last: Vec<u8> = Vec::new();
    let mut walk = Walk::default();
    walk.start(block, 0)?;
    let mut decoder = MentionDecoder::new(SegmentNumber(7), block.base());
    while let Some((is_restart, mut fields)) = walk.step(block)? {
        decoder.decode(is_restart, &mut fields)?;
        walk.end_payload(&fields);
        assert!(walk.key() > last.as_slice(), "keys rise");
        last.clear();
        last.extend_from_slice(walk.key());
    }
    Ok(())
}

/// Header, footer and filter pages of a run.
pub(crate) fn run_ends(bytes: &[u8]) {
    drop(run_header::check(bytes));
    for bytes in both(bytes, 12, 0, 12) {
        drop(run_header::check(&bytes));
    }
    let crc_at = RUN_FOOTER_BYTES - 4;
    for bytes in both(bytes, crc_at, 0, crc_at) {
        // The length of the file that its parts make up, so that places are looked at, too.
        let field = |at: usize| Fields::new(bytes.get(at..).unwrap_or_default()).u64();
        let file_bytes = field(88).unwrap_or(0).wrapping_add(RUN_FOOTER_BYTES as u64 + 1024);
        for file_bytes in [bytes.len() as u64, file_bytes] {
            if let Ok(footer) = RunFooter::decode(&bytes, file_bytes) {
                assert_eq!(footer.encode(), bytes);
            }
        }
    }
    let hash = KeyHash::new(Salt([3; 16]), bytes);
    let number = bytes.get(4..8).and_then(|field| Fields::new(field).u32().ok()).unwrap_or(0);
    for bytes in both(bytes, 0, 4, bytes.len()) {
        if let Ok(page) = BloomPage::decode(bytes, number) {
            page.may_hold(hash);
        }
    }
}

/// Header and pages of a keymap.
pub(crate) fn keymap(bytes: &[u8]) {
    let mut page: PageBytes = [0; PAGE_BYTES];
    let length = bytes.len().min(PAGE_BYTES);
    page[..length].copy_from_slice(&bytes[..length]);
    let mut sealed = page;
    keymap_page::seal(&mut sealed);
    for page in [page, sealed] {
        if let Ok(header) = KeymapHeader::decode(&page) {
            assert_eq!(header.encode(), page);
            assert!(header.file_bytes() > PAGE_BYTES as u64);
        }
        let number = u32::from_le_bytes([page[4], page[5], page[6], page[7]]);
        if keymap_page::verify(&page, number).is_ok() {
            use_page(page);
        }
    }
}

/// What lookups and insertions do with a page that verified.
fn use_page(mut page: PageBytes) {
    let slots: Vec<Slot> = keymap_page::slots(&page).collect();
    assert_eq!(slots.len(), usize::from(keymap_page::used(&page)));
    for slot in &slots {
        assert!(keymap_page::home_page(slot.fingerprint(), 77) < 77);
        let class = slot.size_class().map(SizeClass::bytes_max);
        assert!(class.is_none_or(|bytes| bytes > 0));
        let mut visited = 0;
        let slot_at = |index| keymap_page::slot(&page, index);
        keymap_page::probe(slot.fingerprint(), slot_at, |_, _| visited += 1);
        assert!(visited <= SLOTS);
    }
    keymap_page::retain(&mut page, |slot| slot.segment().0.is_multiple_of(2));
    let even = slots.iter().filter(|slot| slot.segment().0.is_multiple_of(2)).count();
    assert_eq!(keymap_page::slots(&page).count(), even, "none is lost when others go");
    keymap_page::seal(&mut page);
    let number = u32::from_le_bytes([page[4], page[5], page[6], page[7]]);
    assert_eq!(keymap_page::verify(&page, number), Ok(()));
}

/// The metadata of a segment.
pub(crate) fn segment_metadata(bytes: &[u8]) {
    for bytes in both(bytes, 4, 8, bytes.len()) {
        if let Ok(metadata) = SegmentMetadata::decode(&bytes) {
            assert_eq!(metadata.encode(), bytes);
        }
    }
}

/// The settings of a table.
pub(crate) fn table_file(bytes: &[u8]) {
    drop(TableFile::decode(bytes));
    // The body alone: with the checksum line that belongs to it.
    let mut mended = bytes.to_vec();
    mended.extend_from_slice(format!("# crc32c {:08x}\n", crc32c(bytes)).as_bytes());
    if let Ok(file) = TableFile::decode(&mended) {
        let again = file.encode().expect("what was read can be written");
        assert_eq!(TableFile::decode(&again), Ok(file));
    }
}

/// Makes the checksums within a file of a database right, as far as its name tells what it is.
pub(crate) fn mend_file(name: &str, bytes: &mut Vec<u8>) {
    let length = bytes.len();
    match name.rsplit_once('.').map_or(name, |(_, ending)| ending) {
        "metadata" if bytes.starts_with(b"LFM") => mend(bytes, 4, 8, length),
        "metadata" => {
            let text = String::from_utf8_lossy(bytes);
            let body = text.find("# crc32c ").map_or(&*text, |at| &text[..at]);
            let line = format!("# crc32c {:08x}\n", crc32c(body.as_bytes()));
            *bytes = [body.as_bytes(), line.as_bytes()].concat();
        }
        "keys" if bytes.starts_with(&log_record::LOG_MAGIC) => {
            mend(bytes, 4, 8, LOG_HEADER_BYTES);
            if length > LOG_HEADER_BYTES {
                mend_log_records(&mut bytes[LOG_HEADER_BYTES..]);
            }
        }
        "keys" => mend_run(bytes),
        "values" => mend_records(bytes),
        _ => {
            for page in bytes.chunks_exact_mut(PAGE_BYTES) {
                mend(page, 0, 4, PAGE_BYTES);
            }
        }
    }
}

fn mend_run(bytes: &mut [u8]) {
    mend(bytes, 12, 0, 12);
    let mut at = run_header::RUN_HEADER_BYTES;
    while let Some(Ok(length)) = bytes.get(at..).map(RunBlock::claimed_bytes) {
        mend(bytes, at, at + 4, at + length);
        at += length;
    }
    if let Some(footer) = bytes.len().checked_sub(RUN_FOOTER_BYTES) {
        mend(bytes, bytes.len() - 4, footer, bytes.len() - 4);
    }
}

fn mend_records(bytes: &mut [u8]) {
    for at in (0..bytes.len()).step_by(8) {
        if let Some(end) = record::peek_bytes(&bytes[at..]).filter(|end| *end >= HEADER_BYTES) {
            mend(bytes, at + 4, at + 8, at + end);
        }
    }
}
