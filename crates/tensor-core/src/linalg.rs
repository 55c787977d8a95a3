//! Dense products of f32 matrices on this CPU's widest tier, over `faer`; the caller owns the threads.
#![expect(unsafe_code, reason = "views of one library become views of the other")]

use faer::linalg::matmul::matmul as product;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{ArrayView2, ArrayViewMut2};

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
