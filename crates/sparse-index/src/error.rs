//! The crate's error: which thing, and the two values that disagree.

use scant_tensor_core::file::FileError;
use scant_tensor_core::retrieve::FilterError;

/// What can go wrong. An index is as it was before the call that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// NaN or infinity among the weights.
    #[error("the weight of term {term} is {weight}, which is not finite")]
    NonFinite {
        /// The term.
        term: u32,
        /// Its weight.
        weight: f32,
    },
    /// A weight below 0.
    #[error("the weight of term {term} is {weight}: weights are 0 or more")]
    Negative {
        /// The term.
        term: u32,
        /// Its weight.
        weight: f32,
    },
    /// A term that comes twice, or after a larger one.
    #[error("term {term} does not come after term {before}: terms ascend, each once")]
    TermOrder {
        /// The term.
        term: u32,
        /// The one before it.
        before: u32,
    },
    /// A term beyond the vocabulary.
    #[error("term {term} of a vocabulary of {vocabulary}")]
    TermOutOfRange {
        /// The term.
        term: u32,
        /// Terms there are.
        vocabulary: usize,
    },
    /// Lists that must be equally long are not.
    #[error("{what}: want {want}, got {got}")]
    Length {
        /// The thing.
        what: &'static str,
        /// Entries there must be.
        want: usize,
        /// Entries there are.
        got: usize,
    },
    /// An id that is there already.
    #[error("id {id} is in the index already: remove it first, or update it")]
    DuplicateId {
        /// The id.
        id: u64,
    },
    /// An id that is not there.
    #[error("id {id} is not in the index")]
    UnknownId {
        /// The id.
        id: u64,
    },
    /// A search for nothing.
    #[error("k is 0: ask for at least one document")]
    KZero,
    /// More than a number can count.
    #[error("{what}: {got}, and at most {most} fit; make shards")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        got: usize,
        /// The most.
        most: usize,
    },
    /// A parameter lies outside of what it can be.
    #[error("{name} is {value}, but must be {must}")]
    Parameter {
        /// Its name in the API.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it can be.
        must: &'static str,
    },
    /// Shards whose scores do not mean the same.
    #[error("shard {shard} was built with other {what} than shard 0: give all of them the same")]
    StatsMismatch {
        /// The shard.
        shard: usize,
        /// What differs.
        what: &'static str,
    },
    /// A line that is not a vector.
    #[error("line {line}: {reason}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that contradicts itself.
    #[error("the index's {field} is {got}, want {want}")]
    Corrupt {
        /// What is wrong.
        field: &'static str,
        /// What it must be.
        want: String,
        /// What it is.
        got: String,
    },
    /// Reading failed.
    #[error("reading: {0}")]
    Io(#[from] std::io::Error),
    /// An attribute or a predicate.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A container.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Error {
    pub(crate) fn check_len(what: &'static str, want: usize, got: usize) -> Result<(), Error> {
        if want == got { Ok(()) } else { Err(Error::Length { what, want, got }) }
    }
}
