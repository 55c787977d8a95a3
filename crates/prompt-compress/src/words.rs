//! Words as pieces of a text, and the text that is left of them.

use crate::{Guard, Span};
use std::ops::Range;

/// A word of the source.
pub(crate) struct Piece {
    pub(crate) range: Range<usize>,
    pub(crate) score: f32,
    /// Kept whatever its score.
    pub(crate) protected: bool,
}

/// The words between white space, where the guard's finds protect them.
pub(crate) fn words(text: &str, guard: Guard) -> (Vec<Piece>, Vec<Range<usize>>) {
    let at = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
    let piece = |word: &str| Piece { range: at(word)..at(word) + word.len(), score: 0.0, protected: false };
    let mut pieces: Vec<Piece> = text.split_whitespace().map(piece).collect();
    let protected = apart(guard.find(text).into_iter().map(|p| p.range).collect());
    protect(&mut pieces, &protected);
    (pieces, protected)
}

/// Ranges in order, those that overlap made one.
pub(crate) fn apart(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|r| (r.start, r.end));
    let mut apart: Vec<Range<usize>> = vec![];
    for range in ranges {
        match apart.last_mut().filter(|r| range.start < r.end) {
            Some(last) => last.end = last.end.max(range.end),
            None => apart.push(range),
        }
    }
    apart
}

/// Protects the pieces that lie in a range, wholly or not.
pub(crate) fn protect(pieces: &mut [Piece], protected: &[Range<usize>]) {
    for piece in pieces {
        let i = protected.partition_point(|r| r.end <= piece.range.start);
        piece.protected = protected.get(i).is_some_and(|r| r.start < piece.range.end);
    }
}

/// The kept words with what lies between them, and what became of every byte.
pub(crate) fn join(text: &str, words: &[Piece], keep: &[bool], protected: &[Range<usize>]) -> (String, Vec<Span>) {
    let mut out = String::with_capacity(text.len());
    let mut spans: Vec<Span> = Vec::with_capacity(words.len() + 1);
    // Where the last kept word ends in the source, and the last word of any kind.
    let (mut kept_to, mut seen_to) = (0, 0);
    for (word, keep) in words.iter().zip(keep) {
        let source = seen_to..word.range.end.max(seen_to);
        let start = out.len();
        if *keep {
            let gap = &text[kept_to..word.range.start.max(kept_to)];
            let i = protected.partition_point(|r| r.end <= kept_to);
            let whole = kept_to == seen_to && protected.get(i).is_some_and(|r| r.start < kept_to && word.range.start < r.end);
            if whole {
                out.push_str(gap);
            } else if out.is_empty() || gap.is_empty() {
                // Nothing between.
            } else if gap.contains('\n') {
                out.push('\n');
            } else {
                out.push(' ');
            }
            out.push_str(&text[word.range.start.max(kept_to)..source.end]);
            kept_to = source.end;
        }
        seen_to = source.end;
        spans.push(Span { source, output: start..out.len(), kept: *keep, score: word.score });
    }
    if seen_to < text.len() {
        let end = out.len();
        spans.push(Span { source: seen_to..text.len(), output: end..end, kept: false, score: 0.0 });
    }
    (out, spans)
}
