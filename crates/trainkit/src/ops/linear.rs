//! `y = x W^T`: weights `[out, in]` in Hugging Face's row order.

use ndarray::{ArrayView2, ArrayViewMut2};
use scant_tensor_core::linalg::matmul;

/// `y = x W^T` for `x` `[n, in]`, `w` `[out, in]` and `y` `[n, out]`.
///
/// # Panics
/// If the shapes disagree.
pub fn linear(x: ArrayView2<'_, f32>, w: ArrayView2<'_, f32>, y: ArrayViewMut2<'_, f32>) {
    matmul(1.0, x, w.reversed_axes(), false, y);
}

/// Gradients of [`linear`] for the gradient `dy` `[n, out]` of its result: `dx = dy W`, and `dw += dy^T x`.
///
/// # Panics
/// If the shapes disagree.
pub fn linear_vjp(
    x: ArrayView2<'_, f32>,
    w: ArrayView2<'_, f32>,
    dy: ArrayView2<'_, f32>,
    dx: ArrayViewMut2<'_, f32>,
    dw: ArrayViewMut2<'_, f32>,
) {
    matmul(1.0, dy, w, false, dx);
    matmul(1.0, dy.reversed_axes(), x, true, dw);
}
