//! Groups become scales and offsets, weights become codes: 64 rows at a time, a row per lane.
//!
//! Scales and offsets are rounded to their stored type first, and codes are computed with the rounded ones: the decoder has no others.

use super::{GridParams, Search, Zero};
use half::f16;
use half::slice::HalfFloatSliceExt;
use ndarray::Array2;
use scant_tensor_core::Error;
use scant_tensor_core::format::{Grid, GridSpec, RowOffset, RowStat};
use scant_tensor_core::isa::Isa;
use scant_tensor_core::obs::{Column, Decide, LANES};
use scant_tensor_core::simd::{Simd, WithSimd};
use std::ops::Range;

/// Ranges tried by [`Search::Shrink`].
const SHRINKS: usize = 80;

/// A value is `scale * (q - zero) + min`, in f32 and in this order, as the format decodes it.
#[derive(Clone)]
struct Levels {
    scale: Column,
    zero: Column,
    min: Column,
}

/// Encodes the rows of one chunk, column by column.
pub(crate) struct Encoder {
    isa: Isa,
    params: GridParams,
    rows: usize,
    now: Levels,
    groups: Vec<Levels>,
    codes: Vec<[u8; LANES]>,
}

impl Encoder {
    pub(crate) fn new(params: GridParams, spec: GridSpec, rows: Range<usize>) -> Encoder {
        let now = Levels { scale: [1.0; LANES], zero: [0.0; LANES], min: [0.0; LANES] };
        let (groups, codes) = (Vec::with_capacity(spec.groups()), Vec::with_capacity(spec.n));
        Encoder { isa: Isa::best(), params, rows: rows.len(), now, groups, codes }
    }

    /// The largest code.
    fn top(&self) -> f32 {
        ((1u32 << self.params.bits) - 1) as f32
    }
}

impl Decide for Encoder {
    fn begin(&mut self, _: Range<usize>, w: &[Column]) {
        let range = self.isa.run(FindRange(w));
        self.now = levels(self.params, &range, 1.0);
        if self.params.search == Search::Shrink {
            let mut best = self.isa.run(Loss { w, levels: &self.now, top: self.top() });
            for i in 1..SHRINKS {
                let tried = levels(self.params, &range, 1.0 - i as f32 / 100.0);
                let loss = self.isa.run(Loss { w, levels: &tried, top: self.top() });
                for l in 0..LANES {
                    if loss[l] < best[l] {
                        best[l] = loss[l];
                        (self.now.scale[l], self.now.zero[l], self.now.min[l]) = (tried.scale[l], tried.zero[l], tried.min[l]);
                    }
                }
            }
        }
        self.groups.push(self.now.clone());
    }

    fn decide(&mut self, _: usize, w: &Column, chosen: &mut Column) {
        let mut codes = [0; LANES];
        self.isa.run(Round { w, levels: &self.now, top: self.top(), codes: &mut codes, chosen });
        self.codes.push(codes);
    }
}

/// Least and largest weight of each lane, and the one of largest magnitude with its sign (the first of several).
struct WeightRange {
    min: Column,
    max: Column,
    largest: Column,
}

struct FindRange<'a>(&'a [Column]);

impl WithSimd for FindRange<'_> {
    type Out = WeightRange;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> WeightRange {
        let first = self.0[0];
        let mut range = WeightRange { min: first, max: first, largest: first };
        for w in &self.0[1..] {
            for (l, &w) in w.iter().enumerate() {
                range.min[l] = if w < range.min[l] { w } else { range.min[l] };
                range.max[l] = if w > range.max[l] { w } else { range.max[l] };
                range.largest[l] = if w.abs() > range.largest[l].abs() { w } else { range.largest[l] };
            }
        }
        range
    }
}

/// Scales and offsets for the range shrunk to the share `p`. A scale is never 0: a group that is all zero gets 1, and one that f16 would
/// round to 0 gets the least number above.
fn levels(params: GridParams, range: &WeightRange, p: f32) -> Levels {
    let top = ((1u32 << params.bits) - 1) as f32;
    let (mut scale, mut zero, mut min) = ([1.0; LANES], [0.0; LANES], [0.0; LANES]);
    match params.zero {
        Zero::Int => {
            for (scale, (&lo, &hi)) in scale.iter_mut().zip(range.min.iter().zip(&range.max)) {
                // One step for a group of equal weights: it is then as exact as f16 is.
                *scale = if lo == hi { lo.abs() } else { p * (hi.max(0.0) - lo.min(0.0)) / top };
            }
            round_scales(&mut scale);
            for l in 0..LANES {
                let (lo, hi) = (range.min[l], range.max[l]);
                let steps = if lo == hi { f32::from(lo < 0.0) } else { p * -lo.min(0.0) / scale[l] };
                zero[l] = steps.round_ties_even().clamp(0.0, top);
            }
        }
        Zero::Min => {
            min = range.min.map(|lo| p * lo);
            round_f16(&mut min);
            for l in 0..LANES {
                scale[l] = if range.min[l] == range.max[l] { 0.0 } else { ((p * range.max[l] - min[l]) / top).max(0.0) };
            }
            round_scales(&mut scale);
        }
        Zero::Symmetric => {
            let centre = (1u32 << (params.bits - 1)) as f32;
            scale = range.largest.map(|w| p * w / -centre);
            zero = [centre; LANES];
            round_scales(&mut scale);
        }
    }
    Levels { scale, zero, min }
}

fn round_f16(x: &mut Column) {
    let mut halves = [f16::ZERO; LANES];
    halves.convert_from_f32_slice(x);
    halves.convert_to_f32_slice(x);
}

fn round_scales(scale: &mut Column) {
    let before = *scale;
    round_f16(scale);
    for l in 0..LANES {
        if scale[l] == 0.0 {
            scale[l] = if before[l] == 0.0 { 1.0 } else { f16::from_bits(1).to_f32().copysign(before[l]) };
        }
    }
}

/// The nearest code, ties to even, and its value. Held between the ends before it is rounded: the ends are whole, so the order does not matter.
#[inline(always)]
fn round(w: f32, scale: f32, zero: f32, min: f32, top: f32) -> (u8, f32) {
    // 2^23 + q has q as its last bits, and the addition rounds to even.
    const WHOLE: f32 = 8_388_608.0;
    let x = (w - min) / scale + zero;
    let x = if x > 0.0 { x } else { 0.0 };
    let x = if x < top { x } else { top };
    let whole = x + WHOLE;
    #[expect(clippy::cast_possible_truncation, reason = "the last byte is the code")]
    let code = whole.to_bits() as u8;
    (code, scale * (whole - WHOLE - zero) + min)
}

struct Round<'a> {
    w: &'a Column,
    levels: &'a Levels,
    top: f32,
    codes: &'a mut [u8; LANES],
    chosen: &'a mut Column,
}

impl WithSimd for Round<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Levels { scale, zero, min } = self.levels;
        for l in 0..LANES {
            (self.codes[l], self.chosen[l]) = round(self.w[l], scale[l], zero[l], min[l], self.top);
        }
    }
}

/// The sum of `|error|^2.5` of a group, per lane.
struct Loss<'a> {
    w: &'a [Column],
    levels: &'a Levels,
    top: f32,
}

impl WithSimd for Loss<'_> {
    type Out = Column;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Column {
        let Levels { scale, zero, min } = self.levels;
        let mut loss = [0.0; LANES];
        for w in self.w {
            for l in 0..LANES {
                let (_, value) = round(w[l], scale[l], zero[l], min[l], self.top);
                let error = (value - w[l]).abs();
                loss[l] += error * error * error.sqrt();
            }
        }
        loss
    }
}

/// Joins the chunks of a matrix into a grid.
pub(crate) fn assemble(spec: GridSpec, params: GridParams, chunks: &[Encoder]) -> Result<Grid, Error> {
    let mut codes = Array2::zeros((spec.m, spec.n));
    let mut scale = Array2::from_elem((spec.m, spec.groups()), f16::ONE);
    let mut zero = Array2::zeros((spec.m, spec.groups()));
    let mut min = Array2::from_elem((spec.m, spec.groups()), f16::ZERO);
    for (i, chunk) in chunks.iter().enumerate() {
        for lane in 0..chunk.rows {
            let row = i * LANES + lane;
            codes.row_mut(row).iter_mut().zip(&chunk.codes).for_each(|(code, column)| *code = column[lane]);
            for (g, levels) in chunk.groups.iter().enumerate() {
                scale[[row, g]] = f16::from_f32(levels.scale[lane]);
                min[[row, g]] = f16::from_f32(levels.min[lane]);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number up to 255")]
                let whole = levels.zero[lane] as u8;
                zero[[row, g]] = whole;
            }
        }
    }
    let offset = match params.zero {
        Zero::Int => RowOffset::Zero(RowStat::Codes { bits: spec.bits, codes: zero }),
        Zero::Min => RowOffset::Min(RowStat::F16(min)),
        Zero::Symmetric => RowOffset::Symmetric,
    };
    Grid::pack(spec, codes.view(), &RowStat::F16(scale), &offset)
}
