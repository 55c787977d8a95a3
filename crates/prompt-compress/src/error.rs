/// What can go wrong here; a message names the thing and the values that disagree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
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
    /// A token counter cannot be made or fails.
    #[error("token counter {name}: {why}")]
    Counter {
        /// Its name.
        name: String,
        /// What it says.
        why: String,
    },
    /// A tokenizer cannot be read or fails.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A vocabulary lacks a token that its family has.
    #[error("the vocabulary has no token `{0}`: neither a WordPiece nor a SentencePiece vocabulary of LLMLingua-2")]
    MissingToken(&'static str),
    /// The first token of a chunk continues a word: the Python package fails with an IndexError there.
    #[error("chunk {chunk} begins inside of a word (`{piece}`); `Lingua::compress` takes it")]
    NoWordStart {
        /// The chunk, counted over all contexts.
        chunk: usize,
        /// The token.
        piece: String,
    },
    /// A chunk has no word, or none that counts as a token.
    #[error("chunk {chunk} has no word with a token to count; `Lingua::compress` takes it")]
    NoWords {
        /// The chunk, counted over all contexts.
        chunk: usize,
    },
    /// A classifier gave another number of probabilities than tokens.
    #[error("sequence {sequence}: {want} tokens, but {got} probabilities")]
    ProbLength {
        /// The sequence in the batch.
        sequence: usize,
        /// Its tokens.
        want: usize,
        /// What came back.
        got: usize,
    },
    /// A classifier gave a probability that is none.
    #[error("sequence {sequence}: the probability of token {at} is {value}")]
    ProbNotFinite {
        /// The sequence in the batch.
        sequence: usize,
        /// The token.
        at: usize,
        /// The value.
        value: f32,
    },
    /// A backend (classifier, embedder, language model) fails.
    #[error("{backend}: {source}")]
    Backend {
        /// Which one.
        backend: &'static str,
        /// What it says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The filter of contexts kept nothing that counts.
    #[error("the contexts that were kept have no tokens, {target} were asked for")]
    ZeroReserved {
        /// Tokens asked for.
        target: u64,
    },
    /// A text has nothing in it.
    #[error("text {index} is empty")]
    EmptyText {
        /// Its place among the texts.
        index: usize,
    },
    /// Nothing to compare with.
    #[error("there are no {0}")]
    Nothing(&'static str),
    /// A codec has no such level.
    #[error("{codec} has no level {level}: {there}")]
    LevelUnsupported {
        /// The codec.
        codec: &'static str,
        /// What was asked for.
        level: u32,
        /// What there is.
        there: &'static str,
    },
    /// A line of a file is not as it should be.
    #[error("line {line}: {why}")]
    Line {
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Coded text does not decode.
    #[error("coded text, token {at}: {why}")]
    Coded {
        /// The token.
        at: usize,
        /// What is wrong.
        why: String,
    },
    /// A file's bytes are not as they should be.
    #[error("{what}: {why}")]
    Damaged {
        /// What the file should be.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
}
