//! The crate's error: which thing, and the two values that disagree.

/// What can go wrong in a cache. The cache is as it was before the call that failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A shape other than the one that the layer's geometry asks for.
    #[error("{what}: want {want:?}, got {got:?}")]
    Shape {
        /// The thing.
        what: &'static str,
        /// The shape it must have.
        want: Vec<usize>,
        /// The shape it has.
        got: Vec<usize>,
    },
    /// A number of the geometry that cannot be.
    #[error("{what} is {value}: it must be above zero")]
    Zero {
        /// The number's name.
        what: &'static str,
        /// Its value.
        value: String,
    },
    /// Query heads that cannot be shared out evenly.
    #[error("{heads} query heads cannot share {kv_heads} key/value heads evenly")]
    HeadsNotDivisible {
        /// Query heads.
        heads: usize,
        /// Key/value heads.
        kv_heads: usize,
    },
    /// A component that is no number, or too large for the stored type.
    #[error("{what} of token {token}, head {head}: {value} cannot be stored as {stored}")]
    NotFinite {
        /// "key" or "value".
        what: &'static str,
        /// Position of the token.
        token: usize,
        /// Key/value head.
        head: usize,
        /// The component.
        value: f32,
        /// The stored type.
        stored: &'static str,
    },
    /// Queries at positions that nothing was appended for.
    #[error("queries at positions {first}..{end} of a cache of {len} tokens: append their keys and values first")]
    Position {
        /// Position of the first query.
        first: usize,
        /// One past the last.
        end: usize,
        /// Tokens appended.
        len: usize,
    },
    /// A length beyond the cache's, or one whose window has been given up.
    #[error("cannot truncate {len} tokens to {requested}: positions {held_from}.. are held")]
    NotTruncatable {
        /// The length asked for.
        requested: usize,
        /// Tokens appended.
        len: usize,
        /// The first position whose entry is still there.
        held_from: usize,
    },
}

impl Error {
    pub(crate) fn check_shape(what: &'static str, want: &[usize], got: &[usize]) -> Result<(), Error> {
        if want == got { Ok(()) } else { Err(Error::Shape { what, want: want.to_vec(), got: got.to_vec() }) }
    }
}
