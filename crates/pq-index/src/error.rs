//! The crate's error: which thing, and the two values that disagree.

use scant_tensor_core::file::FileError;
use scant_tensor_core::retrieve::FilterError;
use std::path::PathBuf;

/// What can go wrong. An index is as it was before the call that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Vectors of another dimension.
    #[error("{what}: want {want} dimensions, got {got}")]
    DimMismatch {
        /// The thing.
        what: &'static str,
        /// Dimensions there must be.
        want: usize,
        /// Dimensions there are.
        got: usize,
    },
    /// Lists that must be equally long are not.
    #[error("{what}: want {want}, got {got}")]
    LengthMismatch {
        /// The thing.
        what: &'static str,
        /// Entries there must be.
        want: usize,
        /// Entries there are.
        got: usize,
    },
    /// NaN or infinity in a vector.
    #[error("row {row}, column {column}: {value} is not finite")]
    NonFinite {
        /// The vector.
        row: usize,
        /// The component.
        column: usize,
        /// Its value.
        value: f32,
    },
    /// A vector without direction, under cosine.
    #[error("row {row} is zero and has no direction: cosine cannot take it")]
    ZeroVector {
        /// The vector.
        row: usize,
    },
    /// Fewer training vectors than centroids.
    #[error("{have} training vectors, and at least {need} are needed")]
    TooFewVectors {
        /// Vectors there are.
        have: usize,
        /// Vectors there must be.
        need: usize,
    },
    /// Nothing to learn from.
    #[error("there is nothing to train on: the source has no vectors, or vectors of no dimensions")]
    EmptyTraining,
    /// A code width that the quantizer has not.
    #[error("{bits} bits a code: choose one of {allowed:?}")]
    BitsUnsupported {
        /// What was asked for.
        bits: u32,
        /// What there is.
        allowed: &'static [u32],
    },
    /// No bits for a vector, or more than its dimensions can take.
    #[error("a budget of {asked} bits a vector: choose 1 to {most}, 8 for each dimension")]
    BitBudget {
        /// Bits asked for.
        asked: usize,
        /// Bits there can be.
        most: usize,
    },
    /// More subspaces than dimensions, or none.
    #[error("{m} subspaces of {dim} dimensions: choose 1 to {dim}")]
    SubspacesDoNotFit {
        /// Dimensions.
        dim: usize,
        /// Subspaces asked for.
        m: usize,
    },
    /// A combination that has no meaning.
    #[error("{what} does not go with {with}")]
    Combination {
        /// The setting.
        what: &'static str,
        /// What it does not go with.
        with: &'static str,
    },
    /// A tree of no nodes, or of too many.
    #[error("a tree of {levels} levels with {branching} children each: choose at least 1 of both, and at most {most} nodes")]
    TreeSize {
        /// Children of a node.
        branching: usize,
        /// Levels.
        levels: usize,
        /// Nodes there can be.
        most: usize,
    },
    /// A search for no neighbours.
    #[error("k is 0: ask for at least one neighbour")]
    KZero,
    /// An id that is there already, or twice in one call.
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
    /// More rows than a row number of 32 bits can tell apart.
    #[error("{rows} rows: an index holds at most 2^32 - 1; make shards")]
    TooManyRows {
        /// Rows there would be.
        rows: usize,
    },
    /// Indexes whose codes do not mean the same.
    #[error("the codes are of another quantizer: want digest {want}, got {got}; add the vectors again instead")]
    QuantizerMismatch {
        /// Digest there must be.
        want: String,
        /// Digest there is.
        got: String,
    },
    /// Codes that were not made to be compared.
    #[error("a query of encoder {query} meets what was made for encoder {index}, which does not list it as compatible")]
    EncoderMismatch {
        /// The encoder of the codes.
        index: String,
        /// The encoder of the query.
        query: String,
    },
    /// A file that ends too early, or too late.
    #[error("{file}: {have} bytes where {need} are needed", file = file.display())]
    Truncated {
        /// The file.
        file: PathBuf,
        /// Bytes there must be.
        need: u64,
        /// Bytes there are.
        have: u64,
    },
    /// A file that contradicts itself.
    #[error("{file}: {field} is {got}, want {want}", file = file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        field: &'static str,
        /// What it must be.
        want: String,
        /// What it is.
        got: String,
    },
    /// A file of another program with a part that this crate has no form for.
    #[error("{file}: {what} `{got}` is not read here; what is: {supported}", file = file.display())]
    Unsupported {
        /// The file.
        file: PathBuf,
        /// The part.
        what: &'static str,
        /// Its name in the file.
        got: String,
        /// What could stand there.
        supported: &'static str,
    },
    /// A number beyond what is allowed.
    #[error("{what} is {value}, and at most {limit} is allowed")]
    LimitExceeded {
        /// The number.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The largest allowed.
        limit: u64,
    },
    /// A FAISS index that was saved before it was trained.
    #[error("{file}: the index was saved untrained; train it before it is saved", file = file.display())]
    NotTrained {
        /// The file.
        file: PathBuf,
    },
    /// An index that FAISS has no form for.
    #[error("FAISS has no form for {what}")]
    NoFaissForm {
        /// What it cannot hold.
        what: &'static str,
    },
    /// A file that cannot be read.
    #[error("{file}: {source}", file = file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A number outside of what it can be.
    #[error("{what} is {value}: it must be {range}")]
    OutOfRange {
        /// The number's name.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// Labels of one kind only.
    #[error("the judged lists hold no {class} candidate: there is nothing to tell apart")]
    MissingClass {
        /// What is missing.
        class: &'static str,
    },
    /// Fewer calls of a scorer than results.
    #[error("a budget of {asked} calls: at least {least} are needed")]
    BudgetTooSmall {
        /// Calls allowed.
        asked: usize,
        /// Calls needed.
        least: usize,
    },
    /// A scorer that failed, or whose score is not finite.
    #[error("item {item} could not be scored: {source}")]
    Scorer {
        /// The item.
        item: u64,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file that another process, or another value of this one, has open for writing.
    #[error("{file} is open for writing elsewhere", file = file.display())]
    Locked {
        /// The file.
        file: PathBuf,
    },
    /// A journal of which a write failed before.
    #[error("{file}: an earlier write failed; open the index again", file = file.display())]
    JournalFailed {
        /// The file.
        file: PathBuf,
    },
    /// Scores of another kind than the index gives.
    #[error("scores by {asked} are asked of an index by {index}")]
    MetricMismatch {
        /// The index's.
        index: crate::Metric,
        /// What was asked for.
        asked: crate::Metric,
    },
    /// What a worker process said, or did not.
    #[error("the worker for {shard}: {why}")]
    Worker {
        /// The file of its shard.
        shard: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// A message of another program, or of a later version.
    #[error("a message between processes: {what}")]
    Message {
        /// What is wrong with it.
        what: String,
    },
    /// The caller asked for the end.
    #[error("cancelled")]
    Cancelled,
    /// An attribute or a predicate.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A container.
    #[error(transparent)]
    File(#[from] FileError),
    /// Clustering.
    #[error(transparent)]
    Core(#[from] scant_tensor_core::Error),
}

impl Error {
    pub(crate) fn check_dim(what: &'static str, want: usize, got: usize) -> Result<(), Error> {
        if want == got { Ok(()) } else { Err(Error::DimMismatch { what, want, got }) }
    }

    pub(crate) fn check_len(what: &'static str, want: usize, got: usize) -> Result<(), Error> {
        if want == got { Ok(()) } else { Err(Error::LengthMismatch { what, want, got }) }
    }

    /// Fails on the first value that is NaN or infinite; rows are counted from `first`.
    pub(crate) fn check_finite(x: ndarray::ArrayView2<'_, f32>, first: usize) -> Result<(), Error> {
        match x.indexed_iter().find(|(_, v)| !v.is_finite()) {
            None => Ok(()),
            Some(((row, column), value)) => Err(Error::NonFinite { row: first + row, column, value: *value }),
        }
    }
}
