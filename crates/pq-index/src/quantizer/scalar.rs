//! Scalar quantization: each dimension between its lowest and its highest value, in equal steps.

use super::{Layout, Quantizer, check_bits, put_bits, straddling, take_bits};
use crate::error::Error;
use ndarray::{ArrayView2, Axis};
use scant_tensor_core::file::{Dtype, File, Writer};

/// Values outside this share of the training values are cut off with 6 bits or fewer, since they would widen every step.
const TAIL: f64 = 1e-3;

/// A grid of `2^bits` values for each dimension: 4, 6 or 8 bits. A constant dimension is exact.
///
/// ```
/// use ndarray::array;
/// use scant_pq_index::quantizer::{Quantizer, ScalarQuantizer};
/// let x = array![[0.0, 5.0], [255.0, 5.0], [100.0, 5.0]];
/// let sq = ScalarQuantizer::train(x.view(), 8)?;
/// let mut codes = [0; 6];
/// sq.encode(x.view(), &mut codes);
/// assert_eq!(codes, [0, 0, 255, 0, 100, 0]);
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ScalarQuantizer {
    bits: u32,
    low: Vec<f32>,
    step: Vec<f32>,
}

impl ScalarQuantizer {
    /// Finds the ranges in the rows of `x`.
    ///
    /// # Errors
    /// [`Error::BitsUnsupported`], [`Error::EmptyTraining`].
    pub fn train(x: ArrayView2<'_, f32>, bits: u32) -> Result<ScalarQuantizer, Error> {
        check_bits(bits, &[4, 6, 8])?;
        if x.is_empty() {
            return Err(Error::EmptyTraining);
        }
        let mut sq = ScalarQuantizer { bits, low: vec![], step: vec![] };
        let tail = if bits == 8 { 0 } else { (TAIL * x.nrows() as f64) as usize };
        for column in x.axis_iter(Axis(1)) {
            let mut values = column.to_vec();
            values.sort_unstable_by(f32::total_cmp);
            let (low, high) = (values[tail], values[values.len() - 1 - tail]);
            sq.low.push(low);
            // In halves: the span of two finite values may not be finite.
            sq.step.push((high / 2.0 - low / 2.0) / ((1u32 << bits) - 1) as f32 * 2.0);
        }
        Ok(sq)
    }

    /// Ranges that were found elsewhere: code `c` of dimension `i` stands for `low[i] + step[i] * c`.
    ///
    /// # Errors
    /// [`Error::BitsUnsupported`]; [`Error::LengthMismatch`], [`Error::NonFinite`].
    pub fn from_ranges(bits: u32, low: Vec<f32>, step: Vec<f32>) -> Result<ScalarQuantizer, Error> {
        check_bits(bits, &[4, 6, 8])?;
        Error::check_len("steps of the dimensions", low.len(), step.len())?;
        for values in [&low, &step] {
            Error::check_finite(ndarray::aview1(values).insert_axis(Axis(0)), 0)?;
        }
        Ok(ScalarQuantizer { bits, low, step })
    }

    pub(crate) fn bits(&self) -> u32 {
        self.bits
    }

    /// The lowest value of each dimension, and its step.
    pub fn ranges(&self) -> (&[f32], &[f32]) {
        (&self.low, &self.step)
    }

    fn value(&self, i: usize, code: u8) -> f32 {
        self.low[i] + self.step[i] * f32::from(code)
    }

    pub(super) fn save(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        for (name, values) in [("sq.low", &self.low), ("sq.step", &self.step)] {
            writer.add(name, Dtype::F32, [values.len()], bytemuck::cast_slice(values).to_vec())?;
        }
        Ok(())
    }

    pub(super) fn load(file: &File, dim: usize, bits: u32) -> Result<ScalarQuantizer, Error> {
        let [low, step] = ["sq.low", "sq.step"].map(|name| file.typed::<f32>(name, [dim]));
        ScalarQuantizer::from_ranges(bits, low?.to_vec(), step?.to_vec())
    }
}

impl Quantizer for ScalarQuantizer {
    fn dim(&self) -> usize {
        self.low.len()
    }

    fn layout(&self) -> Layout {
        match self.bits {
            6 => Layout { tables: (6 * self.dim()).div_ceil(8), bits: 8, linear: false },
            bits => Layout { tables: self.dim(), bits, linear: bits == 8 },
        }
    }

    fn encode(&self, x: ArrayView2<'_, f32>, codes: &mut [u8]) {
        let (tables, top) = (self.layout().tables, ((1u32 << self.bits) - 1) as f32);
        for (row, codes) in x.axis_iter(Axis(0)).zip(codes.chunks_exact_mut(tables)) {
            codes.fill(0);
            for (i, v) in row.iter().enumerate() {
                // A step of 0 gives NaN or infinity; the cast makes NaN code 0, which is exact there.
                let code = ((v - self.low[i]) / self.step[i]).round_ties_even().clamp(0.0, top);
                let code = if self.step[i] > 0.0 { code as u8 } else { 0 };
                if self.bits == 6 { put_bits(codes, 6 * i, 6, code) } else { codes[i] = code }
            }
        }
    }

    fn decode(&self, codes: &[u8], g: &mut [f32]) {
        for (i, g) in g.iter_mut().enumerate() {
            *g = self.value(i, if self.bits == 6 { take_bits(codes, 6 * i, 6) } else { codes[i] });
        }
    }

    fn products(&self, q: &[f32], tables: &mut [f32]) {
        if self.bits == 6 {
            straddling(tables, 6, self.dim(), |i| q[i] * self.step[i]);
            // What is there with every code 0 goes into the first table, whose entry is always one of the sum.
            let base: f32 = q.iter().zip(&self.low).map(|(q, low)| q * low).sum();
            tables[..256].iter_mut().for_each(|t| *t += base);
            return;
        }
        for ((i, q), table) in q.iter().enumerate().zip(tables.chunks_exact_mut(1 << self.bits)) {
            table.iter_mut().zip(0u8..=255).for_each(|(t, code)| *t = q * self.value(i, code));
        }
    }

    fn weights(&self, q: &[f32], weights: &mut [f32]) -> f32 {
        weights.iter_mut().zip(q).zip(&self.step).for_each(|((w, q), step)| *w = q * step);
        q.iter().zip(&self.low).map(|(q, low)| q * low).sum()
    }

    fn distances(&self, q: &[f32], tables: &mut [f32]) -> bool {
        if self.bits != 4 {
            return false;
        }
        for ((i, q), table) in q.iter().enumerate().zip(tables.chunks_exact_mut(1 << self.bits)) {
            table.iter_mut().zip(0u8..=255).for_each(|(t, code)| *t = (q - self.value(i, code)).powi(2));
        }
        true
    }
}
