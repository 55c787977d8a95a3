//! k-means: Lloyd's iterations, seeded, with sums in a fixed order, so that the same seed gives the same bytes on any number of threads.

mod capped;
mod levels;
mod nearest;
mod rows;
mod start;
mod update;

use crate::error::Error;
use crate::rng::Rng;
use ndarray::{Array2, ArrayView2, Axis};
use rows::{LANES, Part, Rows};
use update::Sums;

pub use nearest::Nearest;

/// Parts of the sample that are clustered before the whole: most of the way costs little there.
const PARTS: [usize; 2] = [16, 4];
/// Rows for each centroid that a part has at least.
const ROWS_IN_PART: usize = 8;
/// A part is left once an iteration lowers the objective by less than this share: the next one has better news.
const PART_TOLERANCE: f64 = 2e-3;
/// How far a centroid goes past the mean of its cell, as a share of its way there. At the mirror image of where it was (1) the cell's sum of
/// squared distances is what it was, and everywhere before that less, so that the objective still falls; and rows change sides sooner, which
/// saves half of the iterations.
const PAST_MEAN: f32 = 0.9;
/// Rows on which the two levels of many centroids are held against all of these.
const COMPARED: usize = 4096;

/// Rows that see the same penalties when cells are balanced: few enough that a crowd does not move as one.
fn chunk(n: usize) -> usize {
    (n / 64).clamp(256, 4096) / LANES * LANES
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
    cap: Option<f32>,
    spherical: bool,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// `[k, d]`
    pub centroids: Array2<f32>,
    /// Rows of the sample in each cell, before the last update.
    pub sizes: Vec<u32>,
    /// The mean squared distance of a row to its centroid, before each update from the whole sample. It does not rise, except where an empty cell
    /// was given a part of another, and where cells are balanced or capped or found through two levels.
    pub objective: Vec<f64>,
    /// By which share of itself the objective is larger since cells were found through two levels, on some of the rows; 0 with fewer than 4,096
    /// centroids.
    pub shortcut: f64,
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
        KMeans { k, iters: 25, seed: 0, rows_per_centroid: 256, tolerance: 1e-3, balance: 0.0, cap: None, spherical: false }
    }

    /// At most this many iterations over the sample, and over each of the parts of it that come first.
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

    /// Stops once an iteration lowers the objective by less than this share; 0.001 by default.
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

    /// No cell has more than `(1 + share) n / k` rows of the sample, from the second iteration on: see [`Nearest::assign_capped`]. It comes before
    /// [`balance`](Self::balance).
    pub fn cap(mut self, share: f32) -> KMeans {
        self.cap = Some(share);
        self
    }

    /// Puts centroids on the unit sphere, for inner products of normalised rows.
    pub fn spherical(mut self) -> KMeans {
        self.spherical = true;
        self
    }

    /// The centroids of `x` `[n, d]`, in parallel. O(n k d) for an iteration over the sample; a sixteenth of it and a quarter come first, so that
    /// these are few. From 4,096 centroids on, unless they are balanced or capped, it takes two levels: `sqrt(k)` cells are clustered on their
    /// own, and iterations look at the centroids around the nearest cell ([`Nearest::approximate`]).
    ///
    /// # Errors
    /// [`Error::TooFewRows`] if there are fewer rows than centroids, [`Error::Empty`] without columns, [`Error::NotFinite`].
    pub fn fit(&self, x: ArrayView2<'_, f32>) -> Result<Clusters, Error> {
        self.check(x)?;
        let mut rng = Rng::new(self.seed);
        let order = self.sample(x.nrows(), &mut rng);
        if self.two_levels() {
            let start = start::by_cells(self, x, &order)?;
            return Ok(self.lloyd(&Sample::new(x, &order), start, &[], &mut rng));
        }
        let sample = Sample::new(x, &order);
        let start: Vec<usize> = start::start(sample.rows.all(), self.k, &mut rng).into_iter().map(|i| order[i]).collect();
        Ok(self.lloyd(&sample, x.select(Axis(0), &start), &PARTS, &mut rng))
    }

    /// As [`fit`](Self::fit), from centroids that are nearly right: all iterations see the whole sample.
    ///
    /// # Errors
    /// As there; [`Error::Shape`] if `start` is not `[k, d]`.
    pub fn fit_from(&self, x: ArrayView2<'_, f32>, start: ArrayView2<'_, f32>) -> Result<Clusters, Error> {
        self.check(x)?;
        Error::check_shape("centroids to start from", &[self.k, x.ncols()], start.shape())?;
        let mut rng = Rng::new(self.seed);
        let order = self.sample(x.nrows(), &mut rng);
        Ok(self.lloyd(&Sample::new(x, &order), start.as_standard_layout().into_owned(), &[], &mut rng))
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

    /// Rows to look at, in random order, so that the first ones are a sample too.
    fn sample(&self, n: usize, rng: &mut Rng) -> Vec<usize> {
        start::sample(n, self.k.saturating_mul(self.rows_per_centroid.max(1)), rng)
    }

    /// Whether there are so many centroids that rows find theirs through cells of them.
    fn two_levels(&self) -> bool {
        self.k >= nearest::TWO_LEVELS && self.balance <= 0.0 && self.cap.is_none()
    }

    fn lloyd(&self, sample: &Sample, mut centroids: Array2<f32>, parts: &[usize], rng: &mut Rng) -> Clusters {
        let all = sample.rows.all();
        let mut cells = vec![0u32; all.n];
        for part in parts {
            let rows = all.slice(0, (all.n / part).next_multiple_of(LANES));
            if rows.n >= ROWS_IN_PART * self.k {
                let quick = KMeans { balance: 0.0, cap: None, tolerance: PART_TOLERANCE, ..self.clone() };
                quick.iterate(rows, &sample.centre, &mut centroids, &mut cells[..rows.n], rng);
            }
        }
        let (objective, sizes) = self.iterate(all, &sample.centre, &mut centroids, &mut cells, rng);
        let shortcut = if self.two_levels() { shortcut(all.slice(0, COMPARED), &sample.centre, centroids.view()) } else { 0.0 };
        let repeated = update::repeated(centroids.view());
        Clusters { centroids, sizes, objective, shortcut, repeated }
    }

    /// Lloyd's iterations over these rows: the objective before each, and the sizes of cells in the last.
    fn iterate(
        &self,
        rows: Part<'_>,
        centre: &[f32],
        centroids: &mut Array2<f32>,
        cells: &mut [u32],
        rng: &mut Rng,
    ) -> (Vec<f64>, Vec<u32>) {
        let squared = rows.squared();
        let (mut objective, mut sizes): (Vec<f64>, _) = (vec![], vec![0; self.k]);
        let iters = self.iters.max(1);
        let plain = self.balance <= 0.0 && self.cap.is_none() && !self.spherical;
        for iter in 0..iters {
            let scale = objective.last().copied().unwrap_or(0.0) as f32 * self.balance * iter as f32 / iters as f32;
            match self.cap {
                Some(share) if iter > 0 || iters == 1 => {
                    Nearest::around(centre.to_vec(), centroids.view()).assign_packed_capped(rows, share, cells)
                }
                None if scale > 0.0 => balanced(&Nearest::around(centre.to_vec(), centroids.view()), rows, scale, cells, &mut sizes),
                _ if self.two_levels() => Nearest::approximately_around(centre.to_vec(), centroids.view()).assign_packed(rows, cells),
                _ => Nearest::around(centre.to_vec(), centroids.view()).assign_packed(rows, cells),
            }
            let sums = Sums::new(rows, cells, self.k);
            objective.push(sums.distances(squared, centroids.view(), centre) / rows.n as f64);
            let before = centroids.clone();
            sums.move_to_means(centroids, centre);
            let empty = update::split(rows, cells, &sums.sizes, centroids, rng);
            if self.spherical {
                centroids.axis_iter_mut(Axis(0)).for_each(update::normalise);
            }
            sizes = sums.sizes;
            // The first capped iteration follows one that was not, and is worse.
            let first = usize::from(self.cap.is_some());
            if let [.., last, now] = objective[first.min(objective.len())..]
                && scale == 0.0
                && empty == 0
                && last - now <= self.tolerance * last
            {
                break;
            }
            // The last centroids are means.
            if plain && empty == 0 && iter + 1 < iters {
                centroids.zip_mut_with(&before, |c, before| *c += PAST_MEAN * (*c - before));
            }
        }
        (objective, sizes)
    }
}

/// Rows that are clustered, in random order.
struct Sample {
    rows: Rows,
    centre: Vec<f32>,
}

impl Sample {
    fn new(x: ArrayView2<'_, f32>, order: &[usize]) -> Sample {
        let centre = rows::mean(x);
        Sample { rows: Rows::pack(x, order.iter().copied(), &centre), centre }
    }
}

/// How much larger, as a share, the squared distances through two levels are.
fn shortcut(rows: Part<'_>, centre: &[f32], centroids: ArrayView2<'_, f32>) -> f64 {
    let distances = |nearest: Nearest| {
        let mut cells = vec![0; rows.n];
        nearest.assign_packed(rows, &mut cells);
        Sums::new(rows, &cells, nearest.len()).distances(rows.squared(), centroids, centre)
    };
    let exact = distances(Nearest::around(centre.to_vec(), centroids));
    let found = distances(Nearest::approximately_around(centre.to_vec(), centroids));
    if exact > 0.0 { found / exact - 1.0 } else { 0.0 }
}

/// Assigns chunk by chunk in order; the rows of a chunk see the sizes that the chunks before have left.
fn balanced(plain: &Nearest, rows: Part<'_>, scale: f32, cells: &mut [u32], sizes: &mut [u32]) {
    let mean = rows.n as f32 / sizes.len() as f32;
    let mut penalised = plain.clone();
    let chunk = chunk(rows.n);
    for (i, cells) in cells.chunks_mut(chunk).enumerate() {
        cells.iter().for_each(|c| sizes[*c as usize] -= 1);
        let penalties: Vec<f32> = sizes.iter().map(|n| scale * (*n as f32 / mean - 1.0)).collect();
        penalised.set_penalties(&penalties, plain);
        penalised.assign_packed(rows.slice(chunk * i, chunk), cells);
        cells.iter().for_each(|c| sizes[*c as usize] += 1);
    }
}

#[cfg(test)]
mod tests;
