//! Decompositions of small matrices in f64 and on one thread, so that the bits do not depend on the machine's threads.
//!
//! They stand in a package of their own because they take minutes to compile: whoever does not need them does not wait for them, and who does
//! waits once.
#![forbid(unsafe_code)]

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::lu::partial_pivoting as lu;
use faer::linalg::qr::col_pivoting as qr;
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

/// As [`eigen`], with the eigenvectors in f32.
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
    let (values, axes) = eigen(a)?;
    Some((values, axes.mapv(|v| v as f32)))
}

/// Eigenvalues of a symmetric `a`, largest first, and the eigenvectors as rows. None if the decomposition does not converge. The sign
/// of each eigenvector makes its largest component positive.
///
/// ```
/// use ndarray::array;
/// let (values, axes) = scant_spectra::eigen(array![[2.0, 0.0], [0.0, 3.0]].view()).expect("a finite matrix");
/// assert_eq!((values, axes), (vec![3.0, 2.0], array![[0.0, 1.0], [1.0, 0.0]]));
/// ```
///
/// # Panics
/// Unless `a` is square.
pub fn eigen(a: ArrayView2<'_, f64>) -> Option<(Vec<f64>, Array2<f64>)> {
    let n = a.nrows();
    let (mut s, mut u) = (Diag::zeros(n), Mat::zeros(n, n));
    let mut scratch = MemBuffer::new(evd::self_adjoint_evd_scratch::<f64>(n, evd::ComputeEigenvectors::Yes, Par::Seq, Default::default()));
    let stack = MemStack::new(&mut scratch);
    evd::self_adjoint_evd(mat(a).as_ref(), s.as_mut(), Some(u.as_mut()), Par::Seq, stack, Default::default()).ok()?;
    let values: Vec<f64> = (0..n).rev().map(|i| s.column_vector()[i]).collect();
    let mut axes = Array2::from_shape_fn((n, n), |(i, j)| u[(j, n - 1 - i)]);
    for mut axis in axes.axis_iter_mut(Axis(0)) {
        // The sign is free: the largest component positive, so that it does not depend on the algorithm.
        let largest = axis.iter().fold(0.0f64, |m, v| if v.abs() > m.abs() { *v } else { m });
        if largest < 0.0 {
            axis.mapv_inplace(|v| -v);
        }
    }
    axes.iter().all(|v| v.is_finite()).then_some((values, axes))
}

/// `x` with `a x = b` for a square `a`, by LU with partial pivoting. None if `a` is singular.
///
/// ```
/// use ndarray::array;
/// let x = scant_spectra::solve(array![[0.0, 2.0], [4.0, 0.0]].view(), array![[2.0], [8.0]].view()).expect("it is regular");
/// assert_eq!(x, array![[2.0], [1.0]]);
/// ```
///
/// # Panics
/// Unless `a` is square and as high as `b`.
pub fn solve(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Option<Array2<f64>> {
    let n = a.nrows();
    assert_eq!((a.ncols(), b.nrows()), (n, n), "a system of equations");
    let (mut lu, mut x) = (mat(a), mat(b));
    let (mut order, mut inverse) = (vec![0usize; n], vec![0usize; n]);
    let factor = lu::factor::lu_in_place_scratch::<usize, f64>(n, n, Par::Seq, Default::default());
    let mut scratch = MemBuffer::new(factor.or(lu::solve::solve_in_place_scratch::<usize, f64>(n, x.ncols(), Par::Seq)));
    let stack = MemStack::new(&mut scratch);
    let (_, order) = lu::factor::lu_in_place(lu.as_mut(), &mut order, &mut inverse, Par::Seq, stack, Default::default());
    lu::solve::solve_in_place(lu.as_ref(), lu.as_ref(), order, x.as_mut(), Par::Seq, stack);
    let x = Array2::from_shape_fn(b.dim(), |(i, j)| x[(i, j)]);
    x.iter().all(|v| v.is_finite()).then_some(x)
}

/// Columns of `a` in the order in which a QR decomposition with column pivoting takes them: the first `r` of a matrix of rank `r` span it
/// well.
///
/// ```
/// use ndarray::array;
/// assert_eq!(scant_spectra::pivots(array![[1.0, 5.0, 5.0], [0.0, 0.0, 2.0]].view()), [2, 1, 0]);
/// ```
pub fn pivots(a: ArrayView2<'_, f64>) -> Vec<usize> {
    let (m, n) = a.dim();
    let mut qr = mat(a);
    let (mut order, mut inverse) = (vec![0usize; n], vec![0usize; n]);
    let mut coefficients = Mat::zeros(1, m.min(n));
    let mut scratch = MemBuffer::new(qr::factor::qr_in_place_scratch::<usize, f64>(m, n, 1, Par::Seq, Default::default()));
    let stack = MemStack::new(&mut scratch);
    qr::factor::qr_in_place(qr.as_mut(), coefficients.as_mut(), &mut order, &mut inverse, Par::Seq, stack, Default::default());
    order
}
