//! Text under construction: templates with words in braces, and where a fact's value came to lie.

use std::ops::Range;

/// Appends `template` with each `{name}` replaced by what `word` gives for it; the place of each `{v}` goes to `values`.
pub(super) fn fill(out: &mut String, template: &str, word: &mut dyn FnMut(&str) -> String, values: &mut Vec<Range<usize>>) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        let start = out.len();
        out.push_str(&word(name));
        if name == "v" {
            values.push(start..out.len());
        }
        rest = after;
    }
    out.push_str(rest);
}

/// Makes the letter at `at` a capital.
pub(super) fn capitalize(text: &mut String, at: usize) {
    if let Some(c) = text[at..].chars().next() {
        text.replace_range(at..at + c.len_utf8(), &c.to_ascii_uppercase().to_string());
    }
}

/// A space between sentences, nothing at the start of a line.
pub(super) fn gap(text: &mut String) {
    if !text.is_empty() && !text.ends_with([' ', '\n']) {
        text.push(' ');
    }
}
