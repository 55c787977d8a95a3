//! Vectors that are neither trivially easy to compress nor hopeless.

use ndarray::{Array2, Axis};
use scant_pq_index::Rotation;
use scant_tensor_core::rng::Rng;

const CENTRES: usize = 4096;

/// Clusters whose centres and noise share a decaying spectrum, with heavy-tailed sizes, rotated at random.
pub(crate) struct Clustered {
    centres: Array2<f32>,
    spectrum: Vec<f32>,
    /// Sums of the clusters' shares.
    shares: Vec<f64>,
    rotation: Rotation,
}

impl Clustered {
    /// In `dim` dimensions; the seed decides on the clusters.
    pub(crate) fn new(dim: usize, seed: u64) -> Clustered {
        let mut rng = Rng::new(seed);
        let decay = |j: usize| 1.0 / (1.0 + j as f64).sqrt();
        let norm = (0..dim).map(|j| decay(j).powi(2)).sum::<f64>().sqrt();
        let spectrum: Vec<f32> = (0..dim).map(|j| (decay(j) / norm) as f32).collect();
        let centres = Array2::from_shape_fn((CENTRES, dim), |(_, j)| spectrum[j] * rng.normal());
        let shares = (1..=CENTRES).scan(0.0, |sum, i| {
            *sum += (i as f64).powf(-0.7);
            Some(*sum)
        });
        Clustered { centres, spectrum, shares: shares.collect(), rotation: Rotation::random(dim, seed) }
    }

    /// Rows drawn with a seed of their own.
    pub(crate) fn rows(&self, n: usize, seed: u64) -> Array2<f32> {
        let mut rng = Rng::new(seed);
        let mut x = Array2::zeros((n, self.spectrum.len()));
        for mut row in x.axis_iter_mut(Axis(0)) {
            let at = f64::from(rng.uniform()) * self.shares[CENTRES - 1];
            let centre = self.centres.row(self.shares.partition_point(|share| *share < at).min(CENTRES - 1));
            for ((x, c), s) in row.iter_mut().zip(centre).zip(&self.spectrum) {
                *x = c + 0.7 * s * rng.normal();
            }
        }
        self.rotation.apply(x.view_mut());
        x
    }
}
