//! Why terms could not be fitted.

use crate::error::Error;
use crate::stats::{StatSet, Statistic};

/// Why terms could not be fitted to a site. Messages name the method or matrix and the two values that disagree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// A statistic that a method needs was not gathered.
    #[error("{method} at {site} needs the statistic {missing}; there is {has}")]
    MissingStat {
        /// The method's name.
        method: String,
        /// The site.
        site: String,
        /// The first statistic that is missing.
        missing: Statistic,
        /// Those there are.
        has: StatSet,
    },
    /// Statistics of another number of inputs than the matrix has.
    #[error("`{matrix}` has {weight_n} inputs, the statistics of its site are of {stats_n}")]
    StatsMismatch {
        /// The matrix.
        matrix: String,
        /// Its columns.
        weight_n: usize,
        /// Inputs of the statistics.
        stats_n: usize,
    },
    /// Too few tokens for a Gram matrix of this size.
    #[error("{site}: {have} calibration tokens for {need} inputs: gather at least {need}, or damp with 0.1 or more")]
    TooFewSamples {
        /// The site.
        site: String,
        /// Tokens seen.
        have: f64,
        /// The least number of tokens.
        need: usize,
    },
    /// A width that a method does not do.
    #[error("{method}: {bits} bits: choose one of {allowed:?}")]
    UnsupportedBits {
        /// The method's name.
        method: String,
        /// What was asked for.
        bits: u32,
        /// What there is.
        allowed: &'static [u32],
    },
    /// A parameter of a method outside its range.
    #[error("{method}: {parameter} is {value}: choose {want}")]
    Parameter {
        /// The method's name.
        method: String,
        /// The parameter.
        parameter: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        want: &'static str,
    },
    /// A matrix to which no method has fitted a term.
    #[error("`{matrix}` has no term: apply a method that fits one")]
    NoTerm {
        /// The matrix.
        matrix: String,
    },
    /// What a format or factorization says, about this matrix or site.
    #[error("`{name}`: {source}")]
    At {
        /// The matrix or site.
        name: String,
        /// What is wrong.
        source: Error,
    },
    /// An error of a method from outside this project.
    #[error("{method}: {source}")]
    Method {
        /// The method's name.
        method: String,
        /// What it says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The caller wanted the work to stop.
    #[error("cancelled before `{matrix}`")]
    Cancelled {
        /// What would have come next.
        matrix: String,
    },
}

impl FitError {
    /// For `map_err`: says which matrix or site an [`Error`] is about.
    pub fn at(name: &str) -> impl Fn(Error) -> FitError + '_ {
        move |source| FitError::At { name: name.to_owned(), source }
    }
}
