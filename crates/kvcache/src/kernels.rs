//! Attention of a few queries over one piece of a head's entries: scores, softmax, weighted sum of values.
//!
//! Per query the order of every operation depends on positions alone: a score is one chain over the components, the softmax adds lanes
//! panel by panel, and values are added token by token.

use crate::dense::{SLAB, Stored};
use scant_tensor_core::simd::{Simd, WithSimd};
use std::ops::Range;

/// What a hidden score is: far below every real one, and finite, so that only NaN makes NaN.
const HIDDEN: f32 = -1e30;

/// Numbers before the sums of a [`partial`](Tile::partial) result: the largest score and the sum of weights, then padding.
pub(crate) const HEAD: usize = 16;

/// Queries that go through a slab together at most.
pub(crate) const ROWS: usize = 8;

/// What holds the keys and values of one head for up to [`SLAB`] entries.
pub(crate) trait Piece: Copy {
    /// Dot products of `R` queries, side by side in `q` `[key_dim]`, with the keys of the entries in `panels`.
    fn scores<S: Simd, const R: usize>(self, s: S, q: &[[f32; ROWS]], panels: Range<usize>, out: &mut [[f32; SLAB]; R]);

    /// Sums of the values in `panels`, weighted for each of `R` queries, to `[R, HEAD + padded value_dim]`. Weights of other panels are 0.
    fn sums<S: Simd, const R: usize>(self, s: S, weights: &[[f32; SLAB]; R], panels: Range<usize>, partial: &mut [f32]);
}

/// Entries as they are.
#[derive(Clone, Copy)]
pub(crate) struct Dense<'a, T> {
    /// `[panels, key_dim, 16]`
    pub(crate) keys: &'a [T],
    /// `[tokens, padded value_dim]`
    pub(crate) values: &'a [T],
    pub(crate) key_dim: usize,
}

impl<T: Stored> Piece for Dense<'_, T> {
    #[inline(always)]
    fn scores<S: Simd, const R: usize>(self, s: S, q: &[[f32; ROWS]], panels: Range<usize>, out: &mut [[f32; SLAB]; R]) {
        let mut panel = panels.start;
        // As many sums at a time as a tier has registers for.
        while panel < panels.end {
            let left = panels.end - panel;
            panel += if R == 8 && S::WIDE && left >= 2 {
                self.products::<S, 8, 2, R>(s, q, 0, panel, out)
            } else if R == 8 && S::WIDE {
                self.products::<S, 8, 1, R>(s, q, 0, panel, out)
            } else if R == 8 {
                self.products::<S, 4, 1, R>(s, q, 0, panel, out);
                self.products::<S, 4, 1, R>(s, q, 4, panel, out)
            } else if S::WIDE && R <= 2 && left >= 4 {
                self.products::<S, R, 4, R>(s, q, 0, panel, out)
            } else if (S::WIDE || R <= 2) && left >= 2 {
                self.products::<S, R, 2, R>(s, q, 0, panel, out)
            } else {
                self.products::<S, R, 1, R>(s, q, 0, panel, out)
            };
        }
    }

    #[inline(always)]
    fn sums<S: Simd, const R: usize>(self, s: S, weights: &[[f32; SLAB]; R], panels: Range<usize>, partial: &mut [f32]) {
        let tokens = 16 * panels.start..16 * panels.end;
        let chunks = partial.len() / R / 16 - HEAD / 16;
        let mut chunk = 0;
        while chunk < chunks {
            let left = chunks - chunk;
            chunk += if R == 8 && S::WIDE && left >= 2 {
                self.weighted::<S, 8, 2, R>(s, weights, 0, tokens.clone(), chunk, partial)
            } else if R == 8 && S::WIDE {
                self.weighted::<S, 8, 1, R>(s, weights, 0, tokens.clone(), chunk, partial)
            } else if R == 8 {
                self.weighted::<S, 4, 1, R>(s, weights, 0, tokens.clone(), chunk, partial);
                self.weighted::<S, 4, 1, R>(s, weights, 4, tokens.clone(), chunk, partial)
            } else if S::WIDE && left >= 4 {
                self.weighted::<S, R, 4, R>(s, weights, 0, tokens.clone(), chunk, partial)
            } else if (S::WIDE || R <= 2) && left >= 2 {
                self.weighted::<S, R, 2, R>(s, weights, 0, tokens.clone(), chunk, partial)
            } else {
                self.weighted::<S, R, 1, R>(s, weights, 0, tokens.clone(), chunk, partial)
            };
        }
    }
}

impl<T: Stored> Dense<'_, T> {
    /// Dot products of `Q` queries from `row` on with `P` panels; returns `P`.
    #[inline(always)]
    fn products<S: Simd, const Q: usize, const P: usize, const R: usize>(
        self,
        s: S,
        q: &[[f32; ROWS]],
        row: usize,
        panel: usize,
        out: &mut [[f32; SLAB]; R],
    ) -> usize {
        let keys: [&[[T; 16]]; P] = std::array::from_fn(|p| &self.keys.as_chunks().0[(panel + p) * self.key_dim..][..self.key_dim]);
        let mut acc = [[s.splat(0.0); P]; Q];
        for (j, q) in q.iter().enumerate().take(self.key_dim) {
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
        for (acc, scores) in acc.into_iter().zip(&mut out[row..]) {
            for (acc, out) in acc.into_iter().zip(scores[16 * panel..].as_chunks_mut().0) {
                s.store(acc, out);
            }
        }
        P
    }

    /// Sixteen components times `C` of the weighted sum of values, for `Q` queries from `row` on; returns `C`.
    #[inline(always)]
    fn weighted<S: Simd, const Q: usize, const C: usize, const R: usize>(
        self,
        s: S,
        weights: &[[f32; SLAB]; R],
        row: usize,
        tokens: Range<usize>,
        chunk: usize,
        partial: &mut [f32],
    ) -> usize {
        let width = partial.len() / R;
        let chunks = width / 16 - HEAD / 16;
        let values = &self.values.as_chunks::<16>().0[tokens.start * chunks..tokens.end * chunks];
        let Some(weights) = weights[row..].first_chunk::<Q>() else { return C };
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
            let out = &mut partial[(row + r) * width + HEAD + 16 * chunk..][..16 * C];
            for (acc, out) in acc.into_iter().zip(out.as_chunks_mut().0) {
                s.store(acc, out);
            }
        }
        C
    }
}

/// `R` queries of one key/value head over one piece: 1 to 4, or 8.
pub(crate) struct Queries<'a, P, const R: usize> {
    pub(crate) piece: P,
    /// Queries side by side, `[key_dim]`; of a row the first `R` count.
    pub(crate) q: &'a [[f32; ROWS]],
    /// Entries of the piece that each query sees.
    pub(crate) sees: [Range<usize>; R],
    pub(crate) scale: f32,
    pub(crate) softcap: Option<f32>,
    /// Added to the scores of entries, or nothing.
    pub(crate) bias: &'a [f32],
    /// Room for the scores.
    pub(crate) scores: &'a mut [[f32; SLAB]; R],
}

impl<P: Piece, const R: usize> Queries<'_, P, R> {
    /// Fills in the scores, scaled, capped and biased; returns the panels that any query sees. What a query does not see is [`HIDDEN`].
    #[inline(always)]
    fn fill<S: Simd>(&mut self, s: S) -> Range<usize> {
        let (mut first, mut end) = (usize::MAX, 0);
        for sees in &self.sees {
            if !sees.is_empty() {
                first = first.min(sees.start / 16);
                end = end.max(sees.end.div_ceil(16));
            }
        }
        let first = first.min(end);
        self.piece.scores::<S, R>(s, self.q, first..end, self.scores);
        let scale = s.splat(self.scale);
        for (scores, sees) in self.scores.iter_mut().zip(&self.sees) {
            scores[..16 * first].fill(HIDDEN);
            scores[16 * end..].fill(HIDDEN);
            for x in scores[16 * first..16 * end].as_chunks_mut().0 {
                let mut score = s.mul(s.load(x), scale);
                if let Some(cap) = self.softcap {
                    score = s.mul(tanh(s, s.div(score, s.splat(cap))), s.splat(cap));
                }
                s.store(score, x);
            }
            if !self.bias.is_empty() {
                scores.iter_mut().zip(self.bias).for_each(|(score, bias)| *score += bias);
            }
            scores[..sees.start].fill(HIDDEN);
            scores[sees.end..].fill(HIDDEN);
        }
        first..end
    }
}

/// Scores, softmax and weighted sums of values.
pub(crate) struct Tile<'a, P, const R: usize> {
    pub(crate) queries: Queries<'a, P, R>,
    /// `[R, HEAD + padded value_dim]`: the result.
    pub(crate) partial: &'a mut [f32],
}

impl<P: Piece, const R: usize> WithSimd for Tile<'_, P, R> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let panels = self.queries.fill(s);
        let width = self.partial.len() / R;
        for (r, scores) in self.queries.scores.iter_mut().enumerate() {
            let head = &mut self.partial[r * width..][..2];
            if self.queries.sees[r].is_empty() {
                scores.fill(0.0);
                head.fill(0.0);
            } else {
                softmax(s, scores, panels.clone(), head);
            }
        }
        self.queries.piece.sums::<S, R>(s, self.queries.scores, panels, self.partial);
    }
}

/// Scores become weights `exp(score - max)`; what is hidden weighs 0. Leaves the largest score and the sum of weights in `head`.
#[inline(always)]
fn softmax<S: Simd>(s: S, scores: &mut [f32; SLAB], panels: Range<usize>, head: &mut [f32]) {
    scores[..16 * panels.start].fill(0.0);
    scores[16 * panels.end..].fill(0.0);
    let scores = scores[16 * panels.start..16 * panels.end].as_chunks_mut().0;
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
    head[0] = max;
    head[1] = s.sum(sum);
}

/// Adds to each entry the attention that queries pay to it.
pub(crate) struct Columns<'a, P, const R: usize> {
    pub(crate) queries: Queries<'a, P, R>,
    /// Largest score and sum of weights of each query over all entries.
    pub(crate) norms: [[f32; 2]; R],
    /// What a query counts for.
    pub(crate) weight: f32,
    /// One for each entry of the piece, up to a whole panel.
    pub(crate) sums: &'a mut [f32],
}

impl<P: Piece, const R: usize> WithSimd for Columns<'_, P, R> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let panels = self.queries.fill(s);
        for (r, [max, sum]) in self.norms.into_iter().enumerate() {
            if self.queries.sees[r].is_empty() || sum == 0.0 {
                continue;
            }
            let weight = s.splat(self.weight / sum);
            let scores = self.queries.scores[r][16 * panels.start..16 * panels.end].as_chunks().0;
            for (x, sums) in scores.iter().zip(self.sums[16 * panels.start..].as_chunks_mut().0) {
                let paid = s.exp(s.sub(s.load(x), s.splat(max)));
                s.store(s.mul_add(paid, weight, s.load(sums)), sums);
            }
        }
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
