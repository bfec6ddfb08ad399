//! Shell redirections, and programs that have their own ways of writing a file.

use super::{NO, every_way_stores_the_same, fails, seal, succeeds, with_source};
use crate::mounted::Mounted;

#[test]
fn whatever_writes_stores_the_same() {
    let home = with_source();
    every_way_stores_the_same(
        &home,
        &[
            "for f in source/*; do tee < $f m/t/d/${f##*/} > /dev/null; done",
            "for f in source/*; do cat $f | tee -a m/t/d/${f##*/} > /dev/null; done",
            "for f in source/*; do dd if=$f of=m/t/d/${f##*/} bs=777 status=none; done",
            "for f in source/*; do dd if=$f of=m/t/d/${f##*/} conv=fsync status=none; done",
            "for f in source/*; do dd if=$f of=m/t/d/${f##*/} bs=4k conv=fdatasync,sparse status=none; done",
            "for f in source/*; do dd if=$f of=m/t/d/${f##*/} bs=64k oflag=sync status=none; done",
            "for f in source/*; do dd if=$f of=m/t/d/${f##*/} bs=4k oflag=direct status=none; done",
            "for f in source/*; do dd if=$f of=m/t/d/${f##*/} oflag=append conv=notrunc status=none; done",
            "for f in source/*; do cat $f > m/t/d/${f##*/}; done",
            "for f in source/*; do cat $f >> m/t/d/${f##*/}; done",
            "set -C; for f in source/*; do cat $f > m/t/d/${f##*/}; done",
            "for f in source/*; do exec 3> m/t/d/${f##*/}; cat $f >&3; exec 3>&-; done",
            "cp source/empty source/short m/t/d; (head -n 500 source/long; \
                cat | tail -n +501 source/long) > m/t/d/long",
            "cp source/empty source/short m/t/d; { head -n 9 source/long; tail -n +10 source/long; \
                } > m/t/d/long",
            "cp source/empty source/short m/t/d; while read -r line; do echo $line; \
                done < source/long > m/t/d/long",
            "cp source/empty source/short m/t/d; split -n l/5 source/long source/p.; \
                (for p in source/p.*; do cat $p; done) >> m/t/d/long; rm source/p.*",
            "split -b 100000 source/long m/t/d/part.; cat m/t/d/part.* > m/t/d/long; \
                rm m/t/d/part.*; cp source/short source/empty m/t/d",
            "sort -n -o m/t/d/long source/long; cp source/short source/empty m/t/d",
            "shuf source/long > m/t/shuffled; sort -n -T m/t -S 100k -o m/t/d/long m/t/shuffled; \
                cp source/short source/empty m/t/d",
            "cp source/* m/t/d; sed -i s/o/O/ m/t/d/short; sed -i s/O/o/ m/t/d/short",
            "cp source/* m/t/d; sed -i.bak s/1/1/ m/t/d/long; rm m/t/d/long.bak",
            "cp source/* m/t/d; perl -pi -e s/o/O/ m/t/d/short; perl -pi -e s/O/o/ m/t/d/short",
            "cp source/short m/t/d; truncate -s 0 m/t/d/empty; cp source/long m/t/d",
            "for f in source/*; do cat $f > m/t/d/x; ln m/t/d/x m/t/d/${f##*/}; rm m/t/d/x; done",
            "for f in source/*; do t=$(mktemp -p m/t/d); cat $f > $t; mv $t m/t/d/${f##*/}; done",
        ],
    );
}

#[test]
fn dd_seeks_and_appends_within_its_one_opening() {
    let home = Mounted::new();
    succeeds(
        &home,
        "echo end | dd of=m/t/f bs=1 seek=1000 status=none; stat -c %s m/t/f",
        "1004\n",
    );
    succeeds(&home, "tr -d '\\0' < m/t/f; head -c 1000 m/t/f | tr -d '\\0' | wc -c", "end\n0\n");
    succeeds(
        &home,
        "echo end | dd of=m/t/g bs=1M seek=20 conv=fsync status=none; stat -c %s m/t/g",
        "20971524\n",
    );
    succeeds(&home, "tail -c 4 m/t/g; cmp -n 20971520 m/t/g /dev/zero", "end\n");
    succeeds(
        &home,
        "truncate -s 5M m/t/h; cmp -n 5242880 m/t/h /dev/zero; stat -c %s m/t/h",
        "5242880\n",
    );
    succeeds(&home, "fallocate -l 1000 m/t/i; stat -c %s m/t/i", "1000\n");
    fails(
        &home,
        "echo x | dd of=m/t/f bs=1 seek=10 conv=notrunc status=none",
        1,
        "dd: failed to open 'm/t/f': Operation not permitted",
    );
    fails(&home, "echo x | dd of=m/t/f oflag=append conv=notrunc status=none", 1, NO);
}

#[test]
fn one_descriptor_may_write_as_long_as_it_is_open() {
    let home = Mounted::new();
    succeeds(
        &home,
        "exec 3> m/t/f; echo a >&3; echo b >&3; (echo c; echo d) >&3; cat m/t/f; exec 3>&-; cat m/t/f",
        "a\nb\nc\nd\na\nb\nc\nd\n",
    );
    succeeds(&home, "(echo a; date > /dev/null; echo b; (echo c)) > m/t/g; cat m/t/g", "a\nb\nc\n");
    succeeds(
        &home,
        "exec 3>> m/t/h; for i in 1 2 3; do printf $i >&3; done; exec 3>&-; cat m/t/h",
        "123",
    );
    succeeds(&home, "exec 3<> m/t/i; echo abc >&3; exec 3>&-; cat m/t/i", "abc\n");
    // What one opening wrote no other one continues.
    fails(&home, "echo more >> m/t/f", 1, "m/t/f: Operation not permitted");
    fails(&home, "echo other > m/t/f", 1, "m/t/f: Operation not permitted");
    fails(&home, "exec 3<> m/t/f", 1, "m/t/f: Operation not permitted");
    fails(&home, "echo more | tee -a m/t/f", 1, "tee: m/t/f: Operation not permitted");
    // A second writer meets the first.
    fails(&home, "exec 3> m/t/j; echo b > m/t/j", 1, "m/t/j: Device or resource busy");
    succeeds(&home, "cat m/t/f m/t/j", "a\nb\nc\nd\n");
}

#[test]
fn programs_that_edit_say_so_when_they_cannot() {
    let home = Mounted::new();
    home.sh("seq 3 > m/t/f");
    fails(&home, "sort -r -o m/t/f m/t/f", 2, "sort: open failed: m/t/f: Operation not permitted");
    fails(
        &home,
        "truncate -s 1 m/t/f",
        1,
        "truncate: cannot open 'm/t/f' for writing: Operation not permitted",
    );
    succeeds(&home, "sed -i s/2/two/ m/t/f; cat m/t/f; ls m/t", "1\ntwo\n3\nf\n");
    succeeds(&home, "cp m/t/f copy; echo 4 >> copy; mv copy m/t/f; cat m/t/f", "1\ntwo\n3\n4\n");
    seal(&home, "t", &["f"]);
    // The renames that such programs rely on need a grace; nothing is lost without one.
    fails(&home, "sed -i s/two/2/ m/t/f", 4, NO);
    fails(&home, "perl -pi -e s/two/2/ m/t/f", 1, NO);
    succeeds(&home, "cat m/t/f", "1\ntwo\n3\n4\n");
}
