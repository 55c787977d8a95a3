//! Optimized product quantization, non-parametric (Ge and others 2013).

use crate::error::Error;
use crate::quantizer::{ProductQuantizer, Quantizer};
use crate::rotation::Rotation;
use ndarray::{Array2, ArrayView2, Axis};
use scant_tensor_core::linalg;

/// Alternations of codebooks and rotation.
const ROUNDS: usize = 16;
/// Stops below this relative gain.
const TOLERANCE: f64 = 1e-4;

/// Learns a rotation for a product quantizer of `m` codes, in turn with its codebooks, on the rows of `x`.
///
/// It starts from shared-out principal axes, and what is returned never has a larger error on `x` than the plain quantizer: where no rotation
/// helps, the identity is returned.
///
/// # Errors
/// As [`ProductQuantizer::train`].
pub fn train_opq(x: ArrayView2<'_, f32>, m: usize, bits: u32, seed: u64) -> Result<Rotation, Error> {
    let dim = x.ncols();
    let plain = ProductQuantizer::train(x, m, bits, seed)?;
    let plain_error = error(&plain, x);
    let mut rotation = match Rotation::pca(x, m) {
        Rotation::Matrix(matrix) => matrix,
        _ => Array2::eye(dim),
    };
    let (mut pq, mut last) = (None::<ProductQuantizer>, f64::INFINITY);
    let mut rotated = x.to_owned();
    let mut best = (plain_error, Array2::eye(dim));
    for round in 0..ROUNDS {
        rotated.assign(&x);
        Rotation::Matrix(rotation.clone()).apply(rotated.view_mut());
        let iters = if round == 0 { 25 } else { 4 };
        let trained = ProductQuantizer::fit(rotated.view(), m, bits, seed, iters, pq.as_ref())?;
        let g = reconstruct(&trained, rotated.view());
        let now = squared(rotated.view(), g.view());
        if now < best.0 {
            best = (now, rotation.clone());
        }
        if last - now <= TOLERANCE * last {
            break;
        }
        last = now;
        let Some(next) = scant_spectra::polar(linalg::cross(x, g.view()).view()) else { break };
        rotation = next;
        pq = Some(trained);
    }
    Ok(Rotation::Matrix(best.1))
}

fn reconstruct(pq: &ProductQuantizer, x: ArrayView2<'_, f32>) -> Array2<f32> {
    let tables = pq.layout().tables;
    let mut codes = vec![0; x.nrows() * tables];
    pq.encode(x, &mut codes);
    let mut out = Array2::zeros(x.dim());
    for (mut row, codes) in out.axis_iter_mut(Axis(0)).zip(codes.chunks_exact(tables)) {
        if let Some(row) = row.as_slice_mut() {
            pq.decode(codes, row);
        }
    }
    out
}

fn squared(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> f64 {
    x.iter().zip(y).map(|(a, b)| f64::from((a - b) * (a - b))).sum()
}

fn error(pq: &ProductQuantizer, x: ArrayView2<'_, f32>) -> f64 {
    squared(x, reconstruct(pq, x).view())
}
