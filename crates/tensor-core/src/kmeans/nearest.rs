//! Which centroid is nearest: the inner loop of k-means, and of encoding.

use crate::isa::Isa;
use crate::simd::{Simd, WithSimd};
use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

/// Rows that one task takes: packed, they stay in the second-level cache.
const TILE: usize = 256;
/// Centroid panels a pass holds in the second-level cache, in floats.
const PASS: usize = 1 << 16;

/// Centroids laid out for finding the nearest one: the centroid `c` with the largest `<x, c> - |c|^2 / 2`, of equal ones the lowest.
///
/// Both sides are taken relative to the centroids' mean first, since the difference of two large numbers would keep few bits. Every tier does
/// the same f32 operations in the same order, so the answer depends on neither the CPU nor the number of threads.
///
/// ```
/// use ndarray::array;
/// use scant_tensor_core::kmeans::Nearest;
/// let nearest = Nearest::new(array![[0.0, 0.0], [10.0, 0.0]].view());
/// let mut cells = [0; 3];
/// nearest.assign(array![[1.0, 1.0], [9.0, -1.0], [5.0, 3.0]].view(), &mut cells);
/// assert_eq!(cells, [0, 1, 0]); // the last lies between them
/// ```
#[derive(Clone, Debug)]
pub struct Nearest {
    k: usize,
    d: usize,
    centre: Vec<f32>,
    /// `[k / 64, d, 64]`, zero past the last centroid.
    panels: Vec<[f32; 64]>,
    /// `-|c|^2 / 2`, and minus infinity past the last centroid.
    offsets: Vec<[f32; 64]>,
}

impl Nearest {
    /// For centroids `[k, d]`, which are finite; `k` is at least 1 and below 2^24, `d` at least 1.
    ///
    /// # Panics
    /// If there are no centroids, or too many, or they have no values.
    pub fn new(centroids: ArrayView2<'_, f32>) -> Nearest {
        let (k, d) = centroids.dim();
        assert!((1..1 << 24).contains(&k) && d > 0, "Nearest::new: {k} centroids of {d} values");
        let mean = |column: ndarray::ArrayView1<'_, f32>| (column.iter().map(|v| f64::from(*v)).sum::<f64>() / k as f64) as f32;
        let centre: Vec<f32> = centroids.axis_iter(Axis(1)).map(mean).collect();
        let mut panels = vec![[0.0; 64]; k.div_ceil(64) * d];
        let mut offsets = vec![[f32::NEG_INFINITY; 64]; k.div_ceil(64)];
        for (c, row) in centroids.axis_iter(Axis(0)).enumerate() {
            let mut norm = 0.0f64;
            for (j, (v, m)) in row.iter().zip(&centre).enumerate() {
                let v = v - m;
                panels[c / 64 * d + j][c % 64] = v;
                norm += f64::from(v) * f64::from(v);
            }
            offsets[c / 64][c % 64] = (-0.5 * norm) as f32;
        }
        Nearest { k, d, centre, panels, offsets }
    }

    /// Centroids.
    pub fn len(&self) -> usize {
        self.k
    }

    /// Never true: there is at least one centroid.
    pub fn is_empty(&self) -> bool {
        self.k == 0
    }

    /// Adds a penalty to the squared distance to each centroid.
    pub(super) fn set_penalties(&mut self, penalties: &[f32], plain: &Nearest) {
        for (c, penalty) in penalties.iter().enumerate() {
            self.offsets[c / 64][c % 64] = plain.offsets[c / 64][c % 64] - 0.5 * penalty;
        }
    }

    /// The nearest centroid of each row of `x` `[n, d]`, in parallel.
    ///
    /// # Panics
    /// If `out` is not `n` long, or `x` has not `d` columns.
    pub fn assign(&self, x: ArrayView2<'_, f32>, out: &mut [u32]) {
        self.assign_on(Isa::best(), x, out);
    }

    pub(super) fn assign_on(&self, isa: Isa, x: ArrayView2<'_, f32>, out: &mut [u32]) {
        assert_eq!(x.dim(), (out.len(), self.d), "Nearest::assign: shape of the rows");
        if x.nrows() <= TILE {
            return self.tile(isa, x, out);
        }
        out.par_chunks_mut(TILE).enumerate().for_each(|(i, out)| {
            let rows = TILE * i..TILE * i + out.len();
            self.tile(isa, x.slice_axis(Axis(0), rows.into()), out);
        });
    }

    fn tile(&self, isa: Isa, x: ArrayView2<'_, f32>, out: &mut [u32]) {
        // Rows in fours, each value of the four beside each other: `[n / 4, d, 4]`.
        let mut rows = vec![[0.0f32; 4]; x.nrows().div_ceil(4) * self.d];
        for (r, row) in x.axis_iter(Axis(0)).enumerate() {
            for ((quad, v), m) in rows[r / 4 * self.d..][..self.d].iter_mut().zip(row).zip(&self.centre) {
                quad[r % 4] = v - m;
            }
        }
        isa.run(Tile { nearest: self, rows: &rows, out });
    }
}

struct Tile<'a> {
    nearest: &'a Nearest,
    rows: &'a [[f32; 4]],
    out: &'a mut [u32],
}

impl WithSimd for Tile<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Nearest { d, panels, offsets, .. } = self.nearest;
        let d = *d;
        let mut lanes = [0.0; 16];
        for (l, lane) in lanes.iter_mut().enumerate() {
            *lane = l as f32;
        }
        let lanes = s.load(&lanes);
        let per_pass = (PASS / (64 * d)).max(1);
        let mut scores = [f32::NEG_INFINITY; TILE];
        for (pass, (panels, offsets)) in panels.chunks(per_pass * d).zip(offsets.chunks(per_pass)).enumerate() {
            let first = (pass * per_pass * 64) as f32;
            let groups = self.out.chunks_mut(4).zip(scores.chunks_mut(4)).enumerate();
            for (g, (out, scores)) in groups {
                let rows = &self.rows[g * d..][..d];
                let found =
                    if S::WIDE { four(s, rows, panels, offsets, lanes, first) } else { singly(s, rows, panels, offsets, lanes, first) };
                for ((out, score), (best, at)) in out.iter_mut().zip(scores).zip(found) {
                    // Strictly better: of equal ones the earlier pass has the lower number.
                    if best > *score {
                        (*score, *out) = (best, at as u32);
                    }
                }
            }
        }
    }
}

/// The best score of each lane and whose it is.
#[derive(Clone, Copy)]
struct Best<S: Simd> {
    score: S::F,
    at: S::F,
}

impl<S: Simd> Best<S> {
    #[inline(always)]
    fn none(s: S) -> Self {
        Best { score: s.splat(f32::NEG_INFINITY), at: s.splat(0.0) }
    }

    /// Numbers are small integers, exact in f32, which spares a blend of integers: `at` stays where `score` is not beaten.
    #[inline(always)]
    fn offer(&mut self, s: S, score: S::F, at: S::F) {
        self.at = s.sub(at, s.zero_below(self.score, score, s.sub(at, self.at)));
        self.score = s.max(self.score, score);
    }

    #[inline(always)]
    fn reduce(self, s: S) -> (f32, f32) {
        let (mut scores, mut at) = ([0.0; 16], [0.0; 16]);
        s.store(self.score, &mut scores);
        s.store(self.at, &mut at);
        // As a tree, without branches: this runs once a row, which for short rows is often.
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                let (a, b) = (scores[i], scores[i + half]);
                let other = b > a || (b == a && at[i + half] < at[i]);
                scores[i] = if other { b } else { a };
                at[i] = if other { at[i + half] } else { at[i] };
            }
        }
        (scores[0], at[0])
    }
}

/// Four rows by 64 centroids in 16 registers: a load of centroids serves four products.
#[inline(always)]
fn four<S: Simd>(s: S, rows: &[[f32; 4]], panels: &[[f32; 64]], offsets: &[[f32; 64]], lanes: S::F, first: f32) -> [(f32, f32); 4] {
    let mut best = [Best::none(s); 4];
    for (p, offsets) in offsets.iter().enumerate() {
        let panel = &panels[p * rows.len()..][..rows.len()];
        let offsets = offsets.as_chunks::<16>().0;
        let start: [S::F; 4] = std::array::from_fn(|b| s.load(&offsets[b]));
        let mut acc = [start; 4];
        for (centroids, x) in panel.iter().zip(rows) {
            let centroids = centroids.as_chunks::<16>().0;
            let c: [S::F; 4] = std::array::from_fn(|b| s.load(&centroids[b]));
            for (acc, x) in acc.iter_mut().zip(x) {
                let x = s.splat(*x);
                for (acc, c) in acc.iter_mut().zip(c) {
                    *acc = s.mul_add(c, x, *acc);
                }
            }
        }
        for b in 0..4 {
            let at = s.add(lanes, s.splat(first + (64 * p + 16 * b) as f32));
            for (best, acc) in best.iter_mut().zip(&acc) {
                best.offer(s, acc[b], at);
            }
        }
    }
    best.map(|best| best.reduce(s))
}

/// The same with two accumulators at a time, for tiers with few registers.
#[inline(always)]
fn singly<S: Simd>(s: S, rows: &[[f32; 4]], panels: &[[f32; 64]], offsets: &[[f32; 64]], lanes: S::F, first: f32) -> [(f32, f32); 4] {
    let mut best = [Best::none(s); 4];
    for (p, offsets) in offsets.iter().enumerate() {
        let panel = &panels[p * rows.len()..][..rows.len()];
        for (b, offsets) in offsets.as_chunks::<16>().0.iter().enumerate() {
            let at = s.add(lanes, s.splat(first + (64 * p + 16 * b) as f32));
            let mut acc = [s.load(offsets); 4];
            for (centroids, x) in panel.iter().zip(rows) {
                let c = s.load(&centroids.as_chunks::<16>().0[b]);
                for (acc, x) in acc.iter_mut().zip(x) {
                    *acc = s.mul_add(c, s.splat(*x), *acc);
                }
            }
            for (best, acc) in best.iter_mut().zip(acc) {
                best.offer(s, acc, at);
            }
        }
    }
    best.map(|best| best.reduce(s))
}
