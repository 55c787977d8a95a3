//! A site being fitted: what is left of each matrix behind Pre, and the terms so far.

use super::{Compress, FitError, LayerReport};
use crate::error::Error;
use crate::linalg::matmul;
use crate::linear::{Linear, Term};
use crate::obs::InverseFactor;
use crate::progress::Progress;
use crate::site::Site;
use crate::stats::{SiteStats, Statistic};
use crate::transform::{Post, Pre, Step};
use ndarray::{Array2, ArrayView2, CowArray, Ix2};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Rows that are worked on together; fixed, so sums do not depend on the number of threads.
const ROWS: usize = 64;

/// A matrix to be compressed.
#[derive(Clone, Debug)]
pub struct Weights {
    /// Its name, such as `model.layers.0.self_attn.q_proj`.
    pub name: String,
    /// `[m, n]`: outputs and inputs.
    pub weights: Array2<f32>,
    /// `[m]`
    pub bias: Option<Vec<f32>>,
}

impl Weights {
    /// A matrix without bias.
    pub fn new(name: impl Into<String>, weights: Array2<f32>) -> Weights {
        Weights { name: name.into(), weights, bias: None }
    }

    /// With a bias.
    #[must_use]
    pub fn bias(mut self, bias: Vec<f32>) -> Weights {
        self.bias = Some(bias);
        self
    }
}

/// One matrix of a [`SiteFit`].
#[derive(Debug)]
pub struct MatrixFit {
    name: String,
    residual: Array2<f32>,
    terms: Vec<Term>,
    bias: Option<Vec<f32>>,
    /// What the bias was moved by.
    shift: Option<Vec<f32>>,
    notes: BTreeMap<String, f64>,
    weight_norm: f64,
    energy: Option<f64>,
    loss: Option<f64>,
}

/// The matrices of one input site while methods are applied to them. Everything here is behind Pre: with `x' = Pre x`, weights are
/// `W' = W Pre^-1` and statistics those of `x'`.
#[derive(Debug)]
pub struct SiteFit {
    name: String,
    /// The method at work, for messages.
    method: String,
    pre: Pre,
    stats: SiteStats,
    gram: Option<Arc<Array2<f32>>>,
    factor: Option<(f32, Arc<InverseFactor>)>,
    matrices: Vec<MatrixFit>,
    reports: Vec<LayerReport>,
}

impl SiteFit {
    /// Checks matrices and statistics, asks the methods for their Pre and moves everything behind it.
    ///
    /// # Errors
    /// [`FitError::MissingStat`] if a method needs a statistic that is not there; [`FitError::StatsMismatch`]; [`FitError::At`] with the name of
    /// a matrix that is empty, not finite or of another number of inputs.
    pub fn new(name: &str, matrices: Vec<Weights>, stats: &SiteStats, methods: &[Box<dyn Compress>]) -> Result<SiteFit, FitError> {
        if matrices.is_empty() {
            return Err(FitError::at(name)(Error::Empty { what: "site".to_owned(), shape: [0, 0] }));
        }
        for matrix in &matrices {
            matrix.check(stats.inputs())?;
        }
        let mut fit = SiteFit {
            name: name.to_owned(),
            method: String::new(),
            pre: Pre::none(),
            stats: stats.clone(),
            gram: None,
            factor: None,
            matrices: matrices.into_iter().map(MatrixFit::new).collect(),
            reports: vec![],
        };
        for method in methods {
            fit.method = method.name();
            // What an earlier method's Pre has taken away is missing here; what this one's takes away it has seen.
            if let Some(missing) = method.needs().without(fit.stats.has()).iter().next() {
                return Err(fit.missing(missing));
            }
            let weights: Vec<_> = fit.matrices.iter().map(MatrixFit::residual).collect();
            if let Some(pre) = method.pre(&weights, &fit.stats)? {
                fit.move_behind(pre)?;
            }
        }
        if let Some(gram) = fit.stats.gram() {
            Error::check_finite("gram matrix", gram.view()).map_err(FitError::at(name))?;
            fit.gram = Some(Arc::new(gram));
        }
        for matrix in &mut fit.matrices {
            matrix.energy = fit.gram.as_deref().map(|gram| quadratic(&matrix.residual, gram));
            matrix.loss = matrix.energy;
        }
        Ok(fit)
    }

    fn move_behind(&mut self, pre: Pre) -> Result<(), FitError> {
        self.stats = self.stats.behind(&pre).map_err(FitError::at(&self.name))?;
        for matrix in &mut self.matrices {
            pre.into_weights(matrix.residual.view_mut()).map_err(FitError::at(&matrix.name))?;
        }
        let steps = self.pre.steps().iter().chain(pre.steps()).cloned().collect();
        self.pre = Pre::new(steps).map_err(FitError::at(&self.name))?;
        Ok(())
    }

    /// Applies one method and reports what it did to each matrix.
    ///
    /// # Errors
    /// [`FitError`]. Terms that were fitted before the error stay; the caller drops the whole.
    pub fn apply(&mut self, method: &dyn Compress, progress: &dyn Progress) -> Result<(), FitError> {
        let start = Instant::now();
        self.method = method.name();
        if progress.cancelled() {
            return Err(FitError::Cancelled { matrix: self.matrices[0].name.clone() });
        }
        let before: Vec<Option<f64>> = self.matrices.iter().map(|m| m.loss).collect();
        method.fit(self, progress)?;
        let (gram, mean, pre, tokens) = (self.gram.clone(), self.stats.mean(), &self.pre, self.stats.tokens());
        let seconds = start.elapsed().as_secs_f64();
        for (matrix, loss_before) in self.matrices.iter_mut().zip(before) {
            matrix.loss = gram.as_deref().map(|gram| matrix.measure(gram, mean.as_deref()));
            let measured = LayerReport { loss_before, tokens, seconds, ..matrix.report(&self.method, pre)? };
            self.reports.push(measured);
        }
        Ok(())
    }

    /// The compressed site, and a report for each method and matrix in the order of their application.
    ///
    /// # Errors
    /// [`FitError::NoTerm`] if nothing was fitted to a matrix.
    pub fn finish(self) -> Result<(Site, Vec<LayerReport>), FitError> {
        let linear = |m: MatrixFit| {
            if m.terms.is_empty() {
                return Err(FitError::NoTerm { matrix: m.name });
            }
            let bias = m.moved_bias();
            Linear::new(m.terms, Post::None, bias).map_err(FitError::at(&m.name))
        };
        let linears = self.matrices.into_iter().map(linear).collect::<Result<_, _>>()?;
        let site = Site::new(self.pre, linears).map_err(FitError::at(&self.name))?;
        Ok((site, self.reports))
    }

    /// The site's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the input goes through first.
    pub fn pre(&self) -> &Pre {
        &self.pre
    }

    /// The statistics of the inputs behind Pre.
    pub fn stats(&self) -> &SiteStats {
        &self.stats
    }

    /// The matrices.
    pub fn matrices(&self) -> &[MatrixFit] {
        &self.matrices
    }

    /// The matrices, to push terms.
    pub fn matrices_mut(&mut self) -> &mut [MatrixFit] {
        &mut self.matrices
    }

    /// The reports so far.
    pub fn reports(&self) -> &[LayerReport] {
        &self.reports
    }

    /// The mean of `x x^T` behind Pre, `[n, n]`.
    ///
    /// # Errors
    /// [`FitError::MissingStat`].
    pub fn gram(&self) -> Result<Arc<Array2<f32>>, FitError> {
        self.gram.clone().ok_or_else(|| self.missing(Statistic::Gram))
    }

    /// The mean of `x` behind Pre, `[n]`.
    ///
    /// # Errors
    /// [`FitError::MissingStat`].
    pub fn mean(&self) -> Result<Vec<f32>, FitError> {
        self.stats.mean().ok_or_else(|| self.missing(Statistic::Mean))
    }

    /// The factor of the inverse Gram matrix behind Pre, computed once for all matrices and methods with this damping.
    ///
    /// # Errors
    /// [`FitError::MissingStat`]; [`FitError::At`] if no damping up to a thousandfold makes the matrix positive definite.
    pub fn inverse_factor(&mut self, damping: f32) -> Result<Arc<InverseFactor>, FitError> {
        match &self.factor {
            Some((made_with, factor)) if made_with.to_bits() == damping.to_bits() => Ok(factor.clone()),
            _ => {
                let factor = Arc::new(InverseFactor::new(self.gram()?.view(), damping).map_err(FitError::at(&self.name))?);
                self.factor = Some((damping, factor.clone()));
                Ok(factor)
            }
        }
    }

    /// The error of the method at work for a statistic that it needs and that is not there.
    pub fn missing(&self, missing: Statistic) -> FitError {
        FitError::MissingStat { method: self.method.clone(), site: self.name.clone(), missing, has: self.stats.has() }
    }
}

impl Weights {
    fn check(&self, stats_n: usize) -> Result<(), FitError> {
        let at = FitError::at(&self.name);
        let (m, n) = self.weights.dim();
        if m == 0 || n == 0 {
            return Err(at(Error::Empty { what: "weights".to_owned(), shape: [m, n] }));
        }
        if n != stats_n {
            return Err(FitError::StatsMismatch { matrix: self.name.clone(), weight_n: n, stats_n });
        }
        Error::check_finite("weights", self.weights.view()).map_err(&at)?;
        if let Some(bias) = &self.bias {
            Error::check_shape("bias", &[m], &[bias.len()]).map_err(&at)?;
            Error::check_finite("bias", ArrayView2::from_shape((1, m), bias).expect("the length was checked")).map_err(&at)?;
        }
        Ok(())
    }
}

impl MatrixFit {
    fn new(w: Weights) -> MatrixFit {
        let residual = if w.weights.is_standard_layout() { w.weights } else { w.weights.as_standard_layout().into_owned() };
        let weight_norm = norm(residual.view());
        MatrixFit {
            name: w.name,
            residual,
            terms: vec![],
            bias: w.bias,
            shift: None,
            notes: BTreeMap::new(),
            weight_norm,
            energy: None,
            loss: None,
        }
    }

    /// The matrix's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Outputs and inputs.
    pub fn shape(&self) -> [usize; 2] {
        [self.residual.nrows(), self.residual.ncols()]
    }

    /// What is left: the weights less all terms so far, behind Pre.
    pub fn residual(&self) -> ArrayView2<'_, f32> {
        self.residual.view()
    }

    /// The terms so far.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The bias it had and what it was moved by.
    fn moved_bias(&self) -> Option<Vec<f32>> {
        match (&self.bias, &self.shift) {
            (Some(b), Some(s)) => Some(b.iter().zip(s).map(|(b, s)| b + s).collect()),
            (one, other) => one.clone().or_else(|| other.clone()),
        }
    }

    /// Adds a term and subtracts it from the residual.
    ///
    /// # Errors
    /// [`FitError::At`] if its shape differs, or what is left is not finite.
    pub fn push(&mut self, term: impl Into<Term>) -> Result<(), FitError> {
        let term = term.into();
        let [m, n] = self.shape();
        Error::check_shape("term", &[m, n], &term.op().shape()).map_err(FitError::at(&self.name))?;
        let rows = self.residual.as_slice_mut().expect("made in row order").par_chunks_mut(ROWS * n).enumerate();
        rows.for_each(|(i, rest)| {
            // Formats only add; to negate twice is exact.
            rest.iter_mut().for_each(|w| *w = -*w);
            let first = i * ROWS;
            let rows = first..first + rest.len() / n;
            let view = ndarray::ArrayViewMut2::from_shape((rows.len(), n), &mut *rest).expect("whole rows");
            term.op().add_rows(rows, view);
            rest.iter_mut().for_each(|w| *w = -*w);
        });
        Error::check_finite("what a term leaves", self.residual.view()).map_err(FitError::at(&self.name))?;
        self.terms.push(term);
        Ok(())
    }

    /// Says something for the report of the method at work.
    pub fn note(&mut self, what: &str, value: f64) {
        self.notes.insert(what.to_owned(), value);
    }

    /// Moves the bias so that the mean error over inputs of this mean is 0.
    pub(super) fn shift_bias(&mut self, mean: &[f32]) {
        self.shift = Some(
            self.mean_error(mean)
                .into_iter()
                .map(|e| {
                    #[expect(clippy::cast_possible_truncation, reason = "a bias is f32")]
                    let e = e as f32;
                    e
                })
                .collect(),
        );
    }

    fn mean_error(&self, mean: &[f32]) -> Vec<f64> {
        let dot = |row: ndarray::ArrayView1<'_, f32>| row.iter().zip(mean).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
        self.residual.rows().into_iter().map(dot).collect()
    }

    /// `E |R x - shift|^2`
    fn measure(&self, gram: &Array2<f32>, mean: Option<&[f32]>) -> f64 {
        let loss = quadratic(&self.residual, gram);
        match (&self.shift, mean) {
            (Some(shift), Some(mean)) => {
                let moved = self.mean_error(mean).into_iter().zip(shift);
                // Rounding may leave less than nothing of a loss that is all mean.
                (loss + moved.map(|(e, s)| f64::from(*s) * (f64::from(*s) - 2.0 * e)).sum::<f64>()).max(0.0)
            }
            _ => loss,
        }
    }

    fn report(&mut self, method: &str, pre: &Pre) -> Result<LayerReport, FitError> {
        let [m, n] = self.shape();
        let error = self.error(pre)?;
        let bias = if self.bias.is_some() || self.shift.is_some() { 4 * m as u64 } else { 0 };
        let terms: crate::linear::Footprint = self.terms.iter().map(|t| t.op().footprint()).sum();
        let footprint = terms + crate::linear::Footprint { bias, ..Default::default() };
        let relative_error = if self.weight_norm > 0.0 { norm(error.view()) / self.weight_norm } else { 0.0 };
        let max_error = error.iter().fold(0.0f32, |a, e| a.max(e.abs()));
        let relative_loss = self.loss.zip(self.energy).map(|(loss, energy)| if energy > 0.0 { loss / energy } else { 0.0 });
        Ok(LayerReport {
            name: self.name.clone(),
            method: method.to_owned(),
            m,
            n,
            footprint,
            bits_per_weight: footprint.bits_per_weight([m, n]),
            loss_before: None,
            loss: self.loss,
            relative_loss,
            relative_error,
            max_error,
            tokens: 0.0,
            seconds: 0.0,
            notes: std::mem::take(&mut self.notes),
        })
    }

    /// The error of the weights in front of Pre. Permutations and rotations change neither its norm nor, but for rotations, its largest value.
    fn error(&self, pre: &Pre) -> Result<CowArray<'_, f32, Ix2>, FitError> {
        if pre.steps().iter().all(|s| matches!(s, Step::Permute(_))) {
            return Ok(self.residual.view().into());
        }
        let mut error = self.residual.clone();
        pre.out_of_weights(error.view_mut()).map_err(FitError::at(&self.name))?;
        Ok(error.into())
    }
}

fn norm(w: ArrayView2<'_, f32>) -> f64 {
    w.rows().into_iter().map(|row| row.iter().map(|w| f64::from(*w) * f64::from(*w)).sum::<f64>()).sum::<f64>().sqrt()
}

/// `tr(W H W^T)`: products in f32, sums in f64 in order of the rows.
fn quadratic(w: &Array2<f32>, gram: &Array2<f32>) -> f64 {
    let n = w.ncols();
    let chunk = |rows: &[f32]| {
        let w = ArrayView2::from_shape((rows.len() / n, n), rows).expect("whole rows");
        let mut wh = Array2::zeros(w.dim());
        matmul(1.0, w, gram.view(), false, wh.view_mut());
        rows.iter().zip(&wh).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
    };
    let sums: Vec<f64> = w.as_slice().expect("made in row order").par_chunks(ROWS * n).map(chunk).collect();
    sums.into_iter().sum::<f64>().max(0.0)
}
