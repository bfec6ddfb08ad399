//! tar, zip and the compressors.

use super::{NO, every_way_stores_the_same, fails, seal, succeeds, with_source};

#[test]
fn whatever_unpacks_stores_the_same() {
    let home = with_source();
    every_way_stores_the_same(
        &home,
        &[
            "tar -C source -c . | tar -C m/t/d -x",
            "for i in 1 2; do tar -C source -c . | tar -C m/t/d -x; done",
            "tar -C source -c . | tar -C m/t/d -x --overwrite",
            "tar -C source -c . | tar -C m/t/d -xp --same-owner --xattrs",
            "tar -C source -cf m/t/a.tar . && tar -C m/t/d -xf m/t/a.tar",
            "tar -C source -czf m/t/a.tgz . && tar -C m/t/d -xzf m/t/a.tgz",
            "tar -C source -c --sparse . | tar -C m/t/d -x --sparse",
            "(cd source; zip -q -r ../m/t/a.zip .) && unzip -q m/t/a.zip -d m/t/d",
            "(cd source; zip -q - -r .) > m/t/a.zip && unzip -q m/t/a.zip -d m/t/d",
            "(cd source; zip -q -r ../a.zip .); unzip -q a.zip -d m/t/d; unzip -q -o a.zip -d m/t/d; \
                rm a.zip",
            "cp source/* m/t/d; gzip -9 m/t/d/long; gzip -d m/t/d/long.gz",
            "cp source/* m/t/d; xz -0 m/t/d/long; xz -d m/t/d/long.xz",
            "cp source/* m/t/d; bzip2 m/t/d/long; bunzip2 m/t/d/long.bz2",
            "gzip -c source/long > m/t/long.gz; zcat m/t/long.gz > m/t/d/long; \
                cp source/short source/empty m/t/d",
        ],
    );
}

#[test]
fn archives_on_the_mount_are_whole_and_keep_attributes() {
    let home = with_source();
    home.sh("mkdir -p source/d/e; ln -s ../short source/d/link; ln source/long source/d/hard; \
        chown 12:34 source/short; chmod 700 source/d/e; touch -d 2001-02-03 source/d/e source/d");
    succeeds(
        &home,
        "tar -cf m/t/a.tar source; tar -df m/t/a.tar; tar -tf m/t/a.tar | wc -l",
        "8\n",
    );
    succeeds(
        &home,
        "(cd source; zip -q -y -r ../m/t/a.zip .); unzip -tq m/t/a.zip",
        "No errors detected in compressed data of m/t/a.zip.\n",
    );
    // Hard links become files of their own, folders get their times last.
    home.sh("mkdir m/t/d; tar -xpf m/t/a.tar -C m/t/d");
    succeeds(&home, "diff -r --no-dereference source m/t/d/source", "");
    succeeds(
        &home,
        "stat -c '%a %u %g %Y %N' m/t/d/source/short m/t/d/source/d/e m/t/d/source/d/link | sed 's/ \
            [0-9]* .m.*link/ LINK/'",
        "751 12 34 946684799 'm/t/d/source/short'\n700 0 0 981158400 'm/t/d/source/d/e'\n777 0 0 \
            LINK' -> '../short'\n",
    );
    // A finished archive grows no more.
    fails(
        &home,
        "tar -rf m/t/a.tar source/short",
        2,
        "tar: m/t/a.tar: Cannot read: Bad file descriptor",
    );
    fails(
        &home,
        "tar -cf m/t/a.tar source",
        2,
        "tar: m/t/a.tar: Cannot open: Operation not permitted",
    );
    fails(&home, "zip -q -r m/t/a.zip source/short", 15, "zip I/O error: Operation not permitted");
    succeeds(
        &home,
        "tar -df m/t/a.tar; unzip -tq m/t/a.zip; ls m/t",
        "No errors detected in compressed data of m/t/a.zip.\na.tar\na.zip\nd\n",
    );
}

#[test]
fn unpacking_over_sealed_files_changes_none() {
    let home = with_source();
    home.sh("tar -cf a.tar source; tar -xf a.tar -C m/t; (cd source; zip -q -r ../a.zip .)");
    seal(&home, "t", &["source/long", "source/short", "source/empty"]);
    fails(&home, "tar -xf a.tar -C m/t", 2, "tar: source/long: Cannot open: File exists");
    succeeds(&home, "tar -xf a.tar -C m/t --skip-old-files", "");
    fails(&home, "unzip -q -o a.zip -d m/t/source", 50, NO);
    fails(&home, "gzip m/t/source/long", 2, NO);
    succeeds(&home, "diff -r -x long.gz source m/t/source", "");
}
