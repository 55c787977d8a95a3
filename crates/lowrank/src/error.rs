//! What can go wrong in this crate.

/// The crate's error; a message names the thing and the values that disagree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that is no method.
    #[error("method `{name}`: {detail}")]
    MethodName {
        /// The name.
        name: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A rank that a matrix of this shape cannot have, or that its inputs do not support.
    #[error("rank {rank}: choose from 1 to {max}")]
    Rank {
        /// What was asked for.
        rank: usize,
        /// The largest that there is.
        max: usize,
    },
    /// A weighting of another number of inputs.
    #[error("a matrix of {matrix} inputs, weighed by statistics of {weighting}")]
    Inputs {
        /// Columns of the matrix.
        matrix: usize,
        /// Inputs of the weighting.
        weighting: usize,
    },
    /// Too few tokens for what they say to be believed.
    #[error("{have} calibration tokens for {need} inputs: gather at least {need}")]
    TooFewSamples {
        /// Tokens seen.
        have: f64,
        /// The least number.
        need: usize,
    },
    /// An eigenproblem without a solution in f64: values near the end of their range.
    #[error("the eigenvalues of a matrix of {size} x {size} do not converge: its values span too wide a range")]
    Eigen {
        /// Its rows.
        size: usize,
    },
    /// A format.
    #[error(transparent)]
    Core(#[from] scant_tensor_core::Error),
}
