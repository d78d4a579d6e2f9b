//! Rust source with everything blanked that is not code.

/// The text with comments, and what stands in string and character literals, replaced by spaces. Lines stay where they are.
///
/// It knows nested comments, raw strings of every prefix and lifetimes; it does not check that the text is Rust.
pub(super) fn code_view(text: &str) -> String {
    let mut scanner = Scanner { rest: text, code: String::with_capacity(text.len()) };
    while !scanner.rest.is_empty() {
        scanner.step();
    }
    scanner.code
}

struct Scanner<'a> {
    rest: &'a str,
    code: String,
}

impl Scanner<'_> {
    fn step(&mut self) {
        if self.rest.starts_with("//") {
            self.blank(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.blank(comment_length(self.rest));
        } else if let Some(length) = self.raw_string_length() {
            self.blank(length);
        } else if self.rest.starts_with('"') {
            self.blank(quoted_length(self.rest, '"'));
        } else if let Some(length) = character_length(self.rest) {
            self.blank(length);
        } else if let Some(character) = self.rest.chars().next() {
            self.code.push(character);
            self.rest = &self.rest[character.len_utf8()..];
        }
    }

    fn blank(&mut self, length: usize) {
        let (gone, rest) = self.rest.split_at(length);
        self.code.extend(gone.chars().map(|character| if character == '\n' { '\n' } else { ' ' }));
        self.rest = rest;
    }

    /// The length of a raw string that starts here. The `r` must not be the end of a name.
    fn raw_string_length(&self) -> Option<usize> {
        let prefix = ["r", "br", "cr"]
            .into_iter()
            .find(|prefix| self.rest.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['"', '#'])))?;
        if self.code.ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            return None;
        }
        let body = &self.rest[prefix.len()..];
        let hashes = body.len() - body.trim_start_matches('#').len();
        let inside = body[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
        Some(prefix.len() + hashes + 1 + length)
    }
}

/// The length of a block comment with the comments in it.
fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of a literal from its opening quote to its closing one.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return at + 1;
        }
    }
    text.len()
}

/// The length of a character literal that starts here; a lifetime is none.
fn character_length(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    if first == '\\' {
        return Some(quoted_length(text, '\''));
    }
    inside[first.len_utf8()..].starts_with('\'').then_some(first.len_utf8() + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        code_view(text).split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn comments_go_and_lines_stay() {
        assert_eq!(words("a // b\nc /* d /* e */ f */ g /// h\ni"), ["a", "c", "g", "i"]);
        assert_eq!(code_view("a /* b\nc */ d").lines().count(), 2);
        assert_eq!(words("a /* never closed"), ["a"]);
    }

    #[test]
    fn strings_of_every_prefix_go() {
        assert_eq!(
            words(r###"a "b \" c" d r"e \" f b"g" h br#"i " j"# k c"l" m r##"n"# o"## p"###),
            ["a", "d", "f", "b", "h", "k", "c", "m", "p"]
        );
        assert_eq!(words("\"// no comment\" a"), ["a"]);
        assert_eq!(words("for\"x\" r#type"), ["for", "r#type"]);
    }

    #[test]
    fn characters_go_and_lifetimes_stay() {
        assert_eq!(words(r#"'"' a '\'' b '/' '\u{2f}' c &'d str 'é' e"#), ["a", "b", "c", "&'d", "str", "e"]);
    }
}
