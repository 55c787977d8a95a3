//! A matrix in few bits: codes in the panels of the weight formats, scales, and products that never unpack to memory.
//!
//! Keys of a head are a matrix of tokens (lanes) by channels (depth), values one of channels by tokens: either way attention multiplies the
//! matrix with a vector over the depth, and a lane of the vector unit is a row.
//!
//! Products are of integers. The vector becomes two 8-bit digits, `x = a (128 h + l)` with a relative error of `2^-15` of its largest component;
//! `h` and `l` are multiplied with the codes exactly, and only then scaled.

use half::f16;
use half::slice::HalfFloatSliceExt;
use ndarray::ArrayView2;
use scant_tensor_core::format::codes::{block_bytes, put, values};
use scant_tensor_core::format::{BLOCK, PANEL};
use scant_tensor_core::simd::{Simd, WithSimd};
use std::ops::Range;

/// The deepest matrix: products keep their vectors on the stack.
pub(crate) const DEEPEST: usize = 512;

/// How a group of numbers becomes codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rounding {
    /// Evenly from the least to the greatest: a scale and a middle.
    MinMax,
    /// Evenly around 0: a scale.
    Symmetric,
    /// To the levels that suit a normal distribution best (Max 1960), at the length of the group: a scale.
    Normal,
}

/// What shares a scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Groups {
    /// This many lanes at the same depth; the scale is folded into the vector.
    OfLanes(usize),
    /// This many columns of the same lane, a multiple of [`BLOCK`] or all.
    OfDepth(usize),
}

/// Codes, scales and middles of a matrix `[lanes, depth]`.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    lanes: usize,
    depth: usize,
    bits: u32,
    rounding: Rounding,
    groups: Groups,
    /// `[panels, blocks]` of 16 lanes by 32 columns.
    codes: Box<[u8]>,
    /// `[groups of lanes, padded depth]` or `[groups of depth, padded lanes]`
    scale: Box<[f16]>,
    /// As `scale`, or empty. A number is `scale * (code - 2^(bits-1)) + middle`.
    middle: Box<[f16]>,
}

/// Levels above 0 that quantize a standard normal variable to 2, 3 and 4 bits with the least squared error (Max 1960).
const NORMAL: [&[f32]; 3] =
    [&[0.4528, 1.510], &[0.2451, 0.756, 1.344, 2.152], &[0.1284, 0.3881, 0.6568, 0.9424, 1.256, 1.618, 2.069, 2.733]];

/// The levels of `bits` in ascending order as 8-bit numbers, the last being 127.
fn levels(bits: u32) -> [i8; 16] {
    let half = NORMAL[(bits - 2) as usize];
    let mut levels = [0; 16];
    for (i, level) in half.iter().enumerate() {
        let x = (127.0 * level / half[half.len() - 1]).round() as i8;
        levels[half.len() + i] = x;
        levels[half.len() - 1 - i] = -x;
    }
    levels
}

impl Packed {
    /// Rounds `x` `[lanes, depth]` to `bits`. Groups of numbers that are all alike come back exactly (to f16).
    pub(crate) fn new(x: ArrayView2<'_, f32>, bits: u32, rounding: Rounding, groups: Groups) -> Packed {
        let (lanes, depth) = x.dim();
        let (wide, deep) = (lanes.next_multiple_of(PANEL), depth.next_multiple_of(BLOCK));
        let panel_bytes = deep / BLOCK * block_bytes(bits);
        let mut codes = vec![0; wide / PANEL * panel_bytes].into_boxed_slice();
        let scales = match groups {
            Groups::OfLanes(g) => lanes.div_ceil(g) * deep,
            Groups::OfDepth(g) => depth.div_ceil(g) * wide,
        };
        let mut scale = vec![f16::ZERO; scales].into_boxed_slice();
        let mut middle = vec![f16::ZERO; if rounding == Rounding::MinMax { scales } else { 0 }].into_boxed_slice();
        let (mut group, mut rounded) = (vec![], vec![]);
        let mut each = |at: usize, lanes: Range<usize>, columns: Range<usize>| {
            group.clear();
            group.extend(lanes.clone().flat_map(|lane| columns.clone().map(move |column| x[[lane, column]])));
            let (s, m) = round(&group, bits, rounding, &mut rounded);
            scale[at] = s;
            if let Some(middle) = middle.get_mut(at) {
                *middle = m;
            }
            let mut rounded = rounded.iter();
            for lane in lanes {
                let panel = &mut codes[lane / PANEL * panel_bytes..][..panel_bytes];
                for (column, code) in columns.clone().zip(&mut rounded) {
                    put(panel, bits, lane % PANEL, column, *code);
                }
            }
        };
        match groups {
            Groups::OfLanes(g) => {
                for j in 0..lanes.div_ceil(g) {
                    (0..depth).for_each(|column| each(j * deep + column, g * j..(g * (j + 1)).min(lanes), column..column + 1));
                }
            }
            Groups::OfDepth(g) => {
                for j in 0..depth.div_ceil(g) {
                    (0..lanes).for_each(|lane| each(j * wide + lane, lane..lane + 1, g * j..(g * (j + 1)).min(depth)));
                }
            }
        }
        Packed { lanes, depth, bits, rounding, groups, codes, scale, middle }
    }

    pub(crate) fn lanes(&self) -> usize {
        self.lanes
    }

    /// Depth up to whole blocks: the numbers of a vector that [`products`](Packed::products) reads.
    pub(crate) fn deep(&self) -> usize {
        self.depth.next_multiple_of(BLOCK)
    }

    /// Bytes of codes, and of scales and middles.
    pub(crate) fn bytes(&self) -> [u64; 2] {
        [self.codes.len() as u64, 2 * (self.scale.len() + self.middle.len()) as u64]
    }

    fn panel(&self, panel: usize) -> &[u8] {
        let bytes = self.deep() / BLOCK * block_bytes(self.bits);
        &self.codes[panel * bytes..][..bytes]
    }

    /// What codes stand for, plus 128, where they are not simply counted.
    fn table(&self) -> [u8; 16] {
        levels(self.bits).map(|level| (i16::from(level) + 128) as u8)
    }

    /// `out[r * stride + 16 p ..] = ` the lanes of panel `p` times row `r` of `x`, for the given panels.
    #[inline(always)]
    pub(crate) fn products<S: Simd, const R: usize>(
        &self,
        s: S,
        x: &[[f32; DEEPEST]; R],
        digits: &mut [Digits; R],
        panels: Range<usize>,
        out: &mut [f32],
        stride: usize,
    ) {
        let (deep, wide) = (self.deep(), self.lanes.next_multiple_of(PANEL));
        let table = if self.rounding == Rounding::Normal { Some(self.table()) } else { None };
        match self.groups {
            Groups::OfLanes(g) => {
                let g = g.div_ceil(PANEL);
                for group in panels.start / g..panels.end.div_ceil(g) {
                    let scale = self.scale[group * deep..][..deep].as_chunks::<16>().0;
                    let middle = self.middle.get(group * deep..).unwrap_or(&[]).as_chunks::<16>().0;
                    let mut bias = [0.0; R];
                    for r in 0..R {
                        let x = x[r][..deep].as_chunks::<16>().0;
                        let mut folded = [0.0; DEEPEST];
                        let mut sum = s.splat(0.0);
                        for (i, out) in folded[..deep].as_chunks_mut::<16>().0.iter_mut().enumerate() {
                            let x = s.load(&x[i]);
                            s.store(s.mul(x, load_f16(s, &scale[i])), out);
                            if let Some(middle) = middle.get(i) {
                                sum = s.mul_add(x, load_f16(s, middle), sum);
                            }
                        }
                        bias[r] = s.sum(sum);
                        digits[r].set(s, &folded[..deep]);
                    }
                    for panel in panels.start.max(group * g)..panels.end.min((group + 1) * g) {
                        let mut lanes = [[0.0; 16]; R];
                        dot(s, self.bits, table.as_ref(), self.panel(panel), 0, digits, &mut lanes);
                        for r in 0..R {
                            let out = out[r * stride + 16 * panel..].first_chunk_mut().expect("room for each panel");
                            s.store(s.add(s.load(&lanes[r]), s.splat(bias[r])), out);
                        }
                    }
                }
            }
            Groups::OfDepth(g) => {
                for r in 0..R {
                    digits[r].set(s, &x[r][..deep]);
                }
                let blocks = g.div_ceil(BLOCK);
                for panel in panels {
                    let mut acc = [s.splat(0.0); R];
                    for (j, codes) in self.panel(panel).chunks(blocks * block_bytes(self.bits)).enumerate() {
                        let mut lanes = [[0.0; 16]; R];
                        dot(s, self.bits, table.as_ref(), codes, j * blocks, digits, &mut lanes);
                        let scale = self.scale[j * wide + 16 * panel..].first_chunk().expect("a scale for each lane");
                        for r in 0..R {
                            acc[r] = s.mul_add(s.load(&lanes[r]), load_f16(s, scale), acc[r]);
                        }
                    }
                    for r in 0..R {
                        s.store(acc[r], out[r * stride + 16 * panel..].first_chunk_mut().expect("room for each panel"));
                    }
                }
            }
        }
    }

    /// Writes lane `i` of panel `p` at depth `k` to `out[p * panel + k * step + i]`, for the real columns.
    #[inline(always)]
    pub(crate) fn expand<S: Simd>(&self, s: S, out: &mut [f32], panel: usize, step: usize) {
        match (self.rounding, self.bits) {
            (Rounding::Normal, 2) => self.expand_bits::<S, 2, 8>(s, out, panel, step),
            (Rounding::Normal, 3) => self.expand_bits::<S, 3, 8>(s, out, panel, step),
            (Rounding::Normal, _) => self.expand_bits::<S, 4, 8>(s, out, panel, step),
            (_, 2) => self.expand_bits::<S, 2, 2>(s, out, panel, step),
            (_, 3) => self.expand_bits::<S, 3, 3>(s, out, panel, step),
            (_, 4) => self.expand_bits::<S, 4, 4>(s, out, panel, step),
            _ => self.expand_bits::<S, 8, 8>(s, out, panel, step),
        }
    }

    #[inline(always)]
    fn expand_bits<S: Simd, const BITS: u32, const VALUE_BITS: u32>(&self, s: S, out: &mut [f32], panel: usize, step: usize) {
        let (deep, wide) = (self.deep(), self.lanes.next_multiple_of(PANEL));
        let table = s.table(&if BITS == VALUE_BITS { [0; 16] } else { self.table() });
        for p in 0..wide / PANEL {
            for (b, block) in self.panel(p).chunks_exact(block_bytes(BITS)).enumerate() {
                let quads = values::<S, BITS, VALUE_BITS>(s, table, block);
                for (q, quad) in quads.into_iter().enumerate() {
                    let lanes = [
                        s.byte::<VALUE_BITS, 0>(quad),
                        s.byte::<VALUE_BITS, 1>(quad),
                        s.byte::<VALUE_BITS, 2>(quad),
                        s.byte::<VALUE_BITS, 3>(quad),
                    ];
                    for (c, lanes) in lanes.into_iter().enumerate() {
                        let k = BLOCK * b + 4 * q + c;
                        if k >= self.depth {
                            continue;
                        }
                        let (scale, middle) = match self.groups {
                            Groups::OfLanes(g) => {
                                let at = 16 * p / g * deep + k;
                                (s.splat(self.scale[at].to_f32()), s.splat(self.middle.get(at).map_or(0.0, |m| m.to_f32())))
                            }
                            Groups::OfDepth(g) => {
                                let at = k / g * wide + 16 * p;
                                let middle = self.middle.get(at..).and_then(|m| m.first_chunk());
                                let scale = self.scale[at..].first_chunk().expect("a scale for each lane");
                                (load_f16(s, scale), middle.map_or(s.splat(0.0), |m| load_f16(s, m)))
                            }
                        };
                        let out = out[p * panel + k * step..].first_chunk_mut().expect("room for each lane");
                        s.store(s.mul_add(lanes, scale, middle), out);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn load_f16<S: Simd>(s: S, x: &[f16; 16]) -> S::F {
    s.load_f16(x.reinterpret_cast().first_chunk().expect("sixteen"))
}

/// Rounds one group; returns scale and middle.
fn round(x: &[f32], bits: u32, rounding: Rounding, codes: &mut Vec<u8>) -> (f16, f16) {
    let centre = (1i32 << (bits - 1)) as f32;
    let largest = 2.0 * centre - 1.0;
    codes.clear();
    let (scale, middle) = match rounding {
        Rounding::MinMax => {
            let (min, max) = x.iter().fold((f32::MAX, f32::MIN), |(min, max), x| (min.min(*x), max.max(*x)));
            let scale = f16::from_f32((max - min) / largest);
            // Without a scale all that is left is the middle, which then is the number itself.
            (scale, f16::from_f32(min + scale.to_f32() * centre))
        }
        Rounding::Symmetric => {
            let most = x.iter().fold(0.0f32, |most, x| if x.abs() > most.abs() { *x } else { most });
            // With few bits the lowest code is worth using: as in q4_0 it stands for the largest number, whatever its sign.
            (f16::from_f32(if bits == 8 { most.abs() / 127.0 } else { -most / centre }), f16::ZERO)
        }
        Rounding::Normal => {
            let levels = &levels(bits)[..1 << bits];
            let unit = NORMAL[(bits - 2) as usize].last().expect("levels") / 127.0;
            let norm = x.iter().map(|x| x * x).sum::<f32>().sqrt();
            let deviation = norm / (x.len() as f32).sqrt();
            if deviation <= 0.0 {
                codes.resize(x.len(), 0);
                return (f16::ZERO, f16::ZERO);
            }
            let mut length = 0.0;
            for x in x {
                let at = x / (deviation * unit);
                // Levels ascend: count the midpoints below.
                let code = levels.windows(2).filter(|pair| at > 0.5 * (f32::from(pair[0]) + f32::from(pair[1]))).count();
                length += f32::from(levels[code]).powi(2);
                codes.push(code as u8);
            }
            return (f16::from_f32(norm / length.sqrt()), f16::ZERO);
        }
    };
    let (s, m) = (scale.to_f32(), middle.to_f32());
    let code = |x: &f32| if s == 0.0 { centre as u8 } else { ((x - m) / s + centre).round().clamp(0.0, largest) as u8 };
    codes.extend(x.iter().map(code));
    (scale, middle)
}

/// A vector as two digits of 8 bits: `scale * (128 high + low)`.
#[derive(Clone)]
pub(crate) struct Digits {
    high: [i8; DEEPEST],
    low: [i8; DEEPEST],
    /// Minus the sums of each block's digits.
    minus: [[i32; 2]; DEEPEST / BLOCK],
    scale: f32,
}

impl Digits {
    pub(crate) const ZERO: Digits = Digits { high: [0; DEEPEST], low: [0; DEEPEST], minus: [[0; 2]; DEEPEST / BLOCK], scale: 0.0 };

    /// `x` is whole blocks.
    #[inline(always)]
    fn set<S: Simd>(&mut self, s: S, x: &[f32]) {
        let x = x.as_chunks::<16>().0;
        let (mut most, mut nan) = (s.splat(0.0), s.splat(0.0));
        for x in x {
            let x = s.load(x);
            most = s.max(most, s.max(x, s.sub(s.splat(0.0), x)));
            nan = s.mul_add(x, s.splat(0.0), nan);
        }
        let unit = s.max_lane(most) / (127.0 * 128.0);
        // Whatever is not finite makes the whole product so.
        self.scale = unit + s.sum(nan);
        if unit <= 0.0 || !self.scale.is_finite() {
            (self.high, self.low, self.minus) = (Digits::ZERO.high, Digits::ZERO.low, Digits::ZERO.minus);
            return;
        }
        let inverse = s.splat(1.0 / unit);
        let (high, low) = (self.high.as_chunks_mut::<16>().0, self.low.as_chunks_mut::<16>().0);
        let mut sums = [0; 2];
        for (i, x) in x.iter().enumerate() {
            let x = s.mul(s.load(x), inverse);
            let h = s.round_i32(s.mul(x, s.splat(1.0 / 128.0)));
            let l = s.round_i32(s.mul_add(s.to_f32(h), s.splat(-128.0), x));
            s.store_low_bytes(h, &mut high[i]);
            s.store_low_bytes(l, &mut low[i]);
            let new = [s.sum_i32(h), s.sum_i32(l)];
            if i % 2 == 0 {
                sums = new;
            } else {
                self.minus[i / 2] = [-sums[0] - new[0], -sums[1] - new[1]];
            }
        }
    }
}

/// Products of a panel's blocks, the first of which is block `first` of the vectors.
#[inline(always)]
fn dot<S: Simd, const R: usize>(
    s: S,
    bits: u32,
    table: Option<&[u8; 16]>,
    codes: &[u8],
    first: usize,
    digits: &[Digits; R],
    out: &mut [[f32; 16]; R],
) {
    let work = Dot { codes, table: table.copied().unwrap_or([0; 16]), first, digits, out };
    match (bits, table) {
        (2, None) => s.call(Bits::<'_, 2, 2, R>(work)),
        (3, None) => s.call(Bits::<'_, 3, 3, R>(work)),
        (4, None) => s.call(Bits::<'_, 4, 4, R>(work)),
        (2, Some(_)) => s.call(Bits::<'_, 2, 8, R>(work)),
        (3, Some(_)) => s.call(Bits::<'_, 3, 8, R>(work)),
        (4, Some(_)) => s.call(Bits::<'_, 4, 8, R>(work)),
        _ => s.call(Bits::<'_, 8, 8, R>(work)),
    }
}

struct Dot<'a, const R: usize> {
    codes: &'a [u8],
    table: [u8; 16],
    first: usize,
    digits: &'a [Digits; R],
    out: &'a mut [[f32; 16]; R],
}

struct Bits<'a, const BITS: u32, const VALUE_BITS: u32, const R: usize>(Dot<'a, R>);

impl<const BITS: u32, const VALUE_BITS: u32, const R: usize> WithSimd for Bits<'_, BITS, VALUE_BITS, R> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Bits(Dot { codes, table, first, digits, out }) = self;
        let table = s.table(&table);
        let mut acc = [[s.splat_i32(0); 2]; R];
        for (b, block) in codes.chunks_exact(block_bytes(BITS)).enumerate() {
            let b = first + b;
            let quads = values::<S, BITS, VALUE_BITS>(s, table, block);
            for r in 0..R {
                let d = &digits[r];
                let [high, low] = d.minus[b];
                acc[r][0] = s.add_i32(acc[r][0], s.dot::<VALUE_BITS, 8>(&quads, &d.high[BLOCK * b..][..BLOCK], high));
                acc[r][1] = s.add_i32(acc[r][1], s.dot::<VALUE_BITS, 8>(&quads, &d.low[BLOCK * b..][..BLOCK], low));
            }
        }
        for r in 0..R {
            let both = s.mul_add(s.to_f32(acc[r][0]), s.splat(128.0), s.to_f32(acc[r][1]));
            s.store(s.mul(both, s.splat(digits[r].scale)), &mut out[r]);
        }
    }
}
