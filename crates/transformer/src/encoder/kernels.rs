//! What happens to a row between two products: LayerNorm and GELU.

use scant_tensor_core::simd::{Simd, WithSimd};

/// `x = (x + part - mean) / sqrt(variance + eps) * gain + bias`, with mean and variance of `x + part`.
pub(super) struct AddNorm<'a> {
    pub(super) x: &'a mut [f32],
    /// As long as `x`, or empty for nothing to add.
    pub(super) part: &'a [f32],
    pub(super) gain: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) eps: f32,
}

impl WithSimd for AddNorm<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n = self.x.len();
        let (lanes, tail) = self.x.as_chunks_mut::<16>();
        let (part, part_tail) = self.part.as_chunks::<16>();
        let mut sum = s.splat(0.0);
        for (x, p) in lanes.iter_mut().zip(part) {
            s.store(s.add(s.load(x), s.load(p)), x);
        }
        tail.iter_mut().zip(part_tail).for_each(|(x, p)| *x += p);
        for x in lanes.iter() {
            sum = s.add(sum, s.load(x));
        }
        let mean = (s.sum(sum) + tail.iter().sum::<f32>()) / n as f32;
        let minus_mean = s.splat(-mean);
        let mut squares = s.splat(0.0);
        for x in lanes.iter() {
            let d = s.add(s.load(x), minus_mean);
            squares = s.mul_add(d, d, squares);
        }
        let squares = s.sum(squares) + tail.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>();
        let factor = 1.0 / (squares / n as f32 + self.eps).sqrt();
        let ((gain, gain_tail), (bias, bias_tail)) = (self.gain.as_chunks::<16>(), self.bias.as_chunks::<16>());
        let f = s.splat(factor);
        for ((x, gain), bias) in lanes.iter_mut().zip(gain).zip(bias) {
            let d = s.mul(s.add(s.load(x), minus_mean), f);
            s.store(s.mul_add(d, s.load(gain), s.load(bias)), x);
        }
        for ((x, gain), bias) in tail.iter_mut().zip(gain_tail).zip(bias_tail) {
            *x = ((*x - mean) * factor).mul_add(*gain, *bias);
        }
    }
}

/// `x = x Phi(x)`, where `Phi` is the normal distribution function: the exact GELU, within `1.5e-7 max(1, |x|)`.
pub(super) struct Gelu<'a>(pub(super) &'a mut [f32]);

/// Beyond it `Phi` is 0 or 1 to f32.
const END: f32 = 5.6;

/// `(Phi(x) - 1/2) / x` as a polynomial in `2 (x / END)^2 - 1`, lowest power first: least squares on Chebyshev nodes, weighted with
/// `|x| + 0.3`.
const PHI: [f32; 16] = [
    0.126_259_6,
    -0.063_051_3,
    0.046_981_04,
    -0.038_345_28,
    0.031_967_03,
    -0.026_314_064,
    0.020_960_65,
    -0.015_745_716,
    0.010_926_886,
    -0.007_557_579_3,
    0.005_420_482,
    -0.002_850_104,
    0.000_734_655_9,
    -0.000_633_703_3,
    0.000_863_64,
    -0.000_330_519_2,
];

impl WithSimd for Gelu<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (lanes, tail) = self.0.as_chunks_mut::<16>();
        // Two at a time: one chain of sixteen multiplications would wait for itself.
        let (pairs, one) = lanes.as_chunks_mut::<2>();
        for [a, b] in pairs {
            let (x, y) = (s.load(a), s.load(b));
            let ((cx, zx), (cy, zy)) = (argument(s, x), argument(s, y));
            let (mut p, mut q) = (s.splat(PHI[15]), s.splat(PHI[15]));
            for c in PHI[..15].iter().rev() {
                let c = s.splat(*c);
                p = s.mul_add(p, zx, c);
                q = s.mul_add(q, zy, c);
            }
            s.store(result(s, x, cx, p), a);
            s.store(result(s, y, cy, q), b);
        }
        for a in one {
            s.store(single(s, s.load(a)), a);
        }
        let mut last = [0.0; 16];
        s.store(single(s, s.load_tail(tail)), &mut last);
        tail.copy_from_slice(&last[..tail.len()]);
    }
}

#[inline(always)]
fn single<S: Simd>(s: S, x: S::F) -> S::F {
    let (c, z) = argument(s, x);
    let mut p = s.splat(PHI[15]);
    for c in PHI[..15].iter().rev() {
        p = s.mul_add(p, z, s.splat(*c));
    }
    result(s, x, c, p)
}

/// `x` within the ends, and what the polynomial is in.
#[inline(always)]
fn argument<S: Simd>(s: S, x: S::F) -> (S::F, S::F) {
    let c = s.min(s.max(x, s.splat(-END)), s.splat(END));
    (c, s.mul_add(s.mul(c, c), s.splat(2.0 / (END * END)), s.splat(-1.0)))
}

#[inline(always)]
fn result<S: Simd>(s: S, x: S::F, clamped: S::F, p: S::F) -> S::F {
    s.mul(x, s.mul_add(clamped, p, s.splat(0.5)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use scant_tensor_core::isa::Isa;

    /// erf by its series in f64, which is within 1e-8 here; then within 3e-9 of 1.
    fn erf(x: f64) -> f64 {
        if x.abs() > 4.2 {
            return x.signum();
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            let n = f64::from(n);
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn gelu_is_within_its_bound_on_every_tier() {
        let xs: Vec<f32> = (-16_000..=16_000).map(|i| i as f32 / 2000.0).chain([-1e4, -50.0, 50.0, 1e4, -0.0]).collect();
        for isa in Isa::available() {
            let mut got = xs.clone();
            isa.run(Gelu(&mut got));
            for (x, y) in xs.iter().zip(&got) {
                let x = f64::from(*x);
                let want = x * 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2));
                assert!((f64::from(*y) - want).abs() <= 1.5e-7 * x.abs().max(1.0), "{isa}: gelu({x}) = {y}, not {want}");
            }
        }
    }

    #[test]
    fn norm_has_mean_and_deviation_of_its_bias_and_gain() {
        for n in [1, 15, 16, 40, 384] {
            let x: Vec<f32> = (0..n).map(|i| ((i * 37) % 101) as f32 / 10.0 + 3.0).collect();
            let part: Vec<f32> = (0..n).map(|i| ((i * 53) % 89) as f32 / 20.0).collect();
            let sums: Vec<f64> = x.iter().zip(&part).map(|(x, p)| f64::from(x + p)).collect();
            let mean = sums.iter().sum::<f64>() / n as f64;
            let deviation = (sums.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64 + 1e-12).sqrt();
            let mut outs = vec![];
            for isa in Isa::available() {
                let mut out = x.clone();
                isa.run(AddNorm { x: &mut out, part: &part, gain: &vec![2.0; n], bias: &vec![-1.0; n], eps: 1e-12 });
                for (y, x) in out.iter().zip(&sums) {
                    let want = 2.0 * (x - mean) / deviation - 1.0;
                    assert!((f64::from(*y) - want).abs() < 1e-5, "{isa}, {n}: {y}, not {want}");
                }
                outs.push(out);
            }
            assert!(outs.iter().all(|o| *o == outs[0]), "tiers differ at {n}");
        }
    }
}
