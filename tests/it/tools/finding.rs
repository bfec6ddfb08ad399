//! find, du, df and ls.

use std::collections::BTreeMap;

use super::{fails, seal, succeeds};
use crate::mounted::Mounted;

/// Files of 0, 1000, ... 9000 bytes, the later of which are newer.
fn with_files() -> Mounted {
    let home = Mounted::new();
    home.sh("mkdir -p m/t/d/e; for i in $(seq 0 9); do head -c ${i}000 /dev/zero > m/t/d/f$i; \
        touch -d 2001-01-0$((i + 1)) m/t/d/f$i; done; ln -s f1 m/t/d/link; touch -d 2001-01-05 mark");
    home
}

#[test]
fn find_tells_files_apart() {
    let home = with_files();
    succeeds(
        &home,
        "find m/t -type f -newer mark | sort",
        "m/t/d/f5\nm/t/d/f6\nm/t/d/f7\nm/t/d/f8\nm/t/d/f9\n",
    );
    succeeds(&home, "find m/t -type f -newermt 2001-01-09 | sort", "m/t/d/f9\n");
    succeeds(&home, "find m/t -type f -mtime -1; find m/t -type f -size -2 | sort", "m/t/d/f0\n");
    succeeds(
        &home,
        "find m/t -type l; find m/t -type d -empty; find m/t -type f -empty",
        "m/t/d/link\nm/t/d/e\nm/t/d/f0\n",
    );
    succeeds(
        &home,
        "find m/t -name 'f[12]' -printf '%f %s %n\\n' | sort",
        "f1 1000 1\nf2 2000 1\n",
    );
}

#[test]
fn find_deletes_what_settles() {
    let home = with_files();
    succeeds(
        &home,
        "find m/t -type f -not -newer mark -delete; ls m/t/d",
        "e\nf5\nf6\nf7\nf8\nf9\nlink\n",
    );
    seal(&home, "t", &["d/f5", "d/f6", "d/f7", "d/f8", "d/f9"]);
    fails(
        &home,
        "find m/t -name f5 -delete",
        1,
        "find: cannot delete 'm/t/d/f5': Operation not permitted",
    );
    fails(
        &home,
        "find m/t/d -name 'f[67]' -delete",
        1,
        "find: cannot delete 'm/t/d/f7': Operation not permitted",
    );
    // An empty folder can go at any time.
    fails(&home, "find m/t/d -delete", 1, "find: cannot delete 'm/t/d': Directory not empty");
    succeeds(
        &home,
        "find m/t | sort",
        "m/t\nm/t/d\nm/t/d/f5\nm/t/d/f6\nm/t/d/f7\nm/t/d/f8\nm/t/d/f9\nm/t/d/link\n",
    );
}

#[test]
fn du_counts_lengths_and_df_the_drive() {
    let home = with_files();
    // Folders and the link have no blocks of their own beyond the target it names.
    succeeds(
        &home,
        "du -s --apparent-size -B1 m/t/d/f9; du -sb m/t/d; du -s -B512 m/t/d/f9",
        "9000\tm/t/d/f9\n45002\tm/t/d\n18\tm/t/d/f9\n",
    );
    let field = |name: &str, at: &str| -> u64 {
        home.sh(&format!("df -B1 --output={name} {at} | tail -n 1")).trim().parse().expect("number")
    };
    assert_eq!(field("size", "m"), field("size", "r0"));
    assert!(field("avail", "m/t/d/f1") <= field("avail", "r0") + (64 << 20));
    assert!(field("avail", "m") > 0);
    assert_eq!(
        home.sh("df --output=target m/t/d | tail -n 1").trim(),
        home.base().join("m").to_str().expect("text")
    );
}

#[test]
fn ls_shows_the_same_in_any_order() {
    let home = with_files();
    let listed = |options: &str| -> BTreeMap<String, String> {
        let lines = home.sh(&format!("ls {options} --time-style=+%s m/t/d"));
        let entry =
            |line: &str| Some((line.split_whitespace().nth(6)?.to_owned(), line.to_owned()));
        lines.lines().skip(1).filter_map(entry).collect()
    };
    assert_eq!(listed("-lU"), listed("-l"));
    assert_eq!(listed("-lU").len(), 12);
    // Unsorted is the order of the folder, which is that of the bytes.
    succeeds(
        &home,
        "ls -U m/t/d | head -n 3; ls -fA m/t/d | tail -n 1; ls -t m/t/d | grep f | head -n 1; \
            ls -S m/t/d | head -n 1",
        "e\nf0\nf1\nlink\nf9\nf9\n",
    );
    succeeds(
        &home,
        "ls -l --time-style=+%F m/t/d/f1",
        "-rw-r--r-- 1 root root 1000 2001-01-02 m/t/d/f1\n",
    );
}
