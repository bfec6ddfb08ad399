//! Reads the tables and examples of docs/semantics.md.

/// The page, as it is published.
const PAGE: &str = include_str!("../../../docs/semantics.md");

/// An example: what is typed, and what is seen.
pub(super) struct Example {
    pub(super) command: String,
    pub(super) output: String,
}

/// The lines under a heading, up to the next one.
fn section(heading: &str) -> Vec<&'static str> {
    let mut lines = PAGE.lines().skip_while(|line| line.strip_prefix("## ") != Some(heading));
    assert!(lines.next().is_some(), "there is no section {heading:?}");
    lines.take_while(|line| !line.starts_with("## ")).collect()
}

/// The rows of the table under a heading, without its head; each cell as it stands there.
pub(super) fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let lines = section(heading);
    let table = lines.iter().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let rows: Vec<Vec<_>> =
        table.skip(2).map(|row| row.split('|').map(str::trim).collect()).collect();
    assert!(!rows.is_empty(), "there is no table under {heading:?}");
    rows
}

/// What a cell promises in one word: "yes", an error, or "-" where the operation cannot be.
pub(super) fn answer(cell: &str) -> &str {
    let end = cell.find(|letter: char| letter != '-' && !letter.is_ascii_alphanumeric());
    &cell[..end.unwrap_or(cell.len())]
}

/// The console examples under a heading, block by block.
pub(super) fn examples(heading: &str) -> Vec<Vec<Example>> {
    let mut blocks = Vec::new();
    let mut open: Option<Vec<Example>> = None;
    for line in section(heading) {
        match (&mut open, line) {
            (None, "```console") => open = Some(Vec::new()),
            (None, _) => {}
            (Some(_), "```") => blocks.extend(open.take()),
            (Some(block), _) => {
                if let Some(command) = line.strip_prefix("$ ") {
                    block.push(Example { command: command.to_owned(), output: String::new() });
                } else {
                    let example = block.last_mut().expect("a block begins with a command");
                    example.output.push_str(line);
                    example.output.push('\n');
                }
            }
        }
    }
    assert!(!blocks.is_empty(), "there are no examples under {heading:?}");
    blocks
}

/// The headings of all sections that have a table or examples.
pub(super) fn headings() -> Vec<&'static str> {
    let headings = PAGE.lines().filter_map(|line| line.strip_prefix("## "));
    let is_executable = |heading: &&str| {
        section(heading).iter().any(|line| line.starts_with('|') || *line == "```console")
    };
    headings.filter(is_executable).collect()
}
