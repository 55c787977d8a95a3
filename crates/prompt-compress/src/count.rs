//! Counting tokens.

/// Counts what a text costs.
pub trait TokenCounter: Sync {
    /// Its name, for reports.
    fn name(&self) -> &str;

    /// The tokens of `text`.
    fn count(&self, text: &str) -> usize;
}

/// Guesses tokens without a vocabulary: words by sixths of their letters, numbers by threes of their digits, signs one by one, spaces and line breaks
/// with what follows. Meant for choosing between texts when the reader's tokenizer is not at hand.
///
/// ```
/// use scant_prompt_compress::{Guess, TokenCounter};
/// assert_eq!(Guess.count("|B12,total 1450.5"), 9);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Guess;

impl TokenCounter for Guess {
    fn name(&self) -> &str {
        "guess"
    }

    fn count(&self, text: &str) -> usize {
        #[derive(PartialEq, Clone, Copy)]
        enum Class {
            Letter,
            Digit,
            Sign,
            Space,
        }
        let class = |b: u8| match b {
            b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
            b'0'..=b'9' => Class::Digit,
            b' ' | b'\n' | b'\r' | b'\t' => Class::Space,
            // Letters of other scripts take about a token for two bytes; their bytes count as signs of half the price.
            _ => Class::Sign,
        };
        let (mut tokens, mut bytes, mut at) = (0, 0, 0);
        let text = text.as_bytes();
        while at < text.len() {
            let kind = class(text[at]);
            let start = at;
            while at < text.len() && class(text[at]) == kind {
                at += 1;
            }
            let run = &text[start..at];
            match kind {
                Class::Letter => tokens += run.len().div_ceil(6),
                Class::Digit => tokens += run.len().div_ceil(3),
                Class::Space => tokens += usize::from(run.len() > 1),
                Class::Sign => {
                    let wide = run.iter().filter(|b| !b.is_ascii()).count();
                    bytes += wide;
                    tokens += run.len() - wide;
                }
            }
        }
        tokens + bytes.div_ceil(2)
    }
}

/// Counts as one of OpenAI's encodings does.
#[cfg(feature = "tiktoken")]
pub struct Tiktoken {
    name: String,
    bpe: tiktoken_rs::CoreBPE,
}

#[cfg(feature = "tiktoken")]
impl Tiktoken {
    /// `cl100k_base` or `o200k_base`.
    ///
    /// # Errors
    /// The name is another.
    pub fn new(name: &str) -> Result<Tiktoken, crate::Error> {
        let bpe = match name {
            "cl100k_base" => tiktoken_rs::cl100k_base(),
            "o200k_base" => tiktoken_rs::o200k_base(),
            _ => {
                let must = "cl100k_base or o200k_base";
                return Err(crate::Error::Parameter { name: "encoding", value: name.to_owned(), must });
            }
        };
        let bpe = bpe.map_err(|e| crate::Error::Counter { name: name.to_owned(), why: e.to_string() })?;
        Ok(Tiktoken { name: name.to_owned(), bpe })
    }
}

#[cfg(feature = "tiktoken")]
impl TokenCounter for Tiktoken {
    fn name(&self) -> &str {
        &self.name
    }

    /// Special tokens in the text count as ordinary text.
    fn count(&self, text: &str) -> usize {
        self.bpe.encode_ordinary(text).len()
    }
}
