//! Where centroids go next: sums over cells in a fixed order, whoever computes them.

use super::rows::{LANES, Part};
use crate::rng::Rng;
use ndarray::{Array2, ArrayView2, ArrayViewMut1, Axis};
use rayon::prelude::*;

/// Rows whose sums are made by one task; there are not more such tasks than 16, or one for 4,096 rows.
fn chunk(k: usize) -> usize {
    (LANES * k).max(4096)
}

/// The rows of each cell and their sum, relative to the centre of the rows.
pub(super) struct Sums {
    d: usize,
    pub(super) sizes: Vec<u32>,
    sums: Vec<f64>,
}

impl Sums {
    /// Of rows in their cells. Chunks of rows are summed one by one and then together, always the same ones.
    pub(super) fn new(rows: Part<'_>, cells: &[u32], k: usize) -> Sums {
        let chunk = chunk(k);
        let sums = |(i, cells): (usize, &[u32])| {
            let mut sums = Sums::zero(k, rows.d);
            sums.add_rows(rows.slice(chunk * i, chunk), cells);
            sums
        };
        let parts: Vec<Sums> = cells.par_chunks(chunk).enumerate().map(sums).collect();
        let mut all = Sums::zero(k, rows.d);
        for part in parts {
            all.sizes.iter_mut().zip(part.sizes).for_each(|(all, n)| *all += n);
            all.sums.iter_mut().zip(part.sums).for_each(|(all, sum)| *all += sum);
        }
        all
    }

    fn zero(k: usize, d: usize) -> Sums {
        Sums { d, sizes: vec![0; k], sums: vec![0.0; k * d] }
    }

    fn add_rows(&mut self, rows: Part<'_>, cells: &[u32]) {
        for (tile, cells) in rows.tiles.chunks_exact(self.d).zip(cells.chunks(LANES)) {
            for (r, cell) in cells.iter().enumerate() {
                self.sizes[*cell as usize] += 1;
                let sums = &mut self.sums[*cell as usize * self.d..][..self.d];
                sums.iter_mut().zip(tile).for_each(|(sum, lanes)| *sum += f64::from(lanes[r]));
            }
        }
    }

    /// The sum of squared distances of all rows, whose squares sum to `squared`, to their centroids.
    ///
    /// It is a difference of sums: where it is so small that f32 rows could not tell, it is zero.
    pub(super) fn distances(&self, squared: f64, centroids: ArrayView2<'_, f32>, centre: &[f32]) -> f64 {
        let mut saved = 0.0;
        for ((centroid, n), sums) in centroids.axis_iter(Axis(0)).zip(&self.sizes).zip(self.sums.chunks_exact(self.d)) {
            for ((c, m), sum) in centroid.iter().zip(centre).zip(sums) {
                let c = f64::from(c - m);
                saved += c * (2.0 * sum - f64::from(*n) * c);
            }
        }
        let left = squared - saved;
        if left > squared * 2f64.powi(-42) { left } else { 0.0 }
    }

    /// Moves each centroid to the mean of its cell; those of empty cells stay.
    pub(super) fn move_to_means(&self, centroids: &mut Array2<f32>, centre: &[f32]) {
        for ((mut centroid, n), sums) in centroids.axis_iter_mut(Axis(0)).zip(&self.sizes).zip(self.sums.chunks_exact(self.d)) {
            if *n > 0 {
                centroid.iter_mut().zip(centre).zip(sums).for_each(|((c, m), sum)| *c = (sum / f64::from(*n)) as f32 + m);
            }
        }
    }
}

/// Gives every empty cell half of another one, drawn by size: both centroids move a little apart. Says how many there were.
pub(super) fn split(rows: Part<'_>, cells: &[u32], sizes: &[u32], centroids: &mut Array2<f32>, rng: &mut Rng) -> usize {
    if !sizes.contains(&0) {
        return 0;
    }
    let mut sizes = sizes.to_vec();
    // What cannot be divided counts as one row, and keeps its centroid.
    let parts = divisible(rows, cells, sizes.len());
    let weight = |c: usize, n: u32| if parts[c] { u64::from(n.saturating_sub(1)) } else { 0 };
    let mut moved = 0;
    for empty in 0..sizes.len() {
        if sizes[empty] > 0 {
            continue;
        }
        let total: u64 = sizes.iter().enumerate().map(|(c, n)| weight(c, *n)).sum();
        if total == 0 {
            break; // every different row has a centroid of its own
        }
        let mut rest = ((u128::from(rng.next_u64()) * u128::from(total)) >> 64) as u64;
        let full = sizes.iter().enumerate().position(|(c, n)| {
            let weight = weight(c, *n);
            let here = rest < weight;
            rest = rest.wrapping_sub(if here { 0 } else { weight });
            here
        });
        let Some(full) = full else { break };
        for j in 0..centroids.ncols() {
            let step = if j % 2 == 0 { 1.0 / 1024.0 } else { -1.0 / 1024.0 };
            let v = centroids[(full, j)];
            centroids[(empty, j)] = v * (1.0 + step);
            centroids[(full, j)] = v * (1.0 - step);
        }
        (sizes[empty], sizes[full]) = (sizes[full] / 2, sizes[full] - sizes[full] / 2);
        moved += 1;
    }
    moved
}

/// Which cells hold two different rows.
fn divisible(rows: Part<'_>, cells: &[u32], k: usize) -> Vec<bool> {
    let (mut first, mut differ) = (vec![None; k], vec![false; k]);
    for (row, cell) in cells.iter().enumerate() {
        let cell = *cell as usize;
        match first[cell] {
            None => first[cell] = Some(row),
            Some(first) if !differ[cell] => differ[cell] = !rows.row(row).eq(rows.row(first)),
            Some(_) => {}
        }
    }
    differ
}

/// Puts a centroid on the unit sphere.
pub(super) fn normalise(mut row: ArrayViewMut1<'_, f32>) {
    let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    if norm > 0.0 {
        row.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
    }
}

/// Centroids that repeat another one.
pub(super) fn repeated(centroids: ArrayView2<'_, f32>) -> usize {
    let mut seen = std::collections::HashSet::new();
    centroids.axis_iter(Axis(0)).filter(|row| !seen.insert(row.iter().map(|v| (v + 0.0).to_bits()).collect::<Vec<_>>())).count()
}
