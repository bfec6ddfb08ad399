//! What people write: settings, the configuration file, the words behind `-o`, the file of a root.

use std::path::Path;

use crate::config::mount_options::{self, Unknown};
use crate::config::{Config, parse_bytes, parse_duration};
use crate::format::root_file::RootFile;
use crate::layout::check_table_name;
use crate::settings::{duration_text, parse_grace, parse_shards, parse_ttl, ttl_text};

/// Time to live, grace, shards, sizes, durations and names of tables.
pub(super) fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(ttl) = parse_ttl(text) {
        assert_eq!(parse_ttl(&ttl_text(ttl)).expect("its own text"), ttl);
    }
    if let Ok(grace) = parse_grace(text) {
        assert_eq!(parse_grace(&duration_text(grace)).expect("its own text"), grace);
    }
    if let Ok(shards) = parse_shards(text) {
        assert_eq!(parse_shards(&shards.to_string()).expect("its own text"), shards);
    }
    drop((parse_bytes(text), parse_duration(text), check_table_name(text)));
}

/// The configuration file.
pub(super) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(message) = Config::parse(text) {
        assert!(!message.is_empty());
    }
}

/// The words behind `-o`, an argument a line.
pub(super) fn mount_options(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let arguments: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let refused = mount_options::parse(&arguments, Unknown::Refused);
    let ignored = mount_options::parse(&arguments, Unknown::Ignored);
    match (refused, ignored) {
        (Ok(options), Ok(again)) => assert_eq!(options, again),
        (Err(message), _) => assert!(!message.is_empty()),
        (Ok(options), Err(message)) => panic!("{options:?}, but {message} when less is refused"),
    }
}

/// `littfs.root`.
pub(super) fn root_file(bytes: &[u8]) {
    let path = Path::new("/r/littfs.root");
    if let Ok(file) = RootFile::decode(bytes, path) {
        let again = RootFile::decode(file.encode().as_bytes(), path);
        assert_eq!(again.expect("its own text"), file);
    }
}
