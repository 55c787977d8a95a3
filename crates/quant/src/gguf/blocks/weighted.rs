//! Encoders of the types with blocks of 32 that know how much each column matters.
//!
//! As llama.cpp, an element weighs `v sqrt(mean(x^2) + x^2)`, the mean over its row. Unlike there, codes are computed with
//! the stored scale, and a minimum may be above zero.

use super::legacy;
use super::search::{self, Codes, Elements, Minimum};
use half::f16;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::simd::{Simd, WithSimd};

/// Squares of what is larger could overflow; no type here holds it.
const LARGEST: f32 = 1e9;

/// Importance of the columns of a block, and what the row adds to each square.
pub(super) struct Columns<'a> {
    pub(super) importance: &'a [f32; 32],
    pub(super) mean_square: f32,
}

impl Columns<'_> {
    fn weights(&self, x: &[f32; 32]) -> [f32; 32] {
        let mut w = *self.importance;
        for (w, x) in w.iter_mut().zip(x) {
            *w *= (self.mean_square + x * x).sqrt();
        }
        let largest = w.iter().fold(0f32, |max, w| max.max(*w));
        if !(f32::MIN_POSITIVE..=f32::MAX).contains(&largest) {
            return [1.0; 32];
        }
        w.map(|w| (w / largest).max(1e-7))
    }
}

pub(super) fn encode_q4_0(x: &[f32; 32], columns: &Columns<'_>, block: &mut [u8; 18]) -> bool {
    let Some((d, codes)) = symmetric(x, columns, 8) else { return false };
    legacy::pack_nibbles(&codes, &mut block[2..]);
    block[..2].copy_from_slice(&d.to_le_bytes());
    true
}

pub(super) fn encode_q4_1(x: &[f32; 32], columns: &Columns<'_>, block: &mut [u8; 20]) -> bool {
    let Some((d, m, codes)) = affine(x, columns, 15) else { return false };
    legacy::pack_nibbles(&codes, &mut block[4..]);
    block[..2].copy_from_slice(&d.to_le_bytes());
    block[2..4].copy_from_slice(&m.to_le_bytes());
    true
}

pub(super) fn encode_q5_0(x: &[f32; 32], columns: &Columns<'_>, block: &mut [u8; 22]) -> bool {
    let Some((d, codes)) = symmetric(x, columns, 16) else { return false };
    block[2..6].copy_from_slice(&legacy::fifth_bits(&codes));
    legacy::pack_nibbles(&codes, &mut block[6..]);
    block[..2].copy_from_slice(&d.to_le_bytes());
    true
}

pub(super) fn encode_q5_1(x: &[f32; 32], columns: &Columns<'_>, block: &mut [u8; 24]) -> bool {
    let Some((d, m, codes)) = affine(x, columns, 31) else { return false };
    block[4..8].copy_from_slice(&legacy::fifth_bits(&codes));
    legacy::pack_nibbles(&codes, &mut block[8..]);
    block[..2].copy_from_slice(&d.to_le_bytes());
    block[2..4].copy_from_slice(&m.to_le_bytes());
    true
}

fn small_enough(x: &[f32; 32]) -> bool {
    x.iter().all(|x| x.abs() <= LARGEST)
}

/// Scale and unsigned codes; `None` beyond f16.
fn symmetric(x: &[f32; 32], columns: &Columns<'_>, half: u8) -> Option<(f16, [u8; 32])> {
    if !small_enough(x) {
        return None;
    }
    let codes = Codes::around(half);
    let d = f16::from_f32(Isa::best().run(Symmetric { x, w: &columns.weights(x), codes }));
    let inverse = search::inverse(d.to_f32());
    d.is_finite().then(|| (d, x.map(|x| (codes.nearest(x * inverse) - codes.low) as u8)))
}

/// Scale, minimum and codes; `None` beyond f16.
fn affine(x: &[f32; 32], columns: &Columns<'_>, max_code: u8) -> Option<(f16, f16, [u8; 32])> {
    if !small_enough(x) {
        return None;
    }
    let codes = Codes::up_to(max_code);
    let (scale, min) = Isa::best().run(Affine { x, w: &columns.weights(x), codes });
    let (d, m) = (f16::from_f32(scale), f16::from_f32(min));
    let (inverse, min) = (search::inverse(d.to_f32()), m.to_f32());
    (d.is_finite() && m.is_finite()).then(|| (d, m, x.map(|x| codes.nearest((x - min) * inverse) as u8)))
}

struct Symmetric<'a> {
    x: &'a [f32; 32],
    w: &'a [f32; 32],
    codes: Codes,
}

impl WithSimd for Symmetric<'_> {
    type Out = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        search::symmetric(&Elements::new(s, self.x, self.w), self.codes)
    }
}

struct Affine<'a> {
    x: &'a [f32; 32],
    w: &'a [f32; 32],
    codes: Codes,
}

impl WithSimd for Affine<'_> {
    type Out = (f32, f32);
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> (f32, f32) {
        search::affine(&Elements::new(s, self.x, self.w), self.codes, Minimum::Any, [-0.9, 0.9], 18)
    }
}
