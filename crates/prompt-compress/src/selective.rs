//! Selective-Context: words that a language model expects carry little and go (Li et al. 2023, arXiv 2310.06201).
//!
//! ```
//! use scant_prompt_compress::{Error, Guard, Guess, selective::{Surprise, compress}};
//! /// Longer words surprise more: a stand-in for a language model.
//! struct Length;
//! impl Surprise for Length {
//!     fn surprise(&self, sentence: &str) -> Result<Vec<(std::ops::Range<usize>, f32)>, Error> {
//!         let at = |w: &str| w.as_ptr() as usize - sentence.as_ptr() as usize;
//!         Ok(sentence.split_whitespace().map(|w| (at(w)..at(w) + w.len(), w.len() as f32)).collect())
//!     }
//! }
//! let short = compress("It was on the 4th that a comet appeared.", &Length, 0.5, Guard::default(), &Guess)?;
//! assert_eq!(short.text, "was the 4th that comet appeared.");
//! # Ok::<(), Error>(())
//! ```

use crate::lingua::percentile::{Number, percentile};
use crate::words::{join, words};
use crate::{Account, Compressed, Error, Guard, TokenCounter};
use std::ops::Range;

/// Says how unexpected the parts of a sentence are.
pub trait Surprise {
    /// Bytes of each token of `sentence` and minus the logarithm of its probability after those before it, in any base.
    ///
    /// # Errors
    /// [`Error::Backend`].
    fn surprise(&self, sentence: &str) -> Result<Vec<(Range<usize>, f32)>, Error>;
}

/// Drops the share `reduce` of words whose tokens surprise least on the mean. Sentences are judged alone, the threshold is one for the text.
///
/// # Errors
/// [`Error::Parameter`] unless `reduce` is from 0 to 1; [`Error::EmptyText`]; what the model returns.
pub fn compress(text: &str, model: &dyn Surprise, reduce: f64, guard: Guard, counter: &dyn TokenCounter) -> Result<Compressed, Error> {
    if !(0.0..=1.0).contains(&reduce) {
        return Err(Error::Parameter { name: "reduce", value: reduce.to_string(), must: "from 0 to 1" });
    }
    let (mut pieces, protected) = words(text, guard);
    let mut i = 0;
    for sentence in sentences(text) {
        let tokens = model.surprise(&text[sentence.clone()])?;
        while let Some(piece) = pieces.get_mut(i).filter(|p| p.range.start < sentence.end) {
            let inside = |r: &Range<usize>| r.start + sentence.start < piece.range.end && piece.range.start < r.end + sentence.start;
            let of: Vec<f32> = tokens.iter().filter(|(r, _)| inside(r)).map(|(_, s)| *s).collect();
            piece.score = if of.is_empty() { 0.0 } else { of.iter().sum::<f32>() / of.len() as f32 };
            i += 1;
        }
    }
    let mut scores: Vec<(Number, u32)> = pieces.iter().map(|p| (Number::narrow(p.score), 1)).collect();
    let threshold = percentile(&mut scores, (100.0 * reduce) as u32).ok_or(Error::EmptyText { index: 0 })?;
    let keep: Vec<bool> = pieces.iter().map(|p| p.protected || reduce == 0.0 || f64::from(p.score) >= threshold).collect();
    let (out, spans) = join(text, &pieces, &keep, &protected);
    Ok(Compressed { account: Account::of(counter, text, &out), text: out, spans, warnings: vec![] })
}

/// Pieces of a text that end with a sentence's mark and white space, or with a line.
pub(crate) fn sentences(text: &str) -> Vec<Range<usize>> {
    let (mut found, mut start) = (vec![], 0);
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, c)| *c);
        let wide = matches!(c, '。' | '！' | '？');
        if c == '\n' || wide || (matches!(c, '.' | '!' | '?') && next.is_none_or(char::is_whitespace)) {
            let end = at + c.len_utf8();
            if !text[start..end].trim().is_empty() {
                found.push(start..end);
                start = end;
            }
        }
    }
    if !text[start..].trim().is_empty() {
        found.push(start..text.len());
    }
    found
}
