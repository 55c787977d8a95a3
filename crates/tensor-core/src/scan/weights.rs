//! Codes that are worth a multiple of themselves, and the digits of a query that bound their sums.

use super::{Bound, CodeBlocks};
use crate::Error;
use crate::isa::Isa;
use crate::simd::{Simd, WithSimd};

/// The weights of one query for byte codes: a row is worth `base + sum of weight[j] * code[j]`.
///
/// Each weight is a digit in -63..=63 times a common step, and a rest. With the digits, the sums of [`dot`](super::dot()) are integers; what the
/// rests can add is at most their length times the length of the codes, taken from 128 (Cauchy and Schwarz).
///
/// ```
/// use scant_tensor_core::scan::{CodeBlocks, Weights};
/// let mut codes = CodeBlocks::new(4).in_quads();
/// codes.push(&[128, 130, 0, 255])?;
/// let weights = Weights::new(1.0, &[0.5, -1.0, 0.0, 0.25])?;
/// assert_eq!(weights.score(&codes, 0), 1.0 + 64.0 - 130.0 + 63.75);
/// # Ok::<(), scant_tensor_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Weights {
    base: f32,
    /// Padded with zeros to whole sixteens.
    values: Vec<[f32; 16]>,
    digits: Vec<i8>,
    step: f64,
    /// What a sum of 0 stands for.
    bias: f64,
    /// The length of the rests.
    rest: f64,
    /// What f32 additions can lose.
    rounding: f64,
}

impl Weights {
    /// Finite weights, one for each column of the codes.
    ///
    /// # Errors
    /// [`Error::Shape`] unless the number of weights is a multiple of 4, not 0; [`Error::NotFinite`].
    pub fn new(base: f32, weights: &[f32]) -> Result<Weights, Error> {
        Error::check_shape("weights of codes", &[weights.len().div_ceil(4).max(1) * 4], &[weights.len()])?;
        if let Some(column) = weights.iter().position(|w| !w.is_finite()) {
            return Err(Error::NotFinite { what: "weights of codes".to_owned(), row: 0, column, value: weights[column] });
        }
        let mut values = vec![[0.0; 16]; weights.len().div_ceil(16)];
        values.as_flattened_mut()[..weights.len()].copy_from_slice(weights);
        let largest = weights.iter().fold(0.0f64, |m, w| m.max(f64::from(*w).abs()));
        let step = (largest / 63.0).max(1e-200);
        let digits: Vec<i8> = weights.iter().map(|w| (f64::from(*w) / step).round() as i8).collect();
        let rests = || weights.iter().zip(&digits).map(|(w, digit)| f64::from(*w) - step * f64::from(*digit));
        let size = f64::from(base).abs() + weights.iter().map(|w| 255.0 * f64::from(*w).abs()).sum::<f64>();
        Ok(Weights {
            base,
            bias: f64::from(base) + 128.0 * rests().sum::<f64>(),
            rest: rests().map(|r| r * r).sum::<f64>().sqrt(),
            rounding: size * weights.len() as f64 * f64::from(f32::EPSILON),
            values,
            digits,
            step,
        })
    }

    /// The query as [`dot`](super::dot()) takes it.
    pub fn digits(&self) -> &[i8] {
        &self.digits
    }

    /// What a row is worth at least, with the radius of its codes around 128.
    #[inline]
    pub fn bound(&self) -> Bound {
        Bound { bias: self.bias - self.rounding, step: self.step, rest: self.rest }
    }

    /// What a row is worth, in f32, with the operations of every tier in the same order.
    ///
    /// # Panics
    /// If the row is not there, or the codes are not [in quads](CodeBlocks::in_quads) or have other columns.
    pub fn score(&self, codes: &CodeBlocks, row: usize) -> f32 {
        assert!(codes.is_in_quads() && codes.columns() == self.digits.len() && row < codes.rows());
        let panel = &codes.block(row / 64)[row / 16 % 4 * (codes.columns() / 4)..][..codes.columns() / 4];
        Isa::best().run(Score { weights: self, panel, lane: row % 16 })
    }
}

struct Score<'a> {
    weights: &'a Weights,
    /// A line for every four columns.
    panel: &'a [[u8; 64]],
    lane: usize,
}

impl WithSimd for Score<'_> {
    type Out = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let mut sums = [s.splat(0.0); 2];
        for (i, (lines, weights)) in self.panel.chunks(4).zip(&self.weights.values).enumerate() {
            let mut codes = [0u8; 16];
            for (codes, line) in codes.as_chunks_mut::<4>().0.iter_mut().zip(lines) {
                *codes = line.as_chunks::<4>().0[self.lane];
            }
            sums[i % 2] = s.mul_add(s.load(weights), s.load_u8(&codes), sums[i % 2]);
        }
        self.weights.base + s.sum(s.add(sums[0], sums[1]))
    }
}
