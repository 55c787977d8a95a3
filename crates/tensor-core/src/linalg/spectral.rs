//! Decompositions of symmetric and square matrices, in f64 and on one thread, so that the bits do not depend on the machine's threads.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::{evd, svd};
use faer::{Mat, Par};
use ndarray::{Array1, Array2, ArrayView2, Axis};

/// `x^T y` of `x` `[n, a]` and `y` `[n, b]`, summed in f64 over chunks of rows.
///
/// # Panics
/// Unless both have the same number of rows.
pub fn cross(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Array2<f64> {
    let mut sum = Array2::<f64>::zeros((x.ncols(), y.ncols()));
    let mut part = Array2::<f32>::zeros(sum.dim());
    for begin in (0..x.nrows()).step_by(1024) {
        let rows = begin..(begin + 1024).min(x.nrows());
        let (x, y) = (x.slice_axis(Axis(0), rows.clone().into()), y.slice_axis(Axis(0), rows.into()));
        super::matmul(1.0, x.t(), y, false, part.view_mut());
        sum.zip_mut_with(&part, |sum, part| *sum += f64::from(*part));
    }
    sum
}

/// The covariance of the rows of `x` `[n, d]`, times their number: `[d, d]`.
pub fn covariance(x: ArrayView2<'_, f32>) -> Array2<f64> {
    let mean = mean(x);
    let centred = &x - &mean;
    cross(centred.view(), centred.view())
}

/// The mean row of `x` `[n, d]`; zeros without rows.
pub fn mean(x: ArrayView2<'_, f32>) -> Array1<f32> {
    let mut sum = Array1::<f64>::zeros(x.ncols());
    for row in x.rows() {
        sum.zip_mut_with(&row, |sum, v| *sum += f64::from(*v));
    }
    sum.mapv(|v| (v / x.nrows().max(1) as f64) as f32)
}

fn mat(a: ArrayView2<'_, f64>) -> Mat<f64> {
    Mat::from_fn(a.nrows(), a.ncols(), |i, j| a[(i, j)])
}

/// The orthogonal matrix `R` with the largest trace of `R a` for a square `a`: `V U^T` of `a = U S V^T` (Schönemann 1966). None if the
/// decomposition does not converge.
pub fn polar(a: ArrayView2<'_, f64>) -> Option<Array2<f32>> {
    let n = a.nrows();
    let (mut s, mut u, mut v) = (Diag::zeros(n), Mat::zeros(n, n), Mat::zeros(n, n));
    let vectors = svd::ComputeSvdVectors::Full;
    let mut scratch = MemBuffer::new(svd::svd_scratch::<f64>(n, n, vectors, vectors, Par::Seq, Default::default()));
    let stack = MemStack::new(&mut scratch);
    svd::svd(mat(a).as_ref(), s.as_mut(), Some(u.as_mut()), Some(v.as_mut()), Par::Seq, stack, Default::default()).ok()?;
    let r = Array2::from_shape_fn((n, n), |(i, j)| (0..n).map(|k| v[(i, k)] * u[(j, k)]).sum::<f64>() as f32);
    r.iter().all(|v| v.is_finite()).then_some(r)
}

/// Eigenvalues of a symmetric `a`, largest first, and the eigenvectors as rows. None if the decomposition does not converge.
pub fn principal(a: ArrayView2<'_, f64>) -> Option<(Vec<f64>, Array2<f32>)> {
    let n = a.nrows();
    let (mut s, mut u) = (Diag::zeros(n), Mat::zeros(n, n));
    let mut scratch = MemBuffer::new(evd::self_adjoint_evd_scratch::<f64>(n, evd::ComputeEigenvectors::Yes, Par::Seq, Default::default()));
    let stack = MemStack::new(&mut scratch);
    evd::self_adjoint_evd(mat(a).as_ref(), s.as_mut(), Some(u.as_mut()), Par::Seq, stack, Default::default()).ok()?;
    let values: Vec<f64> = (0..n).rev().map(|i| s.column_vector()[i]).collect();
    let mut axes = Array2::from_shape_fn((n, n), |(i, j)| u[(j, n - 1 - i)] as f32);
    for mut axis in axes.axis_iter_mut(Axis(0)) {
        // The sign is free: the largest component positive, so that it does not depend on the algorithm.
        let largest = axis.iter().fold(0.0f32, |m, v| if v.abs() > m.abs() { *v } else { m });
        if largest < 0.0 {
            axis.mapv_inplace(|v| -v);
        }
    }
    axes.iter().all(|v| v.is_finite()).then_some((values, axes))
}
