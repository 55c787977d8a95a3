//! Locally adaptive quantization (Aguerrebere and others 2023): each vector between its own lowest and highest value.

use super::{Layout, Quantizer, Scaling, check_bits};
use crate::error::Error;
use ndarray::{ArrayView2, Axis};

/// Codes of 4 or 8 bits, whose step and lowest value belong to the vector. The mean of the data is for the index to take away first.
///
/// ```
/// use ndarray::array;
/// use scant_pq_index::quantizer::{Lvq, Quantizer};
/// let lvq = Lvq::new(2, 4)?;
/// let mut codes = [0; 2];
/// lvq.encode(array![[-1.0, 14.0]].view(), &mut codes);
/// assert_eq!(codes, [0, 15]);
/// assert_eq!(lvq.scale(&[-1.0, 14.0], &[0.0, 15.0]), (1.0, -1.0)); // x = 1 * code - 1
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lvq {
    dim: usize,
    bits: u32,
}

impl Lvq {
    /// For vectors of `dim` components.
    ///
    /// # Errors
    /// [`Error::BitsUnsupported`].
    pub fn new(dim: usize, bits: u32) -> Result<Lvq, Error> {
        check_bits(bits, &[4, 8])?;
        Ok(Lvq { dim, bits })
    }

    fn range(&self, x: impl Iterator<Item = f32>) -> (f32, f32) {
        let (low, high) = x.fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        ((high / 2.0 - low / 2.0) / ((1u32 << self.bits) - 1) as f32 * 2.0, low)
    }
}

impl Quantizer for Lvq {
    fn dim(&self) -> usize {
        self.dim
    }

    fn layout(&self) -> Layout {
        Layout { tables: self.dim, bits: self.bits, linear: self.bits == 8 }
    }

    fn scaling(&self) -> Scaling {
        Scaling::Affine
    }

    fn encode(&self, x: ArrayView2<'_, f32>, codes: &mut [u8]) {
        let top = ((1u32 << self.bits) - 1) as f32;
        for (row, codes) in x.axis_iter(Axis(0)).zip(codes.chunks_exact_mut(self.dim)) {
            let (step, low) = self.range(row.iter().copied());
            for (code, v) in codes.iter_mut().zip(row) {
                *code = if step > 0.0 { ((v - low) / step).round_ties_even().clamp(0.0, top) as u8 } else { 0 };
            }
        }
    }

    fn decode(&self, codes: &[u8], g: &mut [f32]) {
        g.iter_mut().zip(codes).for_each(|(g, code)| *g = f32::from(*code));
    }

    fn weights(&self, q: &[f32], weights: &mut [f32]) -> f32 {
        weights.copy_from_slice(q);
        0.0
    }

    fn products(&self, q: &[f32], tables: &mut [f32]) {
        for (q, table) in q.iter().zip(tables.chunks_exact_mut(1 << self.bits)) {
            table.iter_mut().zip(0u8..=255).for_each(|(t, code)| *t = q * f32::from(code));
        }
    }

    fn scale(&self, x: &[f32], _: &[f32]) -> (f32, f32) {
        self.range(x.iter().copied())
    }
}
