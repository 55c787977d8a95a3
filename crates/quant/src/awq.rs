//! AWQ: inputs are scaled so that the columns that matter are rounded more finely.

use crate::error::Error;
use crate::grid::{Encoder, GridParams, GroupSize, assemble, parse};
use ndarray::{Array2, ArrayView2, Axis, Slice};
use rayon::prelude::*;
use scant_tensor_core::compress::{Compress, FitError, SiteFit};
use scant_tensor_core::format::{Grid, GridSpec};
use scant_tensor_core::linalg::matmul;
use scant_tensor_core::obs::sweep;
use scant_tensor_core::progress::Progress;
use scant_tensor_core::stats::{SiteStats, StatSet, Statistic};
use scant_tensor_core::{Pre, Step};
use std::fmt;
use std::str::FromStr;

/// Exponents tried: 0, 0.05, ... 0.95.
const EXPONENTS: u8 = 20;
/// Ranges tried: 1, 0.95, ... 0.55 of a group's largest magnitude.
const CLIPS: u8 = 10;
/// Rows of a product.
const ROWS: usize = 64;

/// Rounds to nearest behind a scale of each input, its mean magnitude to the power of 0 to 0.95; then clips groups where that helps
/// (Lin et al., 2023).
///
/// The exponent is the one of least error of the site's outputs, `tr(D H D^T)` over all its matrices. Unlike the published code, that error comes
/// from the Gram matrix `H` and not from running a sample of tokens, scales stay with the site instead of moving into what comes before, and
/// the matrices of queries and keys are clipped as all others.
///
/// ```
/// use scant_quant::Awq;
/// let method = Awq::new(4, 64);
/// assert_eq!(method.to_string(), "awq-4-g64");
/// assert_eq!("awq-4-g64-noclip".parse::<Awq>()?, method.without_clipping());
/// # Ok::<(), scant_quant::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Awq {
    /// The grid.
    pub grid: GridParams,
    /// Whether groups are clipped.
    pub clip: bool,
}

impl Awq {
    /// An integer zero point, and clipping.
    pub fn new(bits: u32, group: impl Into<GroupSize>) -> Awq {
        GridParams::new(bits, group).into()
    }

    /// Keeps the whole range of each group.
    #[must_use]
    pub fn without_clipping(mut self) -> Awq {
        self.clip = false;
        self
    }

    fn spec(&self, matrix: &str, w: ArrayView2<'_, f32>) -> Result<GridSpec, FitError> {
        self.grid.spec(&self.to_string(), matrix, [w.nrows(), w.ncols()])
    }

    fn round(&self, name: &str, w: ArrayView2<'_, f32>, spec: GridSpec) -> Result<Grid, FitError> {
        let swept = sweep(w, None, spec.group_size, |rows| Encoder::new(self.grid, spec, rows)).map_err(FitError::at(name))?;
        assemble(spec, self.grid, &swept.chunks).map_err(FitError::at(name))
    }

    /// For each row and group the share of its range that is kept, and the weights held within it.
    fn clipped(&self, name: &str, w: ArrayView2<'_, f32>, spec: GridSpec, gram: &Array2<f32>) -> Result<Array2<f32>, FitError> {
        let whole = Array2::from_elem((spec.m, spec.groups()), 1.0f32);
        let mut best = (self.group_errors(name, w, w, spec, gram)?, whole);
        for step in 1..CLIPS {
            let share = 1.0 - f32::from(step) / 20.0;
            let tried = clip(w, spec, |_, _| share);
            let errors = self.group_errors(name, tried.view(), w, spec, gram)?;
            for ((at, error), least) in errors.indexed_iter().zip(best.0.iter_mut()) {
                if error < least {
                    (*least, best.1[at]) = (*error, share);
                }
            }
        }
        Ok(clip(w, spec, |row, g| best.1[[row, g]]))
    }

    /// `d H_g d^T` for each row and group, of the error that rounding `rounded` makes of `w`; other groups are taken as exact.
    fn group_errors(
        &self,
        name: &str,
        rounded: ArrayView2<'_, f32>,
        w: ArrayView2<'_, f32>,
        spec: GridSpec,
        gram: &Array2<f32>,
    ) -> Result<Array2<f32>, FitError> {
        let error = self.round(name, rounded, spec)?.to_dense() - w;
        let mut out = Array2::zeros((spec.m, spec.groups()));
        for g in 0..spec.groups() {
            let columns = g * spec.group_size..((g + 1) * spec.group_size).min(spec.n);
            let columns = Slice::from(columns);
            let d = error.slice_axis(Axis(1), columns);
            let mut h = gram.view();
            h.slice_axis_inplace(Axis(0), columns);
            h.slice_axis_inplace(Axis(1), columns);
            let mut dh = Array2::zeros(d.dim());
            matmul(1.0, d, h, false, dh.view_mut());
            for (i, (d, dh)) in d.rows().into_iter().zip(dh.rows()).enumerate() {
                out[[i, g]] = d.dot(&dh);
            }
        }
        Ok(out)
    }
}

/// Each weight held within a share of its group's largest magnitude.
fn clip(w: ArrayView2<'_, f32>, spec: GridSpec, share: impl Fn(usize, usize) -> f32) -> Array2<f32> {
    let mut out = w.to_owned();
    for (i, mut row) in out.rows_mut().into_iter().enumerate() {
        let row = row.as_slice_mut().expect("made in row order");
        for (g, group) in row.chunks_mut(spec.group_size).enumerate() {
            let limit = share(i, g) * group.iter().fold(0f32, |max, w| max.max(w.abs()));
            group.iter_mut().for_each(|w| *w = w.clamp(-limit, limit));
        }
    }
    out
}

/// `tr(D H D^T)`
fn loss(d: &Array2<f32>, gram: &Array2<f32>) -> f64 {
    let n = d.ncols();
    let chunk = |rows: &[f32]| {
        let d = ArrayView2::from_shape((rows.len() / n, n), rows).expect("whole rows");
        let mut dh = Array2::zeros(d.dim());
        matmul(1.0, d, gram.view(), false, dh.view_mut());
        rows.iter().zip(&dh).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
    };
    let sums: Vec<f64> = d.as_slice().expect("made in row order").par_chunks(ROWS * n).map(chunk).collect();
    sums.into_iter().sum()
}

/// What inputs are multiplied with: the inverse of `a^exponent`, spread evenly around 1. `None` where all are alike.
fn scales(mean_abs: &[f32], exponent: f32) -> Option<Pre> {
    let t: Vec<f32> = mean_abs.iter().map(|a| a.powf(exponent).max(1e-4)).collect();
    let (low, high) = t.iter().fold((f32::MAX, 0f32), |(low, high), t| (low.min(*t), high.max(*t)));
    if low == high {
        return None;
    }
    let middle = (low * high).sqrt();
    Pre::new(vec![Step::Scale(t.iter().map(|t| middle / t).collect())]).ok()
}

impl From<GridParams> for Awq {
    fn from(grid: GridParams) -> Awq {
        Awq { grid, clip: true }
    }
}

impl Compress for Awq {
    fn name(&self) -> String {
        self.to_string()
    }

    fn needs(&self) -> StatSet {
        [Statistic::Gram, Statistic::MeanAbs].into_iter().collect()
    }

    fn pre(&self, w: &[ArrayView2<'_, f32>], stats: &SiteStats) -> Result<Option<Pre>, FitError> {
        let (Some(gram), Some(mean_abs)) = (stats.gram(), stats.mean_abs()) else {
            return Ok(None);
        };
        let name = "input scales";
        let mut best: Option<(f64, Option<Pre>)> = None;
        for step in 0..EXPONENTS {
            let pre = scales(&mean_abs, f32::from(step) / f32::from(EXPONENTS));
            if step > 0 && pre.is_none() {
                continue;
            }
            let moved = pre.clone().unwrap_or_else(Pre::none);
            let mut total = 0.0;
            for w in w {
                let mut scaled = w.to_owned();
                moved.into_weights(scaled.view_mut()).map_err(FitError::at(name))?;
                let mut error = self.round(name, scaled.view(), self.spec(name, *w)?)?.to_dense() - &scaled;
                moved.out_of_weights(error.view_mut()).map_err(FitError::at(name))?;
                total += loss(&error, &gram);
            }
            if best.as_ref().is_none_or(|(least, _)| total < *least) {
                best = Some((total, pre));
            }
        }
        Ok(best.and_then(|(_, pre)| pre))
    }

    fn fit(&self, site: &mut SiteFit, progress: &dyn Progress) -> Result<(), FitError> {
        let gram = site.gram()?;
        let total = site.matrices().len() as u64;
        for (matrix, done) in site.matrices_mut().iter_mut().zip(0..) {
            if progress.cancelled() {
                return Err(FitError::Cancelled { matrix: matrix.name().to_owned() });
            }
            progress.step(done, total, matrix.name());
            let spec = self.spec(matrix.name(), matrix.residual())?;
            let grid = if self.clip {
                let clipped = self.clipped(matrix.name(), matrix.residual(), spec, &gram)?;
                self.round(matrix.name(), clipped.view(), spec)?
            } else {
                self.round(matrix.name(), matrix.residual(), spec)?
            };
            matrix.push(grid)?;
        }
        Ok(())
    }
}

impl fmt::Display for Awq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("awq-{}{}", self.grid, if self.clip { "" } else { "-noclip" }))
    }
}

impl FromStr for Awq {
    type Err = Error;
    fn from_str(s: &str) -> Result<Awq, Error> {
        let rest = s.strip_prefix("awq-");
        let rest = rest.ok_or_else(|| Error::MethodName { name: s.to_owned(), detail: "it does not start with `awq-`".to_owned() })?;
        let mut clip = true;
        let grid = parse(s, rest, |word| {
            clip &= word != "noclip";
            word == "noclip"
        })?;
        Ok(Awq { grid, clip })
    }
}
