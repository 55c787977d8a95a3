//! What a rotated grid promises of inner products (specification 2.8, W6).
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use ndarray::ArrayView2;
use scant_pq_index::quantizer::{Levels, Quantizer, RotatedGrid};
use scant_tensor_core::rng::Rng;

/// Inner product of directions, and its estimate from one's codes, relative to the bound at one sigma.
///
/// A pair of random directions at a given angle is what a random rotation makes of a given pair.
fn errors(grid: &RotatedGrid, pairs: usize, seed: u64) -> Vec<f64> {
    let d = grid.dim();
    let mut rng = Rng::new(seed);
    let mut codes = vec![0; grid.layout().tables];
    let (mut unit, mut decoded) = (vec![0.0f32; d], vec![0.0f32; d]);
    let mut of = |_| {
        unit.iter_mut().for_each(|v| *v = rng.normal());
        let norm = unit.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let other: Vec<f64> = (0..d).map(|_| f64::from(rng.normal())).collect();
        let along = unit.iter().zip(&other).map(|(u, o)| f64::from(*u) / norm * o).sum::<f64>();
        let mut q: Vec<f64> = unit.iter().zip(&other).map(|(u, o)| o - along * f64::from(*u) / norm).collect();
        let length = q.iter().map(|q| q * q).sum::<f64>().sqrt();
        // At 60 degrees.
        q.iter_mut().zip(&unit).for_each(|(q, u)| *q = *q / length * 0.75f64.sqrt() + 0.5 * f64::from(*u) / norm);
        grid.encode(ArrayView2::from_shape((1, d), &unit).unwrap(), &mut codes);
        grid.decode(&codes, &mut decoded);
        let length = decoded.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let cosine = decoded.iter().zip(&unit).map(|(g, u)| f64::from(g * u)).sum::<f64>() / length / norm;
        let estimate = decoded.iter().zip(&q).map(|(g, q)| f64::from(*g) * q).sum::<f64>() / length / cosine;
        let sigma = ((1.0 - cosine * cosine) / (cosine * cosine) * 0.75 / (d - 1) as f64).sqrt();
        (estimate - 0.5) / sigma
    };
    (0..pairs).map(&mut of).collect()
}

#[test]
fn estimates_are_unbiased_and_their_errors_are_what_the_bound_says() {
    for dim in [64, 128, 384] {
        for (bits, levels) in [(1, Levels::LloydMax), (2, Levels::LloydMax), (4, Levels::Uniform)] {
            let grid = RotatedGrid::new(dim, bits, levels).unwrap();
            let errors = errors(&grid, 6000, 7 + dim as u64);
            let n = errors.len() as f64;
            let mean = errors.iter().sum::<f64>() / n;
            let deviation = (errors.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / n).sqrt();
            assert!(mean.abs() < 3.0 * deviation / n.sqrt(), "{dim} dimensions, {bits} bits: bias {mean}");
            let beyond = |sigmas: f64| errors.iter().filter(|e| e.abs() > sigmas).count() as f64 / n;
            // 5.7 % of a normal distribution, and three standard errors of such a share to either side.
            assert!((0.048..0.067).contains(&beyond(1.9)), "{dim} dimensions, {bits} bits: {} beyond 1.9 sigma", beyond(1.9));
            assert!(beyond(3.0) <= 0.005, "{dim} dimensions, {bits} bits: {} beyond 3 sigma", beyond(3.0));
        }
    }
}
