//! What happens to a row between two products: norms, rotations, gates.

use crate::Activation;
use scant_tensor_core::simd::{Simd, WithSimd};

/// `out = x / sqrt(mean(x^2) + eps) * gain`
pub(crate) struct RmsNorm<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) gain: &'a [f32],
    pub(crate) eps: f32,
    pub(crate) out: &'a mut [f32],
}

impl WithSimd for RmsNorm<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let factor = inverse_root(s, self.x, self.eps);
        for ((out, x), gain) in self.out.iter_mut().zip(self.x).zip(self.gain) {
            *out = x * factor * gain;
        }
    }
}

/// `x = x / sqrt(mean(x^2) + eps) * gain`
pub(crate) struct RmsNormInPlace<'a> {
    pub(crate) x: &'a mut [f32],
    pub(crate) gain: &'a [f32],
    pub(crate) eps: f32,
}

impl WithSimd for RmsNormInPlace<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let factor = inverse_root(s, self.x, self.eps);
        for (x, gain) in self.x.iter_mut().zip(self.gain) {
            *x = *x * factor * gain;
        }
    }
}

#[inline(always)]
fn inverse_root<S: Simd>(s: S, x: &[f32], eps: f32) -> f32 {
    let (lanes, tail) = x.as_chunks::<16>();
    let tail = s.load_tail(tail);
    let mut sum = s.mul(tail, tail);
    for lane in lanes {
        let lane = s.load(lane);
        sum = s.mul_add(lane, lane, sum);
    }
    1.0 / (s.sum(sum) / x.len() as f32 + eps).sqrt()
}

/// Turns pairs of one head: component `i` with component `i + d/2`.
pub(crate) struct Rotate<'a> {
    pub(crate) head: &'a mut [f32],
    pub(crate) cos: &'a [f32],
    pub(crate) sin: &'a [f32],
}

impl WithSimd for Rotate<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (first, second) = self.head.split_at_mut(self.cos.len());
        for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(self.cos).zip(self.sin) {
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        }
    }
}

/// `out = act(gate) * up` for a row that holds gate and up side by side.
pub(crate) struct Gate<'a> {
    pub(crate) gate_up: &'a [f32],
    pub(crate) activation: Activation,
    pub(crate) out: &'a mut [f32],
}

impl WithSimd for Gate<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (gate, up) = self.gate_up.split_at(self.out.len());
        let whole = self.out.len() / 16 * 16;
        let (out, out_tail) = self.out.as_chunks_mut::<16>();
        for ((out, gate), up) in out.iter_mut().zip(gate.as_chunks().0).zip(up.as_chunks().0) {
            s.store(gated(s, self.activation, s.load(gate), s.load(up)), out);
        }
        let mut last = [0.0; 16];
        s.store(gated(s, self.activation, s.load_tail(&gate[whole..]), s.load_tail(&up[whole..])), &mut last);
        out_tail.copy_from_slice(&last[..out_tail.len()]);
    }
}

#[inline(always)]
fn gated<S: Simd>(s: S, activation: Activation, gate: S::F, up: S::F) -> S::F {
    let z = match activation {
        Activation::Silu => gate,
        // (1 + tanh(u)) / 2 is the logistic function of 2u.
        Activation::GeluTanh => {
            let cubic = s.mul_add(s.mul(gate, gate), s.splat(0.044_715), s.splat(1.0));
            s.mul(s.mul(gate, cubic), s.splat(2.0 * 0.797_884_6))
        }
    };
    let e = s.exp(s.sub(s.splat(0.0), z));
    s.mul(s.div(gate, s.add(s.splat(1.0), e)), up)
}

/// `x = cap * tanh(x / cap)`
pub(crate) struct Softcap<'a> {
    pub(crate) x: &'a mut [f32],
    pub(crate) cap: f32,
}

impl WithSimd for Softcap<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let cap = s.splat(self.cap);
        let one = s.splat(1.0);
        for chunk in self.x.chunks_mut(16) {
            let x = s.div(s.load_tail(chunk), cap);
            let t = s.sub(one, s.div(s.splat(2.0), s.add(s.exp(s.add(x, x)), one)));
            let mut out = [0.0; 16];
            // `exp` turns NaN into a number on some tiers, x * 0 keeps it.
            s.store(s.mul_add(x, s.splat(0.0), s.mul(t, cap)), &mut out);
            chunk.copy_from_slice(&out[..chunk.len()]);
        }
    }
}
