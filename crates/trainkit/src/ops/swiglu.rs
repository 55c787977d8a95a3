//! SwiGLU (Shazeer 2020): a gate and a value side by side in each row.

use scant_tensor_core::isa::Isa;
use scant_tensor_core::simd::{Simd, WithSimd};

/// `y = silu(gate) up` for rows `gate | up` of `2 width` values; `y` has rows of `width`.
///
/// # Panics
/// If `gate_up` is not whole rows, or `y` is not half as long.
pub fn swiglu(isa: Isa, gate_up: &[f32], width: usize, y: &mut [f32]) {
    check(gate_up, width, y.len());
    isa.run(Forward { gate_up, width, y });
}

/// The gradient of [`swiglu`], `gate | up` as its input.
///
/// # Panics
/// If the lengths disagree.
pub fn swiglu_vjp(isa: Isa, gate_up: &[f32], width: usize, dy: &[f32], d_gate_up: &mut [f32]) {
    check(gate_up, width, dy.len());
    check(d_gate_up, width, dy.len());
    isa.run(Backward { gate_up, width, dy, d_gate_up });
}

fn check(gate_up: &[f32], width: usize, y: usize) {
    assert!(width > 0 && gate_up.len().is_multiple_of(2 * width), "swiglu: {} values are no rows of {}", gate_up.len(), 2 * width);
    assert_eq!(gate_up.len(), 2 * y, "swiglu: lengths differ");
}

struct Forward<'a> {
    gate_up: &'a [f32],
    width: usize,
    y: &'a mut [f32],
}

#[inline(always)]
fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    s.div(one, s.add(one, s.exp(s.sub(s.splat(0.0), x))))
}

impl WithSimd for Forward<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (row, y) in self.gate_up.chunks_exact(2 * self.width).zip(self.y.chunks_exact_mut(self.width)) {
            let (gate, up) = row.split_at(self.width);
            for ((g, u), y) in gate.chunks(16).zip(up.chunks(16)).zip(y.chunks_mut(16)) {
                let x = s.load_tail(g);
                let mut out = [0.0; 16];
                s.store(s.mul(s.mul(x, sigmoid(s, x)), s.load_tail(u)), &mut out);
                y.copy_from_slice(&out[..y.len()]);
            }
        }
    }
}

struct Backward<'a> {
    gate_up: &'a [f32],
    width: usize,
    dy: &'a [f32],
    d_gate_up: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.width;
        let rows = self.gate_up.chunks_exact(2 * width).zip(self.dy.chunks_exact(width));
        for ((row, dy), d) in rows.zip(self.d_gate_up.chunks_exact_mut(2 * width)) {
            let ((gate, up), (d_gate, d_up)) = (row.split_at(width), d.split_at_mut(width));
            let inputs = gate.chunks(16).zip(up.chunks(16)).zip(dy.chunks(16));
            for (((g, u), dy), (d_gate, d_up)) in inputs.zip(d_gate.chunks_mut(16).zip(d_up.chunks_mut(16))) {
                let (g, u, dy) = (s.load_tail(g), s.load_tail(u), s.load_tail(dy));
                let sig = sigmoid(s, g);
                let one = s.splat(1.0);
                // d silu(g) / dg = sig (1 + g (1 - sig))
                let slope = s.mul(sig, s.mul_add(g, s.sub(one, sig), one));
                let mut out = [0.0; 16];
                s.store(s.mul(s.mul(dy, u), slope), &mut out);
                d_gate.copy_from_slice(&out[..d_gate.len()]);
                s.store(s.mul(dy, s.mul(g, sig)), &mut out);
                d_up.copy_from_slice(&out[..d_up.len()]);
            }
        }
    }
}
