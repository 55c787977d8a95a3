//! Token sequences for calibration and for measuring, from generated stories or from a text file.

use scant_eval::stories::StoryParams;
use scant_transformer::{Error, Tokenizer};
use std::ops::Range;

/// Bytes of text per token that are enough for any tokenizer of English here.
const CHARS_PER_TOKEN: usize = 6;

/// `count` sequences of exactly `window` tokens, each the beginning of the story of another seed.
///
/// # Errors
/// The tokenizer's.
pub fn of_stories(tokenizer: &Tokenizer, seeds: Range<u64>, count: usize, window: usize) -> Result<Vec<Vec<u32>>, Error> {
    let params = StoryParams { chars: window * CHARS_PER_TOKEN, ..StoryParams::default() };
    let mut sequences = Vec::with_capacity(count);
    for seed in seeds {
        if sequences.len() == count {
            break;
        }
        let mut tokens = tokenizer.encode_prompt(&params.passage(seed).text)?;
        if tokens.len() >= window {
            tokens.truncate(window);
            sequences.push(tokens);
        }
    }
    Ok(sequences)
}

/// At most `count` consecutive sequences of `window` tokens of a text; what is left at the end is dropped. Where the tokenizer puts a piece
/// before a text, each sequence begins with it.
///
/// # Errors
/// The tokenizer's; [`Error::NoTokens`] for a text shorter than a window.
pub fn of_text(tokenizer: &Tokenizer, text: &str, count: usize, window: usize) -> Result<Vec<Vec<u32>>, Error> {
    // Text that no window will need is not cut into tokens; cuts between words keep pieces whole.
    let end = text.len().min(count.saturating_mul(window) * 3 * CHARS_PER_TOKEN);
    let end = (end..text.len()).find(|i| text.as_bytes()[*i] == b'\n').unwrap_or(text.len());
    let begin = tokenizer.encode_prompt("")?;
    let tokens = tokenizer.encode(&text[..end])?;
    let sequences: Vec<_> =
        tokens.chunks_exact(window.saturating_sub(begin.len()).max(1)).take(count).map(|part| [&begin, part].concat()).collect();
    if sequences.is_empty() { Err(Error::NoTokens) } else { Ok(sequences) }
}
