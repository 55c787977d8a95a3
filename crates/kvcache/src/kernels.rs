//! Attention of a few queries over one slab: scores, softmax, weighted sum of values.
//!
//! Per query the order of every operation depends on positions alone: a score is one chain over the components, the softmax adds lanes
//! panel by panel, and values are added token by token.

use crate::dense::{SLAB, Stored};
use scant_tensor_core::simd::{Simd, WithSimd};
use std::ops::Range;

/// What a hidden score is: far below every real one, and finite, so that only NaN makes NaN.
const HIDDEN: f32 = -1e30;

/// Numbers before the sums in a [`Partial`](Tile::partial): the largest score and the sum of weights, then padding.
pub(crate) const HEAD: usize = 16;

/// Queries that go through a slab together at most.
pub(crate) const ROWS: usize = 8;

/// `R` queries of one key/value head over one slab: 1 to 4, or 8.
pub(crate) struct Tile<'a, T, const R: usize> {
    /// Queries side by side, `[key_dim]`; of a row the first `R` count.
    pub(crate) q: &'a [[f32; ROWS]],
    /// Tokens of the slab that each query sees.
    pub(crate) sees: [Range<usize>; R],
    /// `[panels, key_dim, 16]`
    pub(crate) keys: &'a [T],
    /// `[tokens, padded value_dim]`
    pub(crate) values: &'a [T],
    pub(crate) key_dim: usize,
    pub(crate) scale: f32,
    pub(crate) softcap: Option<f32>,
    /// Room for the weights.
    pub(crate) scores: &'a mut [[f32; SLAB]; R],
    /// `[R, HEAD + padded value_dim]`: the result.
    pub(crate) partial: &'a mut [f32],
}

impl<T: Stored, const R: usize> WithSimd for Tile<'_, T, R> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let sees = || self.sees.iter().filter(|r| !r.is_empty());
        let first = sees().map(|r| r.start).min().unwrap_or(0) / 16;
        let end = sees().map(|r| r.end).max().unwrap_or(0).div_ceil(16);
        let mut panel = first;
        // As many sums at a time as a tier has registers for.
        while panel < end {
            let left = end - panel;
            panel += if R == 8 && S::WIDE && left >= 2 {
                self.scores::<S, 8, 2>(s, 0, panel)
            } else if R == 8 && S::WIDE {
                self.scores::<S, 8, 1>(s, 0, panel)
            } else if R == 8 {
                self.scores::<S, 4, 1>(s, 0, panel);
                self.scores::<S, 4, 1>(s, 4, panel)
            } else if S::WIDE && R <= 2 && left >= 4 {
                self.scores::<S, R, 4>(s, 0, panel)
            } else if (S::WIDE || R <= 2) && left >= 2 {
                self.scores::<S, R, 2>(s, 0, panel)
            } else {
                self.scores::<S, R, 1>(s, 0, panel)
            };
        }
        self.softmax(s, first..end);
        let tokens = 16 * first..16 * end;
        let chunks = self.partial.len() / R / 16 - HEAD / 16;
        let mut chunk = 0;
        while chunk < chunks {
            let left = chunks - chunk;
            chunk += if R == 8 && S::WIDE && left >= 2 {
                self.values::<S, 8, 2>(s, 0, tokens.clone(), chunk)
            } else if R == 8 && S::WIDE {
                self.values::<S, 8, 1>(s, 0, tokens.clone(), chunk)
            } else if R == 8 {
                self.values::<S, 4, 1>(s, 0, tokens.clone(), chunk);
                self.values::<S, 4, 1>(s, 4, tokens.clone(), chunk)
            } else if S::WIDE && left >= 4 {
                self.values::<S, R, 4>(s, 0, tokens.clone(), chunk)
            } else if (S::WIDE || R <= 2) && left >= 2 {
                self.values::<S, R, 2>(s, 0, tokens.clone(), chunk)
            } else {
                self.values::<S, R, 1>(s, 0, tokens.clone(), chunk)
            };
        }
    }
}

impl<T: Stored, const R: usize> Tile<'_, T, R> {
    /// Scaled and capped scores of `Q` queries from `row` on over `P` panels; returns `P`.
    #[inline(always)]
    fn scores<S: Simd, const Q: usize, const P: usize>(&mut self, s: S, row: usize, panel: usize) -> usize {
        let keys: [&[[T; 16]]; P] = std::array::from_fn(|p| &self.keys.as_chunks().0[(panel + p) * self.key_dim..][..self.key_dim]);
        let mut acc = [[s.splat(0.0); P]; Q];
        for (j, q) in self.q.iter().enumerate().take(self.key_dim) {
            // Loops, not closures: what a closure holds is compiled without the tier's instructions.
            let mut k = [s.splat(0.0); P];
            for p in 0..P {
                k[p] = T::load(s, &keys[p][j]);
            }
            for r in 0..Q {
                let q = s.splat(q[row + r]);
                for p in 0..P {
                    acc[r][p] = s.mul_add(k[p], q, acc[r][p]);
                }
            }
        }
        let scale = s.splat(self.scale);
        for (acc, scores) in acc.into_iter().zip(&mut self.scores[row..]) {
            for (acc, out) in acc.into_iter().zip(scores[16 * panel..].as_chunks_mut().0) {
                let mut score = s.mul(acc, scale);
                if let Some(cap) = self.softcap {
                    score = s.mul(tanh(s, s.div(score, s.splat(cap))), s.splat(cap));
                }
                s.store(score, out);
            }
        }
        P
    }

    /// Scores become weights `exp(score - max)`; what a query does not see weighs 0.
    #[inline(always)]
    fn softmax<S: Simd>(&mut self, s: S, panels: Range<usize>) {
        let width = self.partial.len() / R;
        for (r, scores) in self.scores.iter_mut().enumerate() {
            let scores = &mut scores[16 * panels.start..16 * panels.end];
            if self.sees[r].is_empty() {
                scores.fill(0.0);
                self.partial[r * width..][..2].fill(0.0);
                continue;
            }
            let sees = self.sees[r].start - 16 * panels.start..self.sees[r].end - 16 * panels.start;
            scores[..sees.start].fill(HIDDEN);
            scores[sees.end..].fill(HIDDEN);
            let scores = scores.as_chunks_mut().0;
            let mut max = s.splat(HIDDEN);
            for x in scores.iter() {
                max = s.max(max, s.load(x));
            }
            let max = s.max_lane(max);
            let mut sum = s.splat(0.0);
            for x in scores {
                let d = s.sub(s.load(x), s.splat(max));
                // `exp` turns NaN into a number on some tiers, d * 0 keeps it.
                let weight = s.mul_add(d, s.splat(0.0), s.exp(d));
                sum = s.add(sum, weight);
                s.store(weight, x);
            }
            self.partial[r * width] = max;
            self.partial[r * width + 1] = s.sum(sum);
        }
    }

    /// Sixteen components times `C` of the weighted sum of values, for `Q` queries from `row` on; returns `C`.
    #[inline(always)]
    fn values<S: Simd, const Q: usize, const C: usize>(&mut self, s: S, row: usize, tokens: Range<usize>, chunk: usize) -> usize {
        let width = self.partial.len() / R;
        let chunks = width / 16 - HEAD / 16;
        let values = &self.values.as_chunks::<16>().0[tokens.start * chunks..tokens.end * chunks];
        let Some(weights) = self.scores[row..].first_chunk::<Q>() else { return C };
        let mut acc = [[s.splat(0.0); C]; Q];
        for (value, t) in values.chunks_exact(chunks).zip(tokens.start..SLAB) {
            let Some(value) = value[chunk..].first_chunk::<C>() else { return C };
            let mut v = [s.splat(0.0); C];
            for c in 0..C {
                v[c] = T::load(s, &value[c]);
            }
            for r in 0..Q {
                let weight = s.splat(weights[r][t]);
                for c in 0..C {
                    acc[r][c] = s.mul_add(v[c], weight, acc[r][c]);
                }
            }
        }
        for (r, acc) in acc.into_iter().enumerate() {
            let out = &mut self.partial[(row + r) * width + HEAD + 16 * chunk..][..16 * C];
            for (acc, out) in acc.into_iter().zip(out.as_chunks_mut().0) {
                s.store(acc, out);
            }
        }
        C
    }
}

/// `1 - 2 / (e^2x + 1)`: within 2^-23 of tanh, which is all that a cap of some tens needs. NaN stays NaN.
#[inline(always)]
fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    let e = s.exp(s.add(x, x));
    let t = s.sub(one, s.div(s.splat(2.0), s.add(e, one)));
    s.mul_add(x, s.splat(0.0), t)
}

/// Adds a partial result over later tokens to `state`, of the same form; a state that has seen nothing is all zeros.
pub(crate) struct Merge<'a> {
    /// `[HEAD + padded value_dim]`
    pub(crate) state: &'a mut [f32],
    pub(crate) partial: &'a [f32],
}

impl WithSimd for Merge<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [max, sum] = [self.state[0], self.state[1]];
        let [max2, sum2] = [self.partial[0], self.partial[1]];
        if sum2 == 0.0 {
            return;
        }
        if sum == 0.0 {
            self.state.copy_from_slice(self.partial);
            return;
        }
        let most = if max2 > max { max2 } else { max };
        let (a, b) = (s.exp(s.splat(max - most)), s.exp(s.splat(max2 - most)));
        let mut head = [0.0; 16];
        s.store(s.mul_add(s.splat(sum), a, s.mul(s.splat(sum2), b)), &mut head);
        self.state[0] = most;
        self.state[1] = head[0];
        let sums = self.state[HEAD..].as_chunks_mut().0;
        for (x, y) in sums.iter_mut().zip(self.partial[HEAD..].as_chunks().0) {
            s.store(s.mul_add(s.load(x), a, s.mul(s.load(y), b)), x);
        }
    }
}

/// `out = sums / sum of weights`.
pub(crate) struct Finish<'a> {
    /// `[HEAD + padded value_dim]`
    pub(crate) state: &'a [f32],
    /// `[value_dim]`
    pub(crate) out: &'a mut [f32],
}

impl WithSimd for Finish<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let sum = s.splat(self.state[1]);
        for (x, out) in self.state[HEAD..].as_chunks().0.iter().zip(self.out.chunks_mut(16)) {
            let mut lanes = [0.0; 16];
            s.store(s.div(s.load(x), sum), &mut lanes);
            out.copy_from_slice(&lanes[..out.len()]);
        }
    }
}
