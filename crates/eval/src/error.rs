//! The crate's error.

use crate::language_model::ModelError;

/// What can go wrong in a measurement.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Text that is too short for a single window.
    #[error("{tokens} tokens make no window of {window}: give more text or a shorter window")]
    TooShort {
        /// Tokens at hand.
        tokens: usize,
        /// Tokens of a window.
        window: usize,
    },
    /// A window longer than the model's context, or without a token to score.
    #[error("windows of {window} tokens: choose 2 to {context}, the model's context")]
    Window {
        /// What was asked for.
        window: usize,
        /// The longest the model takes.
        context: usize,
    },
    /// Models whose vocabularies differ cannot be compared.
    #[error("the reference has a vocabulary of {reference}, model {model} one of {vocabulary}")]
    Vocabulary {
        /// Pieces of the reference.
        reference: usize,
        /// Which model.
        model: usize,
        /// Its pieces.
        vocabulary: usize,
    },
    /// A token that the vocabulary does not have.
    #[error("token {token} at position {position} of window {window}: the vocabulary has {vocabulary} pieces")]
    Token {
        /// The token.
        token: u32,
        /// Where.
        position: usize,
        /// Where.
        window: usize,
        /// Pieces of the vocabulary.
        vocabulary: usize,
    },
    /// NaN or infinity among the logits.
    #[error("the logits at position {position} of window {window} are not finite")]
    NotFinite {
        /// Where.
        position: usize,
        /// Where.
        window: usize,
    },
    /// A model that handed out fewer or more rows of logits than the window has tokens.
    #[error("the model gave {got} rows of logits for a window of {want} tokens")]
    Rows {
        /// Tokens of the window.
        want: usize,
        /// Rows of logits.
        got: usize,
    },
    /// An item of recall whose answer is not inside its tokens, or has no candidates.
    #[error("item {item}: answer at tokens {answer:?} of {tokens}, {candidates} candidates")]
    Answer {
        /// Which item.
        item: usize,
        /// Tokens of the answer.
        answer: std::ops::Range<usize>,
        /// Tokens of the item.
        tokens: usize,
        /// Candidates.
        candidates: usize,
    },
    /// A collection that cannot be read.
    #[error("collection: {detail}")]
    Collection {
        /// Where, and what is wrong.
        detail: String,
    },
    /// Rankings for another number of queries.
    #[error("the collection has {want} queries, {got} rankings were given")]
    Rankings {
        /// Queries.
        want: usize,
        /// Rankings.
        got: usize,
    },
    /// A line that is no passage with a last word.
    #[error("passage of line {line}: {detail}")]
    Passage {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// The caller asked to stop.
    #[error("cancelled after {done} of {total} windows")]
    Cancelled {
        /// Finished windows.
        done: usize,
        /// All windows.
        total: usize,
    },
    /// The model failed.
    #[error("the model failed: {0}")]
    Model(#[from] ModelError),
}
