//! One grid for all coordinates of a rotated vector: RaBitQ, TurboQuant and EDEN by configuration.

use super::{Layout, Quantizer, Scaling, check_bits, put_bits, straddling, take_bits};
use crate::error::Error;
use ndarray::{ArrayView2, Axis};

/// Scales that are tried for a vector on the uniform grid.
const SCALES: usize = 48;

/// The values of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Levels {
    /// Those with the least squared error for normal values (Max 1960), as TurboQuant (Zandieh and others 2025): 1, 2 or 4 bits.
    LloydMax,
    /// Equal steps, and for each vector the scale of the grid that turns its reconstruction least away from it, as extended RaBitQ (Gao and others
    /// 2024): 1 to 8 bits. That one visits every scale at which a code changes; here 48 in the same range are tried.
    Uniform,
}

/// Codes of a direction: coordinates of a unit vector times the root of the dimension, each on the same grid, without any training.
///
/// It wants coordinates that look alike and normal, which a random rotation brings; and a factor, which the index keeps beside the codes.
///
/// ```
/// use ndarray::array;
/// use scant_pq_index::quantizer::{Levels, Quantizer, RotatedGrid};
/// let grid = RotatedGrid::new(4, 1, Levels::LloydMax)?;
/// let mut codes = [0];
/// grid.encode(array![[3.0, -1.0, 2.0, 4.0]].view(), &mut codes);
/// assert_eq!(codes, [0b1101]); // four signs in one code of 4 bits
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RotatedGrid {
    dim: usize,
    bits: u32,
    levels: Levels,
    values: Vec<f32>,
}

impl RotatedGrid {
    /// For vectors of `dim` components.
    ///
    /// # Errors
    /// [`Error::BitsUnsupported`].
    pub fn new(dim: usize, bits: u32, levels: Levels) -> Result<RotatedGrid, Error> {
        let values = match levels {
            Levels::LloydMax => {
                check_bits(bits, &[1, 2, 4])?;
                let half: &[f32] = match bits {
                    1 => &[0.797_884_6],
                    2 => &[0.452_78, 1.510_42],
                    _ => &[0.128_39, 0.388_05, 0.656_76, 0.942_34, 1.256_2, 1.618_04, 2.069_02, 2.732_6],
                };
                half.iter().rev().map(|v| -v).chain(half.iter().copied()).collect()
            }
            Levels::Uniform => {
                check_bits(bits, &[1, 2, 3, 4, 5, 6, 7, 8])?;
                (0..1u32 << bits).map(|code| code as f32 - ((1u32 << bits) - 1) as f32 / 2.0).collect()
            }
        };
        Ok(RotatedGrid { dim, bits, levels, values })
    }

    /// Dimensions that share a code, where codes of 4 bits hold several.
    fn per_code(&self) -> usize {
        4 / self.bits as usize
    }

    fn straddles(&self) -> bool {
        !matches!(self.bits, 1 | 2 | 4 | 8)
    }

    fn code_at(&self, codes: &[u8], i: usize) -> u8 {
        let bits = self.bits as usize;
        match self.bits {
            8 => codes[i],
            1 | 2 | 4 => codes[i / self.per_code()] >> (bits * (i % self.per_code())) & ((1 << bits) - 1),
            _ => take_bits(codes, bits * i, bits),
        }
    }

    /// Writes the grid's code of dimension `i` into codes that are 0 there.
    pub(crate) fn put(&self, codes: &mut [u8], i: usize, code: u8) {
        let bits = self.bits as usize;
        match self.bits {
            8 => codes[i] = code,
            1 | 2 | 4 => codes[i / self.per_code()] |= code << (bits * (i % self.per_code())),
            _ => put_bits(codes, bits * i, bits, code),
        }
    }

    fn nearest(&self, v: f32) -> u8 {
        // The number of midpoints below.
        self.values.windows(2).take_while(|pair| v > (pair[0] + pair[1]) / 2.0).count() as u8
    }

    fn best_scale(&self, x: &[f32]) -> f32 {
        let half = (self.values.len() / 2) as f32;
        let largest = x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        if half == 1.0 || largest == 0.0 {
            return 1.0;
        }
        // From the whole vector within the grid, to two thirds of the largest coordinate cut off.
        let (first, last) = (0.5 * half / largest, 3.0 * half / largest);
        let mut best = (f32::NEG_INFINITY, first);
        for i in 0..SCALES {
            let scale = first * (last / first).powf(i as f32 / (SCALES - 1) as f32);
            let (mut cross, mut norm) = (0.0f32, 0.0f32);
            for v in x {
                let level = (v.abs() * scale).floor().min(half - 1.0) + 0.5;
                cross += level * v.abs();
                norm += level * level;
            }
            let cosine = cross / norm.sqrt();
            if cosine > best.0 {
                best = (cosine, scale);
            }
        }
        best.1
    }
}

impl Quantizer for RotatedGrid {
    fn dim(&self) -> usize {
        self.dim
    }

    fn layout(&self) -> Layout {
        let (dim, bits) = (self.dim, self.bits as usize);
        match self.bits {
            8 => Layout { tables: dim, bits: 8, linear: true },
            1 | 2 | 4 => Layout { tables: dim.div_ceil(self.per_code()), bits: 4, linear: false },
            _ => Layout { tables: (dim * bits).div_ceil(8), bits: 8, linear: false },
        }
    }

    fn scaling(&self) -> Scaling {
        Scaling::Factor
    }

    fn encode(&self, x: ArrayView2<'_, f32>, codes: &mut [u8]) {
        let tables = self.layout().tables;
        let half = (self.values.len() / 2) as f32;
        let mut unit = vec![0.0f32; self.dim];
        for (row, codes) in x.axis_iter(Axis(0)).zip(codes.chunks_exact_mut(tables)) {
            let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            let to_unit = if norm > 0.0 { (self.dim as f64).sqrt() / norm } else { 0.0 };
            unit.iter_mut().zip(row).for_each(|(u, v)| *u = (f64::from(*v) * to_unit) as f32);
            let scale = if self.levels == Levels::Uniform { self.best_scale(&unit) } else { 1.0 };
            codes.fill(0);
            for (i, v) in unit.iter().enumerate() {
                let code = match self.levels {
                    Levels::LloydMax => self.nearest(*v),
                    Levels::Uniform => ((v * scale).floor().clamp(-half, half - 1.0) + half) as u8,
                };
                self.put(codes, i, code);
            }
        }
    }

    fn decode(&self, codes: &[u8], g: &mut [f32]) {
        for (i, g) in g.iter_mut().enumerate() {
            *g = self.values[usize::from(self.code_at(codes, i))];
        }
    }

    fn weights(&self, q: &[f32], weights: &mut [f32]) -> f32 {
        // Of 8 bits there are equal steps of 1 alone.
        weights.copy_from_slice(q);
        q.iter().sum::<f32>() * self.values[0]
    }

    fn products(&self, q: &[f32], tables: &mut [f32]) {
        if self.straddles() {
            straddling(tables, self.bits as usize, self.dim, |i| q[i]);
            let base: f32 = q.iter().map(|q| q * self.values[0]).sum();
            tables[..256].iter_mut().for_each(|t| *t += base);
            return;
        }
        let bits = self.bits as usize;
        let (entries, per) = if bits == 8 { (256, 1) } else { (16, self.per_code()) };
        let mask = (1usize << bits) - 1;
        for (q, table) in q.chunks(per).zip(tables.chunks_exact_mut(entries)) {
            for (code, t) in table.iter_mut().enumerate() {
                *t = q.iter().enumerate().map(|(i, q)| q * self.values[code >> (bits * i) & mask]).sum();
            }
        }
    }
}
