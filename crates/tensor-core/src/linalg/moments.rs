//! Means and products of rows, summed in f64.

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
