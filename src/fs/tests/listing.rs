//! Listing folders.

use super::*;

fn numbered(f: &Fixture, numbers: std::ops::Range<u32>) -> Vec<String> {
    let names: Vec<String> = numbers.map(|number| format!("f{number:05}")).collect();
    for name in &names {
        f.settled(name, b"x");
    }
    names
}

#[test]
fn pending_and_stored_names_are_merged_in_byte_order() {
    let f = fixture();
    for name in ["b", "a-b", "Z"] {
        f.settled(name, b"x");
    }
    f.fs.mkdir(ME, f.t, b"a", 0o755).expect("made");
    let handles: Vec<u64> =
        ["aa", "A", "zz", "a.c"].into_iter().map(|name| f.pending(name, b"").1).collect();
    // Stored already and still open: listed once.
    f.fs.flush(handles[0]).expect("stored");
    let expected = [".", "..", "A", "Z", "a", "a-b", "a.c", "aa", "b", "zz"];
    for page in [1, 2, 3, 100] {
        assert_eq!(f.list(f.t, page), expected, "pages of {page}");
    }
}

#[test]
fn types_and_numbers_are_right() {
    let f = fixture();
    let folder = f.fs.mkdir(ME, f.t, b"folder", 0o755).expect("made").stat.ino;
    let file = f.settled("file", b"x");
    let link = f.fs.symlink(ME, folder, b"link", b"x").expect("made").stat.ino;
    let (open, _) = f.pending("open", b"x");
    let all = |ino| {
        let handle = f.fs.opendir(ino).expect("opened");
        let mut items = Vec::new();
        f.fs.readdir(handle, 0, true, &mut |item| {
            items.push((item.name.to_vec(), item.ino, item.kind, item.found.map(|f| f.stat.ino)));
            false
        })
        .expect("listed");
        items
    };
    let dot = |name: &[u8], ino| (name.to_vec(), ino, Kind::Folder, None);
    let item = |name: &[u8], ino, kind| (name.to_vec(), ino, kind, Some(ino));
    assert_eq!(
        all(f.t),
        [
            dot(b".", f.t),
            dot(b"..", TOP_INO),
            item(b"file", file, Kind::File),
            item(b"folder", folder, Kind::Folder),
            item(b"open", open, Kind::File),
        ]
    );
    let inner = [dot(b".", folder), dot(b"..", f.t), item(b"link", link, Kind::Symlink)];
    assert_eq!(all(folder), inner);
    assert_eq!(all(TOP_INO)[2], item(b"t", f.t, Kind::Folder));
}

#[test]
fn only_what_fits_counts_as_looked_up() {
    let f = fixture();
    for name in numbered(&f, 0..10) {
        let ino = f.ino(&name).expect("found");
        f.fs.forget(ino, 2);
    }
    let before = f.fs.inodes.len();
    let handle = f.fs.opendir(f.t).expect("opened");
    let mut fitted = 0;
    f.fs.readdir(handle, 0, true, &mut |_| {
        fitted += 1;
        fitted > 5
    })
    .expect("listed");
    assert_eq!(f.fs.inodes.len(), before + 3, "two of five are dots");
}

#[test]
fn offsets_survive_changes() {
    let f = fixture();
    numbered(&f, 0..50);
    let handle = f.fs.opendir(f.t).expect("opened");
    let first = f.page(handle, 0, 22);
    let (middle, name) = first.last().cloned().expect("listed");
    assert_eq!(name, "f00019");
    for gone in ["f00003", "f00019", "f00020", "f00040"] {
        f.unlink(gone).expect("unlinked");
    }
    f.settled("f00001+", b"x");
    f.settled("f00030+", b"x");
    let rest: Vec<String> = f.page(handle, middle, 100).into_iter().map(|(_, name)| name).collect();
    let mut expected: Vec<String> = (21..50).map(|n| format!("f{n:05}")).collect();
    expected.retain(|name| name != "f00040");
    expected.insert(10, "f00030+".to_owned());
    assert_eq!(rest, expected);
    // Back to where we were, and to the start.
    let again: Vec<String> =
        f.page(handle, middle, 100).into_iter().map(|(_, name)| name).collect();
    assert_eq!(again, expected);
    let (early, name) = &first[4];
    assert_eq!(name, "f00002");
    assert_eq!(f.page(handle, *early, 1)[0].1, "f00004");
    assert_eq!(f.page(handle, 0, 5)[4].1, "f00001+");
}

#[test]
fn removing_while_listing_misses_nothing() {
    let f = fixture();
    let names = numbered(&f, 0..100);
    let handle = f.fs.opendir(f.t).expect("opened");
    let mut offset = 0;
    let mut removed = Vec::new();
    loop {
        let page = f.page(handle, offset, 7);
        let Some((last, _)) = page.last() else { break };
        offset = *last;
        for (_, name) in page.into_iter().filter(|(_, name)| !name.starts_with('.')) {
            f.unlink(&name).expect("unlinked");
            removed.push(name);
        }
    }
    assert_eq!(removed, names);
    assert_eq!(f.list(f.t, 10), [".", ".."]);
}

#[test]
fn files_stored_while_listing_appear_once() {
    let f = fixture();
    numbered(&f, 0..10);
    let handles: Vec<u64> = (0..10).map(|n| f.pending(&format!("f{n:05}+"), b"x").1).collect();
    let handle = f.fs.opendir(f.t).expect("opened");
    let mut offset = 0;
    let mut names = Vec::new();
    let mut handles = handles.into_iter();
    loop {
        let page = f.page(handle, offset, 3);
        let Some((last, _)) = page.last() else { break };
        offset = *last;
        names.extend(page.into_iter().map(|(_, name)| name));
        for open in handles.by_ref().take(2) {
            f.fs.flush(open).expect("stored");
            f.fs.release(open);
        }
    }
    let mut expected = vec![".".to_owned(), "..".to_owned()];
    expected.extend((0..10).flat_map(|n| [format!("f{n:05}"), format!("f{n:05}+")]));
    assert_eq!(names, expected);
}

#[test]
fn positions_that_were_never_given_are_refused() {
    let f = fixture();
    let handle = f.fs.opendir(f.t).expect("opened");
    assert_eq!(f.fs.readdir(handle, 77, false, &mut |_| false), Err(Errno::EINVAL));
    f.fs.fsyncdir(handle).expect("synced");
    f.fs.releasedir(handle);
    assert_eq!(f.fs.readdir(handle, 0, false, &mut |_| false), Err(Errno::EBADF));
    let ino = f.settled("a", b"x");
    assert_eq!(f.fs.opendir(ino).err(), Some(Errno::ENOTDIR));
}

#[test]
fn a_file_that_is_stored_under_a_listing_is_listed_once() {
    let f = fixture();
    f.settled("a", b"x");
    let (_, early) = f.pending("b", b"x");
    let (_, late) = f.pending("c", b"x");
    let folder = f.fs.opendir(f.t).expect("opened");
    let mut names = Vec::new();
    let mut last = 0;
    let mut add = |item: &crate::fs::DirEntry<'_>| {
        names.push(String::from_utf8_lossy(item.name).into_owned());
        last = item.offset;
        if item.name == b"c" {
            // Nothing stored was left, and now there is.
            for handle in [early, late] {
                f.fs.flush(handle).expect("closed");
                f.fs.release(handle);
            }
        }
        false
    };
    f.fs.readdir(folder, 0, false, &mut add).expect("listed");
    assert_eq!(names, [".", "..", "a", "b", "c"]);
    assert_eq!(f.page(folder, last, 10), []);
    f.fs.releasedir(folder);
}

#[test]
fn a_file_that_is_created_before_an_entry_that_did_not_fit_comes_before_it() {
    let f = fixture();
    f.settled("a", b"x");
    let (_, last) = f.pending("c", b"x");
    let folder = f.fs.opendir(f.t).expect("opened");
    let first = f.page(folder, 0, 3);
    let (_, created) = f.pending("b", b"x");
    let rest = f.page(folder, first[2].0, 10);
    let names: Vec<&str> = first.iter().chain(&rest).map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, [".", "..", "a", "b", "c"]);
    for handle in [last, created] {
        f.fs.release(handle);
    }
}
