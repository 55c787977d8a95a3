//! Attention of whole sequences, each position to all of its own sequence.
//!
//! Keys of a head are turned into panels of 16 positions `[width, 16]`, so that scores need no sum across lanes. A score is one chain over the
//! width and values are added position by position: the same bits whatever else is in the batch, on any tier and any number of threads.

use super::config::MAX_HEAD_DIM;
use crate::forward::fit;
use ndarray::ArrayViewMut2;
use scant_tensor_core::Ctx;
use scant_tensor_core::simd::{Simd, WithSimd};
use std::ops::Range;

/// Queries that go over keys and values together.
const QUERIES: usize = 4;
/// Positions whose scores are on the stack at a time; longer sequences are merged block by block.
const KEYS: usize = 256;
/// What a hidden score is: far below every real one, and finite, so that only NaN makes NaN.
const HIDDEN: f32 = -1e30;

/// Buffers of [`attend`].
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers {
    /// Panels of keys, then values, for each sequence and head.
    packed: Vec<f32>,
    cuts: Vec<Range<usize>>,
}

/// Where a head of a sequence of `len` positions has its keys and values.
#[derive(Clone, Copy)]
struct Layout {
    dim: usize,
    /// Of a value.
    padded: usize,
    /// Whole panels.
    positions: usize,
}

impl Layout {
    fn new(len: usize, dim: usize) -> Layout {
        Layout { dim, padded: dim.next_multiple_of(16), positions: len.next_multiple_of(16) }
    }

    fn keys(self) -> usize {
        self.positions * self.dim
    }

    fn total(self) -> usize {
        self.keys() + self.positions * self.padded
    }
}

/// `out` `[rows, hidden]` from `qkv` `[rows, 3 hidden]`: queries, keys and values of all heads. `sequences` are ranges of rows without gaps.
pub(super) fn attend(ctx: &Ctx<'_>, heads: usize, sequences: &[Range<usize>], qkv: &[f32], buffers: &mut Buffers, out: &mut [f32]) {
    let rows = sequences.last().map_or(0, |s| s.end);
    let hidden = out.len() / rows.max(1);
    let dim = hidden / heads;
    let Buffers { packed, cuts } = buffers;
    cuts.clear();
    let mut end = 0;
    for sequence in sequences {
        let total = Layout::new(sequence.len(), dim).total();
        for _ in 0..heads {
            cuts.push(end..end + total);
            end += total;
        }
    }
    let packed = fit(packed, end);
    let all = ArrayViewMut2::from_shape((1, end), &mut *packed).expect("one row of everything");
    ctx.team.split(all, cuts, |task, mut part| {
        let (sequence, head) = (&sequences[task / heads], task % heads);
        let rows = &qkv[sequence.start * 3 * hidden..sequence.end * 3 * hidden];
        let part = part.as_slice_mut().expect("one row is contiguous");
        pack(Layout::new(sequence.len(), dim), rows, hidden, hidden + head * dim, part);
    });
    let mut ready = &*packed;
    for sequence in sequences {
        let layout = Layout::new(sequence.len(), dim);
        let (mine, rest) = ready.split_at(heads * layout.total());
        ready = rest;
        let qkv = &qkv[sequence.start * 3 * hidden..sequence.end * 3 * hidden];
        let out = &mut out[sequence.start * hidden..sequence.end * hidden];
        let out = ArrayViewMut2::from_shape((sequence.len(), hidden), out).expect("whole rows");
        cuts.clear();
        cuts.extend((0..heads).map(|head| head * dim..(head + 1) * dim));
        ctx.team.split(out, cuts, |head, out| {
            let (keys, values) = mine[head * layout.total()..(head + 1) * layout.total()].split_at(layout.keys());
            ctx.isa.run(Head { layout, queries: &qkv[head * dim..], stride: 3 * hidden, keys, values, out });
        });
    }
}

/// Keys from column `at` of `rows` and values `hidden` columns behind them.
fn pack(layout: Layout, rows: &[f32], hidden: usize, at: usize, part: &mut [f32]) {
    let Layout { dim, padded, .. } = layout;
    let (keys, values) = part.split_at_mut(layout.keys());
    let len = rows.len() / (3 * hidden);
    for (panel, keys) in keys.chunks_exact_mut(16 * dim).enumerate() {
        for t in 0..16 {
            let keys = keys.iter_mut().skip(t).step_by(16);
            match 16 * panel + t {
                row if row < len => keys.zip(&rows[row * 3 * hidden + at..][..dim]).for_each(|(to, from)| *to = *from),
                _ => keys.for_each(|to| *to = 0.0),
            }
        }
    }
    for (row, value) in values.chunks_exact_mut(padded).enumerate() {
        value[dim..].fill(0.0);
        match row {
            row if row < len => value[..dim].copy_from_slice(&rows[row * 3 * hidden + hidden + at..][..dim]),
            _ => value.fill(0.0),
        }
    }
}

/// All queries of one head of one sequence.
struct Head<'a, 'o> {
    layout: Layout,
    /// The first query; the next is `stride` numbers behind it.
    queries: &'a [f32],
    stride: usize,
    keys: &'a [f32],
    values: &'a [f32],
    out: ArrayViewMut2<'o, f32>,
}

/// What some queries have seen so far: the largest score, the sum of weights, the weighted sum of values.
struct State {
    max: [f32; QUERIES],
    sum: [f32; QUERIES],
    values: [[f32; MAX_HEAD_DIM]; QUERIES],
}

impl WithSimd for Head<'_, '_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Layout { dim, padded, positions } = self.layout;
        let len = self.out.nrows();
        let scale = 1.0 / (dim as f32).sqrt();
        let mut scores = [[0.0; KEYS]; QUERIES];
        let mut state = State { max: [HIDDEN; QUERIES], sum: [0.0; QUERIES], values: [[0.0; MAX_HEAD_DIM]; QUERIES] };
        for first in (0..len).step_by(QUERIES) {
            let q: [&[f32]; QUERIES] = std::array::from_fn(|r| &self.queries[(first + r).min(len - 1) * self.stride..][..dim]);
            (state.max, state.sum) = ([HIDDEN; QUERIES], [0.0; QUERIES]);
            state.values.iter_mut().for_each(|v| v[..padded].fill(0.0));
            for block in (0..positions).step_by(KEYS) {
                let width = KEYS.min(positions - block);
                let keys = &self.keys[block * dim..][..width * dim];
                let (pairs, one) = keys.split_at(width / 32 * 32 * dim);
                for (i, pair) in pairs.chunks_exact(32 * dim).enumerate() {
                    let (a, b) = pair.split_at(16 * dim);
                    panels(s, &q, [a, b], scale, 32 * i, &mut scores);
                }
                if !one.is_empty() {
                    panels(s, &q, [one], scale, width - 16, &mut scores);
                }
                // Padding is behind the last position.
                scores.iter_mut().for_each(|row| row[(len - block).min(width)..width].fill(HIDDEN));
                let factors = weigh(s, &mut scores, width, &mut state);
                let values = &self.values[block * padded..][..width * padded];
                let mut chunk = 0;
                while chunk < padded / 16 {
                    if padded / 16 - chunk >= 2 {
                        add_values::<S, 2>(s, &scores, values, padded, chunk, factors, &mut state);
                        chunk += 2;
                    } else {
                        add_values::<S, 1>(s, &scores, values, padded, chunk, factors, &mut state);
                        chunk += 1;
                    }
                }
            }
            for r in 0..QUERIES.min(len - first) {
                let mut out = self.out.row_mut(first + r);
                let out = out.as_slice_mut().expect("rows are contiguous");
                let inverse = 1.0 / state.sum[r];
                out.iter_mut().zip(&state.values[r]).for_each(|(out, v)| *out = v * inverse);
            }
        }
    }
}

/// Scaled scores of `P` panels of keys.
#[inline(always)]
fn panels<S: Simd, const P: usize>(
    s: S,
    q: &[&[f32]; QUERIES],
    keys: [&[f32]; P],
    scale: f32,
    at: usize,
    scores: &mut [[f32; KEYS]; QUERIES],
) {
    let mut acc = [[s.splat(0.0); P]; QUERIES];
    let keys: [&[[f32; 16]]; P] = keys.map(|k| k.as_chunks().0);
    for j in 0..q[0].len() {
        // Loops, not closures: what a closure holds is compiled without the tier's instructions.
        let mut k = [s.splat(0.0); P];
        for (k, keys) in k.iter_mut().zip(&keys) {
            *k = s.load(&keys[j]);
        }
        for (acc, q) in acc.iter_mut().zip(q) {
            let q = s.splat(q[j]);
            for (acc, k) in acc.iter_mut().zip(&k) {
                *acc = s.mul_add(*k, q, *acc);
            }
        }
    }
    let scale = s.splat(scale);
    for (acc, scores) in acc.into_iter().zip(scores) {
        for (acc, out) in acc.into_iter().zip(scores[at..].as_chunks_mut().0) {
            s.store(s.mul(acc, scale), out);
        }
    }
}

/// Scores become weights `exp(score - max)`. Returns what the sums so far are to be multiplied with.
#[inline(always)]
fn weigh<S: Simd>(s: S, scores: &mut [[f32; KEYS]; QUERIES], width: usize, state: &mut State) -> [f32; QUERIES] {
    let mut factors = [0.0; QUERIES];
    for (r, scores) in scores.iter_mut().enumerate() {
        let scores = scores[..width].as_chunks_mut().0;
        let mut most = s.splat(state.max[r]);
        for x in scores.iter() {
            most = s.max(most, s.load(x));
        }
        let max = s.max_lane(most);
        let mut sum = s.splat(0.0);
        for x in scores {
            let d = s.sub(s.load(x), s.splat(max));
            // `exp` turns NaN into a number on some tiers, d * 0 keeps it.
            let weight = s.mul_add(d, s.splat(0.0), s.exp(d));
            sum = s.add(sum, weight);
            s.store(weight, x);
        }
        let mut factor = [0.0; 16];
        s.store(s.exp(s.splat(state.max[r] - max)), &mut factor);
        factors[r] = factor[0];
        state.sum[r] = state.sum[r].mul_add(factors[r], s.sum(sum));
        state.max[r] = max;
    }
    factors
}

/// Sixteen components times `C` of the weighted sums of values.
#[inline(always)]
fn add_values<S: Simd, const C: usize>(
    s: S,
    weights: &[[f32; KEYS]; QUERIES],
    values: &[f32],
    padded: usize,
    chunk: usize,
    factors: [f32; QUERIES],
    state: &mut State,
) {
    let mut acc = [[s.splat(0.0); C]; QUERIES];
    for (r, acc) in acc.iter_mut().enumerate() {
        let sums = &state.values[r].as_chunks().0[chunk..chunk + C];
        for (acc, sum) in acc.iter_mut().zip(sums) {
            *acc = s.mul(s.load(sum), s.splat(factors[r]));
        }
    }
    for (t, value) in values.chunks_exact(padded).enumerate().take(KEYS) {
        let mut v = [s.splat(0.0); C];
        for (v, value) in v.iter_mut().zip(&value.as_chunks::<16>().0[chunk..chunk + C]) {
            *v = s.load(value);
        }
        for (acc, weights) in acc.iter_mut().zip(weights) {
            let weight = s.splat(weights[t]);
            for (acc, v) in acc.iter_mut().zip(&v) {
                *acc = s.mul_add(*v, weight, *acc);
            }
        }
    }
    for (r, acc) in acc.into_iter().enumerate() {
        for (acc, sum) in acc.into_iter().zip(&mut state.values[r].as_chunks_mut().0[chunk..chunk + C]) {
            s.store(acc, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scant_tensor_core::isa::Isa;
    use scant_tensor_core::rng::Rng;
    use scant_tensor_core::{Mode, team::Team};

    /// Plain attention in f64.
    fn want(heads: usize, dim: usize, sequences: &[Range<usize>], qkv: &[f32]) -> Vec<f64> {
        let hidden = heads * dim;
        let at = |row: usize, column: usize| f64::from(qkv[row * 3 * hidden + column]);
        let mut out = vec![];
        for sequence in sequences {
            for row in sequence.clone() {
                for head in 0..heads {
                    let dot = |key: usize| (0..dim).map(|j| at(row, head * dim + j) * at(key, hidden + head * dim + j)).sum::<f64>();
                    let weights: Vec<f64> = sequence.clone().map(|key| (dot(key) / (dim as f64).sqrt()).exp()).collect();
                    let sum: f64 = weights.iter().sum();
                    out.extend((0..dim).map(|j| {
                        let value = |(key, w): (usize, &f64)| w * at(key, 2 * hidden + head * dim + j);
                        sequence.clone().zip(&weights).map(value).sum::<f64>() / sum
                    }));
                }
            }
        }
        out
    }

    #[test]
    fn every_tier_and_thread_count_gives_the_same_and_right_sums() {
        // Widths with and without padding; one position, whole panels, and more than one block of keys.
        for (heads, dim) in [(3, 32), (2, 20), (1, 64)] {
            let sequences = [0..1, 1..33, 33..50, 50..50 + KEYS + 21];
            let rows = sequences[3].end;
            let hidden = heads * dim;
            let mut rng = Rng::new(dim as u64);
            let qkv: Vec<f32> = (0..rows * 3 * hidden).map(|_| rng.normal()).collect();
            let want = want(heads, dim, &sequences, &qkv);
            let mut outs = vec![];
            for isa in Isa::available() {
                for threads in [1, 2] {
                    let ctx = Ctx { isa, mode: Mode::Exact, team: &Team::new(threads) };
                    let mut out = vec![f32::NAN; rows * hidden];
                    attend(&ctx, heads, &sequences, &qkv, &mut Buffers::default(), &mut out);
                    for (got, want) in out.iter().zip(&want) {
                        assert!((f64::from(*got) - want).abs() < 2e-6, "{isa}, {heads} heads of {dim}: {got}, not {want}");
                    }
                    outs.push(out);
                }
            }
            assert!(outs.iter().all(|o| *o == outs[0]), "tiers or threads differ");
        }
    }
}
