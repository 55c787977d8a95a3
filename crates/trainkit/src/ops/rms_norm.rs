//! RMSNorm (Zhang and Sennrich 2019) over the last dimension.

use scant_tensor_core::isa::Isa;
use scant_tensor_core::simd::{Simd, WithSimd};

/// `y = x w / sqrt(mean(x^2) + eps)` for each row of `x` `[n, w.len()]`.
///
/// # Panics
/// If `x` is not whole rows, or `y` is not as long as `x`.
pub fn rms_norm(isa: Isa, x: &[f32], w: &[f32], eps: f32, y: &mut [f32]) {
    check(x, w, y);
    isa.run(Forward { x, w, eps, y });
}

/// Gradients of [`rms_norm`]: `dx` is overwritten, `dw` is added to.
///
/// # Panics
/// If the lengths disagree.
pub fn rms_norm_vjp(isa: Isa, x: &[f32], w: &[f32], eps: f32, dy: &[f32], dx: &mut [f32], dw: &mut [f32]) {
    check(x, w, dy);
    check(x, w, dx);
    assert_eq!(w.len(), dw.len(), "rms_norm_vjp: length of dw");
    isa.run(Backward { x, w, eps, dy, dx, dw });
}

fn check(x: &[f32], w: &[f32], y: &[f32]) {
    assert!(!w.is_empty() && x.len().is_multiple_of(w.len()), "rms_norm: {} values are no rows of {}", x.len(), w.len());
    assert_eq!(x.len(), y.len(), "rms_norm: lengths differ");
}

/// The sum of `a b c`, in lanes of 16.
#[inline(always)]
fn dot3<S: Simd>(s: S, a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let ((a, at), (b, bt), (c, ct)) = (a.as_chunks::<16>(), b.as_chunks::<16>(), c.as_chunks::<16>());
    let mut sum = s.mul(s.mul(s.load_tail(at), s.load_tail(bt)), s.load_tail(ct));
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        sum = s.mul_add(s.mul(s.load(a), s.load(b)), s.load(c), sum);
    }
    s.sum(sum)
}

#[inline(always)]
fn inverse_rms<S: Simd>(s: S, x: &[f32], eps: f32) -> f32 {
    let (lanes, tail) = x.as_chunks::<16>();
    let tail = s.load_tail(tail);
    let mut sum = s.mul(tail, tail);
    for x in lanes {
        let x = s.load(x);
        sum = s.mul_add(x, x, sum);
    }
    1.0 / (s.sum(sum) / x.len() as f32 + eps).sqrt()
}

struct Forward<'a> {
    x: &'a [f32],
    w: &'a [f32],
    eps: f32,
    y: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let d = self.w.len();
        for (x, y) in self.x.chunks_exact(d).zip(self.y.chunks_exact_mut(d)) {
            let r = inverse_rms(s, x, self.eps);
            for ((y, x), w) in y.iter_mut().zip(x).zip(self.w) {
                *y = x * r * w;
            }
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    w: &'a [f32],
    eps: f32,
    dy: &'a [f32],
    dx: &'a mut [f32],
    dw: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let d = self.w.len();
        for ((x, dy), dx) in self.x.chunks_exact(d).zip(self.dy.chunks_exact(d)).zip(self.dx.chunks_exact_mut(d)) {
            let r = inverse_rms(s, x, self.eps);
            let c = dot3(s, x, dy, self.w) * r * r * r / d as f32;
            for (((dx, dw), x), (dy, w)) in dx.iter_mut().zip(self.dw.iter_mut()).zip(x).zip(dy.iter().zip(self.w)) {
                *dx = dy * w * r - x * c;
                *dw += dy * x * r;
            }
        }
    }
}
