//! Decompositions of small matrices in f64 and on one thread, so that the bits do not depend on the machine's threads.
//!
//! They stand in a package of their own because they take minutes to compile: whoever does not need them does not wait for them, and who does
//! waits once.
#![forbid(unsafe_code)]

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::{evd, svd};
use faer::{Mat, Par};
use ndarray::{Array2, ArrayView2, Axis};

fn mat(a: ArrayView2<'_, f64>) -> Mat<f64> {
    Mat::from_fn(a.nrows(), a.ncols(), |i, j| a[(i, j)])
}

/// The orthogonal matrix `R` with the largest trace of `R a` for a square `a`: `V U^T` of `a = U S V^T` (Schönemann 1966). None if the
/// decomposition does not converge.
///
/// ```
/// use ndarray::array;
/// let r = scant_spectra::polar(array![[0.0, 2.0], [-3.0, 0.0]].view()).expect("a finite matrix");
/// assert!((&r - &array![[0.0, -1.0], [1.0, 0.0]]).iter().all(|v: &f32| v.abs() < 1e-6));
/// ```
///
/// # Panics
/// Unless `a` is square.
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

/// Eigenvalues of a symmetric `a`, largest first, and the eigenvectors as rows. None if the decomposition does not converge. The sign
/// of each eigenvector makes its largest component positive.
///
/// ```
/// use ndarray::array;
/// let (values, axes) = scant_spectra::principal(array![[1.0, 0.0], [0.0, 4.0]].view()).expect("a finite matrix");
/// assert_eq!((values, axes), (vec![4.0, 1.0], array![[0.0, 1.0], [1.0, 0.0]]));
/// ```
///
/// # Panics
/// Unless `a` is square.
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
