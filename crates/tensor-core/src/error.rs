//! The crate's error: which thing, and the two values that disagree.

use crate::file::FileError;
use crate::isa::IsaError;

/// What can go wrong when formats are made, combined or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two shapes that must be equal are not.
    #[error("{what}: want {want:?}, got {got:?}")]
    Shape {
        /// The thing.
        what: String,
        /// The shape it must have.
        want: Vec<usize>,
        /// The shape it has.
        got: Vec<usize>,
    },
    /// A matrix without rows or columns.
    #[error("{what}: a matrix of shape {shape:?} has no elements")]
    Empty {
        /// The thing.
        what: String,
        /// Its shape.
        shape: [usize; 2],
    },
    /// Code widths are 1 to 8 bits.
    #[error("{what}: {bits} bits: choose 1 to 8")]
    Bits {
        /// The thing.
        what: String,
        /// What was asked for.
        bits: u32,
    },
    /// Groups are whole sixteenths of a panel's column blocks.
    #[error("group size {group_size} of {columns} columns: choose a multiple of 16, or at least the number of columns for one group a row")]
    GroupSize {
        /// What was asked for.
        group_size: usize,
        /// The matrix's columns.
        columns: usize,
    },
    /// Codes into codebooks are 1 to 16 bits.
    #[error("codes of {bits} bits into codebooks: choose 1 to 16")]
    CodebookBits {
        /// What was asked for.
        bits: u32,
    },
    /// Rows of a codebook term are whole groups.
    #[error("codewords of {group_size} weights for rows of {columns}: choose 4, 8 or 16, and a number that divides the columns")]
    CodebookGroup {
        /// What was asked for.
        group_size: usize,
        /// The matrix's columns.
        columns: usize,
    },
    /// A code that its width cannot hold.
    #[error("{what}: code {code} at row {row}, column {column} does not fit {bits} bits")]
    Code {
        /// The thing.
        what: String,
        /// The code.
        code: u8,
        /// Where.
        row: usize,
        /// Where.
        column: usize,
        /// The width.
        bits: u32,
    },
    /// NaN or infinity where a number must be.
    #[error("{what}: {value} at row {row}, column {column} is not finite")]
    NotFinite {
        /// The thing.
        what: String,
        /// Where.
        row: usize,
        /// Where.
        column: usize,
        /// The value.
        value: f32,
    },
    /// An index that points outside.
    #[error("{what}: index {index} is not below {bound}")]
    Index {
        /// The thing.
        what: String,
        /// The index.
        index: usize,
        /// The first index that does not exist.
        bound: usize,
    },
    /// A permutation that names an index twice.
    #[error("{what}: index {index} occurs twice, so this is no permutation")]
    Permutation {
        /// The thing.
        what: String,
        /// The index.
        index: usize,
    },
    /// Indices that must rise and do not.
    #[error("{what}: {index} does not come after {before}; they must rise")]
    NotRising {
        /// The thing.
        what: String,
        /// The index.
        index: usize,
        /// The one before it.
        before: usize,
    },
    /// A term of the user's own has no saved form.
    #[error("term {term} of `{name}` is the caller's own operation and cannot be saved")]
    NotSaved {
        /// The layer.
        name: String,
        /// Which term.
        term: usize,
    },
    /// What cannot be a factor of a two-stage term.
    #[error("{what} is {term}: a factor is a dense matrix, a grid or a palette")]
    Factor {
        /// Which factor.
        what: String,
        /// What it is.
        term: String,
    },
    /// A matrix that must be positive definite and is not, in f32.
    #[error("{what}: pivot {pivot} of {n} is not positive, so this is not positive definite in f32")]
    NotPositiveDefinite {
        /// The thing.
        what: String,
        /// The first pivot that is not positive, from 0.
        pivot: usize,
        /// Rows and columns.
        n: usize,
    },
    /// Fewer rows than the method needs.
    #[error("{what}: {have} rows, and at least {need} are needed")]
    TooFewRows {
        /// The thing.
        what: String,
        /// Rows there are.
        have: usize,
        /// Rows there must be.
        need: usize,
    },
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The instruction tier.
    #[error(transparent)]
    Isa(#[from] IsaError),
}

impl Error {
    /// Fails unless `want == got`.
    ///
    /// # Errors
    /// [`Error::Shape`] with both.
    pub fn check_shape(what: &str, want: &[usize], got: &[usize]) -> Result<(), Error> {
        if want == got { Ok(()) } else { Err(Error::Shape { what: what.to_owned(), want: want.to_vec(), got: got.to_vec() }) }
    }

    /// Fails if a value of `x` is NaN or infinite.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the first such value.
    pub fn check_finite(what: &str, x: ndarray::ArrayView2<'_, f32>) -> Result<(), Error> {
        match x.indexed_iter().find(|(_, v)| !v.is_finite()) {
            None => Ok(()),
            Some(((row, column), value)) => Err(Error::NotFinite { what: what.to_owned(), row, column, value: *value }),
        }
    }
}
