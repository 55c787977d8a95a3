//! What must survive: numbers, identifiers, addresses, code, JSON.
//!
//! Deleting words is safe for prose and ruins everything whose parts mean nothing alone. [`Guard`] finds such places in a text; the methods keep
//! them whole.

use std::ops::Range;

/// Why a place is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Digits with what belongs to them: `-3.5`, `1,450`, `12:30`, `17%`.
    Number,
    /// A name made by people for machines: `user_id`, `A-113`, `parseJson`, `v2.0`.
    Identifier,
    /// An address: `https://...`, `name@host`.
    Address,
    /// A block between lines of three backticks or tildes, or a piece between backticks.
    Code,
    /// An object or array, from bracket to bracket.
    Json,
}

/// A place in a text that must stay whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protected {
    /// Bytes.
    pub range: Range<usize>,
    /// Why.
    pub kind: Kind,
}

/// Which kinds are protected; all by default.
///
/// ```
/// use scant_prompt_compress::Guard;
/// let text = "Order A-113 costs 1,450.50 for {\"user\": [1, 2]}, see `f(x)`.";
/// let kept: Vec<&str> = Guard::default().find(text).into_iter().map(|p| &text[p.range]).collect();
/// assert_eq!(kept, ["A-113", "1,450.50", "{\"user\": [1, 2]}", "`f(x)`"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// [`Kind::Number`].
    pub numbers: bool,
    /// [`Kind::Identifier`].
    pub identifiers: bool,
    /// [`Kind::Address`].
    pub addresses: bool,
    /// [`Kind::Code`].
    pub code: bool,
    /// [`Kind::Json`].
    pub json: bool,
}

impl Default for Guard {
    fn default() -> Guard {
        Guard { numbers: true, identifiers: true, addresses: true, code: true, json: true }
    }
}

/// JSON nested deeper than this is not looked for.
const DEPTH: usize = 64;
/// JSON longer than this is not looked for, so that a text of open brackets costs no quadratic time.
const JSON_BYTES: usize = 1 << 16;

impl Guard {
    /// Protects nothing.
    pub fn off() -> Guard {
        Guard { numbers: false, identifiers: false, addresses: false, code: false, json: false }
    }

    /// The protected places of `text`, first to last, apart from each other.
    pub fn find(&self, text: &str) -> Vec<Protected> {
        let mut found = vec![];
        let bytes = text.as_bytes();
        let mut at = 0;
        // Brackets that open no JSON cost what was looked at; the sum stays linear in the text.
        let mut budget = JSON_BYTES + 4 * bytes.len();
        while at < bytes.len() {
            let rest = &bytes[at..];
            let line_start = at == 0 || bytes[at - 1] == b'\n';
            let taken = match rest[0] {
                b'`' | b'~' if self.code && line_start && (rest.starts_with(b"```") || rest.starts_with(b"~~~")) => {
                    Some((fence(rest), Kind::Code))
                }
                b'`' if self.code => inline(rest).map(|n| (n, Kind::Code)),
                b'{' | b'[' if self.json && budget > 0 => {
                    let mut seen = 0;
                    let whole = value(&rest[..rest.len().min(JSON_BYTES)], &mut seen, 0);
                    budget = budget.saturating_sub(seen);
                    whole.map(|()| (seen, Kind::Json))
                }
                _ => None,
            };
            if let Some((n, kind)) = taken {
                found.push(Protected { range: at..at + n, kind });
                at += n;
                continue;
            }
            if rest[0].is_ascii_whitespace() || b"`{[".contains(&rest[0]) {
                at += 1;
                continue;
            }
            // A word: up to white space, or to where something else could begin.
            let end = rest.iter().position(|b| b.is_ascii_whitespace() || b"`{[".contains(b)).unwrap_or(rest.len());
            let word = &text[at..at + end];
            if let Some((range, kind)) = self.word(word) {
                found.push(Protected { range: at + range.start..at + range.end, kind });
            }
            at += end;
        }
        found
    }

    /// What of a word without white space is protected.
    fn word(&self, word: &str) -> Option<(Range<usize>, Kind)> {
        let open = word.len() - word.trim_start_matches(['(', '"', '\'', '<', '“', '‘', '«', ',', ';', ':', '*']).len();
        let core = word[open..].trim_end_matches([')', ']', '}', '"', '\'', '>', '”', '’', '»', ',', ';', ':', '.', '!', '?', '*']);
        let range = open..open + core.len();
        let digits = core.chars().any(|c| c.is_ascii_digit());
        let letters = core.chars().any(char::is_alphabetic);
        if self.addresses && (core.contains("://") || (core.contains('@') && core.contains('.')) || core.starts_with("www.")) {
            return Some((range, Kind::Address));
        }
        if digits && !letters {
            return self.numbers.then_some((range, Kind::Number));
        }
        if digits {
            // `3kg`, `20th` and `$5m` are numbers; `A-113` and `x1` are names. Both stay whole.
            let number = core.trim_start_matches(['+', '-', '$', '€', '£', '~', '#']).starts_with(|c: char| c.is_ascii_digit());
            let (on, kind) = if number { (self.numbers, Kind::Number) } else { (self.identifiers, Kind::Identifier) };
            return on.then_some((range, kind));
        }
        let name = core.contains('_') && letters
            || core.contains("::")
            || core.contains("->")
            || (core.contains('/') && letters && core.len() > 3)
            || core.contains('\\')
            || core.ends_with("()")
            || camel(core)
            || dotted(core);
        (self.identifiers && name).then_some((range, Kind::Identifier))
    }
}

/// A small letter, then a large one, inside of a word of letters.
fn camel(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.iter().all(u8::is_ascii_alphabetic) && bytes.windows(2).any(|w| w[0].is_ascii_lowercase() && w[1].is_ascii_uppercase())
}

/// Letters, a dot, letters, as in `main.rs`; `e.g` is none.
fn dotted(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    parts.len() > 1 && parts.iter().all(|p| p.len() > 1 && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
}

/// Bytes of the fenced block that begins `text`; all of it if nothing closes it.
fn fence(text: &[u8]) -> usize {
    let mark = &text[..3];
    let mut at = 0;
    while let Some(n) = text[at..].iter().position(|b| *b == b'\n') {
        at += n + 1;
        if text[at..].starts_with(mark) {
            let run = text[at..].iter().take_while(|b| **b == mark[0]).count();
            return at + run;
        }
    }
    text.len()
}

/// Bytes of the piece between backticks that begins `text`, within a line.
fn inline(text: &[u8]) -> Option<usize> {
    let close = text[1..].iter().position(|b| *b == b'`' || *b == b'\n')?;
    (text[1 + close] == b'`' && close > 0).then_some(close + 2)
}

fn space(text: &[u8], at: &mut usize) {
    while text.get(*at).is_some_and(u8::is_ascii_whitespace) {
        *at += 1;
    }
}

/// Moves `at` behind the JSON value there.
fn value(text: &[u8], at: &mut usize, depth: usize) -> Option<()> {
    if depth > DEPTH {
        return None;
    }
    space(text, at);
    match *text.get(*at)? {
        open @ (b'{' | b'[') => {
            let close = if open == b'{' { b'}' } else { b']' };
            *at += 1;
            space(text, at);
            if *text.get(*at)? == close {
                *at += 1;
                return Some(());
            }
            loop {
                if open == b'{' {
                    space(text, at);
                    string(text, at)?;
                    space(text, at);
                    if *text.get(*at)? != b':' {
                        return None;
                    }
                    *at += 1;
                }
                value(text, at, depth + 1)?;
                space(text, at);
                let next = *text.get(*at)?;
                *at += 1;
                match next {
                    b',' => (),
                    c if c == close => return Some(()),
                    _ => return None,
                }
            }
        }
        b'"' => string(text, at),
        _ => {
            let len = text[*at..].iter().take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).count();
            let word = &text[*at..*at + len];
            let number = std::str::from_utf8(word).ok().is_some_and(|w| w.parse::<f64>().is_ok_and(f64::is_finite));
            *at += len;
            (number || [&b"true"[..], b"false", b"null"].contains(&word)).then_some(())
        }
    }
}

fn string(text: &[u8], at: &mut usize) -> Option<()> {
    if *text.get(*at)? != b'"' {
        return None;
    }
    *at += 1;
    loop {
        match *text.get(*at)? {
            b'"' => {
                *at += 1;
                return Some(());
            }
            b'\\' => *at += 2,
            _ => *at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> Vec<(&str, Kind)> {
        Guard::default().find(text).into_iter().map(|p| (&text[p.range], p.kind)).collect()
    }

    #[test]
    fn every_kind_is_found_whole() {
        let text = "Call parseJson on user_id (see https://a.b/c?d=1), v2.0.\n```rust\nlet x = 1;\n\nfn f() {}\n```\nIt rose 17% to -3.5 at 12:30.";
        let kinds = kept(text);
        assert_eq!(
            kinds,
            [
                ("parseJson", Kind::Identifier),
                ("user_id", Kind::Identifier),
                ("https://a.b/c?d=1", Kind::Address),
                ("v2.0", Kind::Identifier),
                ("```rust\nlet x = 1;\n\nfn f() {}\n```", Kind::Code),
                ("17%", Kind::Number),
                ("-3.5", Kind::Number),
                ("12:30", Kind::Number),
            ]
        );
        assert!(kept("The cat, e.g. a tabby, sat. It slept.").is_empty());
    }

    #[test]
    fn json_is_found_with_its_white_space_and_prose_in_braces_is_not() {
        assert_eq!(kept("got {\n  \"a\": [1, {\"b\": null}]\n} back"), [("{\n  \"a\": [1, {\"b\": null}]\n}", Kind::Json)]);
        assert!(kept("a {note} and [some text]").is_empty());
        let deep = "[".repeat(200_000);
        assert!(kept(&deep).is_empty());
    }

    #[test]
    fn places_are_in_order_apart_and_on_characters() {
        for text in ["ünï 1ö2, `é`", "`", "``` unclosed \n x", "{\"\\", "[1,\"ä\\\"\"]x_y", "“a_b”"] {
            let mut last = 0;
            for p in Guard::default().find(text) {
                assert!(p.range.start >= last && text.get(p.range.clone()).is_some(), "{text}");
                last = p.range.end;
            }
        }
    }
}
