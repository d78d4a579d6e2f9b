//! The rules themselves.

use std::fmt;
use std::path::PathBuf;

use super::code_view::code_view;
use super::files::{File, Kind};

const LINES_MAX: usize = 500;

/// Marks of unfinished work, spelled so that this file does not carry them.
const WORD_MARKERS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const MACRO_MARKERS: &[&str] = &[concat!("to", "do!"), concat!("unimple", "mented!")];

/// One rule that one line breaks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) path: PathBuf,
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) rule: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.rule)
    }
}

/// What one file came to.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) findings: Vec<Finding>,
    /// It says that it contains unsafe code.
    pub(super) expects_unsafe: bool,
}

/// Every rule for the file's kind.
pub(super) fn check(file: &File, text: &str) -> Checked {
    let mut findings = Vec::new();
    let mut find = |line: usize, rule: String| {
        findings.push(Finding { path: file.path.clone(), line, rule });
    };
    for (line, marker) in markers(text) {
        find(line, format!("`{marker}`: finish it or leave it out"));
    }
    let lines = text.lines().count();
    if file.kind != Kind::Text && lines > LINES_MAX {
        find(lines, format!("{lines} lines, at most {LINES_MAX} are allowed"));
    }
    let mut expects_unsafe = false;
    if file.kind == Kind::Rust {
        let code = code_view(text);
        expects_unsafe = code.contains("expect(unsafe_code");
        for (line, rule) in rust_rules(text, &code) {
            find(line, rule);
        }
    }
    Checked { findings, expects_unsafe }
}

fn rust_rules(text: &str, code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    if let Some(line) = first_line(code, |line| words(line, "unsafe").any(|rest| !is_function_type(rest)))
        && !has_safety_section(text)
    {
        found.push((line, "unsafe code in a file whose `//!` docs have no `# Safety` section".to_owned()));
    }
    if let Some(line) = first_line(code, |line| line.contains("allow(unsafe_code")) {
        found.push((line, "unsafe code is expected with a reason, not allowed".to_owned()));
    }
    if let Some(line) = first_line(code, |line| line.contains("#[ignore")) {
        found.push((line, "a test runs or is removed".to_owned()));
    }
    found
}

fn first_line(text: &str, breaks: impl Fn(&str) -> bool) -> Option<usize> {
    text.lines().position(breaks).map(|index| index + 1)
}

/// The `//!` docs at the top contain the heading.
fn has_safety_section(text: &str) -> bool {
    text.lines()
        .take_while(|line| line.starts_with("//!"))
        .any(|line| line.trim_start_matches("//!").trim() == "# Safety")
}

fn markers(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let words = WORD_MARKERS.iter().filter(|marker| has_word(line, marker));
        let macros = MACRO_MARKERS.iter().filter(|marker| line.contains(**marker));
        found.extend(words.chain(macros).map(|marker| (index + 1, *marker)));
    }
    found
}

/// Whether `word` stands in the line by itself, not as a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    words(line, word).next().is_some()
}

/// What follows each `word` that stands in the line by itself.
fn words<'a>(line: &'a str, word: &str) -> impl Iterator<Item = &'a str> {
    let part_of_name = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).filter_map(move |(at, found)| {
        let rest = &line[at + found.len()..];
        (!line[..at].ends_with(part_of_name) && !rest.starts_with(part_of_name)).then_some(rest)
    })
}

/// `fn(…)` or `extern "C" fn(…)`, the string blanked: a type, which does nothing, while a function has a name.
fn is_function_type(rest: &str) -> bool {
    let rest = rest.trim_start();
    let rest = rest.strip_prefix("extern").unwrap_or(rest).trim_start();
    rest.strip_prefix("fn").is_some_and(|rest| rest.trim_start().starts_with('('))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, kind: Kind, text: &str) -> Vec<String> {
        let file = File { path: PathBuf::from(path), kind };
        check(&file, text).findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unsafe_code_needs_a_safety_section_at_the_top() {
        let code = "fn f() {\n    unsafe { g() }\n}\n";
        let rule = "unsafe code in a file whose `//!` docs have no `# Safety` section";
        assert_eq!(findings("a.rs", Kind::Rust, &format!("//! Docs.\n{code}")), [format!("a.rs:3: {rule}")]);
        assert_eq!(
            findings("a.rs", Kind::Rust, &format!("//! Docs.\n//!\n//! # Safety\n//! Why.\n{code}")),
            [""; 0]
        );
        let late = format!("//! Docs.\nuse x;\n//! # Safety\n{code}");
        assert_eq!(findings("a.rs", Kind::Rust, &late).len(), 1);
    }

    #[test]
    fn the_word_in_comments_strings_and_names_is_not_unsafe_code() {
        let text = "//! Docs.\n// unsafe\nfn f() { g(\"unsafe { }\"); }\n#![deny(unsafe_op_in_unsafe_fn)]\n";
        assert_eq!(findings("a.rs", Kind::Rust, text), [""; 0]);
    }

    #[test]
    fn the_type_of_an_unsafe_function_is_not_unsafe_code() {
        let types = "//! Docs.\nlet f: unsafe extern \"C\" fn(i32) = g;\nlet f: unsafe fn () = g;\n";
        assert_eq!(findings("a.rs", Kind::Rust, types), [""; 0]);
        for code in ["unsafe extern \"C\" fn f() {}\n", "let f: unsafe fn() = unsafe { g };\n", "unsafe\n{}"]
        {
            assert_eq!(findings("a.rs", Kind::Rust, code).len(), 1, "{code}");
        }
    }

    #[test]
    fn the_inventory_reads_code_only() {
        let file = File { path: PathBuf::from("a.rs"), kind: Kind::Rust };
        assert!(check(&file, "#![expect(unsafe_code, reason = \"x\")]\n").expects_unsafe);
        assert!(!check(&file, "// #![expect(unsafe_code)]\n").expects_unsafe);
        let allowed = check(&file, "#![allow(unsafe_code)]\n");
        assert_eq!(allowed.findings.len(), 1);
    }

    #[test]
    fn a_switched_off_test_is_found_and_a_remark_about_one_is_not() {
        let off = concat!("#[test]\n#[ign", "ore = \"slow\"]\nfn t() {}\n");
        assert_eq!(findings("a.rs", Kind::Rust, off), ["a.rs:2: a test runs or is removed"]);
        let remark = concat!("//! No `#[ign", "ore]` here.\n");
        assert_eq!(findings("a.rs", Kind::Rust, remark), [""; 0]);
    }

    #[test]
    fn markers_are_words() {
        let word = WORD_MARKERS[0];
        let found = findings("a.c", Kind::Source, &format!("int x; // {word}: later\n"));
        assert_eq!(found, [format!("a.c:1: `{word}`: finish it or leave it out")]);
        assert_eq!(findings("a.c", Kind::Source, "char name[] = \"f-XXXXXX\";\n"), [""; 0]);
        let call = format!("fn f() {{ {}() }}\n", MACRO_MARKERS[0]);
        assert_eq!(findings("a.rs", Kind::Rust, &call).len(), 1);
    }

    #[test]
    fn long_sources_are_found_and_long_texts_are_not() {
        let long = "x\n".repeat(LINES_MAX + 1);
        assert_eq!(findings("a.c", Kind::Source, &long), ["a.c:501: 501 lines, at most 500 are allowed"]);
        assert_eq!(findings("a.md", Kind::Text, &long), [""; 0]);
        assert_eq!(findings("a.c", Kind::Source, &"x\n".repeat(LINES_MAX)), [""; 0]);
    }
}
