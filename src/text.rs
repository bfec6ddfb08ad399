//! What the files in TOML share: from a byte offset to a line a person can go to.

/// The 1-based line of the byte at `offset`.
pub(crate) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

/// What the TOML parser found, as one line, and the byte offset where it found it.
pub(crate) fn explain(text: &str, error: &toml::de::Error) -> (usize, String) {
    let at = error.span().map_or(0, |span| span.start).min(text.len());
    let message = error.message().trim().replace('\n', "; ");
    (at, format!("line {}: {message}", line_at(text, at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_count_from_one() {
        assert_eq!(line_at("a\nb\n", 0), 1);
        assert_eq!(line_at("a\nb\n", 2), 2);
        assert_eq!(line_at("a\nb\n", 99), 3);
        assert_eq!(line_at("", 0), 1);
    }
}
