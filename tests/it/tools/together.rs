//! Programs that work on the mount at the same time.

use std::process::Command;

use crate::mounted::Mounted;

#[test]
fn many_programs_at_once_do_not_get_in_each_others_way() {
    let home = Mounted::with(2, "segment_keys_max = 200\n");
    home.sh(
        "mkdir source; for i in $(seq 150); do head -c $((i * i * 7)) /dev/urandom > source/$i; \
        done; mkdir m/u",
    );
    let ways = [
        "cp -r source m/t/1",
        "cp -r source m/u/1",
        "rsync -a source/ m/t/2",
        "rsync -a source/ m/u/2",
        "mkdir m/t/3; tar -C source -c . | tar -C m/t/3 -x",
        "mkdir m/t/4; cp source/* m/t/4; mkdir m/t/5; mv m/t/4/* m/t/5; rmdir m/t/4",
        "for i in $(seq 30); do ls -lR m > /dev/null; find m -type f | head -50 | xargs cat > \
            /dev/null 2>&1; done",
    ];
    let start = |script: &&str| {
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(home.base()).spawn().expect("a shell")
    };
    let running: Vec<_> = ways.iter().map(start).collect();
    let ended: Vec<_> =
        running.into_iter().map(|mut child| child.wait().expect("it ends")).collect();
    // The last one meets files that are renamed away under it.
    for (way, status) in ways.iter().zip(ended).take(ways.len() - 1) {
        assert!(status.success(), "{way}: {status:?}");
    }
    let check = || {
        home.sh("for copy in m/t/1 m/t/2 m/t/3 m/t/5 m/u/1 m/u/2; do diff -r source $copy; done; ls m/t m/u")
    };
    assert_eq!(check(), "m/t:\n1\n2\n3\n5\n\nm/u:\n1\n2\n");
    home.crash();
    assert_eq!(check(), "m/t:\n1\n2\n3\n5\n\nm/u:\n1\n2\n");
}
