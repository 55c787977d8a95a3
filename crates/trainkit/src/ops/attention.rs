//! Causal softmax attention with grouped key/value heads, over rows that hold `q | k | v` side by side.
//!
//! Queries are taken in blocks of 64, so that the work above the diagonal is at most half a block; probabilities are kept for the gradient.

use super::view::{view, view_mut};
use scant_tensor_core::isa::Isa;
use scant_tensor_core::linalg::matmul;
use scant_tensor_core::simd::{Simd, WithSimd};

const BLOCK: usize = 64;

/// The heads of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}

impl Heads {
    /// Width of a row `q | k | v`.
    pub fn qkv_width(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }

    /// Width of a row of results.
    pub fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Values of the probabilities of `rows` sequences.
    pub fn probabilities(&self, rows: usize, tokens: usize) -> usize {
        rows * self.heads * tokens * tokens
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// First columns of query, key and value of query head `h`.
    fn columns(&self, h: usize) -> [usize; 3] {
        let group = h / (self.heads / self.kv_heads);
        [h, self.heads + group, self.heads + self.kv_heads + group].map(|i| i * self.head_dim)
    }

    fn check(&self, tokens: usize, qkv: &[f32], p: &[f32], y: &[f32]) -> usize {
        assert!(self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads), "attention: {self:?}");
        let rows = qkv.len() / (tokens * self.qkv_width());
        assert_eq!(rows * tokens * self.qkv_width(), qkv.len(), "attention: whole sequences of {tokens}");
        assert_eq!(rows * tokens * self.width(), y.len(), "attention: length of the result");
        assert_eq!(self.probabilities(rows, tokens), p.len(), "attention: length of the probabilities");
        rows
    }
}

/// `y = softmax(q k^T / sqrt(head_dim)) v` within each sequence of `tokens` rows, each position seeing itself and what is before it.
///
/// `qkv` `[sequences * tokens, qkv_width]`, already rotated; `p` receives the probabilities `[sequences, heads, tokens, tokens]` (what lies above
/// the diagonal beyond a block of 64 is left alone); `y` `[sequences * tokens, width]`.
///
/// # Panics
/// If the lengths disagree.
pub fn attention(isa: Isa, heads: Heads, tokens: usize, qkv: &[f32], p: &mut [f32], y: &mut [f32]) {
    let rows = heads.check(tokens, qkv, p, y);
    let (wide, width, hd) = (heads.qkv_width(), heads.width(), heads.head_dim);
    for (task, p) in p.chunks_exact_mut(tokens * tokens).enumerate().take(rows * heads.heads) {
        let (row, h) = (task / heads.heads * tokens, task % heads.heads);
        let [q, k, v] = heads.columns(h);
        for first in (0..tokens).step_by(BLOCK) {
            let end = (first + BLOCK).min(tokens);
            let queries = view(qkv, wide, row + first..row + end, q, hd);
            let keys = view(qkv, wide, row..row + end, k, hd);
            matmul(heads.scale(), queries, keys.reversed_axes(), false, view_mut(p, tokens, first..end, 0, end));
            isa.run(CausalSoftmax { p: &mut p[first * tokens..end * tokens], tokens, first, end });
            let values = view(qkv, wide, row..row + end, v, hd);
            let out = view_mut(y, width, row + first..row + end, h * hd, hd);
            matmul(1.0, view(p, tokens, first..end, 0, end), values, false, out);
        }
    }
}

/// The gradient of [`attention`], `q | k | v` as its input. `p` holds the probabilities of the forward pass, `scratch` grows to 64 rows.
///
/// # Panics
/// If the lengths disagree.
#[expect(clippy::too_many_arguments, reason = "what went in, what was kept, what came back, where it goes")]
pub fn attention_vjp(isa: Isa, heads: Heads, tokens: usize, qkv: &[f32], p: &[f32], dy: &[f32], d_qkv: &mut [f32], scratch: &mut Vec<f32>) {
    let rows = heads.check(tokens, qkv, p, dy);
    assert_eq!(qkv.len(), d_qkv.len(), "attention_vjp: length of the gradient");
    let (wide, width, hd) = (heads.qkv_width(), heads.width(), heads.head_dim);
    scratch.resize(BLOCK * tokens, 0.0);
    d_qkv.fill(0.0); // several query heads add to one key head
    for (task, p) in p.chunks_exact(tokens * tokens).enumerate().take(rows * heads.heads) {
        let (row, h) = (task / heads.heads * tokens, task % heads.heads);
        let [q, k, v] = heads.columns(h);
        for first in (0..tokens).step_by(BLOCK) {
            let end = (first + BLOCK).min(tokens);
            let n = end - first;
            let probabilities = view(p, tokens, first..end, 0, end);
            let dy = view(dy, width, row + first..row + end, h * hd, hd);
            matmul(1.0, probabilities.reversed_axes(), dy, true, view_mut(d_qkv, wide, row..row + end, v, hd));
            let values = view(qkv, wide, row..row + end, v, hd);
            matmul(1.0, dy, values.reversed_axes(), false, view_mut(scratch, tokens, 0..n, 0, end));
            let ds = &mut scratch[..n * tokens];
            isa.run(SoftmaxVjp { p: &p[first * tokens..end * tokens], ds, tokens, end, scale: heads.scale() });
            let (ds, keys) = (view(scratch, tokens, 0..n, 0, end), view(qkv, wide, row..row + end, k, hd));
            matmul(1.0, ds, keys, false, view_mut(d_qkv, wide, row + first..row + end, q, hd));
            let queries = view(qkv, wide, row + first..row + end, q, hd);
            matmul(1.0, ds.reversed_axes(), queries, true, view_mut(d_qkv, wide, row..row + end, k, hd));
        }
    }
}

/// Scores to probabilities: row `i` of the block sees `first + i + 1` columns, the others up to `end` become 0.
struct CausalSoftmax<'a> {
    p: &'a mut [f32],
    tokens: usize,
    first: usize,
    end: usize,
}

impl WithSimd for CausalSoftmax<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (i, row) in self.p.chunks_exact_mut(self.tokens).enumerate() {
            let (seen, hidden) = row[..self.end].split_at_mut(self.first + i + 1);
            hidden.fill(0.0);
            let (lanes, tail) = seen.as_chunks_mut::<16>();
            let mut max = tail.iter().fold(f32::NEG_INFINITY, |m, x| if *x > m { *x } else { m });
            if let Some(x) = lanes.first() {
                let mut m = s.load(x);
                for x in lanes.iter() {
                    m = s.max(m, s.load(x));
                }
                max = max.max(s.max_lane(m));
            }
            let top = s.splat(max);
            let mut sum = s.splat(0.0);
            for x in lanes.iter_mut() {
                let e = s.exp(s.sub(s.load(x), top));
                sum = s.add(sum, e);
                s.store(e, x);
            }
            let mut rest = [0.0; 16];
            s.store(s.exp(s.sub(s.load_tail(tail), top)), &mut rest);
            let rest = &rest[..tail.len()];
            let scale = 1.0 / (s.sum(sum) + rest.iter().sum::<f32>());
            for x in lanes.as_flattened_mut() {
                *x *= scale;
            }
            for (x, e) in tail.iter_mut().zip(rest) {
                *x = e * scale;
            }
        }
    }
}

/// `ds = scale p (ds - sum(p ds))`, row by row.
struct SoftmaxVjp<'a> {
    p: &'a [f32],
    ds: &'a mut [f32],
    tokens: usize,
    end: usize,
    scale: f32,
}

impl WithSimd for SoftmaxVjp<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (p, ds) in self.p.chunks_exact(self.tokens).zip(self.ds.chunks_exact_mut(self.tokens)) {
            let (p, ds) = (&p[..self.end], &mut ds[..self.end]);
            let ((p16, p_tail), (d16, d_tail)) = (p.as_chunks::<16>(), ds.as_chunks::<16>());
            let mut sum = s.mul(s.load_tail(p_tail), s.load_tail(d_tail));
            for (p, d) in p16.iter().zip(d16) {
                sum = s.mul_add(s.load(p), s.load(d), sum);
            }
            let dot = s.sum(sum);
            for (p, d) in p.iter().zip(ds) {
                *d = self.scale * p * (*d - dot);
            }
        }
    }
}
