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
    /// The bytes are no workbook that can be read.
    #[error("not a workbook: {0}; xlsx, xlsm, ods and csv are read")]
    NotAWorkbook(String),
    /// The workbook is encrypted or of the format before 2007.
    #[error("this is a compound file (an encrypted workbook, or .xls): save it as .xlsx without a password")]
    CompoundFile,
    /// A part unpacks to far more than it weighs, or all of them to more than is allowed.
    #[error("part `{part}` unpacks from {packed} to more than {limit} bytes; raise `Limits` if the file is to be trusted")]
    ZipBomb {
        /// Its path in the archive.
        part: String,
        /// Its bytes in the archive.
        packed: u64,
        /// What it may unpack to.
        limit: u64,
    },
    /// A part of the archive is damaged.
    #[error("part `{part}` is damaged at byte {at}: {why}")]
    Part {
        /// Its path in the archive.
        part: String,
        /// Byte in the unpacked part (or in the file, for the archive itself).
        at: u64,
        /// What is wrong.
        why: String,
    },
    /// A reference in a part is no address, or points at nothing.
    #[error("part `{part}`, byte {at}: `{text}` is no valid reference")]
    BadRef {
        /// Its path in the archive.
        part: String,
        /// Byte in the unpacked part.
        at: u64,
        /// The reference.
        text: String,
    },
    /// A cell names a style that the workbook does not have.
    #[error("part `{part}`: cell {cell} has style {style}, but there are {styles}")]
    StyleIndexOutOfRange {
        /// The sheet's path in the archive.
        part: String,
        /// The cell.
        cell: crate::sheet::Address,
        /// The style it names.
        style: u64,
        /// Styles there are.
        styles: usize,
    },
    /// There is no such sheet.
    #[error("there is no sheet `{name}`; there are: {there}")]
    SheetNotFound {
        /// The name asked for.
        name: String,
        /// The names there are.
        there: String,
    },
    /// More cells than allowed.
    #[error("{what}: {n} cells, {cap} are allowed; raise the limit or choose another encoding")]
    TooManyCells {
        /// What has them.
        what: String,
        /// How many.
        n: u64,
        /// The limit.
        cap: u64,
    },
    /// A text would be longer than allowed.
    #[error("the text of sheet `{sheet}` would have more than {cap} bytes")]
    TextTooLong {
        /// The sheet.
        sheet: String,
        /// The limit.
        cap: u64,
    },
    /// A text holds no address or range where one is wanted.
    #[error("`{0}` names no cell or range such as B2:D9")]
    NotARange(String),
    /// A range reaches outside of the sheet, or of what was kept of it.
    #[error("range {range} reaches outside of {inside}")]
    RangeOutsideSheet {
        /// The range.
        range: crate::sheet::Range,
        /// Where it should lie.
        inside: crate::sheet::Range,
    },
    /// An encoded sheet does not parse.
    #[error("line {line} of the encoded sheet: {why}")]
    Encoding {
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// Its path.
        path: String,
        /// Why.
        source: std::io::Error,
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
