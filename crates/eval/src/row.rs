//! Sums over one row of logits: f32 lanes in stretches of 1,024, added up in f64.

use scant_tensor_core::isa::Isa;
use scant_tensor_core::simd::{Simd, WithSimd};

const STRETCH: usize = 1024;

/// `max` and `sum of exp(x - max)` of a row. Both are NaN if a logit is NaN.
pub(crate) fn soft_max_sum(isa: Isa, x: &[f32]) -> (f32, f64) {
    isa.run(MaxSum(x))
}

struct MaxSum<'a>(&'a [f32]);

impl WithSimd for MaxSum<'_> {
    type Out = (f32, f64);
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> (f32, f64) {
        let (lanes, tail) = self.0.as_chunks::<16>();
        let mut max = tail.iter().fold(f32::NEG_INFINITY, |m, x| if *x > m { *x } else { m });
        if let Some(first) = lanes.first() {
            let mut m = s.load(first);
            for x in lanes {
                m = s.max(m, s.load(x));
            }
            let m = s.max_lane(m);
            max = if m > max { m } else { max };
        }
        let mut sum = 0.0;
        for stretch in self.0.chunks(STRETCH) {
            let (lanes, tail) = stretch.as_chunks::<16>();
            let mut acc = s.splat(0.0);
            for x in lanes {
                // `exp` turns NaN into a number on some tiers, x * 0 keeps it.
                let x = s.sub(s.load(x), s.splat(max));
                acc = s.add(acc, s.mul_add(x, s.splat(0.0), s.exp(x)));
            }
            sum += f64::from(s.sum(acc)) + tail.iter().map(|x| f64::from(x - max).exp()).sum::<f64>();
        }
        (max, sum)
    }
}

/// `sum of exp(t - max) (t - u)` for the logits `t` of the reference and `u` of the model.
pub(crate) fn weighted_difference(isa: Isa, t: &[f32], u: &[f32], max: f32) -> f64 {
    assert_eq!(t.len(), u.len(), "rows of logits differ in length");
    isa.run(WeightedDifference { t, u, max })
}

struct WeightedDifference<'a> {
    t: &'a [f32],
    u: &'a [f32],
    max: f32,
}

impl WithSimd for WeightedDifference<'_> {
    type Out = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let mut sum = 0.0;
        for (t, u) in self.t.chunks(STRETCH).zip(self.u.chunks(STRETCH)) {
            let ((t, t_tail), (u, u_tail)) = (t.as_chunks::<16>(), u.as_chunks::<16>());
            let mut acc = s.splat(0.0);
            for (t, u) in t.iter().zip(u) {
                let t = s.load(t);
                acc = s.mul_add(s.exp(s.sub(t, s.splat(self.max))), s.sub(t, s.load(u)), acc);
            }
            let tail = t_tail.iter().zip(u_tail).map(|(t, u)| f64::from(t - self.max).exp() * f64::from(t - u));
            sum += f64::from(s.sum(acc)) + tail.sum::<f64>();
        }
        sum
    }
}

/// The index of the largest value; the lowest of equals.
pub(crate) fn argmax(x: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in x.iter().enumerate() {
        if *v > x[best] {
            best = i;
        }
    }
    best
}
