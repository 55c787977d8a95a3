//! The crate's error.

use scant_tensor_core::file::FileError;

/// What can go wrong in training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration whose numbers do not go together.
    #[error("{what}: {left} and {right} do not go together")]
    Config {
        /// Which numbers.
        what: &'static str,
        /// The first.
        left: usize,
        /// The second.
        right: usize,
    },
    /// A batch that is not `rows * tokens` long.
    #[error("{what} of the batch: {got} values, {rows} rows of {tokens} tokens want {}", rows * tokens)]
    Batch {
        /// Inputs, targets or weights.
        what: &'static str,
        /// Values at hand.
        got: usize,
        /// Rows.
        rows: usize,
        /// Tokens of a row.
        tokens: usize,
    },
    /// Rows that do not split evenly over the shards.
    #[error("{rows} rows do not split into {shards} equal shards")]
    Shards {
        /// Rows of the batch.
        rows: usize,
        /// Shards.
        shards: usize,
    },
    /// A sequence longer than the model's context.
    #[error("sequences of {tokens} tokens: the context is {context}")]
    Context {
        /// Tokens asked for.
        tokens: usize,
        /// The longest the model takes.
        context: usize,
    },
    /// A token that the vocabulary does not have.
    #[error("token {token} at {position}: the vocabulary has {vocabulary} pieces")]
    Token {
        /// The token.
        token: u32,
        /// Where in the batch.
        position: usize,
        /// Pieces of the vocabulary.
        vocabulary: usize,
    },
    /// Weights of the loss that add up to nothing, are negative or not finite.
    #[error("weights of the loss add up to {sum}: they must be finite, none below 0, and not all 0")]
    Weights {
        /// Their sum.
        sum: f64,
    },
    /// Training left the numbers.
    #[error("the loss of step {step} is {loss}, the gradient's norm {norm}: lower the rate, or resume from an older checkpoint")]
    Diverged {
        /// Which step.
        step: u64,
        /// Its loss.
        loss: f64,
        /// Norm of its gradient.
        norm: f64,
    },
    /// A checkpoint of another model.
    #[error("the checkpoint holds {found:?}, the run asks for {want:?}")]
    OtherModel {
        /// What the file holds.
        found: Box<crate::llama::LlamaConfig>,
        /// What was asked for.
        want: Box<crate::llama::LlamaConfig>,
    },
    /// A folder that could not be made.
    #[error("cannot create folder {}: {source}", folder.display())]
    Folder {
        /// Which.
        folder: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
}
