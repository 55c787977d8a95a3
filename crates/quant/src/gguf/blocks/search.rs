//! The best scale of a sub-block for given weights of its elements: a search over how far the range is stretched, a
//! weighted least-squares fit for the codes of each stretch, then a few rounds of codes and fit in turn.
//!
//! No operation is fused and sums are trees over 16 lanes, so all tiers find the same.

use scant_tensor_core::simd::Simd;

/// Adding and subtracting it rounds to the nearest integer, ties to even, below `2^22`.
const ROUND: f32 = 12_582_912.0;

/// The inverse, or 0 where that is no number.
#[inline(always)]
pub(super) fn inverse(x: f32) -> f32 {
    let inverse = 1.0 / x;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// Smallest and largest code.
#[derive(Clone, Copy)]
pub(super) struct Codes {
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Codes {
    /// `0..=high`
    pub(super) fn up_to(high: u8) -> Codes {
        Codes { low: 0.0, high: f32::from(high) }
    }

    /// `-half..half`
    pub(super) fn around(half: u8) -> Codes {
        Codes { low: -f32::from(half), high: f32::from(half) - 1.0 }
    }

    /// The code of `x`.
    pub(super) fn nearest(self, x: f32) -> f32 {
        (x.clamp(self.low, self.high) + ROUND) - ROUND
    }

    #[inline(always)]
    fn nearest_lanes<S: Simd>(self, s: S, x: S::F) -> S::F {
        let x = s.min(s.max(x, s.splat(self.low)), s.splat(self.high));
        s.sub(s.add(x, s.splat(ROUND)), s.splat(ROUND))
    }
}

/// A sub-block: its elements `x` and their weights `w`, with their sums.
#[derive(Clone, Copy)]
pub(super) struct Elements<'a, S, const N: usize> {
    s: S,
    x: &'a [f32; N],
    w: &'a [f32; N],
    sum_w: f32,
    sum_wx: f32,
}

/// Sums with the codes `q` as well.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub(super) w: f32,
    pub(super) wx: f32,
    pub(super) wq: f32,
    pub(super) wqq: f32,
    pub(super) wqx: f32,
}

impl<'a, S: Simd, const N: usize> Elements<'a, S, N> {
    #[inline(always)]
    pub(super) fn new(s: S, x: &'a [f32; N], w: &'a [f32; N]) -> Elements<'a, S, N> {
        let (mut sum_w, mut sum_wx) = (s.splat(0.0), s.splat(0.0));
        for (x, w) in x.as_chunks::<16>().0.iter().zip(w.as_chunks::<16>().0) {
            let (x, w) = (s.load(x), s.load(w));
            sum_w = s.add(sum_w, w);
            sum_wx = s.add(sum_wx, s.mul(w, x));
        }
        Elements { s, x, w, sum_w: s.sum(sum_w), sum_wx: s.sum(sum_wx) }
    }

    /// The sums for codes `q = nearest((x - min) * inverse)`.
    #[inline(always)]
    pub(super) fn sums(&self, inverse: f32, min: f32, codes: Codes) -> Sums {
        let s = self.s;
        let [mut wq, mut wqq, mut wqx] = [s.splat(0.0); 3];
        for (x, w) in self.x.as_chunks::<16>().0.iter().zip(self.w.as_chunks::<16>().0) {
            let x = s.load(x);
            let q = codes.nearest_lanes(s, s.mul(s.sub(x, s.splat(min)), s.splat(inverse)));
            let p = s.mul(s.load(w), q);
            wq = s.add(wq, p);
            wqq = s.add(wqq, s.mul(p, q));
            wqx = s.add(wqx, s.mul(p, x));
        }
        Sums { w: self.sum_w, wx: self.sum_wx, wq: s.sum(wq), wqq: s.sum(wqq), wqx: s.sum(wqx) }
    }

    /// `sum w (x - scale q - min)^2` for the nearest codes.
    #[inline(always)]
    pub(super) fn error(&self, scale: f32, min: f32, codes: Codes) -> f32 {
        let s = self.s;
        let (inverse, mut sum) = (s.splat(inverse(scale)), s.splat(0.0));
        for (x, w) in self.x.as_chunks::<16>().0.iter().zip(self.w.as_chunks::<16>().0) {
            let x = s.load(x);
            let q = codes.nearest_lanes(s, s.mul(s.sub(x, s.splat(min)), inverse));
            let r = s.sub(x, s.add(s.mul(s.splat(scale), q), s.splat(min)));
            sum = s.add(sum, s.mul(s.load(w), s.mul(r, r)));
        }
        s.sum(sum)
    }
}

impl Sums {
    /// Scale and minimum of least error for these codes, and by how much they lower it from `sum w x^2`.
    #[inline(always)]
    fn affine(&self, min: Minimum) -> (f32, f32, f32) {
        let det = self.w * self.wqq - self.wq * self.wq;
        if det > 0.0 {
            let scale = (self.w * self.wqx - self.wx * self.wq) / det;
            let offset = (self.wqq * self.wx - self.wq * self.wqx) / det;
            if offset <= 0.0 || min == Minimum::Any {
                return (scale, offset, scale * self.wqx + offset * self.wx);
            }
        }
        let (scale, gain) = self.symmetric();
        (scale, 0.0, gain)
    }

    #[inline(always)]
    fn symmetric(&self) -> (f32, f32) {
        let scale = self.wqx * inverse(self.wqq);
        (scale, scale * self.wqx)
    }
}

/// What a format can hold as the minimum of a sub-block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Minimum {
    /// Zero or less: the K types subtract an unsigned number.
    NotPositive,
    Any,
}

/// Rounds of codes and fit in turn after the search.
const ROUNDS: usize = 2;

/// Scale, minimum, and by how much they lower the error.
#[derive(Clone, Copy)]
struct Best {
    scale: f32,
    min: f32,
    gain: f32,
}

impl Best {
    #[inline(always)]
    fn consider(&mut self, sums: &Sums, minimum: Minimum) {
        let (scale, min, gain) = sums.affine(minimum);
        // A scale below zero would turn the order of the codes round.
        if scale > 0.0 && gain > self.gain {
            *self = Best { scale, min, gain };
        }
    }
}

/// Scale and minimum of least weighted error: `x` is about `scale q + min`. All zero gives zeros.
///
/// Tries `steps` + 1 stretches of the range, evenly from `first` to `last` codes beyond it.
#[inline(always)]
pub(super) fn affine<S: Simd, const N: usize>(
    elements: &Elements<'_, S, N>,
    codes: Codes,
    minimum: Minimum,
    [first, last]: [f32; 2],
    steps: u8,
) -> (f32, f32) {
    let (mut low, mut high) = (elements.x[0], elements.x[0]);
    for &x in elements.x {
        low = if x < low { x } else { low };
        high = if x > high { x } else { high };
    }
    if minimum == Minimum::NotPositive && low > 0.0 {
        low = 0.0;
    }
    let unit = inverse(high - low);
    let mut best = Best { scale: 0.0, min: low, gain: f32::MIN };
    if unit == 0.0 {
        return (0.0, low);
    }
    for step in 0..=steps {
        let stretch = first + (last - first) * (f32::from(step) / f32::from(steps));
        best.consider(&elements.sums((codes.high + stretch) * unit, low, codes), minimum);
    }
    for _ in 0..ROUNDS {
        best.consider(&elements.sums(inverse(best.scale), best.min, codes), minimum);
    }
    (best.scale, best.min)
}

/// The signed scale of least weighted error: `x` is about `scale q`, `-half <= q < half`. All zero gives zero.
#[inline(always)]
pub(super) fn symmetric<S: Simd, const N: usize>(elements: &Elements<'_, S, N>, codes: Codes) -> f32 {
    let mut extreme = 0f32;
    for &x in elements.x {
        extreme = if x.abs() > extreme.abs() { x } else { extreme };
    }
    let unit = inverse(extreme);
    let mut best = (0.0, 0.0);
    for step in -9i8..=9 + ROUNDS as i8 {
        // The last rounds go on from the best scale.
        let inverse = if step <= 9 { (codes.low + 0.1 * f32::from(step)) * unit } else { inverse(best.0) };
        let (scale, gain) = elements.sums(inverse, 0.0, codes).symmetric();
        if gain > best.1 {
            best = (scale, gain);
        }
    }
    best.0
}
