//! SpQR: small groups whose scales and zero points are quantized themselves, and few weights kept apart.

mod encode;

use crate::error::Error;
use crate::gptq;
use crate::grid::GroupSize;
use encode::{Encoder, assemble};
use ndarray::{Array2, ArrayView2};
use scant_tensor_core::Pre;
use scant_tensor_core::compress::{Compress, FitError, SiteFit};
use scant_tensor_core::format::GridSpec;
use scant_tensor_core::obs::{InverseFactor, LANES, sweep};
use scant_tensor_core::progress::Progress;
use scant_tensor_core::stats::{SiteStats, StatSet, Statistic};
use std::fmt;
use std::str::FromStr;

const BITS: [u32; 3] = [2, 3, 4];
/// The largest share of outliers: above it, more bits a code are cheaper.
const MOST_OUTLIERS: f32 = 0.05;
/// The share that is reached lies within this part of the one asked for, or as near as the last try came.
const NEAR: f64 = 0.1;
/// Tries on a sample of the rows, and then on all.
const TRIES: [usize; 2] = [6, 3];
/// Chunks of rows of the sample at least; a tenth of all otherwise.
const SAMPLE: usize = 2;

/// Codes in small groups with 3-bit scales and zero points, a step and a base of which 16 rows share, inside GPTQ's sweep; weights whose
/// rounding would cost most are outliers, kept in f16 (Dettmers et al., 2023, SpQR).
///
/// A weight is an outlier if its error, weighed by the inverse Gram matrix, is above a threshold; the threshold is found such that outliers have
/// the share asked for. A sum of two terms: [`Grid`](scant_tensor_core::format::Grid) and [`Csr`](scant_tensor_core::format::Csr), whose
/// elements are what the grid leaves of the outliers. Costs `bits + 6 / g + 64 / (16 g) + 32 share` bits a weight and 32 bits a row.
///
/// Unlike the published code, the zero point follows from the scale as it was stored, such that the middle of the range is exact.
///
/// ```
/// use scant_quant::Spqr;
/// let method = Spqr::new(3).outliers(0.01);
/// assert_eq!(method.to_string(), "spqr-3-g16-o1");
/// assert_eq!("spqr-3-g16-o1".parse::<Spqr>()?, method);
/// # Ok::<(), scant_quant::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spqr {
    /// Bits of a code: 2, 3 or 4.
    pub bits: u32,
    /// Columns that share a scale, a multiple of 16.
    pub group: GroupSize,
    /// Share of the weights that are kept apart, 0 to 0.05.
    pub outliers: f32,
    /// Rounds the inputs of largest mean square first.
    pub act_order: bool,
    /// Share of the mean of the Gram matrix's diagonal that is added to it.
    pub damping: f32,
}

impl Spqr {
    /// Groups of 16, one weight in a hundred an outlier, columns in their own order, damping 0.01.
    pub fn new(bits: u32) -> Spqr {
        Spqr { bits, group: GroupSize::Columns(16), outliers: 0.01, act_order: false, damping: 0.01 }
    }

    /// Columns that share a scale, a multiple of 16.
    #[must_use]
    pub fn group(mut self, group: impl Into<GroupSize>) -> Spqr {
        self.group = group.into();
        self
    }

    /// The share of outliers.
    #[must_use]
    pub fn outliers(mut self, share: f32) -> Spqr {
        self.outliers = share;
        self
    }

    /// Rounds the inputs of largest mean square first.
    #[must_use]
    pub fn act_order(mut self) -> Spqr {
        self.act_order = true;
        self
    }

    /// Sets the damping.
    #[must_use]
    pub fn damping(mut self, damping: f32) -> Spqr {
        self.damping = damping;
        self
    }

    fn spec(&self, matrix: &str, shape: [usize; 2]) -> Result<GridSpec, FitError> {
        if !BITS.contains(&self.bits) {
            return Err(FitError::UnsupportedBits { method: self.to_string(), bits: self.bits, allowed: &BITS });
        }
        if !(0.0..=MOST_OUTLIERS).contains(&self.outliers) {
            let (parameter, value) = ("share of outliers", f64::from(self.outliers));
            return Err(FitError::Parameter { method: self.to_string(), parameter, value, want: "0 to 0.05" });
        }
        let group_size = match self.group {
            GroupSize::Columns(columns) => columns,
            GroupSize::Row => shape[1],
        };
        GridSpec::new(shape, self.bits, group_size).map_err(FitError::at(matrix))
    }

    /// The encoded chunks of `w` with about the share of outliers that is asked for, and the threshold.
    fn fit_matrix(
        &self,
        name: &str,
        w: ArrayView2<'_, f32>,
        spec: GridSpec,
        factor: &InverseFactor,
    ) -> Result<(Vec<Encoder>, f32), FitError> {
        let run = |w: ArrayView2<'_, f32>, threshold: f32| {
            let sized = GridSpec { m: w.nrows(), ..spec };
            let new = |rows| Encoder::new(sized, factor, rows, threshold);
            sweep(w, Some(factor), spec.group_size, new).map(|swept| swept.chunks).map_err(FitError::at(name))
        };
        if self.outliers == 0.0 {
            return Ok((run(w, f32::INFINITY)?, f32::INFINITY));
        }
        let sample = sample(w);
        let mut threshold = f32::INFINITY;
        for (rows, tries) in [sample.view(), w].into_iter().zip(TRIES) {
            for left in (0..tries).rev() {
                let chunks = run(rows, threshold)?;
                let (share, next) = encode::threshold(&chunks, self.outliers);
                let whole = rows.nrows() == w.nrows();
                let near = (share / f64::from(self.outliers) - 1.0).abs() <= NEAR;
                if whole && (near || left == 0) {
                    return Ok((chunks, threshold));
                }
                if near {
                    break;
                }
                threshold = next;
            }
        }
        // Both loops end above: the second one is over all rows.
        Ok((run(w, threshold)?, threshold))
    }
}

/// Whole chunks of rows at even distances: a tenth of all, at least two.
fn sample(w: ArrayView2<'_, f32>) -> Array2<f32> {
    let chunks = w.nrows().div_ceil(LANES);
    let step = (chunks / SAMPLE).clamp(1, 10);
    let kept: Vec<usize> = (0..w.nrows()).filter(|row| (row / LANES).is_multiple_of(step)).collect();
    w.select(ndarray::Axis(0), &kept)
}

impl Compress for Spqr {
    fn name(&self) -> String {
        self.to_string()
    }

    fn needs(&self) -> StatSet {
        Statistic::Gram.into()
    }

    fn pre(&self, _: &[ArrayView2<'_, f32>], stats: &SiteStats) -> Result<Option<Pre>, FitError> {
        if self.act_order { gptq::act_order(stats) } else { Ok(None) }
    }

    fn fit(&self, site: &mut SiteFit, progress: &dyn Progress) -> Result<(), FitError> {
        let factor = gptq::factor(&self.to_string(), site, self.damping)?;
        let total = site.matrices().len() as u64;
        for (matrix, done) in site.matrices_mut().iter_mut().zip(0..) {
            if progress.cancelled() {
                return Err(FitError::Cancelled { matrix: matrix.name().to_owned() });
            }
            progress.step(done, total, matrix.name());
            let spec = self.spec(matrix.name(), matrix.shape())?;
            let (chunks, threshold) = self.fit_matrix(matrix.name(), matrix.residual(), spec, &factor)?;
            let (grid, outliers) = assemble(spec, &chunks).map_err(FitError::at(matrix.name()))?;
            let kept = outliers.as_ref().map_or(0, |csr| csr.values().len());
            matrix.push(grid)?;
            if let Some(outliers) = outliers {
                matrix.push(outliers)?;
            }
            matrix.note("damping", f64::from(factor.damping()));
            matrix.note("outliers", kept as f64 / (spec.m * spec.n) as f64);
            if threshold.is_finite() {
                matrix.note("threshold", f64::from(threshold));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Spqr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = match self.group {
            GroupSize::Columns(columns) => format!("g{columns}"),
            GroupSize::Row => "row".to_owned(),
        };
        let act = if self.act_order { "-act" } else { "" };
        let damping = if self.damping == 0.01 { String::new() } else { format!("-damp{}", self.damping) };
        // In hundredths, rounded to what f32 knows.
        let share = (f64::from(self.outliers) * 1e6).round() / 1e4;
        f.pad(&format!("spqr-{}-{group}-o{share}{act}{damping}", self.bits))
    }
}

impl FromStr for Spqr {
    type Err = Error;
    fn from_str(s: &str) -> Result<Spqr, Error> {
        let bad = |detail: String| Error::MethodName { name: s.to_owned(), detail };
        let rest = s.strip_prefix("spqr-").ok_or_else(|| bad("it does not start with `spqr-`".to_owned()))?;
        let mut words = rest.split('-');
        let bits = words.next().unwrap_or_default();
        let mut spqr = Spqr::new(bits.parse().map_err(|_| bad(format!("`{bits}` stands where the number of bits should")))?);
        if !BITS.contains(&spqr.bits) {
            return Err(bad(format!("{bits} bits are not to be had; there are {BITS:?}")));
        }
        for word in words {
            let number = |prefix: &str| word.strip_prefix(prefix).and_then(|x| x.parse::<f32>().ok());
            let group = word.strip_prefix('g').and_then(|x| x.parse::<usize>().ok());
            match (word, group, number("o"), number("damp")) {
                ("act", ..) => spqr.act_order = true,
                ("row", ..) => spqr.group = GroupSize::Row,
                (_, Some(columns), ..) if columns > 0 && columns % 16 == 0 => spqr.group = columns.into(),
                (_, Some(columns), ..) => return Err(bad(format!("groups of {columns} columns are not to be had: take a multiple of 16"))),
                (_, _, Some(share), _) if (0.0..=100.0 * MOST_OUTLIERS).contains(&share) => spqr.outliers = share / 100.0,
                (_, _, Some(share), _) => return Err(bad(format!("{share} % of outliers: take 0 to 5"))),
                (.., Some(damping)) => spqr.damping = damping,
                _ => return Err(bad(format!("`{word}` is no option"))),
            }
        }
        Ok(spqr)
    }
}
