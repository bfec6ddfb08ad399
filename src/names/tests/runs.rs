//! One run against the map it was written from.

use std::ops::Bound;

use super::*;
use crate::format::run_footer::RunSummary;
use crate::names::Direction;
use crate::names::run_cursor::RunCursor;

fn walk(run: &Arc<Run>, direction: Direction, bound: Bound<&[u8]>) -> Vec<(Vec<u8>, Mention)> {
    let mut cursor = RunCursor::new(Arc::clone(run), direction);
    cursor.seek(bound).unwrap();
    let mut seen = Vec::new();
    while let Some((key, mention)) = cursor.current() {
        seen.push((key.to_vec(), *mention));
        cursor.advance().unwrap();
    }
    seen
}

fn check(mentions: &Mentions, probes: &[Vec<u8>]) {
    let directory = tempfile::tempdir().unwrap();
    let (_, run) = run_of(&directory, mentions);
    run.verify().unwrap();
    let mut scan = run.scan_all().unwrap();
    for (key, mention) in mentions {
        assert_eq!(scan.next().unwrap(), Some((&key[..], *mention)));
    }
    assert_eq!(scan.next().unwrap(), None);
    drop(scan);
    let mut expected = RunSummary::EMPTY;
    for mention in mentions.values() {
        expected.count(mention);
    }
    assert_eq!(*run.summary(), expected);
    let run = Arc::new(run);
    let all = [Bound::Unbounded];
    let bounds = probes.iter().flat_map(|key| [Bound::Included(&key[..]), Bound::Excluded(key)]);
    for bound in all.into_iter().chain(bounds) {
        let forward: Vec<_> = mentions
            .range::<[u8], _>((bound, Bound::Unbounded))
            .map(|(key, mention)| (key.clone(), *mention))
            .collect();
        assert_eq!(walk(&run, Direction::Forward, bound), forward);
        let backward: Vec<_> = mentions
            .range::<[u8], _>((Bound::Unbounded, bound))
            .rev()
            .map(|(key, mention)| (key.clone(), *mention))
            .collect();
        assert_eq!(walk(&run, Direction::Backward, bound), backward);
    }
    for key in mentions.keys().chain(probes) {
        assert_eq!(run.get(key).unwrap(), mentions.get(key).copied());
    }
}

#[test]
fn empty_and_single_runs_work() {
    check(&Mentions::new(), &[b"a".to_vec()]);
    let one = Mentions::from([(b"b".to_vec(), put(1))]);
    check(&one, &[b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]);
}

#[test]
fn many_blocks_and_several_index_levels_work() {
    let mentions: Mentions = (0..5000_u64)
        .map(|number| {
            let key = format!("folder\0{:08x}", number.wrapping_mul(2_654_435_761) & 0xffff_ffff);
            (key.into_bytes(), if number % 10 == 0 { removed() } else { put(number) })
        })
        .collect();
    let mut probes: Vec<Vec<u8>> = mentions.keys().step_by(701).cloned().collect();
    probes.extend([b"folder\0".to_vec(), b"a".to_vec(), b"z".to_vec(), b"folder\x007f".to_vec()]);
    check(&mentions, &probes);
}

/// Keys of the greatest length that differ at their ends only make index entries as long as keys,
/// four to a block, and the index deep.
#[test]
fn deep_indexes_work() {
    let mentions: Mentions = (0..2000_u64)
        .map(|number| {
            let mut key = vec![b'k'; 4089];
            key.extend_from_slice(format!("{number:06}").as_bytes());
            (key, put(number + 1))
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let (_, run) = run_of(&directory, &mentions);
    let (_, level) = run.footer().root.unwrap();
    assert!(level >= 3, "the index has only {level} levels");
    let probes: Vec<Vec<u8>> = mentions.keys().step_by(667).cloned().collect();
    check(&mentions, &probes);
}

#[test]
fn one_lookup_reads_one_block() {
    let directory = tempfile::tempdir().unwrap();
    let mentions: Mentions =
        (0..20_000_u64).map(|n| (format!("{n:08}").into_bytes(), put(n + 1))).collect();
    let path = directory.path().join("5.keys");
    write_run(&path, &mentions);
    let faults = Arc::new(crate::disk::Faults::default());
    let file = Arc::new(Disk::with_faults(Arc::clone(&faults)).open(&path).unwrap());
    let cache = Arc::new(BlockCache::default());
    let run = Run::open(Box::new(move || Ok(Arc::clone(&file))), cache, TABLE, SEGMENT).unwrap();
    assert!(run.get(b"00000000").unwrap().is_some());
    let before = faults.reads();
    assert!(run.get(b"00019999").unwrap().is_some());
    assert_eq!(faults.reads() - before, 1);
    assert!(run.get(b"00019999").unwrap().is_some());
    assert_eq!(faults.reads() - before, 1);
}

#[test]
fn filters_know_the_folders_of_all_mentions() {
    let directory = tempfile::tempdir().unwrap();
    let mentions = Mentions::from([
        (b"a\0b\0c".to_vec(), put(1)),
        (b"d\0".to_vec(), Mention::Put(folder_entry(2, 1))),
        (b"e\0gone".to_vec(), removed()),
    ]);
    let (_, run) = run_of(&directory, &mentions);
    for (folder, expected) in
        [(&b""[..], true), (b"a/b/", true), (b"e/", true), (b"a/", false), (b"d/", false)]
    {
        assert_eq!(run.may_hold_folder(hash(folder)).unwrap(), expected, "{folder:?}");
    }
}
