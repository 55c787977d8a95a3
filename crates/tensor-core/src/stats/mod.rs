//! What is known of the inputs of a site: gathered in one pass over calibration text, used by every method.
//!
//! ```
//! use ndarray::array;
//! use scant_tensor_core::stats::{SiteStats, Statistic};
//! let mut stats = SiteStats::new(2, Statistic::Gram.into())?;
//! stats.observe(array![[1.0, 2.0], [3.0, 0.0]].view())?; // one sequence of two tokens
//! assert_eq!(stats.gram().unwrap(), array![[5.0, 1.0], [1.0, 2.0]]);
//! assert_eq!(stats.mean().unwrap(), [2.0, 1.0]);
//! assert_eq!(stats.seq_norm().unwrap(), [10f32.sqrt(), 2.0]);
//! # Ok::<(), scant_tensor_core::Error>(())
//! ```

mod file;
mod observe;
mod set;

pub use file::ActivationStats;
pub use set::{StatSet, Statistic};

use crate::error::Error;
use crate::transform::{Pre, Step};
use ndarray::{Array2, ArrayView2};

/// Statistics of the `n` inputs of one site, as sums over tokens and sequences, so that passes over shards of a text can be merged.
///
/// The vectors are always gathered, in f64. The Gram matrix is gathered if asked for: the lower triangle in f32, to which the f32 product
/// of each chunk of up to 4,096 tokens is added in order. Its relative error stays near `sqrt(chunks) * 2^-24`, far below any damping.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteStats {
    n: usize,
    /// Weighted, so not whole after a weighted merge.
    tokens: f64,
    sequences: f64,
    /// Rows of the lower triangle, one after the other: row `i` has `i + 1` values.
    gram: Option<Vec<f32>>,
    sum: Vec<f64>,
    /// Absent behind a rotation, which they do not survive.
    abs: Option<Vec<f64>>,
    sq: Option<Vec<f64>>,
    norm: Option<Vec<f64>>,
}

/// Where row `i` of a lower triangle starts.
fn row_start(i: usize) -> usize {
    i * (i + 1) / 2
}

impl SiteStats {
    /// Nothing seen yet, of `n` inputs; gathers the Gram matrix if it is in `needs`.
    ///
    /// # Errors
    /// [`Error::Empty`] if `n` is 0.
    pub fn new(n: usize, needs: StatSet) -> Result<SiteStats, Error> {
        if n == 0 {
            return Err(Error::Empty { what: "site statistics".to_owned(), shape: [0, 0] });
        }
        let vector = || vec![0.0; n];
        let gram = needs.contains(Statistic::Gram).then(|| vec![0.0; row_start(n)]);
        Ok(SiteStats { n, tokens: 0.0, sequences: 0.0, gram, sum: vector(), abs: Some(vector()), sq: Some(vector()), norm: Some(vector()) })
    }

    /// Statistics that came from elsewhere: the mean of `x x^T` and the mean of `x` over `tokens` tokens.
    ///
    /// The lower triangle of `gram` is read.
    ///
    /// # Errors
    /// [`Error::Shape`] unless `gram` is square and `mean` as long; [`Error::NotFinite`]; [`Error::Empty`].
    pub fn from_gram(gram: ArrayView2<'_, f32>, mean: &[f32], tokens: f64) -> Result<SiteStats, Error> {
        let n = gram.nrows();
        Error::check_shape("gram matrix", &[n, n], gram.shape())?;
        Error::check_shape("mean of inputs", &[n], &[mean.len()])?;
        Error::check_finite("gram matrix", gram)?;
        let mut stats = SiteStats::new(n, StatSet::NONE)?;
        let lower = (0..n).flat_map(|i| (0..=i).map(move |j| (i, j)));
        #[expect(clippy::cast_possible_truncation, reason = "stored as f32")]
        let scaled = |x: f32| (f64::from(x) * tokens) as f32;
        stats.gram = Some(lower.map(|at| scaled(gram[at])).collect());
        stats.sum = mean.iter().map(|x| f64::from(*x) * tokens).collect();
        (stats.tokens, stats.abs, stats.sq, stats.norm) = (tokens, None, None, None);
        Ok(stats)
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.n
    }

    /// Tokens seen, each counted with its weight.
    pub fn tokens(&self) -> f64 {
        self.tokens
    }

    /// Sequences seen, each counted with its weight.
    pub fn sequences(&self) -> f64 {
        self.sequences
    }

    /// The statistics there are: none before a token is seen.
    pub fn has(&self) -> StatSet {
        if self.tokens <= 0.0 {
            return StatSet::NONE;
        }
        Statistic::ALL
            .into_iter()
            .filter(|s| match s {
                Statistic::Gram => self.gram.is_some(),
                Statistic::Mean => true,
                Statistic::MeanAbs => self.abs.is_some(),
                Statistic::MeanSq => self.sq.is_some() || self.gram.is_some(),
                Statistic::SeqNorm => self.norm.is_some() && self.sequences > 0.0,
            })
            .collect()
    }

    /// The mean of `x x^T`, `[n, n]`, both triangles. Allocates it.
    pub fn gram(&self) -> Option<Array2<f32>> {
        let gram = self.gram.as_ref().filter(|_| self.tokens > 0.0)?;
        let mut full = Array2::zeros((self.n, self.n));
        for i in 0..self.n {
            for (j, sum) in gram[row_start(i)..][..=i].iter().enumerate() {
                #[expect(clippy::cast_possible_truncation, reason = "f32 is what is computed with")]
                let mean = (f64::from(*sum) / self.tokens) as f32;
                full[[i, j]] = mean;
                full[[j, i]] = mean;
            }
        }
        Some(full)
    }

    /// The mean of each input.
    pub fn mean(&self) -> Option<Vec<f32>> {
        self.mean_of(Some(&self.sum), self.tokens)
    }

    /// The mean magnitude of each input.
    pub fn mean_abs(&self) -> Option<Vec<f32>> {
        self.mean_of(self.abs.as_deref(), self.tokens)
    }

    /// The mean square of each input.
    pub fn mean_sq(&self) -> Option<Vec<f32>> {
        self.mean_of(self.sq.as_deref(), self.tokens).or_else(|| {
            let gram = self.gram.as_ref()?;
            let diagonal: Vec<f64> = (0..self.n).map(|i| f64::from(gram[row_start(i) + i])).collect();
            self.mean_of(Some(&diagonal), self.tokens)
        })
    }

    /// The mean over sequences of each input's L2 norm over the sequence's tokens.
    pub fn seq_norm(&self) -> Option<Vec<f32>> {
        self.mean_of(self.norm.as_deref(), self.sequences)
    }

    fn mean_of(&self, sum: Option<&[f64]>, count: f64) -> Option<Vec<f32>> {
        #[expect(clippy::cast_possible_truncation, reason = "f32 is what is computed with")]
        sum.filter(|_| count > 0.0).map(|sum| sum.iter().map(|x| (x / count) as f32).collect())
    }

    /// Adds what another pass saw, each of its tokens counted `weight` times. Exact up to rounding; a statistic that either lacks is lost.
    ///
    /// # Errors
    /// [`Error::Shape`] if the inputs differ in number; [`Error::NotFinite`] if `weight` is no positive number.
    pub fn merge(&mut self, other: &SiteStats, weight: f64) -> Result<(), Error> {
        Error::check_shape("inputs of merged statistics", &[self.n], &[other.n])?;
        if !(weight > 0.0 && weight.is_finite()) {
            #[expect(clippy::cast_possible_truncation, reason = "for the message")]
            return Err(Error::NotFinite { what: "logarithm of the weight".to_owned(), row: 0, column: 0, value: weight.ln() as f32 });
        }
        let add = |a: &mut [f64], b: &[f64]| a.iter_mut().zip(b).for_each(|(a, b)| *a += weight * b);
        let add_if = |a: &mut Option<Vec<f64>>, b: &Option<Vec<f64>>| match (a.as_mut(), b) {
            (Some(a), Some(b)) => add(a, b),
            _ => *a = None,
        };
        add(&mut self.sum, &other.sum);
        add_if(&mut self.abs, &other.abs);
        add_if(&mut self.sq, &other.sq);
        add_if(&mut self.norm, &other.norm);
        match (self.gram.as_mut(), &other.gram) {
            #[expect(clippy::cast_possible_truncation, reason = "stored as f32")]
            (Some(a), Some(b)) => a.iter_mut().zip(b).for_each(|(a, b)| *a = (f64::from(*a) + weight * f64::from(*b)) as f32),
            _ => self.gram = None,
        }
        self.tokens += weight * other.tokens;
        self.sequences += weight * other.sequences;
        Ok(())
    }

    /// The statistics of `Pre x`. Means of magnitudes, squares and norms do not survive a rotation (squares come back from the Gram matrix).
    ///
    /// # Errors
    /// [`Error::Shape`] if `pre` is for another number of inputs.
    pub fn behind(&self, pre: &Pre) -> Result<SiteStats, Error> {
        pre.check(self.n)?;
        let mut out = self.clone();
        for step in pre.steps() {
            let whole = Pre::new(vec![step.clone()])?;
            for (vector, power) in [(&mut out.abs, 1), (&mut out.sq, 2), (&mut out.norm, 1)] {
                *vector = vector.as_deref().and_then(|x| magnitudes(step, x, power));
            }
            out.sum = linear(&whole, &out.sum)?;
            if let Some(gram) = &mut out.gram {
                let mut full = Array2::zeros((self.n, self.n));
                for i in 0..self.n {
                    for (j, x) in gram[row_start(i)..][..=i].iter().enumerate() {
                        (full[[i, j]], full[[j, i]]) = (*x, *x);
                    }
                }
                let full = whole.gram(full.view())?;
                (0..self.n).for_each(|i| (0..=i).for_each(|j| gram[row_start(i) + j] = full[[i, j]]));
            }
        }
        Ok(out)
    }
}

/// What a step makes of sums of `|x|^power`.
fn magnitudes(step: &Step, x: &[f64], power: i32) -> Option<Vec<f64>> {
    match step {
        Step::Scale(scale) => Some(x.iter().zip(scale.iter()).map(|(x, s)| x * f64::from(s.abs()).powi(power)).collect()),
        Step::Permute(order) => Some(order.iter().map(|i| x[*i as usize]).collect()),
        Step::Hadamard(_) => None,
    }
}

/// What a transform makes of a sum of `x`, in f32 as products see it.
fn linear(pre: &Pre, x: &[f64]) -> Result<Vec<f64>, Error> {
    #[expect(clippy::cast_possible_truncation, reason = "f32 is what is computed with")]
    let x: Vec<f32> = x.iter().map(|x| *x as f32).collect();
    Ok(pre.vector(&x)?.into_iter().map(f64::from).collect())
}

#[cfg(test)]
mod tests;
