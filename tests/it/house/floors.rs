//! Which file stands on which floor, and who may import whom.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{Edge, Modules};
use super::source::Source;

/// The document whose table lists the floors.
pub(super) const MAP: &str = "docs/ARCHITECTURE.md";

/// The places of one line of the table, each a file or a folder below `src/`.
type Floor = Vec<String>;

/// The floors of the table in the section "Floors", from the top of the house to its ground: what
/// is written as code in the first column.
pub(super) fn listed(map: &str) -> Vec<Floor> {
    let section = map.split("\n## Floors\n").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let floor = |row: &str| {
        let first = format!("`{}", row.split(" |").next().unwrap_or_default());
        first.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    rows.map(floor).collect()
}

/// Every file below `src/` is in exactly one place of the table, and every place has files.
pub(super) fn files_without_a_floor(files: &[Source], map: &str) -> Vec<String> {
    let floors = listed(map);
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for path in files.iter().filter_map(|file| file.path.strip_prefix("src/")) {
        let places: Vec<&String> =
            floors.iter().flatten().filter(|place| is_at(path, place)).collect();
        if places.len() != 1 {
            wrong.push(format!("src/{path} is on {} floors of {MAP}", places.len()));
        }
        used.extend(places);
    }
    for place in floors.iter().flatten().filter(|place| !used.contains(place)) {
        wrong.push(format!("{MAP} has a floor for {place}, which is not below src/"));
    }
    wrong
}

fn is_at(path: &str, place: &str) -> bool {
    if place.ends_with('/') { path.starts_with(place) } else { path == place }
}

/// Imports of what is higher in the house, or in another folder of the same floor.
pub(super) fn imports_upwards(files: &[Source], modules: &Modules, map: &str) -> Vec<String> {
    let floors = listed(map);
    let floor = |file: usize| {
        let path = files[file].path.strip_prefix("src/")?;
        let on = |floor: &Floor| floor.iter().position(|place| is_at(path, place));
        floors.iter().enumerate().find_map(|(height, floor)| Some((height, on(floor)?)))
    };
    let mut wrong = BTreeMap::new();
    for edge in modules.edges.iter().filter(|edge| !edge.is_test) {
        let (Some(from), Some(to)) = (floor(edge.from), floor(edge.to)) else { continue };
        let beside = from.0 == to.0 && from.1 != to.1;
        if to.0 < from.0 || (beside && !is_beside_allowed(&floors[from.0])) {
            let shown = format!(
                "{} imports {} ({}), which is {}",
                files[edge.from].at(edge.line),
                files[edge.to].path,
                edge.path,
                if beside { "another folder of its floor" } else { "on a higher floor" }
            );
            wrong.insert(edge, shown);
        }
    }
    wrong.into_values().collect()
}

/// Files that are a floor together lie in one folder, `src/`.
fn is_beside_allowed(floor: &Floor) -> bool {
    floor.iter().all(|place| !place.contains('/'))
}

/// Files that import one another in a circle, with the imports that make it.
pub(super) fn circles(files: &[Source], modules: &Modules) -> Vec<String> {
    let edges = || modules.edges.iter().filter(|edge| !edge.is_test && !edge.is_shown_child);
    let mut next: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for edge in edges() {
        next.entry(edge.from).or_default().insert(edge.to);
    }
    let reached: BTreeMap<usize, BTreeSet<usize>> =
        next.keys().map(|file| (*file, reached_from(*file, &next))).collect();
    let leads = |from: usize, to: usize| reached.get(&from).is_some_and(|set| set.contains(&to));
    let mut told = BTreeSet::new();
    let mut wrong = Vec::new();
    for file in next.keys().copied() {
        if told.contains(&file) || !leads(file, file) {
            continue;
        }
        let circle: BTreeSet<usize> =
            next.keys().copied().filter(|to| leads(file, *to) && leads(*to, file)).collect();
        let inside = |edge: &&Edge| circle.contains(&edge.from) && circle.contains(&edge.to);
        let shown: Vec<String> = edges()
            .filter(inside)
            .map(|edge| format!("    {} imports {}", files[edge.from].at(edge.line), edge.path))
            .collect();
        let names: Vec<&str> = circle.iter().map(|file| files[*file].path.as_str()).collect();
        wrong.push(format!("{}:\n{}", names.join(", "), shown.join("\n")));
        told.extend(circle);
    }
    wrong
}

fn reached_from(file: usize, next: &BTreeMap<usize, BTreeSet<usize>>) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut left = vec![file];
    while let Some(at) = left.pop() {
        let new = next.get(&at).into_iter().flatten().filter(|to| reached.insert(**to));
        left.extend(new.copied().collect::<Vec<_>>());
    }
    reached
}
