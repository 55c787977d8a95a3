//! Codes: how a vector becomes a few small numbers, and what they are worth to a query.
//!
//! Every quantizer here is a sum of table entries: a vector's codes select one entry of each table, and the selected parts add up to its
//! reconstruction `g`. So the product of a query with `g` is a sum of look-ups, whatever the quantizer; one scan serves all of them.

mod anisotropic;
mod kind;
mod lvq;
mod pq;
mod residual;
mod rotated;
mod scalar;

use crate::error::Error;
use ndarray::ArrayView2;
use scant_tensor_core::scan::Width;

pub use anisotropic::Anisotropic;
pub use kind::{Coder, QuantizerKind};
pub use lvq::Lvq;
pub use pq::ProductQuantizer;
pub use residual::ResidualQuantizer;
pub use rotated::{Levels, RotatedGrid};
pub use scalar::ScalarQuantizer;

/// The tables of a quantizer: how many, and how wide a code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Tables, and codes of a vector.
    pub tables: usize,
    /// Bits of a code: 4 or 8.
    pub bits: u32,
    /// Codes are worth a multiple of themselves, as [`Quantizer::weights`] says: they are summed by products, without tables.
    pub linear: bool,
}

impl Layout {
    /// Entries of a table.
    pub fn entries(&self) -> usize {
        1 << self.bits
    }

    /// Bytes that the codes of a vector take.
    pub fn bytes(&self) -> usize {
        (self.tables * self.bits as usize).div_ceil(8)
    }

    /// The same where they are scanned: products take four at a time.
    pub fn columns(&self) -> usize {
        if self.linear { self.bytes().next_multiple_of(4) } else { self.bytes() }
    }

    /// Bytes of what a query brings to a scan: tables of bytes, or digits.
    pub(crate) fn query_bytes(&self) -> usize {
        self.columns()
            * if self.linear {
                1
            } else if self.bits == 8 {
                256
            } else {
                32
            }
    }

    /// As scans call it.
    pub(crate) fn width(&self) -> Width {
        if self.bits == 8 { Width::Eight } else { Width::Four }
    }

    /// Codes, a byte each, as the bytes that are stored: two codes of 4 bits share one, the first in the low half.
    pub(crate) fn pack(&self, codes: &[u8], bytes: &mut [u8]) {
        match self.width() {
            Width::Eight => bytes[..codes.len()].copy_from_slice(codes),
            Width::Four => {
                bytes.iter_mut().zip(codes.chunks(2)).for_each(|(byte, pair)| *byte = pair[0] | pair.get(1).map_or(0, |high| high << 4));
            }
        }
    }

    /// Undoes [`pack`](Layout::pack).
    pub(crate) fn unpack(&self, bytes: &[u8], codes: &mut [u8]) {
        match self.width() {
            Width::Eight => codes.copy_from_slice(&bytes[..codes.len()]),
            Width::Four => codes.iter_mut().enumerate().for_each(|(j, code)| *code = bytes[j / 2] >> (4 * (j % 2)) & 15),
        }
    }
}

/// What a vector needs besides its codes so that `x` is about `factor * g + shift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// Nothing: codes stand for the vector as it is.
    None,
    /// The factor `|x|^2 / <x, g>`, which makes the estimate exact along `x`.
    Factor,
    /// The vector's own step and lowest value.
    Affine,
}

/// Makes and reads codes. An untrained quantizer does not exist as a value.
pub trait Quantizer: Send + Sync {
    /// Components of a vector.
    fn dim(&self) -> usize;

    /// The tables.
    fn layout(&self) -> Layout;

    /// What it needs besides codes.
    fn scaling(&self) -> Scaling {
        Scaling::None
    }

    /// The codes of each row of `x` `[n, dim]`, `[n, tables]`, a byte each.
    fn encode(&self, x: ArrayView2<'_, f32>, codes: &mut [u8]);

    /// The reconstruction `g` of one vector.
    fn decode(&self, codes: &[u8], g: &mut [f32]);

    /// Fills `tables` `[tables, entries]` so that the selected entries add up to `<q, g>`.
    fn products(&self, q: &[f32], tables: &mut [f32]);

    /// For a [linear](Layout::linear) layout fills `weights` `[tables]` and gives `base` so that `<q, g>` is `base` plus the sum of weights times codes.
    fn weights(&self, q: &[f32], weights: &mut [f32]) -> f32 {
        let _ = (q, weights);
        0.0
    }

    /// Fills `tables` so that the selected entries add up to `|q - g|^2`, if the parts of `g` do not overlap; else returns false.
    fn distances(&self, q: &[f32], tables: &mut [f32]) -> bool {
        let _ = (q, tables);
        false
    }

    /// `(factor, shift)` of a vector whose codes decode to `g`.
    fn scale(&self, x: &[f32], g: &[f32]) -> (f32, f32) {
        (unbiased(x, g), 0.0)
    }
}

/// `|x|^2 / <x, g>`: with it, products are right for the part of a query that lies along `x`. 1 where there is no such number.
pub(crate) fn unbiased(x: &[f32], g: &[f32]) -> f32 {
    let (mut own, mut cross) = (0.0f64, 0.0f64);
    for (x, g) in x.iter().zip(g) {
        own += f64::from(*x) * f64::from(*x);
        cross += f64::from(*x) * f64::from(*g);
    }
    let factor = (own / cross) as f32;
    // Codes that point away from the vector, and the zero vector, are not to be scaled.
    if cross > 0.0 && factor.is_finite() && factor > 0.0 { factor } else { 1.0 }
}

/// Bits `at .. at + bits` of a string of bits, low ones first, over two bytes at most.
fn take_bits(codes: &[u8], at: usize, bits: usize) -> u8 {
    let (byte, shift) = (at / 8, at % 8);
    let low = u16::from(codes[byte]);
    let high = codes.get(byte + 1).map_or(0, |b| u16::from(*b) << 8);
    ((low | high) >> shift) as u8 & ((1u16 << bits) - 1) as u8
}

/// Sets bits that are zero so far.
pub(crate) fn put_bits(codes: &mut [u8], at: usize, bits: usize, code: u8) {
    let (byte, shift) = (at / 8, at % 8);
    let wide = u16::from(code) << shift;
    codes[byte] |= wide as u8;
    if shift + bits > 8 {
        codes[byte + 1] |= (wide >> 8) as u8;
    }
}

/// Fills tables of bytes that codes of `bits` straddle: each bit that is set adds `weight(dimension) * 2^place`.
fn straddling(tables: &mut [f32], bits: usize, dim: usize, weight: impl Fn(usize) -> f32) {
    for (column, table) in tables.chunks_exact_mut(256).enumerate() {
        let mut bit_worth = [0.0f32; 8];
        for (bit, worth) in bit_worth.iter_mut().enumerate() {
            let at = 8 * column + bit;
            if at / bits < dim {
                *worth = weight(at / bits) * (1u32 << (at % bits)) as f32;
            }
        }
        table[0] = 0.0;
        for (bit, worth) in bit_worth.iter().enumerate() {
            let (known, fresh) = table[..2 << bit].split_at_mut(1 << bit);
            fresh.iter_mut().zip(known).for_each(|(new, old)| *new = *old + worth);
        }
    }
}

pub(crate) fn check_bits(bits: u32, allowed: &'static [u32]) -> Result<(), Error> {
    if allowed.contains(&bits) { Ok(()) } else { Err(Error::BitsUnsupported { bits, allowed }) }
}
