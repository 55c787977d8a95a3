//! What a compression cost and brought, and where every byte of the source went.

use crate::TokenCounter;
use std::ops::Range;

/// Tokens, characters and bytes before and after, in the tokens of a named counter.
///
/// ```
/// use scant_prompt_compress::{Account, Guess};
/// let account = Account::of(&Guess, "the cat sat on the mat", "cat sat mat");
/// assert_eq!((account.tokens_in, account.tokens_out, account.ratio()), (6, 3, 2.0));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The counter's name.
    pub counter: String,
    /// Tokens of the source.
    pub tokens_in: u64,
    /// Tokens of what is left.
    pub tokens_out: u64,
    /// Characters of the source.
    pub chars_in: u64,
    /// Characters of what is left.
    pub chars_out: u64,
    /// Bytes of the source.
    pub bytes_in: u64,
    /// Bytes of what is left.
    pub bytes_out: u64,
    /// Tokens that went through other models on the way, priced by themselves.
    pub aux_tokens: u64,
}

impl Account {
    /// Counts `before` and `after`.
    pub fn of(counter: &dyn TokenCounter, before: &str, after: &str) -> Account {
        Account {
            counter: counter.name().to_owned(),
            tokens_in: counter.count(before) as u64,
            tokens_out: counter.count(after) as u64,
            chars_in: before.chars().count() as u64,
            chars_out: after.chars().count() as u64,
            bytes_in: before.len() as u64,
            bytes_out: after.len() as u64,
            aux_tokens: 0,
        }
    }

    /// How many times fewer tokens.
    pub fn ratio(&self) -> f64 {
        self.tokens_in as f64 / self.tokens_out.max(1) as f64
    }

    /// How many times cheaper, with the prices of a token of the reader and of the helpers. Below 1, compression costs more than it saves.
    pub fn cost_ratio(&self, price: f64, aux_price: f64) -> f64 {
        self.tokens_in as f64 * price / (self.tokens_out as f64 * price + self.aux_tokens as f64 * aux_price)
    }
}

/// A piece of the source and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Bytes of the source: white space, then a word.
    pub source: Range<usize>,
    /// Bytes of the output; empty if it was dropped.
    pub output: Range<usize>,
    /// Whether it is in the output.
    pub kept: bool,
    /// What the method thought of it: larger is more worth keeping.
    pub score: f32,
}

/// A shorter text, and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Compressed {
    /// The text.
    pub text: String,
    /// Every byte of the source, in order, without holes.
    pub spans: Vec<Span>,
    /// Before and after.
    pub account: Account,
    /// What the reader should know.
    pub warnings: Vec<Warning>,
}

impl Compressed {
    /// What was dropped: runs of the source, in order, neighbours joined.
    pub fn dropped<'a>(&self, source: &'a str) -> Vec<&'a str> {
        let mut runs: Vec<Range<usize>> = vec![];
        for span in self.spans.iter().filter(|s| !s.kept) {
            match runs.last_mut().filter(|r| r.end == span.source.start) {
                Some(run) => run.end = span.source.end,
                None => runs.push(span.source.clone()),
            }
        }
        runs.into_iter().filter_map(|r| source.get(r)).collect()
    }
}

/// Something that a method did beside what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Text that the model did not see, since the window was full.
    Truncated {
        /// Tokens left out.
        tokens: usize,
    },
    /// More was protected than the rate allows: the output is longer than asked for.
    ProtectedBeyondRate {
        /// Tokens that had to stay.
        protected: u64,
        /// Tokens asked for.
        asked: u64,
    },
}
