//! The crate's error: which thing, and the two values that disagree.

use crate::SiteId;
use scant_tensor_core::compress::FitError;
use std::path::PathBuf;

/// What can go wrong when a model is opened or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A path that holds no model.
    #[error("{}: {detail}", path.display())]
    NotAModel {
        /// What was given.
        path: PathBuf,
        /// What was looked for and what was found.
        detail: String,
    },
    /// A model of another kind.
    #[error("architecture `{name}` is unknown; known are {known}")]
    UnknownArchitecture {
        /// What the checkpoint says.
        name: String,
        /// What can be run.
        known: &'static str,
    },
    /// A key of the description that is needed and absent.
    #[error("the model's description lacks the key `{key}`")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A value of the description that cannot be used.
    #[error("the model's description has `{key}` = {value}: {want}")]
    BadKey {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What it should be.
        want: String,
    },
    /// A tensor that is needed and absent.
    #[error("tensor `{name}` is missing")]
    MissingTensor {
        /// Its name in the checkpoint.
        name: String,
    },
    /// A tensor of another shape.
    #[error("tensor `{name}`: the description wants shape {want:?}, the checkpoint has {got:?}")]
    TensorShape {
        /// Its name in the checkpoint.
        name: String,
        /// Rows and columns, or a length.
        want: Vec<usize>,
        /// What is there.
        got: Vec<usize>,
    },
    /// A tensor of a type that no term can hold.
    #[error("tensor `{name}` has type {found}; supported are {supported}")]
    TensorType {
        /// Its name in the checkpoint.
        name: String,
        /// Its type.
        found: String,
        /// The types that can be read.
        supported: &'static str,
    },
    /// A tensor whose numbers make no term, for instance NaN.
    #[error("tensor `{name}`: {source}")]
    Tensor {
        /// Its name in the checkpoint.
        name: String,
        /// What is wrong with it.
        source: scant_tensor_core::Error,
    },
    /// A site that does not fit the model.
    #[error("site {site}: {source}")]
    Site {
        /// Which.
        site: SiteId,
        /// What is wrong with it.
        source: scant_tensor_core::Error,
    },
    /// A site with another number of matrices, or that the model does not have.
    #[error("site {site}: the model has {want} matrices there, {got} were given")]
    SiteMatrices {
        /// Which.
        site: SiteId,
        /// Matrices of the model.
        want: usize,
        /// Matrices given.
        got: usize,
    },
    /// A site that does not fit an encoder, or that it does not have.
    #[error("encoder site {site}: {source}")]
    EncoderSite {
        /// Which.
        site: crate::encoder::EncoderSite,
        /// What is wrong with it.
        source: scant_tensor_core::Error,
    },
    /// Sparse vectors were wanted of an encoder that is not a masked-language model.
    #[error("the encoder has no masked-language head: there was no tensor `cls.predictions.transform.dense.weight`")]
    NoHead,
    /// A sequence without tokens in a batch.
    #[error("sequence {index} of the batch has no tokens")]
    EmptySequence {
        /// Which.
        index: usize,
    },
    /// A mask that does not tell texts from padding behind them.
    #[error("attention mask: {detail}")]
    Mask {
        /// What is wrong with it.
        detail: String,
    },
    /// Text that names no site.
    #[error("`{text}` names no site: write `head`, or a layer's `{{layer}}.qkv`, `.output`, `.gate-up` or `.down`")]
    UnknownSite {
        /// The text.
        text: String,
    },
    /// A token that the vocabulary does not have.
    #[error("token {token}: the vocabulary has {vocabulary} pieces")]
    Token {
        /// The token.
        token: u32,
        /// Pieces of the vocabulary.
        vocabulary: usize,
    },
    /// More tokens than the model was made for.
    #[error("{tokens} tokens: the model's context is {context}")]
    Context {
        /// Tokens, those in the cache included.
        tokens: usize,
        /// The longest sequence.
        context: usize,
    },
    /// A method that could not be fitted.
    #[error(transparent)]
    Fit(FitError),
    /// The caller wanted the work to stop.
    #[error("cancelled before `{before}`")]
    Cancelled {
        /// The site or matrix that would have come next.
        before: String,
    },
    /// A folder of finished blocks that another run has made.
    #[error("{}: its blocks were made with {what} {saved}, this run has {wanted}: choose another folder", folder.display())]
    ResumeKey {
        /// The folder.
        folder: PathBuf,
        /// Which part of the key differs.
        what: &'static str,
        /// What the folder has.
        saved: String,
        /// What this run has.
        wanted: String,
    },
    /// A finished block that cannot be read.
    #[error("{}: {source}: remove it, and the block is done again", path.display())]
    Resume {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// A way of propagation that there is not.
    #[error("propagation `{text}` is unknown: choose sequential or from-float")]
    UnknownPropagation {
        /// The text.
        text: String,
    },
    /// A call without tokens.
    #[error("no tokens were given")]
    NoTokens,
    /// Sequences that do not make up the batch.
    #[error("sequences of {lengths} tokens in all, and {rows} rows of activations")]
    Lengths {
        /// Sum of the lengths.
        lengths: usize,
        /// Rows given.
        rows: usize,
    },
    /// Text was to be read or written, and the checkpoint has no vocabulary.
    #[error("the model has no tokenizer: {looked_for}; token ids still work")]
    NoTokenizer {
        /// Where it was looked for.
        looked_for: String,
    },
    /// A vocabulary that makes no tokenizer, or text that it cannot treat.
    #[error("tokenizer: {detail}")]
    Tokenizer {
        /// What is wrong.
        detail: String,
    },
    /// Logits that nothing can be chosen by.
    #[error("the logits are of no use: {detail}")]
    Logits {
        /// What is wrong with them.
        detail: String,
    },
    /// A sampling setting out of its range.
    #[error("{what} is {value}: choose {want}")]
    Sampling {
        /// The setting.
        what: &'static str,
        /// Its value.
        value: String,
        /// Its range.
        want: &'static str,
    },
    /// Text that is not the JSON it should be.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A GGUF file.
    #[error(transparent)]
    Gguf(#[from] scant_quant::Error),
    /// A file.
    #[error(transparent)]
    File(#[from] scant_tensor_core::file::FileError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] scant_kvcache::Error),
}

impl From<FitError> for Error {
    fn from(e: FitError) -> Error {
        match e {
            FitError::Cancelled { matrix } => Error::Cancelled { before: matrix },
            e => Error::Fit(e),
        }
    }
}
