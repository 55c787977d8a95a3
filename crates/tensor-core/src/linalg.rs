//! Dense products, Cholesky factors and moments of matrices on this CPU's widest tier, over `faer`; the caller owns the threads.
#![expect(unsafe_code, reason = "views of one library become views of the other")]

use crate::error::Error;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{LltError, cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::matmul::matmul as product;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

/// `c = alpha a b` for `a` `[m, k]` and `b` `[k, n]`, or `c += alpha a b` if `add`. On the calling thread; O(m k n).
///
/// Any strides do; contiguous rows or columns are fastest.
///
/// ```
/// use ndarray::{array, Array2};
/// use scant_tensor_core::linalg::matmul;
/// let a = array![[1.0, 2.0], [3.0, 4.0]];
/// let mut c = Array2::ones((2, 2));
/// matmul(1.0, a.view(), a.t(), true, c.view_mut());
/// assert_eq!(c, array![[6.0, 12.0], [12.0, 26.0]]);
/// ```
///
/// # Panics
/// If the shapes disagree.
pub fn matmul(alpha: f32, a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, add: bool, c: ArrayViewMut2<'_, f32>) {
    assert_eq!(a.ncols(), b.nrows(), "matmul: inner dimensions differ");
    assert_eq!((a.nrows(), b.ncols()), c.dim(), "matmul: shape of the result");
    let accum = if add { Accum::Add } else { Accum::Replace };
    product(faer_mut(c), accum, faer_ref(a), faer_ref(b), alpha, Par::Seq);
}

/// The same matrix as a view of faer's.
pub(crate) fn faer_ref(x: ArrayView2<'_, f32>) -> MatRef<'_, f32> {
    let ((rows, columns), strides) = (x.dim(), [x.strides()[0], x.strides()[1]]);
    // SAFETY: pointer, shape and strides are those of a view that is borrowed for as long as the result.
    unsafe { MatRef::from_raw_parts(x.as_ptr(), rows, columns, strides[0], strides[1]) }
}

/// The same matrix as a mutable view of faer's.
pub(crate) fn faer_mut(mut x: ArrayViewMut2<'_, f32>) -> MatMut<'_, f32> {
    let ((rows, columns), strides) = (x.dim(), [x.strides()[0], x.strides()[1]]);
    // SAFETY: pointer, shape and strides are those of a view that is borrowed mutably for as long as the result.
    unsafe { MatMut::from_raw_parts_mut(x.as_mut_ptr(), rows, columns, strides[0], strides[1]) }
}

/// The Cholesky factor of a symmetric positive definite matrix: lower triangular `L` with `a = L L^T`. Reads the lower triangle. O(n^3 / 3).
///
/// ```
/// use ndarray::array;
/// use scant_tensor_core::linalg::cholesky;
/// let l = cholesky(array![[4.0, 2.0], [2.0, 5.0]].view())?;
/// assert_eq!(l, array![[2.0, 0.0], [1.0, 2.0]]);
/// # Ok::<(), scant_tensor_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if `a` is not square, [`Error::NotPositiveDefinite`].
pub fn cholesky(a: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
    let l = factor(a, |i, j| (i, j))?;
    Ok(Array2::from_shape_fn(a.dim(), |(i, j)| if j <= i { l[(i, j)] } else { 0.0 }))
}

/// The upper Cholesky factor of the inverse: upper triangular `U` with `a^-1 = U^T U`. O(2 n^3 / 3).
///
/// With rows and columns in reverse order `a = R R^T` for an upper triangular `R`, and `U = R^-1`: the inverse itself is never formed, which
/// costs half as much as factoring it and loses less.
///
/// ```
/// use ndarray::array;
/// use scant_tensor_core::linalg::inverse_factor;
/// let u = inverse_factor(array![[5.0, 2.0], [2.0, 4.0]].view())?;
/// assert_eq!(u, array![[0.5, -0.25], [0.0, 0.5]]);
/// # Ok::<(), scant_tensor_core::Error>(())
/// ```
///
/// # Errors
/// As [`cholesky`].
pub fn inverse_factor(a: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
    let n = a.nrows();
    let reverse = |i: usize| n - 1 - i;
    let l = factor(a, |i, j| (reverse(i), reverse(j)))?;
    let mut inverse = Mat::<f32>::zeros(n, n);
    faer::linalg::triangular_inverse::invert_lower_triangular(inverse.as_mut(), l.as_ref(), Par::Seq);
    Ok(Array2::from_shape_fn((n, n), |(i, j)| if j >= i { inverse[(reverse(i), reverse(j))] } else { 0.0 }))
}

/// The inverse of a symmetric positive definite matrix. O(n^3).
///
/// # Errors
/// As [`cholesky`].
pub fn spd_inverse(a: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
    let u = inverse_factor(a)?;
    let mut inverse = Array2::zeros(a.dim());
    matmul(1.0, u.t(), u.view(), false, inverse.view_mut());
    Ok(inverse)
}

/// The Cholesky factor of `a` with element (i, j) taken from `at(i, j)`, in the lower triangle. On the calling thread: the library's parallel
/// factorization does not promise the same bits for any number of threads.
fn factor(a: ArrayView2<'_, f32>, at: impl Fn(usize, usize) -> (usize, usize)) -> Result<Mat<f32>, Error> {
    let n = a.nrows();
    Error::check_shape("matrix to be factored", &[n, n], a.shape())?;
    let mut l = Mat::from_fn(n, n, |i, j| a[at(i, j)]);
    let mut scratch = MemBuffer::new(cholesky_in_place_scratch::<f32>(n, Par::Seq, Default::default()));
    let stack = MemStack::new(&mut scratch);
    match cholesky_in_place(l.as_mut(), Default::default(), Par::Seq, stack, Default::default()) {
        Ok(_) => Ok(l),
        Err(LltError::NonPositivePivot { index: pivot }) => {
            Err(Error::NotPositiveDefinite { what: "matrix to be factored".to_owned(), pivot, n })
        }
    }
}

mod low_rank;
mod moments;
#[cfg(test)]
mod tests;

pub use low_rank::low_rank;
pub use moments::{covariance, cross, mean};
