//! Many threads at once, while segments are sealed under them.

use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;

use super::*;

const WRITERS: usize = 4;
const KEYS: usize = 1500;

#[test]
fn readers_and_listings_never_miss_what_was_put() {
    let mut fixture = Fixture::new(2);
    fixture.options.engine.segment_keys_max = 300;
    let (_db, table) = fixture.create();
    let done = AtomicBool::new(false);
    let progress: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let key = |writer: usize, number: u64| format!("w{writer}/{number:05}");
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (table, progress) = (&table, &progress[writer]);
            scope.spawn(move || {
                for number in 0..KEYS as u64 {
                    table.put(key(writer, number).as_bytes(), &number.to_le_bytes()).unwrap();
                    progress.store(number + 1, Ordering::Release);
                }
            });
        }
        for reader in 0..2 {
            let (table, progress, done) = (&table, &progress, &done);
            scope.spawn(move || {
                let mut turn = reader as u64;
                while !done.load(Ordering::Acquire) {
                    turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let writer = (turn >> 33) as usize % WRITERS;
                    let count = progress[writer].load(Ordering::Acquire);
                    if count == 0 {
                        continue;
                    }
                    let number = (turn >> 40) % count;
                    let value = table.get(key(writer, number).as_bytes()).unwrap();
                    assert_eq!(value.as_deref(), Some(&number.to_le_bytes()[..]));
                    let listed = names(table, format!("w{writer}/").as_bytes());
                    assert!(listed.len() as u64 >= count, "{} of {count}", listed.len());
                    assert!(listed.is_sorted());
                }
            });
        }
        let (table, progress, done) = (&table, &progress, &done);
        scope.spawn(move || {
            while progress.iter().any(|count| count.load(Ordering::Acquire) < KEYS as u64) {
                table.flush().unwrap();
                std::thread::yield_now();
            }
            done.store(true, Ordering::Release);
        });
    });
    assert_eq!(table.usage().keys, (WRITERS * KEYS) as u64);
}

#[test]
fn of_many_writers_of_one_key_one_wins() {
    let fixture = Fixture::new(1);
    let (_db, table) = fixture.create();
    for round in 0..50 {
        let barrier = Barrier::new(WRITERS);
        let key = format!("contested/{round}");
        let winners: Vec<bool> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (table, barrier, key) = (&table, &barrier, &key);
                    scope.spawn(move || {
                        barrier.wait();
                        table.put(key.as_bytes(), &[writer as u8]).is_ok()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(winners.iter().filter(|&&won| won).count(), 1);
        let winner = winners.iter().position(|&won| won).unwrap();
        assert_eq!(table.get(key.as_bytes()).unwrap().unwrap(), [winner as u8]);
    }
}

#[test]
fn a_folder_goes_or_is_written_to_but_never_both() {
    let fixture = Fixture::new(1);
    let (_db, table) = fixture.create();
    let attributes = Attributes::new_at_ns(Kind::Folder, 0o755, 0, 0, 0);
    for _ in 0..100 {
        table.create_folder(b"f/", attributes).unwrap();
        let barrier = Barrier::new(2);
        let (removed, written) = std::thread::scope(|scope| {
            let removing = scope.spawn(|| {
                barrier.wait();
                table.remove_folder(b"f/").is_ok()
            });
            let mut writer = table.writer_in_folder().unwrap();
            barrier.wait();
            let written =
                writer.store(b"f/x", table.context.default_attributes(Kind::File)).is_ok();
            (removing.join().unwrap(), written)
        });
        assert_ne!(removed, written);
        if written {
            table.remove(b"f/x").unwrap();
            table.remove_folder(b"f/").unwrap();
        }
        assert!(table.folder_is_empty(b"").unwrap());
    }
}

#[test]
fn concurrent_flushes_all_return_and_ids_never_repeat() {
    let fixture = Fixture::new(1);
    let (_db, table) = fixture.create();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let table = &table;
            scope.spawn(move || {
                for number in 0..20 {
                    table.put(format!("{writer}-{number}").as_bytes(), b"x").unwrap();
                    table.flush().unwrap();
                }
            });
        }
    });
    let scan = table.scan(Scan::new()).unwrap();
    let ids: HashSet<_> = scan.map(|live| live.unwrap().1.id).collect();
    assert_eq!(ids.len(), WRITERS * 20);
}

#[test]
fn segments_take_writes_in_the_order_of_their_numbers() {
    let mut fixture = Fixture::new(1);
    fixture.options.engine.segment_keys_max = 8;
    let (_db, table) = fixture.create();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let table = &table;
            scope.spawn(move || {
                for number in 0..400 {
                    table.put(format!("{writer}-{number}").as_bytes(), b"x").unwrap();
                }
            });
        }
    });
    for writer in 0..WRITERS {
        let segments = (0..400).map(|number| {
            let key = format!("{writer}-{number}");
            table.entry(key.as_bytes()).unwrap().unwrap().location.segment
        });
        assert!(segments.is_sorted(), "what came later is in a later segment");
    }
}

#[test]
fn what_is_put_while_the_database_is_closed_is_refused_or_kept() {
    let mut fixture = Fixture::new(1);
    fixture.options.engine.segment_keys_max = 50;
    let (db, table) = fixture.create();
    let mut db = Some((db, table));
    for round in 0..10 {
        let (open, table) = db.take().unwrap();
        let acknowledged: Vec<u64> = std::thread::scope(|scope| {
            let start = |writer: usize| {
                let table = &table;
                scope.spawn(move || {
                    let key = |number| format!("{round}/{writer}-{number}");
                    let put = |number: &u64| table.put(key(*number).as_bytes(), b"x").is_ok();
                    (0..u64::MAX).take_while(put).count() as u64
                })
            };
            let writers: Vec<_> = (0..WRITERS).map(start).collect();
            let before = table.usage().keys;
            while table.usage().keys < before + 100 {
                std::thread::yield_now();
            }
            open.close().unwrap();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let open = fixture.open();
        let table = open.table("table").unwrap();
        for (writer, count) in acknowledged.into_iter().enumerate() {
            for number in 0..count {
                assert!(table.exists(format!("{round}/{writer}-{number}").as_bytes()).unwrap());
            }
        }
        db = Some((open, table));
    }
}
