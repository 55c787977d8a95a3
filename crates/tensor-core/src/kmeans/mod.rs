//! k-means: Lloyd's iterations, seeded, with sums in a fixed order, so that the same seed gives the same bytes on any number of threads.

mod nearest;
mod start;

use crate::error::Error;
use crate::rng::Rng;
use ndarray::{Array2, ArrayView2, ArrayViewMut1, Axis};
use rayon::prelude::*;

pub use nearest::Nearest;

/// Rows that see the same penalties when cells are balanced: few enough that a crowd does not move as one.
fn chunk(n: usize) -> usize {
    (n / 64).clamp(256, 4096)
}

/// How to cluster: the number of centroids, and settings that have defaults.
///
/// ```
/// use ndarray::Array2;
/// use scant_tensor_core::kmeans::KMeans;
/// let x = Array2::from_shape_fn((100, 2), |(i, j)| (i % 4 * (j + 1)) as f32);
/// let clusters = KMeans::new(4).seed(1).fit(x.view())?;
/// assert_eq!(clusters.sizes, [25; 4]);
/// assert_eq!(clusters.objective.last(), Some(&0.0)); // four different rows, four centroids
/// # Ok::<(), scant_tensor_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct KMeans {
    k: usize,
    iters: usize,
    seed: u64,
    rows_per_centroid: usize,
    tolerance: f64,
    balance: f32,
    spherical: bool,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// `[k, d]`
    pub centroids: Array2<f32>,
    /// Rows of the sample in each cell, before the last update.
    pub sizes: Vec<u32>,
    /// The mean squared distance of a row to its centroid, before each update. It does not rise, except where an empty cell was given a part of
    /// another, and where cells are balanced.
    pub objective: Vec<f64>,
    /// Centroids that repeat another one, since the sample has fewer different rows than centroids.
    pub repeated: usize,
}

impl Clusters {
    /// `k sum(size^2) / n^2`: 1 if all cells are equal, `k` if one has everything.
    pub fn imbalance(&self) -> f64 {
        let n: f64 = self.sizes.iter().map(|n| f64::from(*n)).sum();
        self.sizes.len() as f64 * self.sizes.iter().map(|n| f64::from(*n).powi(2)).sum::<f64>() / (n * n).max(1.0)
    }
}

impl KMeans {
    /// For `k` centroids; up to 25 iterations over at most 256 rows for each.
    pub fn new(k: usize) -> KMeans {
        KMeans { k, iters: 25, seed: 0, rows_per_centroid: 256, tolerance: 1e-4, balance: 0.0, spherical: false }
    }

    /// At most this many iterations.
    pub fn iters(mut self, iters: usize) -> KMeans {
        self.iters = iters;
        self
    }

    /// The seed of the sample, the start and the splitting of empty cells.
    pub fn seed(mut self, seed: u64) -> KMeans {
        self.seed = seed;
        self
    }

    /// Rows that are looked at, for each centroid; more than that are sampled.
    pub fn rows_per_centroid(mut self, rows: usize) -> KMeans {
        self.rows_per_centroid = rows;
        self
    }

    /// Stops once an iteration lowers the objective by less than this part.
    pub fn tolerance(mut self, tolerance: f64) -> KMeans {
        self.tolerance = tolerance;
        self
    }

    /// Makes large cells look further away: by `balance`, times the mean squared distance, for each mean size above the mean size. 0.02 to 0.3
    /// is usual; the penalty grows over the iterations to this value.
    pub fn balance(mut self, balance: f32) -> KMeans {
        self.balance = balance;
        self
    }

    /// Puts centroids on the unit sphere, for inner products of normalised rows.
    pub fn spherical(mut self) -> KMeans {
        self.spherical = true;
        self
    }

    /// The centroids of `x` `[n, d]`. O(n k d) an iteration, in parallel.
    ///
    /// # Errors
    /// [`Error::TooFewRows`] if there are fewer rows than centroids, [`Error::Empty`] without columns, [`Error::NotFinite`].
    pub fn fit(&self, x: ArrayView2<'_, f32>) -> Result<Clusters, Error> {
        self.check(x)?;
        let mut rng = Rng::new(self.seed);
        let sample = self.sample(x, &mut rng);
        let start = start::start(sample.view(), self.k, &mut rng);
        Ok(self.lloyd(sample.view(), start, &mut rng))
    }

    /// As [`fit`](Self::fit), from centroids that are nearly right.
    ///
    /// # Errors
    /// As there; [`Error::Shape`] if `start` is not `[k, d]`.
    pub fn fit_from(&self, x: ArrayView2<'_, f32>, start: ArrayView2<'_, f32>) -> Result<Clusters, Error> {
        self.check(x)?;
        Error::check_shape("centroids to start from", &[self.k, x.ncols()], start.shape())?;
        let mut rng = Rng::new(self.seed);
        let sample = self.sample(x, &mut rng);
        Ok(self.lloyd(sample.view(), start.as_standard_layout().into_owned(), &mut rng))
    }

    fn check(&self, x: ArrayView2<'_, f32>) -> Result<(), Error> {
        if x.nrows() < self.k || self.k == 0 {
            return Err(Error::TooFewRows { what: format!("k-means with {} centroids", self.k), have: x.nrows(), need: self.k.max(1) });
        }
        if x.ncols() == 0 {
            return Err(Error::Empty { what: "rows to be clustered".to_owned(), shape: [x.nrows(), 0] });
        }
        Error::check_finite("rows to be clustered", x)
    }

    fn sample(&self, x: ArrayView2<'_, f32>, rng: &mut Rng) -> Array2<f32> {
        let count = self.k.saturating_mul(self.rows_per_centroid.max(1));
        if count >= x.nrows() {
            return x.as_standard_layout().into_owned();
        }
        x.select(Axis(0), &start::sample(x.nrows(), count, rng))
    }

    fn lloyd(&self, x: ArrayView2<'_, f32>, mut centroids: Array2<f32>, rng: &mut Rng) -> Clusters {
        let n = x.nrows();
        let (mut cells, mut sizes) = (vec![0u32; n], vec![0u32; self.k]);
        let mut objective: Vec<f64> = vec![];
        let iters = self.iters.max(1);
        for iter in 0..iters {
            let nearest = Nearest::new(centroids.view());
            let scale = objective.last().copied().unwrap_or(0.0) as f32 * self.balance * iter as f32 / iters as f32;
            if scale > 0.0 {
                balanced(&nearest, x, scale, &mut cells, &mut sizes);
            } else {
                nearest.assign(x, &mut cells);
            }
            let members = Members::new(&cells, self.k);
            sizes = members.sizes();
            objective.push(members.distances(x, centroids.view()) / n as f64);
            members.means(x, &mut centroids);
            let empty = self.split(x, &members, &mut centroids, rng);
            if self.spherical {
                centroids.axis_iter_mut(Axis(0)).for_each(normalise);
            }
            if let [.., before, now] = objective[..]
                && scale == 0.0
                && empty == 0
                && before - now <= self.tolerance * before
            {
                break;
            }
        }
        let repeated = repeated(centroids.view());
        Clusters { centroids, sizes, objective, repeated }
    }

    /// Gives every empty cell half of another one, drawn by size: both centroids move a little apart.
    fn split(&self, x: ArrayView2<'_, f32>, members: &Members, centroids: &mut Array2<f32>, rng: &mut Rng) -> usize {
        let mut sizes = members.sizes();
        if !sizes.contains(&0) {
            return 0;
        }
        // What cannot be divided counts as one row, and keeps its centroid.
        let parts: Vec<bool> = (0..self.k).map(|c| members.differ(x, c)).collect();
        let weight = |c: usize, n: u32| if parts[c] { u64::from(n.saturating_sub(1)) } else { 0 };
        let mut moved = 0;
        for empty in 0..self.k {
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
}

fn normalise(mut row: ArrayViewMut1<'_, f32>) {
    let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    if norm > 0.0 {
        row.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
    }
}

fn repeated(centroids: ArrayView2<'_, f32>) -> usize {
    let mut seen = std::collections::HashSet::new();
    centroids.axis_iter(Axis(0)).filter(|row| !seen.insert(row.iter().map(|v| (v + 0.0).to_bits()).collect::<Vec<_>>())).count()
}

/// Assigns chunk by chunk in row order; the rows of a chunk see the sizes that the chunks before have left.
fn balanced(plain: &Nearest, x: ArrayView2<'_, f32>, scale: f32, cells: &mut [u32], sizes: &mut [u32]) {
    let mean = x.nrows() as f32 / sizes.len() as f32;
    let mut penalised = plain.clone();
    let chunk = chunk(x.nrows());
    for (i, cells) in cells.chunks_mut(chunk).enumerate() {
        cells.iter().for_each(|c| sizes[*c as usize] -= 1);
        let penalties: Vec<f32> = sizes.iter().map(|n| scale * (*n as f32 / mean - 1.0)).collect();
        penalised.set_penalties(&penalties, plain);
        let rows = chunk * i..chunk * i + cells.len();
        penalised.assign(x.slice_axis(Axis(0), rows.into()), cells);
        cells.iter().for_each(|c| sizes[*c as usize] += 1);
    }
}

/// The values of a matrix in row order, which those of the iterations are.
fn contiguous<'a>(x: &'a ArrayView2<'_, f32>) -> &'a [f32] {
    x.as_slice().unwrap_or_else(|| unreachable!("samples and centroids are in row order"))
}

/// The rows of each cell, ascending: sums over a cell run in this order, whoever computes them.
struct Members {
    rows: Vec<u32>,
    ends: Vec<usize>,
}

impl Members {
    fn new(cells: &[u32], k: usize) -> Members {
        let mut next = vec![0usize; k + 1];
        cells.iter().for_each(|c| next[*c as usize + 1] += 1);
        (0..k).for_each(|c| next[c + 1] += next[c]);
        let mut rows = vec![0; cells.len()];
        for (row, c) in (0u32..).zip(cells) {
            let at = &mut next[*c as usize];
            rows[*at] = row;
            *at += 1;
        }
        next.pop();
        Members { rows, ends: next }
    }

    fn of(&self, cell: usize) -> &[u32] {
        let begin = if cell == 0 { 0 } else { self.ends[cell - 1] };
        &self.rows[begin..self.ends[cell]]
    }

    fn sizes(&self) -> Vec<u32> {
        (0..self.ends.len()).map(|c| self.of(c).len() as u32).collect()
    }

    /// Whether a cell holds two different rows.
    fn differ(&self, x: ArrayView2<'_, f32>, cell: usize) -> bool {
        self.of(cell).split_first().is_some_and(|(first, rest)| rest.iter().any(|row| x.row(*row as usize) != x.row(*first as usize)))
    }

    /// The sum of squared distances of all rows to their centroids.
    fn distances(&self, x: ArrayView2<'_, f32>, centroids: ArrayView2<'_, f32>) -> f64 {
        let (d, x) = (x.ncols(), contiguous(&x));
        let of_cell = |c: usize| {
            let centroid = &contiguous(&centroids)[c * d..][..d];
            let distance = |row: &u32| -> f64 {
                let squared: f32 = x[*row as usize * d..][..d].iter().zip(centroid).map(|(v, c)| (v - c) * (v - c)).sum();
                f64::from(squared)
            };
            self.of(c).iter().map(distance).sum::<f64>()
        };
        let sums: Vec<f64> = (0..self.ends.len()).into_par_iter().map(of_cell).collect();
        sums.into_iter().sum()
    }

    /// Moves each centroid to the mean of its cell; those of empty cells stay.
    fn means(&self, x: ArrayView2<'_, f32>, centroids: &mut Array2<f32>) {
        let (d, x) = (x.ncols(), contiguous(&x));
        let Some(centroids) = centroids.as_slice_mut() else { unreachable!("centroids are in standard layout") };
        centroids.par_chunks_mut(d).enumerate().for_each(|(c, centroid)| {
            let rows = self.of(c);
            if rows.is_empty() {
                return;
            }
            let mut sums = vec![0.0f64; d];
            for row in rows {
                sums.iter_mut().zip(&x[*row as usize * d..][..d]).for_each(|(sum, v)| *sum += f64::from(*v));
            }
            centroid.iter_mut().zip(sums).for_each(|(c, sum)| *c = (sum / rows.len() as f64) as f32);
        });
    }
}

#[cfg(test)]
mod tests;
