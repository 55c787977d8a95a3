//! Blocks of row-major matrices as views.

use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder};
use std::ops::Range;

/// Rows `rows` and columns `column..column + columns` of a matrix with rows of `width`.
pub(crate) fn view(x: &[f32], width: usize, rows: Range<usize>, column: usize, columns: usize) -> ArrayView2<'_, f32> {
    let (n, at) = (rows.len(), rows.start * width + column);
    let x = &x[at..at + (n - 1) * width + columns];
    ArrayView2::from_shape((n, columns).strides((width, 1)), x).expect("the slice was cut to the shape")
}

/// The same, mutable.
pub(crate) fn view_mut(x: &mut [f32], width: usize, rows: Range<usize>, column: usize, columns: usize) -> ArrayViewMut2<'_, f32> {
    let (n, at) = (rows.len(), rows.start * width + column);
    let x = &mut x[at..at + (n - 1) * width + columns];
    ArrayViewMut2::from_shape((n, columns).strides((width, 1)), x).expect("the slice was cut to the shape")
}

/// A whole matrix with rows of `width`.
pub(crate) fn matrix(x: &[f32], width: usize) -> ArrayView2<'_, f32> {
    view(x, width, 0..x.len() / width, 0, width)
}

/// The same, mutable.
pub(crate) fn matrix_mut(x: &mut [f32], width: usize) -> ArrayViewMut2<'_, f32> {
    let rows = x.len() / width;
    view_mut(x, width, 0..rows, 0, width)
}
