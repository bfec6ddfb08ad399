//! Merges, listings and iterations over random layers against a model in one map.

use std::collections::BTreeSet;
use std::ops::Bound;

use proptest::prelude::*;

use super::*;
use crate::format::sort_key::{plain_key, sort_key};
use crate::names::Direction;
use crate::names::folder::FolderListing;
use crate::names::iter::Keys;
use crate::names::memtable::Memtable;
use crate::names::merge::{Choice, Layer, Merge};

/// Values written before this have expired.
const EXPIRED_BEFORE_NS: u64 = 1_000_010;

fn choose(mention: &Mention, _: usize) -> Choice {
    match mention {
        Mention::Put(entry) if entry.written_at_ns < EXPIRED_BEFORE_NS => Choice::Hide,
        _ => Choice::Take,
    }
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => prop::sample::select(vec![
            &b"a"[..], b"a-b", b"a.c", b"a0", b"a\x01", b"\x01", b"b", b"\xff", b"\xff\xff",
        ]).prop_map(<[u8]>::to_vec),
        1 => Just(vec![b'n'; 255]),
        1 => prop::collection::vec(prop::sample::select(vec![1, b'-', b'a', 0xff]), 1..4),
    ]
}

/// A plain key: a file or, with a `/` at its end, a folder.
fn key() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(name(), 1..5), any::<bool>()).prop_map(|(names, is_folder)| {
        let mut key = names.join(&b'/');
        if is_folder {
            key.push(b'/');
        }
        key
    })
}

fn layer() -> impl Strategy<Value = Mentions> {
    let deep = Just(vec![vec![b'd'; 255]; 16].join(&b'/')[..4095].to_vec());
    let key = prop_oneof![30 => key(), 1 => deep];
    prop::collection::btree_map(key, (1..40_u64, 0..5_u8), 0..60).prop_map(|pairs| {
        pairs
            .into_iter()
            .map(|(key, (id, kind))| {
                let mention = match kind {
                    0 => removed(),
                    _ if key.ends_with(b"/") => Mention::Put(folder_entry(id, 7)),
                    _ => put(id),
                };
                (sort_key(&key), mention)
            })
            .collect()
    })
}

/// Layers for the code under test: the first ones memtables, the others runs.
fn build(directory: &tempfile::TempDir, layers: &[Mentions], memtables: usize) -> Vec<Layer> {
    let build = |(number, mentions): (usize, &Mentions)| {
        if number >= memtables {
            return Layer::Run(Arc::new(run_of(directory, mentions).1));
        }
        let memtable = Memtable::new();
        for (key, mention) in mentions {
            let key = plain_key(key);
            memtable.put(hash(&key), &key, *mention);
        }
        Layer::Memtable(Arc::new(memtable))
    };
    layers.iter().enumerate().map(build).collect()
}

/// What counts, by sort key.
fn live(layers: &[Mentions]) -> BTreeMap<Vec<u8>, Entry> {
    let mut newest: BTreeMap<Vec<u8>, Mention> = BTreeMap::new();
    for (key, mention) in layers.iter().flatten() {
        newest.entry(key.clone()).or_insert(*mention);
    }
    newest
        .into_iter()
        .filter_map(|(key, mention)| match mention {
            Mention::Put(entry) if entry.written_at_ns >= EXPIRED_BEFORE_NS => Some((key, entry)),
            _ => None,
        })
        .collect()
}

type Names = Vec<(Vec<u8>, Entry)>;

fn listing_model(live: &BTreeMap<Vec<u8>, Entry>, folder: &[u8]) -> Names {
    live.iter()
        .filter_map(|(key, entry)| {
            let key = plain_key(key);
            let name = key.strip_prefix(folder)?;
            let name = name.strip_suffix(b"/").unwrap_or(name);
            (!name.is_empty() && !name.contains(&b'/')).then(|| (name.to_vec(), *entry))
        })
        .collect()
}

fn list(layers: &[Layer], folder: &[u8], direction: Direction, from: Bound<&[u8]>) -> Names {
    let mut listing =
        FolderListing::new(layers, folder, hash(folder), direction, from, choose).unwrap();
    let mut names = Vec::new();
    while let Some(listed) = listing.next().unwrap() {
        names.push((listed.name, listed.entry));
    }
    assert_eq!(listing.next().unwrap(), None);
    names
}

fn check_listings(layers: &[Mentions], built: &[Layer]) {
    let live = live(layers);
    let mut folders = BTreeSet::from([Vec::new(), b"absent/".to_vec(), b"a/".to_vec()]);
    for key in layers.iter().flat_map(Mentions::keys) {
        let key = plain_key(key);
        let ends = key.iter().enumerate().filter(|&(_, &byte)| byte == b'/');
        folders.extend(ends.map(|(end, _)| key[..=end].to_vec()));
    }
    for folder in folders {
        let model = listing_model(&live, &folder);
        assert!(model.is_sorted_by_key(|(name, _)| name), "names are in byte order");
        assert_eq!(list(built, &folder, Direction::Forward, Bound::Unbounded), model);
        let mut backwards = model.clone();
        backwards.reverse();
        // A file and a folder of one name keep the folder's entry behind the file's.
        assert_eq!(list(built, &folder, Direction::Backward, Bound::Unbounded), backwards);
        let absent = b"a.b".to_vec();
        for from in model.iter().map(|(name, _)| name).chain([&absent]).step_by(3) {
            for bound in [Bound::Excluded(&from[..]), Bound::Included(&from[..])] {
                for (direction, all) in
                    [(Direction::Forward, &model), (Direction::Backward, &backwards)]
                {
                    let mut rest = all.clone();
                    rest.retain(|(name, ..)| direction.reaches(name, bound));
                    assert_eq!(list(built, &folder, direction, bound), rest);
                }
            }
        }
    }
}

fn check_keys(layers: &[Mentions], built: &[Layer], prefix: &[u8], from: Bound<&[u8]>) {
    let live = live(layers);
    for direction in [Direction::Forward, Direction::Backward] {
        let bound = from.map(sort_key);
        let mut model: Names = live
            .iter()
            .filter(|(key, _)| key.starts_with(&sort_key(prefix)))
            .filter(|(key, _)| direction.reaches(key, bound.as_ref().map(Vec::as_slice)))
            .map(|(key, entry)| (plain_key(key), *entry))
            .collect();
        if direction == Direction::Backward {
            model.reverse();
        }
        let keys = Keys::new(built, prefix, from, direction, choose).unwrap();
        let keys: Names = keys.map(|key| key.map(|key| (key.key, key.entry)).unwrap()).collect();
        assert_eq!(keys, model, "{direction:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn listings_and_iterations_agree_with_the_model(
        layers in prop::collection::vec(layer(), 0..6),
        memtables in 0..3_usize,
        prefixes in prop::collection::vec(key(), 3),
        froms in prop::collection::vec(key(), 3),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let built = build(&directory, &layers, memtables);
        check_listings(&layers, &built);
        check_keys(&layers, &built, b"", Bound::Unbounded);
        check_keys(&layers, &built, b"\xff", Bound::Unbounded);
        for (prefix, from) in prefixes.iter().zip(&froms) {
            let stem = prefix.strip_suffix(b"/").unwrap_or(prefix);
            for prefix in [&b""[..], stem, prefix] {
                check_keys(&layers, &built, prefix, Bound::Included(from));
                check_keys(&layers, &built, prefix, Bound::Excluded(from));
            }
        }
    }
}

#[test]
fn sub_trees_of_hidden_folders_are_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let layers = [
        Mentions::from([(b"gone\0".to_vec(), removed()), (b"z".to_vec(), put(50))]),
        Mentions::from([
            (b"gone\0".to_vec(), Mention::Put(folder_entry(50, 7))),
            (b"gone\0deep\0er".to_vec(), put(51)),
            (b"lost\0child".to_vec(), put(52)),
            (b"old\0".to_vec(), Mention::Put(folder_entry(1, 7))),
            (b"old\0child".to_vec(), put(53)),
        ]),
    ];
    for memtables in 0..3 {
        let built = build(&directory, &layers, memtables);
        for direction in [Direction::Forward, Direction::Backward] {
            let names = list(&built, b"", direction, Bound::Unbounded);
            assert_eq!(names, [(b"z".to_vec(), entry(50))]);
        }
    }
}

/// A removed tree of many files must not be walked name by name.
#[test]
fn a_hidden_tree_costs_one_seek() {
    let directory = tempfile::tempdir().unwrap();
    let mut mentions: Mentions =
        (0..20_000).map(|n| (format!("tree\0{n:06}").into_bytes(), removed())).collect();
    mentions.insert(b"tree\0".to_vec(), removed());
    mentions.insert(b"a".to_vec(), put(50));
    mentions.insert(b"z".to_vec(), put(51));
    let built = build(&directory, &[mentions], 0);
    for direction in [Direction::Forward, Direction::Backward] {
        let mut asked = 0;
        let count = |mention: &Mention, source: usize| {
            asked += 1;
            choose(mention, source)
        };
        let mut listing =
            FolderListing::new(&built, b"", hash(b""), direction, Bound::Unbounded, count).unwrap();
        let mut shown = 0;
        while listing.next().unwrap().is_some() {
            shown += 1;
        }
        drop(listing);
        assert_eq!(shown, 2);
        assert!(asked < 10, "{asked} mentions were looked at");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Random seeks and skips between steps.
    #[test]
    fn merges_can_be_sought_and_skipped_at_any_time(
        layers in prop::collection::vec(layer(), 1..5),
        memtables in 0..3_usize,
        backward in any::<bool>(),
        moves in prop::collection::vec((0..4_u8, key()), 1..30),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let built = build(&directory, &layers, memtables);
        let live = live(&layers);
        let direction = if backward { Direction::Backward } else { Direction::Forward };
        let mut merge = Merge::new(direction, built.into_iter().enumerate());
        merge.seek(Bound::Unbounded).unwrap();
        let mut left: Vec<_> = live.iter().collect();
        if backward {
            left.reverse();
        }
        let all = left.clone();
        for (kind, key) in moves {
            let key = sort_key(&key);
            match kind {
                0 => {
                    merge.seek(Bound::Excluded(&key)).unwrap();
                    left.clone_from(&all);
                    left.retain(|(held, _)| direction.reaches(held, Bound::Excluded(&key)));
                }
                1 => {
                    merge.skip_to(Bound::Included(&key)).unwrap();
                    left.retain(|(held, _)| direction.reaches(held, Bound::Included(&key)));
                }
                _ => {
                    let found = merge.next(&mut choose).unwrap();
                    let expected = (!left.is_empty()).then(|| left.remove(0));
                    prop_assert_eq!(
                        found.map(|entry| (merge.key(), entry)),
                        expected.map(|(key, entry)| (&key[..], *entry))
                    );
                }
            }
        }
    }
}
