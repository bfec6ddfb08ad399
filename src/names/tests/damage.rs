//! What damage does: an error that names the file, or nothing at all; never another answer.

use std::ops::Bound;

use super::*;
use crate::error::Error;
use crate::names::Direction;
use crate::names::run_cursor::RunCursor;

fn sample() -> Mentions {
    let mut mentions: Mentions = (0..40_u64)
        .map(|number| (format!("folder\0name-{number:03}").into_bytes(), put(number + 1)))
        .collect();
    mentions.insert(b"folder\0".to_vec(), Mention::Put(folder_entry(99, 5)));
    mentions.insert(b"gone".to_vec(), removed());
    mentions
}

/// Reads a run in every way; what comes back without an error must be right.
fn read_in_every_way(path: &Path, mentions: &Mentions) -> Result<()> {
    let run = Arc::new(open_run(path)?);
    for (key, mention) in mentions {
        assert_eq!(run.get(key)?, Some(*mention));
    }
    assert_eq!(run.get(b"absent")?, None);
    assert!(run.may_hold_folder(hash(b"folder/"))?);
    for direction in [Direction::Forward, Direction::Backward] {
        let mut cursor = RunCursor::new(Arc::clone(&run), direction);
        cursor.seek(Bound::Unbounded)?;
        let mut seen = 0;
        while let Some((key, mention)) = cursor.current() {
            assert_eq!(mentions.get(key), Some(mention));
            seen += 1;
            cursor.advance()?;
        }
        assert_eq!(seen, mentions.len());
    }
    run.verify()
}

#[test]
fn every_flipped_byte_is_an_error_that_names_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let mentions = sample();
    let (path, _) = run_of(&directory, &mentions);
    read_in_every_way(&path, &mentions).unwrap();
    let good = std::fs::read(&path).unwrap();
    let bad_path = directory.path().join("bad.keys");
    for index in 0..good.len() {
        let mut bad = good.clone();
        bad[index] ^= 1 << (index % 8);
        std::fs::write(&bad_path, &bad).unwrap();
        match read_in_every_way(&bad_path, &mentions) {
            Err(Error::Corrupt { path, offset, .. }) => {
                assert_eq!(path, bad_path);
                assert!(offset <= good.len() as u64);
            }
            other => panic!("byte {index}: {other:?}"),
        }
    }
}

#[test]
fn every_truncation_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let mentions = sample();
    let (path, _) = run_of(&directory, &mentions);
    let good = std::fs::read(&path).unwrap();
    let bad_path = directory.path().join("bad.keys");
    for length in 0..good.len() {
        std::fs::write(&bad_path, &good[..length]).unwrap();
        assert!(matches!(open_run(&bad_path), Err(Error::Corrupt { .. })), "{length} bytes");
    }
    let mut longer = good;
    longer.push(0);
    std::fs::write(&bad_path, &longer).unwrap();
    assert!(matches!(open_run(&bad_path), Err(Error::Corrupt { .. })));
}

#[test]
fn foreign_and_future_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = run_of(&directory, &sample());
    let good = std::fs::read(&path).unwrap();

    let mut future = good.clone();
    future[8] = 2;
    let crc = crate::format::crc32c(&future[..12]);
    future[12..16].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, &future).unwrap();
    assert!(matches!(open_run(&path), Err(Error::FutureVersion { found: 2, supported: 1, .. })));

    std::fs::write(&path, vec![b'x'; good.len()]).unwrap();
    let message = open_run(&path).unwrap_err().to_string();
    assert!(message.contains("does not begin like a run"), "{message}");

    std::fs::write(&path, &good).unwrap();
    let open = |table, segment| {
        let files = PathSource { disk: Disk::new(), path: path.clone() };
        Run::open(Box::new(files), Arc::new(BlockCache::default()), table, segment)
    };
    let message = open([1; 16], SEGMENT).unwrap_err().to_string();
    assert!(message.contains("another table"), "{message}");
    let message = open(TABLE, SegmentNumber(6)).unwrap_err().to_string();
    assert!(message.contains("segment 5, not 6"), "{message}");
    assert!(open(TABLE, SEGMENT).is_ok());
}

/// A damaged block costs the names in it; the rest stays readable.
#[test]
fn damage_costs_only_what_it_hit() {
    let directory = tempfile::tempdir().unwrap();
    let mentions: Mentions =
        (0..5000_u64).map(|n| (format!("{n:08}").into_bytes(), put(n + 1))).collect();
    let (path, _) = run_of(&directory, &mentions);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let run = open_run(&path).unwrap();
    assert!(run.get(b"00000000").is_err());
    assert_eq!(run.get(b"00004999").unwrap(), Some(put(5000)));
    assert!(run.verify().is_err());
}

/// Whoever can write the files can make checksums right: reading nonsense must still end, without
/// a panic, going neither back nor in circles.
#[test]
fn nonsense_with_good_checksums_ends() {
    let directory = tempfile::tempdir().unwrap();
    let mentions: Mentions = (0..150_u64)
        .map(|n| {
            let stem = char::from(b'a' + u8::try_from(n % 26).unwrap()).to_string().repeat(500);
            (format!("f\0{stem}{n}").into_bytes(), put(n + 1))
        })
        .collect();
    let (path, run) = run_of(&directory, &mentions);
    let blocks_end = usize::try_from(run.footer().blocks_end).unwrap();
    let good = std::fs::read(&path).unwrap();
    let length_at = |at: usize| {
        usize::try_from(u32::from_le_bytes(good[at + 4..at + 8].try_into().unwrap())).unwrap()
    };
    let mut starts = vec![16];
    while starts[starts.len() - 1] + length_at(starts[starts.len() - 1]) < blocks_end {
        let last = starts[starts.len() - 1];
        starts.push(last + length_at(last));
    }
    assert!(starts.len() >= 3, "several blocks of entries and an index");
    let bad_path = directory.path().join("bad.keys");
    for &start in &starts {
        let length = length_at(start);
        let interesting = (16..120).chain(length.saturating_sub(120)..length);
        for index in interesting.filter(|&index| index < length) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[start + index] = value;
                let crc = crate::format::crc32c(&bad[start + 4..start + length]);
                bad[start..start + 4].copy_from_slice(&crc.to_le_bytes());
                std::fs::write(&bad_path, &bad).unwrap();
                read_to_the_end(&bad_path, mentions.len());
            }
        }
    }
}

fn read_to_the_end(path: &Path, count: usize) {
    let run = Arc::new(open_run(path).unwrap());
    let _unknown = run.get(b"f\0kkk");
    let _unknown = run.verify();
    for direction in [Direction::Forward, Direction::Backward] {
        for bound in [Bound::Unbounded, Bound::Included(&b"f\0kkk"[..])] {
            let mut cursor = RunCursor::new(Arc::clone(&run), direction);
            let mut sound = cursor.seek(bound).is_ok();
            let mut before: Option<Vec<u8>> = None;
            let mut steps = 0;
            while let (true, Some((key, _))) = (sound, cursor.current()) {
                let limit = before.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
                assert!(direction.reaches(key, limit), "the walk goes back");
                before = Some(key.to_vec());
                steps += 1;
                assert!(steps <= 2 * count, "the walk does not end");
                sound = cursor.advance().is_ok();
            }
        }
    }
}
