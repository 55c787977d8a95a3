//! HQQ: rounding without data whose zero points are fitted to a heavy-tailed error.

use crate::error::Error;
use crate::grid::{GridParams, GroupSize, Zero, parse};
use half::f16;
use ndarray::Array2;
use rayon::prelude::*;
use scant_tensor_core::compress::{Compress, FitError, SiteFit};
use scant_tensor_core::format::{Grid, RowOffset, RowStat};
use scant_tensor_core::progress::Progress;
use std::fmt;
use std::str::FromStr;

/// Exponent of the norm that the error is shrunk by.
const P: f32 = 0.7;
/// Most updates of a zero point.
const UPDATES: i32 = 20;
/// Largest inverse of a scale.
const LARGEST_INVERSE: f32 = 2e4;

/// Rounds to nearest on scales of the whole range, with f16 zero points that are fitted to a heavy-tailed error (Badri and Shaji, 2023).
/// Needs no data.
///
/// In turn, codes are rounded, the error is split into outliers and a rest by soft thresholding for an `L_0.7` norm, and the zero point takes
/// the mean of the rest. Unlike the published code, scales are rounded to f16 first, the search starts from the integer zero point as
/// well, and the zero point that is kept is the best one seen by mean absolute error, so that is never above rounding's with the same scales.
///
/// ```
/// use scant_quant::Hqq;
/// let method = Hqq::new(4, 64);
/// assert_eq!(method.to_string(), "hqq-4-g64");
/// assert_eq!("hqq-4-g64".parse::<Hqq>()?, method);
/// # Ok::<(), scant_quant::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hqq {
    /// Bits of a code: 2, 3, 4, 5, 6 or 8.
    pub bits: u32,
    /// Columns that share a scale and a zero point.
    pub group: GroupSize,
}

impl Hqq {
    /// Codes of `bits` bits in groups.
    pub fn new(bits: u32, group: impl Into<GroupSize>) -> Hqq {
        Hqq { bits, group: group.into() }
    }
}

impl Compress for Hqq {
    fn name(&self) -> String {
        self.to_string()
    }

    fn fit(&self, site: &mut SiteFit, progress: &dyn Progress) -> Result<(), FitError> {
        let total = site.matrices().len() as u64;
        for (matrix, done) in site.matrices_mut().iter_mut().zip(0..) {
            if progress.cancelled() {
                return Err(FitError::Cancelled { matrix: matrix.name().to_owned() });
            }
            progress.step(done, total, matrix.name());
            let spec = GridParams::new(self.bits, self.group).spec(&self.to_string(), matrix.name(), matrix.shape())?;
            let top = ((1u32 << self.bits) - 1) as f32;
            let (m, groups) = (spec.m, spec.groups());
            let mut codes = Array2::zeros((m, spec.n));
            let mut scale = Array2::from_elem((m, groups), f16::ONE);
            let mut zero = Array2::from_elem((m, groups), f16::ZERO);
            let rows = codes.as_slice_mut().expect("made in row order").par_chunks_mut(spec.n);
            let scales = scale.as_slice_mut().expect("made in row order").par_chunks_mut(groups);
            let zeros = zero.as_slice_mut().expect("made in row order").par_chunks_mut(groups);
            let residual = matrix.residual();
            rows.zip(scales).zip(zeros).enumerate().for_each(|(i, ((codes, scales), zeros))| {
                let row = residual.row(i);
                let row = row.as_slice().expect("residuals are in row order");
                let groups = row.chunks(spec.group_size).zip(codes.chunks_mut(spec.group_size));
                for ((w, codes), (scale, zero)) in groups.zip(scales.iter_mut().zip(zeros)) {
                    (*scale, *zero) = fit_group(w, top, codes);
                }
            });
            let grid = Grid::pack(spec, codes.view(), &RowStat::F16(scale), &RowOffset::Zero(RowStat::F16(zero)));
            matrix.push(grid.map_err(FitError::at(matrix.name()))?)?;
        }
        Ok(())
    }
}

/// Scale, zero point and codes of a group.
fn fit_group(w: &[f32], top: f32, codes: &mut [u8]) -> (f16, f16) {
    let (low, high) = w.iter().fold((f32::MAX, f32::MIN), |(low, high), w| (low.min(*w), high.max(*w)));
    if low == high {
        // One value, as exact as f16 is.
        let scale = f16::from_f32(if low == 0.0 { 1.0 } else { low });
        codes.fill(u8::from(low != 0.0));
        return (scale, f16::ZERO);
    }
    let scale = f16::from_f32(((high - low) / top).max(1.0 / LARGEST_INVERSE));
    let (s, inverse) = (scale.to_f32(), 1.0 / scale.to_f32());
    let code = |w: f32, zero: f32| (w * inverse + zero).round_ties_even().clamp(0.0, top);
    let error = |zero: f32| w.iter().map(|w| (w - s * (code(*w, zero) - zero)).abs()).sum::<f32>();
    let stored = |zero: f32| f16::from_f32(zero.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()));
    let start = stored(-low * inverse).to_f32();
    let mut best = (f32::INFINITY, start);
    // Where most weights are near 0, a zero point that gives them a code is hard to come by from one that does not.
    for mut zero in [start, start.round_ties_even()] {
        let mut least = error(zero);
        for t in 0..=UPDATES {
            if least < best.0 {
                best = (least, zero);
            }
            let beta = 10.0 * 1.01f32.powi(t);
            let mut sum = 0.0;
            for w in w {
                let q = code(*w, zero);
                let r = w - s * (q - zero);
                // At 0 the power has no value, and nothing is left to shrink.
                let kept = if r == 0.0 { 0.0 } else { (r.abs() - r.abs().powf(P - 1.0) / beta).max(0.0).copysign(r) };
                sum += q - (w - kept) * inverse;
            }
            zero = stored(sum / w.len() as f32).to_f32();
            let now = error(zero);
            if now >= least {
                break;
            }
            least = now;
        }
    }
    for (q, w) in codes.iter_mut().zip(w) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number up to 255")]
        let whole = code(*w, best.1) as u8;
        *q = whole;
    }
    (scale, f16::from_f32(best.1))
}

impl fmt::Display for Hqq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("hqq-{}", GridParams::new(self.bits, self.group)))
    }
}

impl FromStr for Hqq {
    type Err = Error;
    fn from_str(s: &str) -> Result<Hqq, Error> {
        let bad = |detail: &str| Error::MethodName { name: s.to_owned(), detail: detail.to_owned() };
        let rest = s.strip_prefix("hqq-").ok_or_else(|| bad("it does not start with `hqq-`"))?;
        let grid = parse(s, rest, |_| false)?;
        if grid != GridParams::new(grid.bits, grid.group) {
            return Err(bad(if grid.zero == Zero::Int { "it has one range" } else { "its zero points are f16" }));
        }
        Ok(Hqq { bits: grid.bits, group: grid.group })
    }
}
