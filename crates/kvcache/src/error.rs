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
    /// Vectors wider than packed entries can be.
    #[error("{what} is {dim}: packed entries are at most {most} wide, choose f16")]
    TooWide {
        /// Of a key or of a value.
        what: &'static str,
        /// The width.
        dim: usize,
        /// The widest.
        most: usize,
    },
    /// A number of bits that the codec has not.
    #[error("codes of {bits} bits: choose 2, 3, 4 or 8 (2 to 4 for turbo)")]
    UnsupportedBits {
        /// The number asked for.
        bits: u32,
    },
    /// A group that does not divide what is packed together.
    #[error("groups of {group}: 64 tokens are packed together, choose 16, 32 or 64")]
    GroupSize {
        /// The size asked for.
        group: usize,
    },
    /// A low-rank part that would cost more than it saves.
    #[error("rank {rank}: at most {most}, a quarter of the 64 tokens or of the width")]
    RankTooLarge {
        /// The rank asked for.
        rank: usize,
        /// The largest.
        most: usize,
    },
    /// A share of outliers that is none.
    #[error("a share of outliers of {share}: choose 0 to 0.25")]
    OutlierShare {
        /// The share asked for.
        share: f32,
    },
    /// A policy without room for what it always keeps.
    #[error("a budget of {budget} entries a head: at least {needed} are needed")]
    BudgetTooSmall {
        /// Entries asked for.
        budget: usize,
        /// The least.
        needed: usize,
    },
    /// A policy for a layer that is bounded already.
    #[error("a policy on a layer with a window of {window} tokens: such layers keep their window")]
    Windowed {
        /// Tokens of the window.
        window: usize,
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
