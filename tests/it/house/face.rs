//! What the library shows, and what only says so.

use std::collections::BTreeSet;

use super::modules::Modules;
use super::source::Source;

/// Items that are `pub` although no path from `src/lib.rs` leads to them.
pub(super) fn hidden_public(files: &[Source], modules: &Modules) -> Vec<String> {
    let Some(library) = modules.library else { return Vec::new() };
    let shown = shown_from(library, modules);
    let mut wrong = Vec::new();
    for (number, module) in modules.all.iter().enumerate() {
        let is_of_library = root_of(number, modules) == library;
        for item in module.items.iter().filter(|item| item.is_pub && !item.is_test) {
            if is_of_library && !shown.contains(&(number, item.name.clone())) {
                let at = files[module.file].at(item.line);
                wrong.push(format!("{at}: pub {} {}", item.keyword, item.name));
            }
        }
    }
    wrong
}

fn root_of(module: usize, modules: &Modules) -> usize {
    std::iter::successors(Some(module), |at| modules.all[*at].parent).last().unwrap_or(module)
}

/// Every item that can be named from outside, by the module that declares it.
fn shown_from(library: usize, modules: &Modules) -> BTreeSet<(usize, String)> {
    let mut shown = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut left = vec![library];
    while let Some(number) = left.pop() {
        if !seen.insert(number) {
            continue;
        }
        let module = &modules.all[number];
        let public = module.items.iter().filter(|item| item.is_pub);
        shown.extend(public.map(|item| (number, item.name.clone())));
        left.extend(
            module.children.values().filter(|child| child.is_pub).map(|child| child.module),
        );
        for shows in module.uses.iter().filter(|shows| shows.is_pub) {
            let Some(home) = modules.home(number, &shows.path) else { continue };
            match home.item {
                Some(item) => {
                    shown.insert((home.module, item));
                }
                // A module as a whole, or everything in one.
                None => left.push(home.module),
            }
        }
    }
    shown
}
