//! The Karhunen-Loève transform: coordinates along the principal axes of some rows.

use crate::error::Error;
use crate::rotation::products;
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis};
use scant_tensor_core::file::{Dtype, File, Writer};
use scant_tensor_core::linalg;

/// A mean and orthonormal axes, the one of the largest variance first: an isometry.
#[derive(Clone, Debug)]
pub(crate) struct Klt {
    mean: Array1<f32>,
    /// `[d, d]`, an axis a row.
    axes: Array2<f32>,
}

impl Klt {
    /// The transform of the rows of `x`, and their variances along the axes. Where there are fewer rows than dimensions, the last variances are 0.
    pub(crate) fn fit(x: ArrayView2<'_, f32>) -> (Klt, Vec<f64>) {
        let covariance = linalg::covariance(x);
        let n = x.nrows().max(1) as f64;
        // Values too large for a covariance in f32 keep their own axes.
        let (sums, axes) =
            scant_spectra::principal(covariance.view()).unwrap_or_else(|| (covariance.diag().to_vec(), Array2::eye(x.ncols())));
        (Klt { mean: linalg::mean(x), axes }, sums.into_iter().map(|sum| sum.max(0.0) / n).collect())
    }

    /// Transforms each row.
    pub(crate) fn apply(&self, mut x: ArrayViewMut2<'_, f32>) {
        x -= &self.mean;
        products(self.axes.view(), x);
    }

    /// Undoes [`apply`](Self::apply), to rounding.
    pub(crate) fn undo(&self, mut x: ArrayViewMut2<'_, f32>) {
        products(self.axes.t(), x.view_mut());
        x += &self.mean;
    }

    /// The product of a vector with the mean.
    pub(crate) fn along_mean(&self, q: &[f32]) -> f32 {
        self.mean.iter().zip(q).map(|(m, q)| m * q).sum()
    }

    /// Turns a direction, without taking the mean from it.
    pub(crate) fn turn(&self, x: ArrayViewMut2<'_, f32>) {
        products(self.axes.view(), x);
    }

    pub(crate) fn save(&self, prefix: &str, writer: &mut Writer<'_>) -> Result<(), Error> {
        let mean = bytemuck::cast_slice(self.mean.as_slice().unwrap_or_default()).to_vec();
        writer.add(format!("{prefix}mean"), Dtype::F32, self.mean.shape(), mean)?;
        let axes: Vec<f32> = self.axes.iter().copied().collect();
        Ok(writer.add(format!("{prefix}axes"), Dtype::F32, self.axes.shape(), bytemuck::cast_slice(&axes).to_vec())?)
    }

    pub(crate) fn load(prefix: &str, file: &File, dim: usize) -> Result<Klt, Error> {
        let mean = Array1::from(file.typed::<f32>(&format!("{prefix}mean"), [dim])?.to_vec());
        let all = file.typed::<f32>(&format!("{prefix}axes"), [dim, dim])?;
        let axes = Array2::from_shape_fn((dim, dim), |(r, c)| all[r * dim + c]);
        Error::check_finite(axes.view(), 0)?;
        Error::check_finite(mean.view().insert_axis(Axis(0)), 0)?;
        Ok(Klt { mean, axes })
    }
}
