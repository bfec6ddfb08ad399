//! Each rule is seen to fail, on small sources made for it, and to let pass what it should.

use std::collections::BTreeMap;

use super::face::hidden_public;
use super::floors::{circles, files_without_a_floor, imports_upwards, listed};
use super::modules::Modules;
use super::shape::{
    docs_without_a_subject, files_beside_their_folder, long_files, long_functions, path_attributes,
    silent_casts, types_of_one_name, unreasoned, wide_lines,
};
use super::source::Source;

const MAP: &str = "# Map\n\n## Floors\n\nWords.\n\n| floor | what it is for |\n|---|---|\n\
    | `main.rs` | starts |\n| `lib.rs` | the `face` |\n| `high/` | above |\n\
    | `low/` `beside/` | below |\n| `a.rs`, `b.rs` | ground |\n\n## Else\n\n| `no/` | |\n";

fn sources(files: &[(&str, &str)]) -> Vec<Source> {
    files.iter().map(|(path, text)| Source::new(path, text)).collect()
}

/// A library that declares the modules of these files, with the files.
fn library(files: &[(&str, &str)]) -> Vec<Source> {
    let lib = "mod a; mod b; mod high; mod low; mod beside;";
    let mut all = vec![("src/lib.rs", lib)];
    for name in ["src/a.rs", "src/b.rs", "src/high/mod.rs", "src/low/mod.rs", "src/beside/mod.rs"] {
        if !files.iter().any(|(path, _)| *path == name) {
            all.push((name, ""));
        }
    }
    all.retain(|(path, _)| !files.iter().any(|(name, _)| path == name));
    sources(&[&all, files].concat())
}

fn upwards(files: &[(&str, &str)]) -> Vec<String> {
    let files = library(files);
    imports_upwards(&files, &Modules::new(&files), MAP)
}

fn in_circles(files: &[(&str, &str)]) -> Vec<String> {
    let files = library(files);
    circles(&files, &Modules::new(&files))
}

fn public(files: &[(&str, &str)]) -> Vec<String> {
    let files = library(files);
    hidden_public(&files, &Modules::new(&files))
}

fn of_one_name(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    let files = library(files);
    types_of_one_name(&files, &Modules::new(&files))
}

#[track_caller]
fn fails(wrong: &[String], parts: &[&str]) {
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    for part in parts {
        assert!(wrong[0].contains(part), "{wrong:?} without {part:?}");
    }
}

#[track_caller]
fn passes(wrong: &[String]) {
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn floors_are_read_from_the_table() {
    let floors = listed(MAP);
    assert_eq!(floors.len(), 5, "{floors:?}");
    assert_eq!(floors[3], ["low/", "beside/"]);
    assert_eq!(floors[4], ["a.rs", "b.rs"]);
}

#[test]
fn a_file_without_a_floor_and_a_floor_without_a_file() {
    let with_main = [("src/main.rs", "")];
    passes(&files_without_a_floor(&library(&with_main), MAP));
    let more = [("src/main.rs", ""), ("src/other/x.rs", "")];
    fails(&files_without_a_floor(&library(&more), MAP), &["src/other/x.rs", "0 floors"]);
    let twice = MAP.replace("`b.rs`", "`b.rs` `low/`");
    fails(&files_without_a_floor(&library(&with_main), &twice), &["src/low/mod.rs", "2 floors"]);
    let gone = MAP.replace("`b.rs`", "`b.rs` `c.rs`");
    fails(&files_without_a_floor(&library(&with_main), &gone), &["c.rs"]);
}

#[test]
fn a_file_that_nobody_declares_and_a_module_without_a_file() {
    let files = sources(&[("src/lib.rs", "mod a;\n#[cfg(test)]\nmod b;"), ("src/a.rs", "mod c;")]);
    assert_eq!(Modules::new(&files).missing, ["src/a.rs:1: mod c", "src/lib.rs:3: mod b"]);
    let files = sources(&[("src/lib.rs", "mod a;"), ("src/a.rs", ""), ("src/b.rs", "")]);
    assert_eq!(Modules::new(&files).known.into_iter().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn an_import_upwards() {
    passes(&upwards(&[
        ("src/high/mod.rs", "use crate::low::X;"),
        ("src/low/mod.rs", "pub struct X;"),
    ]));
    for import in [
        "use crate::high::X;",
        "use crate::{a, high::{self, X as Y}};",
        "pub(crate) use super::high::X;",
        "fn f() { crate::high::X::new(); }",
        "fn f() { use crate::high::X; }",
        "fn f(x: Vec<super::high::X>) {}",
        "fn f() { assert!(crate::high::is()) }",
        "mod inner { use super::super::high::X; }",
    ] {
        let files = [("src/low/mod.rs", import), ("src/high/mod.rs", "pub struct X;")];
        assert!(!upwards(&files).is_empty(), "{import}");
        assert!(upwards(&files)[0].contains("src/high/mod.rs"), "{import}");
    }
    fails(
        &upwards(&[
            ("src/low/mod.rs", "use crate::beside::X;"),
            ("src/beside/mod.rs", "struct X;"),
        ]),
        &["src/low/mod.rs:1", "another folder"],
    );
    // Files of one floor that are no folders are one folder together.
    passes(&upwards(&[("src/a.rs", "use crate::b::X;"), ("src/b.rs", "pub struct X;")]));
}

#[test]
fn what_is_no_import_upwards() {
    for import in [
        "/// See [`crate::high::X`].\nfn f() {}",
        "// crate::high::X\n",
        "fn f() { \"crate::high::X\"; }",
        "#[cfg(test)] mod tests { use crate::high::X; }",
        "pub(in crate::low) fn f() {}",
        "use std::high::X;",
    ] {
        let files = [("src/low/mod.rs", import), ("src/high/mod.rs", "pub struct X;")];
        assert_eq!(upwards(&files), Vec::<String>::new(), "{import}");
    }
    let not_test = "#[cfg(not(test))] mod real { use crate::high::X; }";
    let files = [("src/low/mod.rs", not_test), ("src/high/mod.rs", "pub struct X;")];
    fails(&upwards(&files), &["src/low/mod.rs:1"]);
}

#[test]
fn a_name_that_is_shown_elsewhere_is_followed_home() {
    // Over the face, over a parent that shows what its child has, and over everything of a module.
    let high = [
        ("src/high/mod.rs", "mod part; pub(crate) use self::part::*;"),
        ("src/high/part.rs", "pub struct X;"),
    ];
    let low = [("src/low/mod.rs", "use crate::X;")];
    let lib = [("src/lib.rs", "mod a; mod b; mod high; mod low; mod beside; pub use high::X;")];
    fails(&upwards(&[&high[..], &low, &lib].concat()), &["src/high/part.rs", "crate::X"]);
    // The program sees the library by its name.
    let main = [("src/main.rs", "use littfs::X;")];
    passes(&upwards(&[&high[..], &main, &lib].concat()));
}

#[test]
fn a_circle_of_imports() {
    let part = ("src/low/part.rs", "use super::other::Y; pub struct X;");
    let other = ("src/low/other.rs", "pub struct Y;");
    passes(&in_circles(&[("src/low/mod.rs", "mod part; mod other;"), part, other]));
    // A parent that shows its children does not depend on them, but one that uses them does.
    let shows = "mod part; mod other; pub(crate) use self::part::X; pub struct Y;";
    let child = ("src/low/part.rs", "use super::Y; pub struct X;");
    passes(&in_circles(&[("src/low/mod.rs", shows), child, ("src/low/other.rs", "")]));
    let uses = "mod part; use self::part::X; pub struct Y;";
    let found = in_circles(&[("src/low/mod.rs", uses), child]);
    fails(&found, &["src/low/mod.rs, src/low/part.rs", "src/low/part.rs:1 imports super::Y"]);
    let calls = "mod part; fn f() { part::run() } pub struct Y;";
    fails(&in_circles(&[("src/low/mod.rs", calls), child]), &["part::run"]);
    // Three files, and a test that closes no circle.
    let far = [
        ("src/a.rs", "use crate::b::X;"),
        ("src/b.rs", "use crate::low::X;"),
        ("src/low/mod.rs", "use crate::a::X;"),
    ];
    fails(&in_circles(&far), &["src/a.rs, src/b.rs, src/low/mod.rs"]);
    let test = [far[0], ("src/b.rs", "#[cfg(test)] mod tests { use crate::a::X; }")];
    passes(&in_circles(&test));
}

#[test]
fn something_public_that_cannot_be_reached() {
    fails(
        &public(&[("src/a.rs", "pub struct X; pub(crate) fn f() {}")]),
        &["src/a.rs:1: pub struct X"],
    );
    let lib = |uses: &'static str| {
        [("src/lib.rs", uses), ("src/a.rs", "pub struct X; pub mod deep { pub fn f() {} }")]
    };
    passes(&public(&lib("pub mod a;")));
    fails(&public(&lib("mod a; pub use a::X;")), &["pub fn f"]);
    fails(&public(&lib("mod a; pub use a::deep;")), &["pub struct X"]);
    passes(&public(&lib("mod a; pub use a::*;")));
    passes(&public(&lib("mod a; pub use a::{X, deep::f};")));
    // Under another name, twice.
    passes(&public(&lib(
        "mod a; mod b { pub use crate::a::{deep::f as g, X}; } pub use b::{g as h, X as Y};",
    )));
    assert_eq!(public(&lib("mod a; pub(crate) use a::X;")).len(), 2);
    // The program has no face.
    passes(&public(&[("src/main.rs", "pub struct X;")]));
}

#[test]
fn a_function_that_is_too_long() {
    let function = |lines: usize| {
        format!(
            "struct A;\nimpl A {{\n    fn f(&self) -> [u8; 2] {{{}}}\n}}\n",
            "\n".repeat(lines - 1)
        )
    };
    passes(&long_functions(&sources(&[("src/a.rs", &function(70))])));
    fails(
        &long_functions(&sources(&[("src/a.rs", &function(71))])),
        &["src/a.rs:3", "fn f has 71 lines"],
    );
    let not_one = format!(
        "type F = fn(u8) -> u8;\ntrait T {{ fn g(&self); }}\nconst S: &str = \"{}\";",
        "\n".repeat(99)
    );
    passes(&long_functions(&sources(&[("tests/a.rs", &not_one)])));
    let in_macro = format!("proptest! {{\n{}}}", function(80));
    fails(&long_functions(&sources(&[("tests/a.rs", &in_macro)])), &["80 lines"]);
}

#[test]
fn a_file_that_is_too_long_and_a_line_that_is_too_wide() {
    passes(&long_files(&sources(&[("scripts/a", &"x\n".repeat(600))])));
    fails(&long_files(&sources(&[("src/a.rs", &"\n".repeat(601))])), &["src/a.rs: 601 lines"]);
    // Counted in letters, not in bytes; comments too.
    passes(&wide_lines(&sources(&[("src/a.rs", &format!("//{}", "ü".repeat(108)))])));
    fails(
        &wide_lines(&sources(&[("src/a.rs", &format!("\n//{}", "u".repeat(109)))])),
        &["src/a.rs:2: 111"],
    );
}

#[test]
fn a_module_that_is_not_where_its_name_says() {
    let elsewhere = "#[path = \"../x.rs\"]\nmod x;";
    fails(&path_attributes(&sources(&[("benches/a.rs", elsewhere)])), &["benches/a.rs:1"]);
    passes(&path_attributes(&sources(&[("src/a.rs", "// #[path = \"x.rs\"]\nmod x;")])));
    let beside = [("src/a.rs", "mod b;"), ("src/a/b.rs", "")];
    fails(&files_beside_their_folder(&sources(&beside)), &["src/a.rs is to be src/a/mod.rs"]);
    passes(&files_beside_their_folder(&sources(&[("src/a/mod.rs", "mod b;"), ("src/a/b.rs", "")])));
}

#[test]
fn docs_that_lean_on_what_stands_before() {
    for doc in ["/// The same, but later.\nfn f() {}", "//! The same for others.\n"] {
        fails(&docs_without_a_subject(&sources(&[("src/a.rs", doc)])), &["src/a.rs:1"]);
    }
    for fine in ["/// Does this.\n/// The same holds for that.\nfn f() {}", "// The same again.\n"]
    {
        passes(&docs_without_a_subject(&sources(&[("src/a.rs", fine)])));
    }
}

#[test]
fn two_types_of_one_name() {
    let wrong =
        of_one_name(&[("src/a.rs", "struct Same;"), ("src/b.rs", "mod x { enum Same {} }")]);
    assert_eq!(wrong["Same"], "src/a.rs:1, src/b.rs:1");
    assert!(unreasoned(&wrong).contains(&"Same: src/a.rs:1, src/b.rs:1".to_owned()));
    // A reason that is needed no more is told too.
    assert!(unreasoned(&wrong).iter().any(|line| line.starts_with("Hooks is allowed")));
    let fine = "fn f() {} impl X for Y { type Same = u8; } #[cfg(test)] mod tests { struct Same; }";
    let right = of_one_name(&[("src/a.rs", "struct Same;"), ("src/b.rs", fine)]);
    assert!(right.is_empty(), "{right:?}");
}

#[test]
fn a_cast_that_says_nothing() {
    for cast in [
        "u8::try_from(n).unwrap_or(u8::MAX)",
        "u8::try_from(f(n)).unwrap_or_default()",
        "n.try_into().unwrap_or(0)",
        "u8::try_from(n)\n        .unwrap_or_else(|_| 7)",
    ] {
        let text = format!("fn g() {{ {cast}; }}");
        assert_eq!(silent_casts(&sources(&[("src/a.rs", &text)])).len(), 1, "{cast}");
        passes(&silent_casts(&sources(&[("src/cast.rs", &text), ("tests/a.rs", &text)])));
    }
    let fine = "fn g() { u8::try_from(n)?; a.checked_add(1).unwrap_or(u8::MAX); } \
        #[cfg(test)] mod tests { fn f() { u8::try_from(n).unwrap_or(0); } }";
    passes(&silent_casts(&sources(&[("src/a.rs", fine)])));
}
