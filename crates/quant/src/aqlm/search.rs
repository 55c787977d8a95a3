//! Codes of a row, group after group, by beam search over the codebooks.
//!
//! With the rest `r` of a row and `p = r H`, a group's words `u` cost `u G u - 2 u t` (times the square of the scale), where `G` is the group's
//! block of `H` and `t = p / scale + G u` with the present `u`. Words are added book after book; what a word costs beside those chosen so far
//! is `word G word - 2 word (t - G u)`, and the first part is the same for all rows.

use super::{ROWS, State};
use rayon::prelude::*;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::simd::{Simd, WithSimd};

/// Partial sums that are kept from book to book.
const BEAM: usize = 8;
/// Codewords at most, and weights of one.
const WORDS: usize = 256;
const WEIGHTS: usize = 16;

/// What all rows share.
struct Shared<'s> {
    /// `[books, group_size, words]`: a lane is a word.
    transposed: Vec<f32>,
    /// `word G word`: `[groups, books, words]`.
    squares: Vec<f32>,
    words: &'s [f32],
    gram: &'s [f32],
    n: usize,
    g: usize,
    books: usize,
    count: usize,
}

/// Searches the codes of all rows once; a group's codes change only if that lowers the loss.
pub(super) fn sweep(state: &mut State<'_>) {
    let spec = state.spec;
    let (g, count, books) = (spec.group_size, spec.words(), spec.books);
    let mut transposed = vec![0.0; state.words.len()];
    for (at, word) in state.words.chunks_exact(g).enumerate() {
        let (c, v) = (at / count, at % count);
        word.iter().enumerate().for_each(|(k, w)| transposed[(c * g + k) * count + v] = *w);
    }
    let gram = state.gram.as_slice().expect("made in row order");
    let mut squares = vec![0.0; spec.groups() * books * count];
    squares.par_chunks_mut(books * count).enumerate().for_each(|(j, squares)| {
        for (square, word) in squares.iter_mut().zip(state.words.chunks_exact(g)) {
            for (k, a) in word.iter().enumerate() {
                let row = &gram[(j * g + k) * spec.n + j * g..][..g];
                *square += a * row.iter().zip(word).map(|(h, b)| h * b).sum::<f32>();
            }
        }
    });
    let rests: Vec<_> = state.chunks().into_par_iter().map(|first| state.rest(first)[1].clone()).collect();
    let shared = Shared { transposed, squares, words: &state.words, gram, n: spec.n, g, books, count };
    let per_row = spec.groups() * books;
    let chunks = state.codes.par_chunks_mut(ROWS * per_row).zip(rests).zip(state.scale.par_chunks(ROWS));
    chunks.for_each(|((codes, mut p), scale)| {
        let p = p.as_slice_mut().expect("made in row order");
        for ((codes, p), scale) in codes.chunks_exact_mut(per_row).zip(p.chunks_exact_mut(spec.n)).zip(scale) {
            if *scale != 0.0 {
                Isa::best().run(Row { shared: &shared, codes, p, scale: *scale });
            }
        }
    });
}

/// The codes of one row, and its `p`.
struct Row<'a, 's> {
    shared: &'a Shared<'s>,
    codes: &'a mut [u16],
    p: &'a mut [f32],
    scale: f32,
}

/// Words chosen so far, and what is left of `t`.
#[derive(Clone, Copy)]
struct Partial {
    cost: f32,
    t: [f32; WEIGHTS],
    codes: [u16; 16],
}

impl WithSimd for Row<'_, '_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Shared { words, gram, n, g, books, count, .. } = *self.shared;
        let word = |c: usize, v: u16| &words[(c * count + usize::from(v)) * g..][..g];
        let mut costs = [0.0f32; WORDS];
        for (j, codes) in self.codes.chunks_exact_mut(books).enumerate() {
            let mut now = Partial { cost: 0.0, t: [0.0; WEIGHTS], codes: [0; 16] };
            let mut sum = [0.0; WEIGHTS];
            for (c, v) in codes.iter().enumerate() {
                now.codes[c] = *v;
                for (sum, w) in sum.iter_mut().zip(word(c, *v)) {
                    *sum += w;
                }
            }
            // t for the group without its words, and the cost of those it has.
            let mut t = [0.0; WEIGHTS];
            for k in 0..g {
                let row = &gram[(j * g + k) * n + j * g..][..g];
                let mut gu = 0.0;
                for (h, u) in row.iter().zip(&sum) {
                    gu += h * u;
                }
                t[k] = self.p[j * g + k] / self.scale + gu;
                now.cost += sum[k] * (gu - 2.0 * t[k]);
            }
            let mut beam = [Partial { cost: 0.0, t, codes: [0; 16] }; BEAM];
            let mut kept = 1;
            for c in 0..books {
                let mut next = [Partial { cost: f32::INFINITY, t: [0.0; WEIGHTS], codes: [0; 16] }; BEAM];
                let width = if c + 1 == books { 1 } else { BEAM.min(count) };
                for partial in &beam[..kept] {
                    self.shared.costs(j, c, &partial.t, &mut costs);
                    for (v, cost) in costs[..count].iter().enumerate() {
                        let cost = partial.cost + cost;
                        if cost < next[width - 1].cost {
                            let mut at = width - 1;
                            while at > 0 && cost < next[at - 1].cost {
                                next[at] = next[at - 1];
                                at -= 1;
                            }
                            next[at] = *partial;
                            (next[at].cost, next[at].codes[c]) = (cost, v as u16);
                        }
                    }
                }
                for partial in &mut next[..width] {
                    self.shared.take(j, word(c, partial.codes[c]), -1.0, &mut partial.t);
                }
                (beam, kept) = (next, width);
            }
            // Each book once more beside the others.
            let mut best = beam[0];
            if books > 1 {
                for c in 0..books {
                    let mut t = best.t;
                    self.shared.take(j, word(c, best.codes[c]), 1.0, &mut t);
                    self.shared.costs(j, c, &t, &mut costs);
                    let old = costs[usize::from(best.codes[c])];
                    let mut least = usize::from(best.codes[c]);
                    for v in 0..count {
                        if costs[v] < costs[least] {
                            least = v;
                        }
                    }
                    best.cost += costs[least] - old;
                    best.codes[c] = least as u16;
                    self.shared.take(j, word(c, best.codes[c]), -1.0, &mut t);
                    best.t = t;
                }
            }
            // Rounding must not make two sums of equal cost take turns.
            if best.cost < now.cost - 1e-6 * now.cost.abs() {
                let mut step = [0.0; WEIGHTS];
                for (c, code) in codes.iter_mut().enumerate() {
                    let (new, old) = (word(c, best.codes[c]), word(c, *code));
                    for k in 0..g {
                        step[k] += new[k] - old[k];
                    }
                    *code = best.codes[c];
                }
                for k in 0..g {
                    let (row, by) = (&gram[(j * g + k) * n..][..n], self.scale * step[k]);
                    for (p, h) in self.p.iter_mut().zip(row) {
                        *p -= by * h;
                    }
                }
            }
        }
    }
}

impl Shared<'_> {
    /// What each word of book `c` costs in group `j`, for what is left of `t`.
    #[inline(always)]
    fn costs(&self, j: usize, c: usize, t: &[f32; WEIGHTS], costs: &mut [f32; WORDS]) {
        let costs = &mut costs[..self.count];
        costs.copy_from_slice(&self.squares[(j * self.books + c) * self.count..][..self.count]);
        for (k, t) in t[..self.g].iter().enumerate() {
            let (by, words) = (-2.0 * t, &self.transposed[(c * self.g + k) * self.count..][..self.count]);
            for (cost, w) in costs.iter_mut().zip(words) {
                *cost += by * w;
            }
        }
    }

    /// `t += sign G word`
    #[inline(always)]
    fn take(&self, j: usize, word: &[f32], sign: f32, t: &mut [f32; WEIGHTS]) {
        for (k, t) in t[..self.g].iter_mut().enumerate() {
            let row = &self.gram[(j * self.g + k) * self.n + j * self.g..][..self.g];
            let mut sum = 0.0;
            for (h, w) in row.iter().zip(word) {
                sum += h * w;
            }
            *t += sign * sum;
        }
    }
}
