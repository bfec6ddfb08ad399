//! The section "Recipes" of the documentation, run as it stands there.

use std::process::{Command, Stdio};

use super::succeeds;
use crate::mounted::Mounted;

const DOCUMENT: &str = include_str!("../../../docs/semantics.md");

/// What stands behind a command that is to fail with these words.
const SAYS: &str = "    # says ";
/// What stands behind a command that is to print these words.
const PRINTS: &str = "    # prints ";

/// The indented blocks of the section; the blocks of list items are indented once more.
fn blocks() -> Vec<Vec<&'static str>> {
    let section = DOCUMENT.split("\n## ").find(|section| section.starts_with("Recipes\n"));
    let mut blocks = vec![Vec::new()];
    for line in section.expect("the section").lines() {
        match line.strip_prefix("    ") {
            Some(command) => blocks.last_mut().expect("a block").push(command.trim_start()),
            None => blocks.push(Vec::new()),
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

/// A command of a block as a script that checks what the document says of it. What fails names
/// itself on stderr.
fn checked(command: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let (command, check) = if let Some((command, words)) = command.split_once(SAYS) {
        (command, format!("[ $code -ne 0 ] && [[ $said == *{}* ]]", quoted(words.trim())))
    } else if let Some((command, words)) = command.split_once(PRINTS) {
        (command, format!("[ \"$said\" = {} ]", quoted(words.trim())))
    } else {
        return format!("{command} || {{ echo {} fails >&2; exit 1; }}", quoted(command));
    };
    let shown = quoted(command.trim());
    format!(
        "code=0; said=$({{ {command}; }} 2>&1) || code=$?; {check} || {{ echo {shown}: \"$code, \
            $said\" >&2; exit 1; }}"
    )
}

#[test]
fn recipes_work_as_they_are_written() {
    let home = Mounted::unmounted(1, "");
    home.mount();
    home.sh("ln -s m mnt; mkdir -p documents/letters; printf 'first line\\nsecond line\\n' > \
        documents/notes.txt; \
        seq 100000 > documents/letters/long; ln -s notes.txt documents/link; \
            touch -d 2026-01-02 documents/notes.txt");
    let blocks = blocks();
    assert!(blocks.len() >= 12, "{} blocks", blocks.len());
    for block in blocks {
        let commands: Vec<_> = block.iter().map(|command| checked(command)).collect();
        let mut shell = Command::new("bash");
        // restic keeps its cache below the home.
        shell.env("HOME", home.base()).env_remove("XDG_CACHE_HOME");
        shell.env("LC_ALL", "C").env("TZ", "UTC").current_dir(home.base());
        let script = commands.join("\n");
        let output = shell.arg("-c").arg(&script).stdin(Stdio::null()).output().expect("a shell");
        assert!(
            output.status.success() && output.stderr.is_empty() && output.stdout.is_empty(),
            "{}\n{}{}",
            block.join("\n"),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
    }
    succeeds(
        &home,
        "ls mnt; ls mnt/nightly | wc -l; cat mnt/nightly/2026-11-20/notes.txt mnt/t/report | head -n 1",
        "logs\nnightly\nrestic\nt\n4\nfirst line\n",
    );
    home.crash();
    succeeds(
        &home,
        "diff -r back/letters mnt/nightly/2026-11-21/letters; \
            tar -df mnt/t/documents.tar documents/notes.txt",
        "",
    );
}
