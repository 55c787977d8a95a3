//! LLMLingua-2: words are kept or dropped by a token classifier (Pan et al. 2024, arXiv 2403.12968).
//!
//! A text is cut into windows, a [`TokenClassifier`] gives every token the probability that it should stay, tokens are merged to words, and the
//! words above a percentile stay. [`Lingua::compress_contexts`] decides as version 0.2.2 of the Python package does, byte for byte
//! given the same probabilities, with its faults; [`Lingua::compress`] keeps the source's own bytes, loses no token at window ends and protects
//! what a [`Guard`] finds.
//!
//! ```
//! use scant_prompt_compress::{Guess, lingua::{Hashed, Lingua, LinguaParams, Vocabulary}};
//! # let json = scant_prompt_compress::lingua::doc_vocabulary();
//! let vocabulary = Vocabulary::from_json(json.as_bytes())?;
//! let classifier = Hashed::new((0..1021).map(|i| i as f32 / 1021.0).collect())?;      // a stand-in; a real one comes from a checkpoint
//! let lingua = Lingua::new(&vocabulary, &classifier, &Guess, LinguaParams::new(0.5))?;
//! let text = "the cat sat on the mat and the cat saw 42 mice";
//! let short = lingua.compress(text)?;
//! assert!(short.account.tokens_out < short.account.tokens_in);
//! assert!(short.text.contains("42"));                                                 // the guard
//! # Ok::<(), scant_prompt_compress::Error>(())
//! ```

mod classifier;
mod compat;
mod correct;
pub(crate) mod percentile;
#[cfg(test)]
mod tests;
mod vocabulary;

use crate::{Error, Guard, TokenCounter};

pub use classifier::{Hashed, Recorded, TokenClassifier};
pub use compat::{ContextFilter, Record};
pub use vocabulary::{Family, Vocabulary};

/// Tokens of a window with the two around them.
const WINDOW: usize = 512;

/// How a word's probability comes from its tokens'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WordScore {
    /// Their mean.
    #[default]
    Mean,
    /// That of the first.
    First,
}

/// Whose arithmetic decides ties in [`Lingua::compress_contexts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumPy {
    /// Versions before 2: sums and percentiles in 64 bits.
    One,
    /// Version 2: 32 bits, unless a forced word is in the list.
    #[default]
    Two,
}

/// What to keep.
#[derive(Clone, Debug, PartialEq)]
pub struct LinguaParams {
    /// Share of tokens to keep, above 0 and at most 1.
    pub rate: f64,
    /// Tokens to keep, in those of the counter, in place of the rate.
    pub target_tokens: Option<u64>,
    /// Texts that stay wherever they are.
    pub force_tokens: Vec<String>,
    /// Tokens with a digit stay.
    pub reserve_digits: bool,
    /// A forced word after an equal one, with nothing kept between them, goes.
    pub drop_consecutive: bool,
    /// How a word's probability comes from its tokens'.
    pub word_score: WordScore,
    /// Where a window likes to end.
    pub chunk_ends: Vec<String>,
    /// What [`Lingua::compress`] protects; [`Lingua::compress_contexts`] protects nothing, as the package does.
    pub guard: Guard,
    /// The arithmetic of [`Lingua::compress_contexts`].
    pub numpy: NumPy,
}

impl LinguaParams {
    /// The package's defaults at the given rate, and the guard.
    pub fn new(rate: f64) -> LinguaParams {
        LinguaParams {
            rate,
            target_tokens: None,
            force_tokens: vec![],
            reserve_digits: false,
            drop_consecutive: false,
            word_score: WordScore::Mean,
            chunk_ends: vec![".".to_owned(), "\n".to_owned()],
            guard: Guard::default(),
            numpy: NumPy::Two,
        }
    }
}

/// A compressor: a vocabulary, a classifier, the tokens in which the reader is paid, and what to keep.
pub struct Lingua<'a> {
    vocabulary: &'a Vocabulary,
    classifier: &'a dyn TokenClassifier,
    counter: &'a dyn TokenCounter,
    params: LinguaParams,
    /// Force tokens that are not one token: their index, which is the marker's.
    mapped: Vec<usize>,
    ids: Vec<IdRule>,
}

/// What the force tokens and ends make of an id.
#[derive(Clone, Copy, Default)]
struct IdRule {
    /// Begins a word.
    begins: bool,
    /// Such a word is kept.
    forced: bool,
    /// A window ends here if it can.
    ends: bool,
    /// One more than the force token it stands for, or 0.
    stands_for: u32,
}

impl std::fmt::Debug for Lingua<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lingua").field("vocabulary", self.vocabulary).field("params", &self.params).finish_non_exhaustive()
    }
}

impl<'a> Lingua<'a> {
    /// Prepares a compressor. A vocabulary remembers the counts of words, so give it one counter only.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a rate that is not above 0 and at most 1, or more than 100 force tokens.
    pub fn new(
        vocabulary: &'a Vocabulary,
        classifier: &'a dyn TokenClassifier,
        counter: &'a dyn TokenCounter,
        params: LinguaParams,
    ) -> Result<Lingua<'a>, Error> {
        if !(params.rate > 0.0 && params.rate <= 1.0) {
            return Err(Error::Parameter { name: "rate", value: params.rate.to_string(), must: "above 0 and at most 1" });
        }
        if params.force_tokens.len() > vocabulary::MARKERS {
            let value = format!("a list of {}", params.force_tokens.len());
            return Err(Error::Parameter { name: "force_tokens", value, must: "a list of at most 100" });
        }
        if let Some(empty) = params.force_tokens.iter().position(String::is_empty) {
            return Err(Error::Parameter {
                name: "force_tokens",
                value: format!("empty at {empty}"),
                must: "texts with something in them",
            });
        }
        let mut mapped: Vec<usize> = vec![];
        for (i, token) in params.force_tokens.iter().enumerate() {
            if vocabulary.encode(token)?.len() == 1 {
                continue;
            }
            // A text that is given twice is replaced once, by its last marker.
            match mapped.iter_mut().find(|j| params.force_tokens[**j] == *token) {
                Some(j) => *j = i,
                None => mapped.push(i),
            }
        }
        let family = vocabulary.family();
        let forced = |text: &str| params.force_tokens.iter().any(|t| t == text);
        let mut ids: Vec<IdRule> = vocabulary
            .pieces()
            .iter()
            .map(|piece| {
                let pure = piece.pure(family);
                let named = if family == Family::WordPiece { forced(pure) } else { forced(&piece.text) };
                let ends = params.chunk_ends.contains(&piece.text);
                IdRule { begins: piece.begins || named, forced: forced(pure), ends, stands_for: 0 }
            })
            .collect();
        for i in &mapped {
            let ends = params.chunk_ends.iter().any(|end| *end == params.force_tokens[*i]);
            ids[vocabulary.marker(*i) as usize] = IdRule { begins: true, forced: true, ends, stands_for: *i as u32 + 1 };
        }
        Ok(Lingua { vocabulary, classifier, counter, params, mapped, ids })
    }

    fn rule(&self, id: u32) -> IdRule {
        self.ids[id as usize]
    }

    /// Windows of at most `most + 1` tokens: each ends at the last end in it, if there is one.
    fn windows(&self, tokens: &[vocabulary::Token], most: usize) -> Vec<std::ops::Range<usize>> {
        let (mut windows, mut start) = (vec![], 0);
        while start < tokens.len() {
            if start + most + 1 > tokens.len() {
                windows.push(start..tokens.len());
                break;
            }
            let last = start + most;
            let end = (start + 1..=last).rev().find(|i| self.rule(tokens[*i].id).ends).unwrap_or(last);
            windows.push(start..end + 1);
            start = end + 1;
        }
        windows
    }
}

/// A small WordPiece vocabulary for the example.
#[doc(hidden)]
pub fn doc_vocabulary() -> String {
    let words =
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "mat", "and", "saw", "mice", "4", "##2", ".", "!", "##s"];
    let vocabulary: Vec<String> = words.iter().enumerate().map(|(i, w)| format!("\"{w}\": {i}")).collect();
    format!(
        r###"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {{"type": "BertPreTokenizer"}}, "post_processor": null,
        "decoder": {{"type": "WordPiece", "prefix": "##", "cleanup": true}},
        "model": {{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": {{{}}}}}}}"###,
        vocabulary.join(", ")
    )
}
