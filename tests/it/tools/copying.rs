//! cp, install and touch.

use super::{NO, every_way_stores_the_same, fails, seal, succeeds, with_source};

#[test]
fn whatever_copies_stores_the_same() {
    let home = with_source();
    every_way_stores_the_same(
        &home,
        &[
            "cp source/* m/t/d/",
            "cp -p source/* m/t/d/",
            "cp -a source/. m/t/d",
            "cp -a source m/t/e; cp -al m/t/e/. m/t/d",
            "cp source/* m/t; cp -l m/t/long m/t/short m/t/empty m/t/d",
            "cp --reflink=auto --sparse=always source/* m/t/d/",
            // Settling files are replaced by those that remove them first.
            "cp source/* m/t/d; cp --remove-destination source/* m/t/d",
            "echo other | tee m/t/d/long > m/t/d/short; cp -f source/* m/t/d",
            "cp -b source/* m/t/d; cp -b -f source/* m/t/d; rm m/t/d/*~",
            "install -m 640 -t m/t/d source/*",
            "for i in 1 2; do install -m 640 -p -t m/t/d source/*; done",
            "install -d m/t/d/e/f; rmdir m/t/d/e/f m/t/d/e; cp source/* m/t/d",
            "cp -rp source other; mv other/* m/t/d/; rmdir other",
            "touch m/t/d/long m/t/d/short m/t/d/empty; cp source/* m/t/d",
        ],
    );
}

#[test]
fn attributes_are_copied_and_survive() {
    let home = with_source();
    home.sh("mkdir source/d; ln -s ../short source/d/link; ln source/long source/d/long; \
        chmod 1770 source/d; chown 12:34 source/short source/d; touch -d 2001-02-03 source/d");
    let shown = "find . -printf '%p %y %m %U %G %T@ %l %s\\n' | sed 's/ [0-9]*$//' | sort";
    for way in ["cp -a source/. m/t/d", "cp -dpr source/. m/t/d"] {
        home.sh("mkdir m/t/d");
        succeeds(&home, way, "");
        let expected = home.sh(&format!("cd source; {shown}"));
        assert!(expected.contains("./short f 751 12 34 946684799.5000000000"), "{expected}");
        assert_eq!(home.sh(&format!("cd m/t/d; {shown}")), expected, "{way}");
        home.crash();
        assert_eq!(home.sh(&format!("cd m/t/d; {shown}")), expected, "{way}");
        succeeds(&home, "diff -r --no-dereference source m/t/d; rm -r m/t/d", "");
    }
    // And back.
    succeeds(&home, "cp -a source m/t/; cp -a m/t/source back; diff -r source back", "");
    assert_eq!(home.sh(&format!("cd back; {shown}")), home.sh(&format!("cd source; {shown}")));
    succeeds(
        &home,
        "install -m 4711 -o 5 -g 6 source/short m/t/i; stat -c '%a %u %g' m/t/i",
        "4711 5 6\n",
    );
}

#[test]
fn cp_says_what_it_cannot_do() {
    let home = with_source();
    home.sh("cp source/short m/t/f; mkfifo fifo");
    fails(
        &home,
        "cp source/long m/t/f",
        1,
        "cp: cannot create regular file 'm/t/f': Operation not permitted",
    );
    fails(
        &home,
        "cp source/short m/f",
        1,
        "cp: cannot create regular file 'm/f': Operation not permitted",
    );
    fails(
        &home,
        "cp -a fifo m/t/",
        1,
        "cp: cannot create fifo 'm/t/fifo': Operation not permitted",
    );
    // What is there already does not count as a failure where the tool was told so.
    succeeds(&home, "cp -u source/short m/t/f; cat m/t/f", "short\n");
    seal(&home, "t", &["f"]);
    fails(
        &home,
        "cp source/long m/t/f",
        1,
        "cp: cannot create regular file 'm/t/f': Operation not permitted",
    );
    fails(
        &home,
        "cp -f source/long m/t/f",
        1,
        "cp: cannot remove 'm/t/f': Operation not permitted",
    );
    fails(&home, "cp --remove-destination source/long m/t/f", 1, NO);
    fails(
        &home,
        "install source/long m/t/f",
        1,
        "install: cannot remove 'm/t/f': Operation not permitted",
    );
    succeeds(&home, "cat m/t/f; ls m/t; cp -l m/t/f m/t/g; cat m/t/g", "short\nf\nshort\n");
    // Without a grace what is set before the close is kept.
    succeeds(&home, "cp -p source/short m/t/h; stat -c '%a %Y' m/t/h", "751 946684799\n");
}

#[test]
fn touch_makes_files_and_sets_times() {
    let home = with_source();
    succeeds(&home, "touch m/t/f m/t/g; touch -c m/t/none; ls m/t; stat -c %s m/t/f", "f\ng\n0\n");
    succeeds(
        &home,
        "touch -d '2001-02-03 04:05:06.7' m/t/f; touch -r m/t/f m/t/g; stat -c %y m/t/g",
        "2001-02-03 04:05:06.700000000 +0000\n",
    );
    succeeds(
        &home,
        "touch -h -d 2001-01-01 m/t/f; mkdir m/t/d; touch -d 1969-12-31 m/t/d; stat -c %Y m/t/d",
        "-86400\n",
    );
    seal(&home, "t", &["f"]);
    fails(&home, "touch m/t/f", 1, "touch: cannot touch 'm/t/f': Operation not permitted");
    fails(&home, "touch -d 2002-02-02 m/t/f", 1, "Operation not permitted");
    succeeds(&home, "stat -c %Y m/t/f; touch -d 2002-02-02 m/t/d", "978307200\n");
}
