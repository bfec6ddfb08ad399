//! The modules of the library and of the program, what they declare, and which file each path in a
//! source leads to.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, is_word};

/// How far re-exports are followed before a path is given up.
const FOLLOWED_MAX: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Module {
    /// The number of its file.
    pub(super) file: usize,
    pub(super) parent: Option<usize>,
    /// The root of its crate: of the library, or of the program.
    root: usize,
    pub(super) is_test: bool,
    pub(super) children: BTreeMap<String, Child>,
    pub(super) items: Vec<Item>,
    pub(super) uses: Vec<Use>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Child {
    pub(super) module: usize,
    pub(super) is_pub: bool,
}

/// Something with a name that a module declares, but for modules.
#[derive(Debug)]
pub(super) struct Item {
    /// `struct`, `fn` and so on.
    pub(super) keyword: String,
    pub(super) name: String,
    /// Visible wherever its module is, which `pub(crate)` is not.
    pub(super) is_pub: bool,
    pub(super) is_test: bool,
    pub(super) line: usize,
}

/// One name of a `use` declaration.
#[derive(Clone, Debug)]
pub(super) struct Use {
    pub(super) path: Vec<String>,
    /// What it is called here; `*` for everything.
    pub(super) name: String,
    pub(super) is_pub: bool,
}

/// Where something is declared: a module, or an item in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Home {
    pub(super) module: usize,
    pub(super) item: Option<String>,
}

/// A path in a source that leads to another file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) line: usize,
    pub(super) path: String,
    pub(super) is_test: bool,
    /// A parent that shows what its children have does not depend on them.
    pub(super) is_shown_child: bool,
}

/// All modules below `src/lib.rs` and `src/main.rs`.
#[derive(Debug)]
pub(super) struct Modules<'a> {
    files: &'a [Source],
    pub(super) all: Vec<Module>,
    pub(super) edges: BTreeSet<Edge>,
    /// Of each token of each file that was read, its module.
    spans: Vec<(usize, std::ops::Range<usize>)>,
    /// Files that a module stands in.
    pub(super) known: BTreeSet<usize>,
    /// Declared, but there is no such file.
    pub(super) missing: Vec<String>,
    pub(super) library: Option<usize>,
}

/// What stands before an item.
#[derive(Clone, Copy, Default)]
struct Head {
    is_pub: bool,
    is_test: bool,
}

impl<'a> Modules<'a> {
    pub(super) fn new(files: &'a [Source]) -> Self {
        let mut modules = Self {
            files,
            all: Vec::new(),
            edges: BTreeSet::new(),
            spans: Vec::new(),
            known: BTreeSet::new(),
            missing: Vec::new(),
            library: None,
        };
        for root in ["src/lib.rs", "src/main.rs"] {
            if let Some(file) = modules.file(root) {
                let number = modules.all.len();
                modules.all.push(Module { file, root: number, ..Module::default() });
                if root == "src/lib.rs" {
                    modules.library = Some(number);
                }
                modules.read(number, 0..files[file].tokens.len());
            }
        }
        modules.find_edges();
        modules
    }

    fn file(&self, path: &str) -> Option<usize> {
        self.files.iter().position(|file| file.path == path)
    }

    fn source(&self, module: usize) -> &'a Source {
        &self.files[self.all[module].file]
    }

    /// Reads the declarations of a module, and its children.
    fn read(&mut self, module: usize, range: std::ops::Range<usize>) {
        let source = self.source(module);
        self.known.insert(self.all[module].file);
        self.spans.push((module, range.clone()));
        let mut at = range.start;
        while at < range.end {
            let (head, item) = self.head(module, at);
            at = self.item(module, head, item).max(at + 1);
        }
        debug_assert!(at >= range.end || source.tokens.is_empty());
    }

    /// Attributes and visibility of the item at this token, and where it goes on.
    fn head(&self, module: usize, mut at: usize) -> (Head, usize) {
        let source = self.source(module);
        let mut head = Head { is_test: self.all[module].is_test, ..Head::default() };
        loop {
            if source.word(at) == "#" {
                at += if source.word(at + 1) == "!" { 2 } else { 1 };
                let end = source.tokens.get(at).map_or(at, |token| token.end);
                head.is_test |= is_for_tests(source, at, end);
                at = end + 1;
            } else if source.word(at) == "pub" {
                head.is_pub = source.word(at + 1) != "(";
                at = if head.is_pub { at + 1 } else { source.tokens[at + 1].end + 1 };
            } else if ["unsafe", "async", "default"].contains(&source.word(at))
                || (source.word(at) == "const"
                    && ["fn", "unsafe", "async"].contains(&source.word(at + 1)))
            {
                at += 1;
            } else if source.word(at) == "extern" && source.word(at + 1).starts_with('"') {
                at += 2;
            } else {
                return (head, at);
            }
        }
    }

    /// Notes the item at this token; returns where the next begins.
    fn item(&mut self, module: usize, head: Head, at: usize) -> usize {
        let source = self.source(module);
        let keyword = source.word(at);
        let name = source.word(at + 1).to_owned();
        let end = end_of_item(source, at);
        match keyword {
            "use" => {
                let mut names = Vec::new();
                use_tree(source, at + 1, &[], &mut names);
                let uses =
                    names.into_iter().map(|(path, name)| Use { path, name, is_pub: head.is_pub });
                self.all[module].uses.extend(uses);
            }
            "mod" => self.child(module, head, at, &name),
            "fn" | "struct" | "enum" | "union" | "trait" | "type" | "const" | "static" => {
                self.all[module].items.push(Item {
                    keyword: keyword.to_owned(),
                    name,
                    is_pub: head.is_pub,
                    is_test: head.is_test,
                    line: source.tokens[at].line,
                });
            }
            _ => {}
        }
        end
    }

    fn child(&mut self, parent: usize, head: Head, at: usize, name: &str) {
        let source = self.source(parent);
        let number = self.all.len();
        let of_file = self.all[parent].file;
        let body = &source.tokens[at + 2];
        let inline = (body.text == "{").then_some(at + 3..body.end);
        let file = if inline.is_some() {
            Some(of_file)
        } else {
            let folder = self.folder(parent);
            self.file(&format!("{folder}/{name}.rs"))
                .or_else(|| self.file(&format!("{folder}/{name}/mod.rs")))
        };
        let Some(file) = file else {
            self.missing.push(format!("{}: mod {name}", source.at(source.tokens[at].line)));
            return;
        };
        self.all.push(Module {
            file,
            parent: Some(parent),
            root: self.all[parent].root,
            is_test: head.is_test,
            ..Module::default()
        });
        let child = Child { module: number, is_pub: head.is_pub };
        self.all[parent].children.insert(name.to_owned(), child);
        let range = inline.unwrap_or(0..self.files[file].tokens.len());
        self.read(number, range);
    }

    /// Where the files of the children of a module are.
    fn folder(&self, module: usize) -> String {
        let path = self.source(module).path.trim_end_matches(".rs");
        let folder = path.strip_suffix("/mod").or_else(|| path.strip_suffix("/lib"));
        folder.or_else(|| path.strip_suffix("/main")).unwrap_or(path).to_owned()
    }

    /// The module in which what a path names is declared; `None` when it leads out of the crate.
    pub(super) fn resolve(&self, module: usize, path: &[String]) -> Option<usize> {
        self.follow(module, path, FOLLOWED_MAX).map(|home| home.module)
    }

    /// Where what a path names is declared, and under which name.
    pub(super) fn home(&self, module: usize, path: &[String]) -> Option<Home> {
        self.follow(module, path, FOLLOWED_MAX)
    }

    fn follow(&self, module: usize, path: &[String], left: usize) -> Option<Home> {
        let left = left.checked_sub(1)?;
        let mut current = module;
        let mut rest = path;
        let mut is_first = true;
        while let Some((name, after)) = rest.split_first() {
            let here = &self.all[current];
            match name.as_str() {
                "self" => {}
                "crate" => current = here.root,
                "super" => current = here.parent?,
                "littfs" if is_first && self.library.is_some_and(|root| root != here.root) => {
                    current = self.library?;
                }
                name => {
                    if let Some(child) = here.children.get(name) {
                        current = child.module;
                    } else if let Some(home) = self.shown(current, name, left) {
                        // What follows the name of an item is its own: a method, a variant.
                        if home.item.is_some() {
                            return Some(home);
                        }
                        current = home.module;
                    } else {
                        let is_external = is_first && !here.items.iter().any(|i| i.name == name);
                        let home = Home { module: current, item: Some(name.to_owned()) };
                        return (!is_external).then_some(home);
                    }
                }
            }
            (rest, is_first) = (after, false);
        }
        Some(Home { module: current, item: None })
    }

    /// Where a name comes from that a module has by a `use`.
    fn shown(&self, module: usize, name: &str, left: usize) -> Option<Home> {
        let uses = &self.all[module].uses;
        let mut by_name = uses.iter().filter(|use_| use_.name == name);
        let found = by_name.find_map(|use_| self.follow(module, &use_.path, left));
        found.or_else(|| {
            let mut globs = uses.iter().filter(|use_| use_.name == "*");
            globs.find_map(|use_| {
                let from = self.follow(module, &use_.path, left)?.module;
                let there = &self.all[from];
                let has = there.children.contains_key(name)
                    || there.items.iter().any(|item| item.name == name)
                    || there.uses.iter().any(|use_| use_.is_pub && use_.name == name);
                has.then(|| self.follow(from, &[name.to_owned()], left))?
            })
        })
    }

    fn find_edges(&mut self) {
        // Those of modules inside others come later, and their tokens are theirs.
        let mut owners: Vec<Vec<usize>> =
            self.files.iter().map(|file| vec![usize::MAX; file.tokens.len()]).collect();
        for (module, range) in &self.spans {
            owners[self.all[*module].file][range.clone()].fill(*module);
        }
        let mut edges = BTreeSet::new();
        for file in self.known.clone() {
            self.edges_of(file, &owners[file], &mut edges);
        }
        self.edges = edges;
    }

    fn edges_of(&self, file: usize, owners: &[usize], edges: &mut BTreeSet<Edge>) {
        let source = &self.files[file];
        let tests = test_tokens(source);
        let mut at = 0;
        while at < source.tokens.len() {
            let (module, start) = (owners[at], at);
            let mut paths = Vec::new();
            let mut is_shown = false;
            if source.word(at) == "use" && source.word(at + 1) != "<" {
                use_tree(source, at + 1, &[], &mut paths);
                is_shown = at > 0 && ["pub", ")"].contains(&source.word(at - 1));
                at = end_of_item(source, at);
            } else if let Some((path, next)) = self.path_at(source, module, at) {
                paths.push((path, String::new()));
                at = next;
            } else {
                at += 1;
            }
            for (path, _) in paths {
                let Some(to) = self.resolve(module, &path) else { continue };
                let is_below = self.is_below(to, module) && to != module;
                let edge = Edge {
                    from: file,
                    to: self.all[to].file,
                    line: source.tokens[start].line,
                    path: path.join("::"),
                    is_test: tests[start] || self.all[module].is_test,
                    is_shown_child: is_shown && is_below,
                };
                if edge.from != edge.to {
                    edges.insert(edge);
                }
            }
        }
    }

    fn is_below(&self, module: usize, above: usize) -> bool {
        std::iter::successors(Some(module), |at| self.all[*at].parent).any(|at| at == above)
    }

    /// A path in the code that begins in this crate, and where it ends.
    fn path_at(&self, source: &Source, module: usize, at: usize) -> Option<(Vec<String>, usize)> {
        let first = source.word(at);
        let begins = ["crate", "self", "super"].contains(&first)
            || self.all[module].children.contains_key(first)
            || (first == "littfs" && self.library.is_some_and(|l| l != self.all[module].root));
        let before = if at == 0 { "" } else { source.word(at - 1) };
        if !begins || source.word(at + 1) != "::" || ["::", ".", "in"].contains(&before) {
            return None;
        }
        let mut path = vec![first.to_owned()];
        let mut next = at + 1;
        while source.word(next) == "::" && is_word(source.word(next + 1)) {
            path.push(source.word(next + 1).to_owned());
            next += 2;
        }
        Some((path, next))
    }
}

/// Which tokens are compiled only for tests.
pub(super) fn test_tokens(source: &Source) -> Vec<bool> {
    let mut tests = vec![false; source.tokens.len()];
    for at in 0..source.tokens.len() {
        let open = if source.word(at + 1) == "!" { at + 2 } else { at + 1 };
        if source.word(at) != "#" || source.word(open) != "[" {
            continue;
        }
        let end = source.tokens[open].end;
        if is_for_tests(source, open, end) {
            let inner = open == at + 2;
            let last =
                if inner { tests.len() } else { end_of_item(source, after_head(source, at)) };
            tests[at..last].fill(true);
        }
    }
    tests
}

/// Behind the attributes and the visibility of an item.
fn after_head(source: &Source, mut at: usize) -> usize {
    loop {
        match (source.word(at), source.word(at + 1)) {
            ("#", "[") | ("pub", "(") => at = source.tokens[at + 1].end + 1,
            ("pub", _) => at += 1,
            _ => return at,
        }
    }
}

/// Whether an attribute leaves its item to tests.
fn is_for_tests(source: &Source, open: usize, close: usize) -> bool {
    let is_asked = |at: usize| source.word(at) == "test" && !source.has(at - 2, &["not", "("]);
    source.has(open, &["[", "test", "]"])
        || (source.word(open + 1) == "cfg" && (open + 2..close).any(is_asked))
}

/// Behind the item that begins here: after its semicolon or its body.
fn end_of_item(source: &Source, at: usize) -> usize {
    let has_value = ["const", "static", "let", "use", "type"].contains(&source.word(at));
    let mut next = at;
    while let Some(token) = source.tokens.get(next) {
        match token.text.as_str() {
            ";" => return next + 1,
            "{" if !has_value => return token.end + 1,
            // The last field, argument or variant.
            "}" | ")" | "]" if token.end == next => return next,
            _ => next = token.end + 1,
        }
    }
    source.tokens.len()
}

/// The paths of a `use` tree, each with the name that it has here.
fn use_tree(
    source: &Source,
    mut at: usize,
    prefix: &[String],
    out: &mut Vec<(Vec<String>, String)>,
) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match source.word(at) {
            "::" => at += 1,
            "{" => {
                let end = source.tokens[at].end;
                at += 1;
                while at < end {
                    at = use_tree(source, at, &path, out);
                    if source.word(at) == "," {
                        at += 1;
                    }
                }
                return end + 1;
            }
            "*" => {
                out.push((path, "*".to_owned()));
                return at + 1;
            }
            word if is_word(word) => {
                if word != "self" || path.is_empty() {
                    path.push(word.to_owned());
                }
                at += 1;
                if source.word(at) == "as" {
                    out.push((path, source.word(at + 1).to_owned()));
                    return at + 2;
                }
                if source.word(at) != "::" {
                    let name = path.last().cloned().unwrap_or_default();
                    out.push((path, name));
                    return at;
                }
            }
            _ => return at + 1,
        }
    }
}
