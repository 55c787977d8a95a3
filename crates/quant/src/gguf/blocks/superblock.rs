//! Encoders of the K types: 256 weights in sub-blocks, whose scales (and minima) are small integers times an f16.
//!
//! The objective is llama.cpp's, the sum of `weight * (x - decoded)^2`, and so are the weights of the elements. The search
//! is ours: sub-blocks are fitted alone ([`search`]), then integers of the sub-blocks and the f16 numbers of the whole are
//! chosen in turn, each for the least error of what the decoder will see.

use super::kquant::{self, PairBlock};
use super::search::{self, Codes, Elements, Minimum, Sums};
use half::f16;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::simd::{Simd, WithSimd};

/// Nothing that a K type holds is larger; squares of what is larger could overflow.
const LARGEST: f32 = 1e9;

/// Rounds over integers and f16 numbers.
const ROUNDS: usize = 3;

/// What is known of the columns.
pub(super) type Importance<'a> = Option<&'a [f32; 256]>;

pub(super) fn encode_q2_k(x: &[f32; 256], importance: Importance<'_>, block: &mut [u8; 84]) -> bool {
    let w = weights(x, importance, 1.0, |_, x| x.abs());
    let Some(fit) = affine::<16, 16>(x, &w, 3, 15, Stretch::of(importance, [-0.5, 1.0], 15)) else { return false };
    kquant::pack_q2_k(fit.d, fit.dmin, &fit.scales, &fit.mins, &fit.codes, block);
    true
}

pub(super) fn encode_q3_k(x: &[f32; 256], importance: Importance<'_>, block: &mut [u8; 110]) -> bool {
    let w = weights(x, importance, 2.0, |_, x| x * x);
    let Some(fit) = symmetric(x, &w, 4, 32) else { return false };
    kquant::pack_q3_k(fit.d, &fit.scales, &fit.codes, block);
    true
}

pub(super) fn encode_q4_k(x: &[f32; 256], importance: Importance<'_>, block: &mut [u8; 144]) -> bool {
    pairs(x, importance, 15, Stretch::of(importance, [-1.0, 1.0], 20)).is_some_and(|fit| {
        kquant::pack_q4_k(&fit, block);
        true
    })
}

pub(super) fn encode_q5_k(x: &[f32; 256], importance: Importance<'_>, block: &mut [u8; 176]) -> bool {
    pairs(x, importance, 31, Stretch::of(importance, [-0.5, 1.0], 15)).is_some_and(|fit| {
        kquant::pack_q5_k(&fit, block);
        true
    })
}

pub(super) fn encode_q6_k(x: &[f32; 256], importance: Importance<'_>, block: &mut [u8; 210]) -> bool {
    let w = match importance {
        Some(v) => scaled(*v),
        None => weights(x, None, 0.0, |_, x| x * x),
    };
    let Some(fit) = symmetric(x, &w, 32, 128) else { return false };
    kquant::pack_q6_k(fit.d, &fit.scales, &fit.codes, block);
    true
}

/// The stretches that the search of a sub-block tries.
#[derive(Clone, Copy)]
struct Stretch {
    range: [f32; 2],
    steps: u8,
}

impl Stretch {
    fn of(importance: Importance<'_>, range: [f32; 2], steps: u8) -> Stretch {
        match importance {
            None => Stretch { range, steps },
            Some(_) => Stretch { range: [-0.9, 0.9], steps: 18 },
        }
    }
}

/// Weights of the elements: `plain(rms of its 32, x)`, or with an importance `v` of its column `v sqrt(k mean(x^2) + x^2)`.
fn weights(x: &[f32; 256], importance: Importance<'_>, k: f32, plain: impl Fn(f32, f32) -> f32) -> [f32; 256] {
    let mean = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
    let mut w = [0.0; 256];
    match importance {
        Some(v) => {
            let base = k * mean(x);
            for ((w, x), v) in w.iter_mut().zip(x).zip(v) {
                *w = v * (base + x * x).sqrt();
            }
        }
        None => {
            for (w, x) in w.chunks_exact_mut(32).zip(x.chunks_exact(32)) {
                let rms = mean(x).sqrt();
                for (w, x) in w.iter_mut().zip(x) {
                    *w = plain(rms, *x);
                }
            }
        }
    }
    scaled(w)
}

/// The weights over their largest, none quite zero: an element that does not matter is still rounded to what is near.
fn scaled(mut w: [f32; 256]) -> [f32; 256] {
    let largest = w.iter().fold(0f32, |max, w| max.max(*w));
    if !(f32::MIN_POSITIVE..=f32::MAX).contains(&largest) {
        return [1.0; 256];
    }
    for w in &mut w {
        *w = (*w / largest).max(1e-7);
    }
    w
}

struct Affine<const SUBS: usize> {
    d: f16,
    dmin: f16,
    scales: [u8; SUBS],
    mins: [u8; SUBS],
    codes: [u8; 256],
}

fn pairs(x: &[f32; 256], importance: Importance<'_>, max_code: u8, stretch: Stretch) -> Option<PairBlock> {
    let w = weights(x, importance, 2.0, |rms, x| rms + x.abs());
    let Affine { d, dmin, scales, mins, codes } = affine::<32, 8>(x, &w, max_code, 63, stretch)?;
    Some(PairBlock { d, dmin, scales, mins, codes })
}

/// Scales and minima. `None` if an f16 is too small for the weights.
fn affine<const N: usize, const SUBS: usize>(
    x: &[f32; 256],
    w: &[f32; 256],
    max_code: u8,
    max_level: u8,
    stretch: Stretch,
) -> Option<Affine<SUBS>> {
    if x.iter().any(|x| x.abs() > LARGEST) {
        return None;
    }
    Isa::best().run(FitAffine::<N, SUBS> { x, w, codes: Codes::up_to(max_code), top: f32::from(max_level), stretch })
}

/// Fits a super-block on a tier.
struct FitAffine<'a, const N: usize, const SUBS: usize> {
    x: &'a [f32; 256],
    w: &'a [f32; 256],
    codes: Codes,
    /// The largest integer.
    top: f32,
    stretch: Stretch,
}

impl<const N: usize, const SUBS: usize> WithSimd for FitAffine<'_, N, SUBS> {
    type Out = Option<Affine<SUBS>>;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Out {
        let FitAffine { x, w, codes, top, stretch } = self;
        let (x, w) = (x.as_chunks::<N>().0, w.as_chunks::<N>().0);
        let mut targets = [(0f32, 0f32); SUBS];
        let (mut d, mut dmin) = (0f32, 0f32);
        for j in 0..SUBS {
            let elements = Elements::new(s, &x[j], &w[j]);
            targets[j] = search::affine(&elements, codes, Minimum::NotPositive, stretch.range, stretch.steps);
            d = d.max(targets[j].0 / top);
            dmin = dmin.max(-targets[j].1 / top);
        }
        let mut best: Option<(f32, Affine<SUBS>)> = None;
        for _ in 0..ROUNDS {
            let (half_d, half_dmin) = (stored(d), stored(dmin));
            if !half_d.is_finite() || !half_dmin.is_finite() {
                break;
            }
            let (d1, m1) = (half_d.to_f32(), half_dmin.to_f32());
            let (inverse_d, inverse_m) = (search::inverse(d1), search::inverse(m1));
            let (mut scales, mut mins) = ([0; SUBS], [0; SUBS]);
            let mut total = 0.0;
            let mut normal = Normal::default();
            for j in 0..SUBS {
                let elements = Elements::new(s, &x[j], &w[j]);
                let scale = near(targets[j].0 * inverse_d, 0.0, top);
                let min = near(-targets[j].1 * inverse_m, 0.0, top);
                let (mut least, mut at) = (f32::INFINITY, (0.0, 0.0));
                for i in 0..9 {
                    let tried = (scale[i / 3], min[i % 3]);
                    let error = elements.error(d1 * tried.0, -(m1 * tried.1), codes);
                    if error < least {
                        (least, at) = (error, tried);
                    }
                }
                total += least;
                (scales[j], mins[j]) = (at.0 as u8, at.1 as u8);
                normal.add(at.0, at.1, &elements.sums(search::inverse(d1 * at.0), -(m1 * at.1), codes));
            }
            match &best {
                Some((least, _)) if total >= *least => break,
                _ => best = Some((total, Affine { d: half_d, dmin: half_dmin, scales, mins, codes: [0; 256] })),
            }
            (d, dmin) = normal.solve();
        }
        let (_, mut fit) = best?;
        let out = fit.codes.as_chunks_mut::<N>().0;
        for j in 0..SUBS {
            let scale = fit.d.to_f32() * f32::from(fit.scales[j]);
            let (inverse, min) = (search::inverse(scale), -(fit.dmin.to_f32() * f32::from(fit.mins[j])));
            for (q, x) in out[j].iter_mut().zip(&x[j]) {
                *q = codes.nearest((x - min) * inverse) as u8;
            }
        }
        Some(fit)
    }
}

/// The nearest f16; the smallest one instead of none, since the integers that multiply it can be small too.
fn stored(x: f32) -> f16 {
    let half = f16::from_f32(x);
    if half == f16::ZERO && x != 0.0 { f16::MIN_POSITIVE_SUBNORMAL.copysign(half) } else { half }
}

/// The integer nearest to `x` and its neighbours, held within the range.
#[inline(always)]
fn near(x: f32, low: f32, high: f32) -> [f32; 3] {
    let middle = x.clamp(low, high).round_ties_even();
    [middle, (middle - 1.0).max(low), (middle + 1.0).min(high)]
}

/// Normal equations of `x = d (s q) - m t` over a super-block.
#[derive(Default)]
struct Normal {
    ss: f32,
    st: f32,
    tt: f32,
    xs: f32,
    xt: f32,
}

impl Normal {
    #[inline(always)]
    fn add(&mut self, s: f32, t: f32, sums: &Sums) {
        self.ss += s * s * sums.wqq;
        self.st += s * t * sums.wq;
        self.tt += t * t * sums.w;
        self.xs += s * sums.wqx;
        self.xt += t * sums.wx;
    }

    /// `d` and `m`, none below zero.
    #[inline(always)]
    fn solve(&self) -> (f32, f32) {
        let det = self.ss * self.tt - self.st * self.st;
        if det > 0.0 {
            let d = (self.xs * self.tt - self.st * self.xt) / det;
            let m = (self.st * self.xs - self.ss * self.xt) / det;
            if d >= 0.0 && m >= 0.0 {
                return (d, m);
            }
        }
        ((self.xs * search::inverse(self.ss)).max(0.0), 0.0)
    }
}

struct Symmetric {
    d: f16,
    /// Half of their range above what multiplies.
    scales: [u8; 16],
    codes: [u8; 256],
}

/// Signed scales of 16 weights, `-half_level <= s < half_level`. `None` if an f16 is too small for the weights.
fn symmetric(x: &[f32; 256], w: &[f32; 256], half: u8, half_level: u8) -> Option<Symmetric> {
    if x.iter().any(|x| x.abs() > LARGEST) {
        return None;
    }
    Isa::best().run(FitSymmetric { x, w, codes: Codes::around(half), levels: Codes::around(half_level) })
}

/// As [`FitAffine`].
struct FitSymmetric<'a> {
    x: &'a [f32; 256],
    w: &'a [f32; 256],
    codes: Codes,
    levels: Codes,
}

impl WithSimd for FitSymmetric<'_> {
    type Out = Option<Symmetric>;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Out {
        let FitSymmetric { x, w, codes, levels } = self;
        let (x, w) = (x.as_chunks::<16>().0, w.as_chunks::<16>().0);
        let mut targets = [0f32; 16];
        let mut extreme = 0f32;
        for j in 0..16 {
            targets[j] = search::symmetric(&Elements::new(s, &x[j], &w[j]), codes);
            extreme = if targets[j].abs() > extreme.abs() { targets[j] } else { extreme };
        }
        let mut d = extreme / levels.low;
        let mut best: Option<(f32, f16, [f32; 16])> = None;
        for _ in 0..ROUNDS {
            let half_d = stored(d);
            if !half_d.is_finite() {
                break;
            }
            let d1 = half_d.to_f32();
            let inverse = search::inverse(d1);
            let mut scales = [0f32; 16];
            let (mut total, mut ss, mut xs) = (0.0, 0.0, 0.0);
            for j in 0..16 {
                let elements = Elements::new(s, &x[j], &w[j]);
                let mut least = f32::INFINITY;
                for tried in near(targets[j] * inverse, levels.low, levels.high) {
                    let error = elements.error(d1 * tried, 0.0, codes);
                    if error < least {
                        (least, scales[j]) = (error, tried);
                    }
                }
                total += least;
                let sums = elements.sums(search::inverse(d1 * scales[j]), 0.0, codes);
                ss += scales[j] * scales[j] * sums.wqq;
                xs += scales[j] * sums.wqx;
            }
            match &best {
                Some((least, ..)) if total >= *least => break,
                _ => best = Some((total, half_d, scales)),
            }
            d = xs * search::inverse(ss);
        }
        let (_, d, scales) = best?;
        let mut fit = Symmetric { d, scales: scales.map(|s| (s - levels.low) as u8), codes: [0; 256] };
        let out = fit.codes.as_chunks_mut::<16>().0;
        for j in 0..16 {
            let inverse = search::inverse(d.to_f32() * scales[j]);
            for (q, x) in out[j].iter_mut().zip(&x[j]) {
                *q = (codes.nearest(x * inverse) - codes.low) as u8;
            }
        }
        Some(fit)
    }
}
