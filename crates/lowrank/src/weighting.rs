//! What the error of a matrix is weighed with: a second moment of its inputs.

use crate::error::Error;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use std::sync::OnceLock;

/// The symmetric `C` of the loss `tr(D C D^T)` of an error `D`: with `C = E[x x^T]` it is what the outputs err by.
#[derive(Debug)]
pub struct Weighting {
    n: usize,
    kind: Kind,
    /// `S` with `C = S^T S`, for matrices that are higher than wide.
    root: OnceLock<Option<Array2<f64>>>,
}

#[derive(Debug)]
enum Kind {
    Identity,
    Diagonal(Array1<f64>),
    Full(Array2<f64>),
}

impl Weighting {
    /// All inputs alike, for `n` of them: the plain SVD.
    pub fn identity(n: usize) -> Weighting {
        Weighting::of(n, Kind::Identity)
    }

    /// Each input by a share that is not negative.
    pub fn diagonal(shares: &[f32]) -> Weighting {
        Weighting::of(shares.len(), Kind::Diagonal(shares.iter().map(|v| f64::from(*v)).collect()))
    }

    /// By a mean of `x x^T` `[n, n]` over `tokens`, drawn towards a multiple of the identity: directions that few tokens have shown are not
    /// free to be anything.
    ///
    /// # Errors
    /// [`Error::TooFewSamples`] for fewer tokens than a third of the inputs.
    pub fn moment(gram: ArrayView2<'_, f32>, tokens: f64) -> Result<Weighting, Error> {
        Weighting::shrunk(gram.mapv(f64::from), tokens)
    }

    /// By the covariance of the inputs, where a bias makes up for the mean error.
    ///
    /// # Errors
    /// As [`moment`](Self::moment).
    pub fn centred(gram: ArrayView2<'_, f32>, mean: &[f32], tokens: f64) -> Result<Weighting, Error> {
        let mean: Array1<f64> = mean.iter().map(|v| f64::from(*v)).collect();
        let column = mean.view().insert_axis(Axis(1));
        Weighting::shrunk(gram.mapv(f64::from) - column.dot(&column.t()), tokens)
    }

    fn shrunk(mut c: Array2<f64>, tokens: f64) -> Result<Weighting, Error> {
        let n = c.nrows();
        if tokens < n as f64 / 3.0 {
            return Err(Error::TooFewSamples { have: tokens, need: n.div_ceil(3) });
        }
        let share = (n as f64 / (n as f64 + tokens)).clamp(0.01, 0.3);
        let level = share * c.diag().sum().max(0.0) / n as f64;
        c *= 1.0 - share;
        c.diag_mut().iter_mut().for_each(|v| *v += level);
        Ok(Weighting::of(n, Kind::Full(c)))
    }

    fn of(n: usize, kind: Kind) -> Weighting {
        Weighting { n, kind, root: OnceLock::new() }
    }

    /// Inputs.
    pub fn inputs(&self) -> usize {
        self.n
    }

    /// `x C`
    pub(crate) fn apply(&self, x: &Array2<f64>) -> Array2<f64> {
        match &self.kind {
            Kind::Identity => x.clone(),
            Kind::Diagonal(c) => x * c,
            Kind::Full(c) => x.dot(c),
        }
    }

    /// `S` with `C = S^T S`; none for the identity.
    pub(crate) fn root(&self) -> Result<Option<&Array2<f64>>, Error> {
        if let Kind::Identity = self.kind {
            return Ok(None);
        }
        let root = self.root.get_or_init(|| match &self.kind {
            Kind::Identity => None,
            Kind::Diagonal(c) => Some(Array2::from_diag(&c.mapv(f64::sqrt))),
            Kind::Full(c) => {
                let (values, mut axes) = scant_spectra::eigen(c.view())?;
                axes.rows_mut().into_iter().zip(values).for_each(|(mut axis, value)| axis *= value.max(0.0).sqrt());
                Some(axes)
            }
        });
        root.as_ref().map(Some).ok_or(Error::Eigen { size: self.n })
    }
}
