//! Which centroid is nearest: the inner loop of k-means, and of encoding.

use super::capped;
use super::levels::Levels;
use super::rows::{self, LANES, Part, Rows};
use crate::isa::Isa;
use crate::simd::{Simd, WithSimd};
use ndarray::ArrayView2;
use rayon::prelude::*;

/// Rows that one task takes: packed, they stay in the second-level cache.
const TILE: usize = 256;
/// Centroid panels a pass holds in the second-level cache, in floats.
const PASS: usize = 1 << 16;
/// Rows that are packed at a time where there are two levels: enough that each cell has whole tiles of them.
const PACKED: usize = 1 << 16;
/// From so many centroids on, two levels take less time than is lost by not looking at all of them.
pub(super) const TWO_LEVELS: usize = 4096;

/// Centroids laid out for finding the nearest one: the centroid `c` with the largest `<x, c> - |c|^2 / 2`, of equal ones the lowest.
///
/// Both sides are taken relative to a centre first, the centroids' mean, since the difference of two large numbers would keep few bits. Every
/// tier does the same f32 operations in the same order, so the answer depends on neither the CPU nor the number of threads.
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
    /// `[k / 16, d, 16]`, zero past the last centroid.
    panels: Vec<[f32; LANES]>,
    /// `-|c|^2 / 2`, and minus infinity past the last centroid.
    offsets: Vec<[f32; LANES]>,
    levels: Option<Box<Levels>>,
}

impl Nearest {
    /// For centroids `[k, d]`, which are finite; `k` is at least 1 and below 2^24, `d` at least 1.
    ///
    /// # Panics
    /// If there are no centroids, or too many, or they have no values.
    pub fn new(centroids: ArrayView2<'_, f32>) -> Nearest {
        Nearest::around(rows::mean(centroids), centroids)
    }

    /// As [`new`](Self::new), but from 4,096 centroids on a row is only compared with those that count its cell, the nearest of `2 sqrt(k)`,
    /// among their 16 nearest cells. That is faster with many centroids, and finds another centroid for some rows:
    /// [`Clusters::shortcut`](super::Clusters::shortcut) says how much further away.
    ///
    /// # Panics
    /// As there.
    pub fn approximate(centroids: ArrayView2<'_, f32>) -> Nearest {
        Nearest::approximately_around(rows::mean(centroids), centroids)
    }

    pub(super) fn approximately_around(centre: Vec<f32>, centroids: ArrayView2<'_, f32>) -> Nearest {
        let mut nearest = Nearest::around(centre, centroids);
        if nearest.k >= TWO_LEVELS {
            nearest.levels = Levels::new(&nearest.centre, centroids).map(Box::new);
        }
        nearest
    }

    /// For rows relative to a centre that is given.
    pub(super) fn around(centre: Vec<f32>, centroids: ArrayView2<'_, f32>) -> Nearest {
        let (k, d) = centroids.dim();
        assert!((1..1 << 24).contains(&k) && d > 0, "Nearest: {k} centroids of {d} values");
        let panels = Rows::pack(centroids, 0..k, &centre);
        let mut offsets = vec![[f32::NEG_INFINITY; LANES]; k.div_ceil(LANES)];
        for c in 0..k {
            let squared: f64 = panels.all().row(c).map(|v| f64::from(v) * f64::from(v)).sum();
            offsets[c / LANES][c % LANES] = (-0.5 * squared) as f32;
        }
        Nearest { k, d, centre, panels: panels.into_tiles(), offsets, levels: None }
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
            self.offsets[c / LANES][c % LANES] = plain.offsets[c / LANES][c % LANES] - 0.5 * penalty;
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
        let pack = |begin: usize, n: usize| Rows::pack(x, begin..begin + n, &self.centre);
        if let Some(levels) = &self.levels {
            return out.chunks_mut(PACKED).enumerate().for_each(|(i, out)| levels.assign(pack(PACKED * i, out.len()).all(), out));
        }
        let tile = |(i, out): (usize, &mut [u32])| isa.run(Tile { nearest: self, rows: pack(TILE * i, out.len()).all(), out });
        if out.len() <= TILE { tile((0, out)) } else { out.par_chunks_mut(TILE).enumerate().for_each(tile) }
    }

    /// The same of rows that are packed, around the same centre.
    pub(super) fn assign_packed(&self, rows: Part<'_>, out: &mut [u32]) {
        if let Some(levels) = &self.levels {
            return levels.assign(rows, out);
        }
        let tile = |(i, out)| Isa::best().run(Tile { nearest: self, rows: rows.slice(TILE * i, TILE), out });
        out.par_chunks_mut(TILE).enumerate().for_each(tile);
    }

    /// Cells of which none takes more than `(1 + share) n / k` rows, rounded up: rows that lose most by their second-best cell choose first, and
    /// each takes the nearest that has room (a share of 0.1 is usual; less than 0 counts as 0). O(n k d).
    ///
    /// ```
    /// use ndarray::array;
    /// use scant_tensor_core::kmeans::Nearest;
    /// let nearest = Nearest::new(array![[0.0], [10.0]].view());
    /// let mut cells = [0; 4];
    /// nearest.assign_capped(array![[1.0], [4.0], [2.0], [0.0]].view(), 0.0, &mut cells);
    /// assert_eq!(cells, [0, 1, 1, 0]); // two each
    /// ```
    ///
    /// # Panics
    /// As [`assign`](Self::assign).
    pub fn assign_capped(&self, x: ArrayView2<'_, f32>, share: f32, out: &mut [u32]) {
        assert_eq!(x.dim(), (out.len(), self.d), "Nearest::assign_capped: shape of the rows");
        let row = |i: usize, row: &mut Vec<f32>| row.extend(x.row(i).iter().zip(&self.centre).map(|(v, m)| v - m));
        capped::assign(self, self.most(out.len(), share), row, out);
    }

    pub(super) fn assign_packed_capped(&self, rows: Part<'_>, share: f32, out: &mut [u32]) {
        capped::assign(self, self.most(out.len(), share), |i, row| row.extend(rows.row(i)), out);
    }

    fn most(&self, n: usize, share: f32) -> usize {
        // Neither a share below 0 nor rounding may leave a row without a cell.
        ((n as f64 / self.k as f64 * f64::from(1.0 + share)).ceil() as usize).max(n.div_ceil(self.k))
    }

    /// What is largest for the nearest centroid, of a row relative to the centre, for all of them.
    pub(super) fn scores(&self, row: &[f32], out: &mut Vec<f32>) {
        out.resize(self.panels.len() / self.d * LANES, 0.0);
        Isa::best().run(Scores { nearest: self, row, out });
        out.truncate(self.k);
    }
}

struct Scores<'a> {
    nearest: &'a Nearest,
    row: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Scores<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Nearest { d, panels, offsets, .. } = self.nearest;
        for ((panel, offsets), out) in panels.chunks_exact(*d).zip(offsets).zip(self.out.as_chunks_mut().0) {
            s.store(panel_scores(s, panel, offsets, self.row.iter().copied()), out);
        }
    }
}

/// One row against the sixteen centroids of a panel, each of which has a lane: the same sums as [`beside`] makes.
#[inline(always)]
fn panel_scores<S: Simd>(s: S, panel: &[[f32; LANES]], offsets: &[f32; LANES], row: impl Iterator<Item = f32>) -> S::F {
    let mut scores = s.load(offsets);
    for (c, x) in panel.iter().zip(row) {
        scores = s.mul_add(s.load(c), s.splat(x), scores);
    }
    scores
}

struct Tile<'a> {
    nearest: &'a Nearest,
    rows: Part<'a>,
    out: &'a mut [u32],
}

impl WithSimd for Tile<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Where the length of a row is known, it stays in registers.
        match self.nearest.d {
            1 => self.of_length(s, 1),
            2 => self.of_length(s, 2),
            3 => self.of_length(s, 3),
            4 => self.of_length(s, 4),
            8 => self.of_length(s, 8),
            d => self.of_length(s, d),
        }
    }
}

impl Tile<'_> {
    #[inline(always)]
    fn of_length<S: Simd>(self, s: S, d: usize) {
        let Nearest { k, panels, offsets, .. } = self.nearest;
        let per_pass = (PASS / (LANES * d)).max(1);
        let mut best = [Best { score: [f32::NEG_INFINITY; LANES], panel: [number(0); LANES] }; TILE / LANES];
        for (pass, (panels, offsets)) in panels.chunks(per_pass * d).zip(offsets.chunks(per_pass)).enumerate() {
            let first = pass * per_pass;
            let mut rest = (self.rows.tiles, &mut best[..self.rows.tiles.len() / d]);
            if S::WIDE {
                while rest.1.len() >= 4 {
                    let (tiles, best) = (rest.0.split_at(4 * d), rest.1.split_at_mut(4));
                    beside::<S, 4>(s, d, tiles.0, panels, offsets, first, best.0);
                    rest = (tiles.1, best.1);
                }
            }
            for (tile, best) in rest.0.chunks_exact(d).zip(rest.1.chunks_exact_mut(1)) {
                beside::<S, 1>(s, d, tile, panels, offsets, first, best);
            }
        }
        let mut from_end = [0.0; LANES];
        from_end.iter_mut().enumerate().for_each(|(l, v)| *v = number(LANES - l));
        let from_end = s.load(&from_end);
        for ((tile, best), out) in self.rows.tiles.chunks_exact(d).zip(&best).zip(self.out.chunks_mut(LANES)) {
            for (r, out) in out.iter_mut().enumerate() {
                let panel = read(best.panel[r]);
                let row = tile.iter().map(|lanes| lanes[r]);
                let scores = panel_scores(s, &panels[panel * d..][..d], &offsets[panel], row);
                let found = s.zero_below(scores, s.splat(best.score[r]), from_end);
                *out = (panel * LANES + (LANES - read(s.max_lane(found)))).min(k - 1) as u32;
            }
        }
    }
}

/// A number below 2^23 as a lane that can be chosen like a score: it stands in the low bits, where reading it takes no conversion.
#[inline(always)]
const fn number(i: usize) -> f32 {
    f32::from_bits(ZERO | i as u32)
}

#[inline(always)]
fn read(number: f32) -> usize {
    (number.to_bits() & !ZERO) as usize
}

/// The bits of 2^23.
const ZERO: u32 = 0x4B00_0000;

/// The best score of each row so far, and the [`number`] of the panel it is in.
#[derive(Clone, Copy)]
struct Best {
    score: [f32; LANES],
    panel: [f32; LANES],
}

/// `R` times 16 rows against all centroids, four of these at a time. Only the panel of the best score is kept: asking which of its sixteen it
/// was, once at the end, costs less than keeping a number with each score.
#[inline(always)]
fn beside<S: Simd, const R: usize>(
    s: S,
    d: usize,
    tiles: &[[f32; LANES]],
    panels: &[[f32; LANES]],
    offsets: &[[f32; LANES]],
    first: usize,
    best: &mut [Best],
) {
    // If it knew the number, the compiler would work on all sixteen at once, for which there are not enough registers.
    let quads = std::hint::black_box(LANES / 4);
    let mut score: [S::F; R] = std::array::from_fn(|r| s.load(&best[r].score));
    let mut at: [S::F; R] = std::array::from_fn(|r| s.load(&best[r].panel));
    for (p, (panel, offsets)) in panels.chunks_exact(d).zip(offsets).enumerate() {
        let mut top = [s.splat(f32::NEG_INFINITY); R];
        for q in 0..quads {
            let q = q % (LANES / 4);
            let offsets = &offsets.as_chunks::<4>().0[q];
            let mut acc = [[s.splat(offsets[0]), s.splat(offsets[1]), s.splat(offsets[2]), s.splat(offsets[3])]; R];
            for (j, centroids) in panel.iter().enumerate() {
                let centroids = &centroids.as_chunks::<4>().0[q];
                for (r, acc) in acc.iter_mut().enumerate() {
                    let x = s.load(&tiles[r * d + j]);
                    for (acc, c) in acc.iter_mut().zip(centroids) {
                        *acc = s.mul_add(s.splat(*c), x, *acc);
                    }
                }
            }
            for (top, acc) in top.iter_mut().zip(&acc) {
                *top = s.max(*top, s.max(s.max(acc[0], acc[1]), s.max(acc[2], acc[3])));
            }
        }
        let here = s.splat(number(first + p));
        for ((score, at), top) in score.iter_mut().zip(&mut at).zip(top) {
            // Strictly better: of equal ones the earlier panel has the lower numbers.
            *at = s.sub(here, s.zero_below(*score, top, s.sub(here, *at)));
            *score = s.max(*score, top);
        }
    }
    for (best, (score, at)) in best.iter_mut().zip(score.into_iter().zip(at)) {
        s.store(score, &mut best.score);
        s.store(at, &mut best.panel);
    }
}
