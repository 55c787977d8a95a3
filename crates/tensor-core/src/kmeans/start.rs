//! Where Lloyd's iterations begin.

use super::rows::{LANES, Part};
use super::{KMeans, Nearest};
use crate::error::Error;
use crate::isa::Isa;
use crate::rng::Rng;
use crate::simd::{Simd, WithSimd};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use std::collections::HashSet;

/// Up to this many centroids are drawn one after the other, each far from those before.
const PLUS_PLUS: usize = 1024;
/// Rows that are drawn from, for each of them.
const ROWS_PER_CENTROID: usize = 16;
/// Rows of the sample that are copied at a time.
const COPIED: usize = 1 << 16;

/// `k` of `rows`, which lie in random order.
pub(super) fn start(rows: Part<'_>, k: usize, rng: &mut Rng) -> Vec<usize> {
    if k <= PLUS_PLUS { plus_plus(rows.slice(0, ROWS_PER_CENTROID * k), k, rng) } else { distinct(rows, k) }
}

/// Up to `count` different numbers below `n` in random order.
pub(super) fn sample(n: usize, count: usize, rng: &mut Rng) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..n).collect();
    rng.shuffle(&mut rows);
    rows.truncate(count);
    rows
}

/// k-means++ (Arthur and Vassilvitskii 2007): each with probability proportional to the squared distance from those before.
fn plus_plus(rows: Part<'_>, k: usize, rng: &mut Rng) -> Vec<usize> {
    let tiles = rows.n.div_ceil(LANES);
    let mut distance = vec![[f32::INFINITY; LANES]; tiles];
    // Lanes past the last row are never drawn.
    if let Some(last) = distance.last_mut() {
        last.iter_mut().skip((rows.n - 1) % LANES + 1).for_each(|d| *d = 0.0);
    }
    let mut sums = vec![0.0; tiles];
    let mut chosen = vec![rng.below(rows.n)];
    let mut centroid = vec![];
    while chosen.len() < k {
        centroid.clear();
        centroid.extend(rows.row(chosen[chosen.len() - 1]));
        Isa::best().run(Closer { rows, centroid: &centroid, distance: &mut distance, sums: &mut sums });
        let total: f64 = sums.iter().map(|d| f64::from(*d)).sum();
        // Without a row that is away from all centroids, any will do: it repeats one.
        let row = if total > 0.0 && total.is_finite() {
            let mut rest = f64::from(rng.uniform()) * total;
            let tile = draw(&sums, &mut rest);
            tile * LANES + draw(&distance[tile], &mut rest)
        } else {
            rng.below(rows.n)
        };
        chosen.push(row);
    }
    chosen
}

/// Lowers the squared distance of each row to that from one more centroid, and sums it over each tile.
struct Closer<'a> {
    rows: Part<'a>,
    centroid: &'a [f32],
    distance: &'a mut [[f32; LANES]],
    sums: &'a mut [f32],
}

impl WithSimd for Closer<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let tiles = self.rows.tiles.chunks_exact(self.rows.d);
        for ((tile, distance), sum) in tiles.zip(self.distance).zip(self.sums) {
            let mut fresh = s.splat(0.0);
            for (x, c) in tile.iter().zip(self.centroid) {
                let difference = s.sub(s.load(x), s.splat(*c));
                fresh = s.mul_add(difference, difference, fresh);
            }
            let least = s.min(s.load(distance), fresh);
            s.store(least, distance);
            *sum = s.sum(least);
        }
    }
}

/// The place at which the running sum of the weights passes `rest`, which is lowered by those before it.
fn draw(weights: &[f32], rest: &mut f64) -> usize {
    for (i, weight) in weights.iter().enumerate() {
        if *rest < f64::from(*weight) {
            return i;
        }
        *rest -= f64::from(*weight);
    }
    // Rounding only: the last that can be drawn at all.
    *rest = f64::INFINITY;
    weights.iter().rposition(|w| *w > 0.0).unwrap_or(0)
}

/// The first rows that differ, as long as there are any.
fn distinct(rows: Part<'_>, k: usize) -> Vec<usize> {
    let mut seen = HashSet::new();
    let (fresh, repeats): (Vec<usize>, Vec<usize>) =
        (0..rows.n).partition(|row| seen.len() < k && seen.insert(rows.row(*row).map(|v| (v + 0.0).to_bits()).collect::<Vec<_>>()));
    fresh.into_iter().chain(repeats).take(k).collect()
}

/// The centroids of many cells: few cells first, each of which is then split into as many as its share of the rows asks for. `rows` are
/// numbers of rows of `x`.
pub(super) fn by_cells(kmeans: &KMeans, x: ArrayView2<'_, f32>, rows: &[usize]) -> Result<Array2<f32>, Error> {
    let of = |k: usize, x: ArrayView2<'_, f32>, seed: u64| KMeans { k, seed, ..kmeans.clone() }.fit(x);
    let k = kmeans.k;
    let top = of(k.isqrt(), x, kmeans.seed)?;
    let nearest = Nearest::new(top.centroids.view());
    let mut members = vec![vec![]; nearest.len()];
    let mut cells = vec![0; COPIED];
    for rows in rows.chunks(COPIED) {
        let cells = &mut cells[..rows.len()];
        nearest.assign(x.select(Axis(0), rows).view(), cells);
        rows.iter().zip(cells).for_each(|(row, cell)| members[*cell as usize].push(*row));
    }
    let sizes: Vec<usize> = members.iter().map(Vec::len).collect();
    let parts = members
        .par_iter()
        .zip(shares(&sizes, k))
        .enumerate()
        .filter(|(_, (_, k))| *k > 0)
        .map(|(i, (members, k))| Ok(of(k, x.select(Axis(0), members).view(), kmeans.seed.wrapping_add(1 + i as u64))?.centroids));
    let mut centroids = Array2::zeros((k, x.ncols()));
    let mut begin = 0;
    for part in parts.collect::<Result<Vec<_>, Error>>()? {
        let end = begin + part.nrows();
        centroids.slice_axis_mut(Axis(0), (begin..end).into()).assign(&part);
        begin = end;
    }
    Ok(centroids)
}

/// `k` shared out in proportion to `sizes`, whose sum is at least `k`: rounded down, and one more for the largest remainders.
pub(super) fn shares(sizes: &[usize], k: usize) -> Vec<usize> {
    let n: usize = sizes.iter().sum();
    let exact = |size: usize| size as u128 * k as u128;
    let mut shares: Vec<usize> = sizes.iter().map(|size| (exact(*size) / n as u128) as usize).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(exact(sizes[*i]) % n as u128), *i));
    let rest = k - shares.iter().sum::<usize>();
    order.into_iter().take(rest).for_each(|i| shares[i] += 1);
    shares
}
