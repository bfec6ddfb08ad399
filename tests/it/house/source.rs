//! A source file as words and signs with their lines, without comments and spaces.

use std::path::Path;

use proc_macro2::{Delimiter, Punct, Spacing, TokenStream, TokenTree};

/// A word, a sign, a literal, or a bracket.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) text: String,
    /// Counted from 1.
    pub(super) line: usize,
    /// Of an opening bracket, where the closing one stands; of everything else, its own place.
    pub(super) end: usize,
}

/// A file of the repository that is Rust, or else only looked at as lines.
#[derive(Debug)]
pub(super) struct Source {
    /// From the top of the repository, such as `src/table/mod.rs`.
    pub(super) path: String,
    pub(super) text: String,
    pub(super) tokens: Vec<Token>,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let mut tokens = Vec::new();
        if is_rust(path) {
            let stream: TokenStream =
                text.parse().unwrap_or_else(|error| panic!("{path} is no Rust: {error}"));
            flatten(stream, &mut tokens);
        }
        Self { path: path.to_owned(), text: text.to_owned(), tokens }
    }

    /// The text of a token, or nothing behind the last one.
    pub(super) fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    /// Whether these tokens stand here one after another.
    pub(super) fn has(&self, at: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(offset, word)| self.word(at + offset) == *word)
    }

    /// Where a violation is, for a person and for an editor.
    pub(super) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }

    pub(super) fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

pub(super) fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

/// Whether a token is a name or a keyword.
pub(super) fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    let mut is_joined = false;
    for tree in stream {
        let line = tree.span().start().line;
        let joins = |sign: &Punct| sign.as_char() == ':' && sign.spacing() == Spacing::Joint;
        let joins_next = matches!(&tree, TokenTree::Punct(sign) if joins(sign));
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                let start = tokens.len();
                push(tokens, open.to_owned(), line);
                flatten(group.stream(), tokens);
                push(tokens, close.to_owned(), group.span_close().end().line);
                tokens[start].end = tokens.len() - 1;
            }
            // Two colons are one sign.
            TokenTree::Punct(sign) if is_joined && sign.as_char() == ':' => {
                if let Some(last) = tokens.last_mut() {
                    last.text.push(':');
                }
            }
            other => push(tokens, other.to_string(), line),
        }
        is_joined = joins_next && !is_joined;
    }
}

fn push(tokens: &mut Vec<Token>, text: String, line: usize) {
    let end = tokens.len();
    tokens.push(Token { text, line, end });
}
