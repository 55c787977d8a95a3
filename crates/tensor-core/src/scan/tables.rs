//! From f32 look-up tables to tables of bytes whose sums bound the f32 sums from below.

use super::lut4::Pair;
use super::{Bound, CodeBlocks};
use crate::Error;

/// Bits of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Two codes in a byte, the low nibble first.
    Four,
    /// One code in a byte.
    Eight,
}

impl Width {
    /// Entries of a table.
    pub fn entries(self) -> usize {
        match self {
            Width::Four => 16,
            Width::Eight => 256,
        }
    }

    /// Bytes of the tables of a column.
    fn bytes(self) -> usize {
        match self {
            Width::Four => 32,
            Width::Eight => 256,
        }
    }
}

/// The look-up tables of one query: `[m][K]`, `K` as the [`Width`] of the codes says.
#[derive(Clone, Debug)]
pub struct Lut {
    width: Width,
    values: Vec<f32>,
}

impl Lut {
    /// Tables of finite values; 4-bit codes of an odd `m` leave the last high nibble unused.
    ///
    /// # Errors
    /// [`Error::Shape`] unless `values` is whole tables, at least one; [`Error::NotFinite`] for NaN and infinity.
    pub fn new(width: Width, values: Vec<f32>) -> Result<Lut, Error> {
        let k = width.entries();
        Error::check_shape("values of look-up tables", &[values.len().div_ceil(k).max(1) * k], &[values.len()])?;
        match values.iter().position(|v| !v.is_finite()) {
            Some(at) => Err(Error::NotFinite { what: "look-up tables".to_owned(), row: at / k, column: at % k, value: values[at] }),
            None => Ok(Lut { width, values }),
        }
    }

    /// The width of the codes.
    pub fn width(&self) -> Width {
        self.width
    }

    /// Sub-quantizers.
    pub fn m(&self) -> usize {
        self.values.len() / self.width.entries()
    }

    /// The bytes of a vector's codes.
    pub fn columns(&self) -> usize {
        match self.width {
            Width::Four => self.m().div_ceil(2),
            Width::Eight => self.m(),
        }
    }

    /// The f32 sum of a row's look-ups: plain additions in the order of the sub-quantizers, from 0.
    #[inline]
    pub fn rescore(&self, block: &[[u8; 64]], lane: usize) -> f32 {
        let mut sum = 0.0;
        match self.width {
            Width::Eight => {
                for (table, line) in self.values.as_chunks::<256>().0.iter().zip(block) {
                    sum += table[usize::from(line[lane])];
                }
            }
            Width::Four => {
                for (j, table) in self.values.as_chunks::<16>().0.iter().enumerate() {
                    sum += table[usize::from(block[j / 2][lane] >> (4 * (j % 2)) & 15)];
                }
            }
        }
        sum
    }

    /// As [`rescore`](Self::rescore), of all 64 rows of a block.
    pub fn sums(&self, block: &[[u8; 64]]) -> [f32; 64] {
        let mut sums = [0.0; 64];
        match self.width {
            Width::Eight => {
                for (table, line) in self.values.as_chunks::<256>().0.iter().zip(block) {
                    sums.iter_mut().zip(line).for_each(|(sum, code)| *sum += table[usize::from(*code)]);
                }
            }
            Width::Four => {
                for (j, table) in self.values.as_chunks::<16>().0.iter().enumerate() {
                    let shift = 4 * (j % 2);
                    sums.iter_mut().zip(&block[j / 2]).for_each(|(sum, code)| *sum += table[usize::from(code >> shift & 15)]);
                }
            }
        }
        sums
    }

    /// As [`rescore`](Self::rescore), of a row of blocks.
    ///
    /// # Panics
    /// If the row is not there, or the columns differ.
    pub fn score(&self, codes: &CodeBlocks, row: usize) -> f32 {
        assert!(codes.columns() == self.columns() && row < codes.rows());
        self.rescore(codes.block(row / 64), row % 64)
    }

    fn tables(&self) -> impl Iterator<Item = (f64, f64)> {
        self.values
            .chunks(self.width.entries())
            .map(|t| t.iter().map(|v| f64::from(*v)).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v))))
    }
}

/// Tables of bytes: `step * (sum of look-ups) + bias` is at most the f32 sum of the same row, rounding included.
#[derive(Clone, Debug)]
pub struct Tables {
    width: Width,
    bytes: Vec<u8>,
    step: f64,
    bias: f64,
}

impl Tables {
    /// With a step so fine that rows of at most `tau` have sums below 255.
    ///
    /// An infinite `tau` gives [`spanning`](Self::spanning).
    pub fn up_to(lut: &Lut, tau: f64) -> Tables {
        let bias = bias(lut);
        if tau == f64::INFINITY { Tables::spanning(lut) } else { Tables::with_step(lut, (tau - bias) / 253.0, bias) }
    }

    /// With the finest step that clips no value, and no sum of 16 bits.
    pub fn spanning(lut: &Lut) -> Tables {
        let (most, all) =
            lut.tables().map(|(least, most)| most - least).fold((0.0, 0.0), |(most, all), span| (f64::max(most, span), all + span));
        Tables::with_step(lut, f64::max(most / 255.0, all / 65535.0), bias(lut))
    }

    fn with_step(lut: &Lut, step: f64, bias: f64) -> Tables {
        // A step of 0 would divide 0 by 0; one this small separates the least f32 from 0.
        let step = step.max(1e-200);
        let k = lut.width.entries();
        let mut bytes = vec![0; lut.columns() * lut.width.bytes()];
        for ((bytes, values), (least, _)) in bytes.chunks_mut(k).zip(lut.values.chunks(k)).zip(lut.tables()) {
            for (byte, value) in bytes.iter_mut().zip(values) {
                // Truncated and clipped: both only lower the bound. The cast clips.
                *byte = ((f64::from(*value) - least) / step) as u8;
            }
        }
        Tables { width: lut.width, bytes, step, bias }
    }

    /// The largest sum that a row of f32 sum `tau` or less can have. One more than the quotient, for the rounding of f64.
    #[inline]
    pub fn threshold(&self, tau: f64) -> u32 {
        // The cast cuts off.
        (((tau - self.bias) / self.step) as u32).saturating_add(1)
    }

    /// What a row is worth at least.
    pub fn bound(&self) -> Bound {
        Bound { bias: self.bias, step: self.step, rest: 0.0 }
    }

    /// Tables of 256 entries. Empty for 4-bit codes.
    pub fn eight(&self) -> &[[u8; 256]] {
        if self.width == Width::Eight { self.bytes.as_chunks().0 } else { &[] }
    }

    /// Pairs of tables of 16 entries. Empty for 8-bit codes.
    pub fn four(&self) -> &[Pair] {
        if self.width == Width::Four { self.bytes.as_chunks::<16>().0.as_chunks().0 } else { &[] }
    }
}

/// The sum of the least entries, less what f32 additions and those of f64 can lose.
fn bias(lut: &Lut) -> f64 {
    let (sum, size) = lut.tables().fold((0.0, 0.0), |(sum, size), (a, b)| (sum + a, size + a.abs().max(b.abs())));
    // Each of m additions errs by half a unit of a partial sum, which stays below `size`; twice that covers all else.
    sum - size * lut.m() as f64 * f64::from(f32::EPSILON)
}
