//! What a program builds along that takes littfs in with these features.

use std::collections::BTreeSet;
use std::process::Command;

/// The names of the packages, littfs itself among them.
fn packages(features: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}", "--no-default-features"])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree {features:?}: {stderr}");
    let tree = String::from_utf8(output.stdout).expect("names of packages are text");
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[track_caller]
fn builds_none_of(features: &[&str], unwanted: &[&str]) {
    let packages = packages(features);
    assert!(packages.contains("littfs"), "{packages:?}");
    for name in unwanted {
        assert!(
            !packages.contains(*name),
            "{name} is built with --no-default-features {}: make it an optional dependency, of the \
             feature program or mount in Cargo.toml",
            features.join(" "),
        );
    }
}

#[test]
fn the_engine_alone_has_no_command_line_and_no_fuse() {
    builds_none_of(&[], &["clap", "env_logger", "fuser", "indicatif", "serde_json"]);
}

#[test]
fn a_mount_has_no_command_line() {
    builds_none_of(&["--features", "mount"], &["clap", "env_logger", "indicatif"]);
    assert!(packages(&["--features", "mount"]).contains("fuser"));
}
