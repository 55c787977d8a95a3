//! Rotations that a quantizer wants in front of it.

use crate::error::Error;
use crate::flat::keys;
use crate::metric::Metric;
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis};
use scant_tensor_core::file::{Dtype, File, Writer};
use scant_tensor_core::linalg;
use scant_tensor_core::rng::Rng;

/// Rounds of signs and Hadamard; where the dimension is no power of two, each covers the first or the last part in turn.
const ROUNDS: usize = 4;

/// Which rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RotationKind {
    /// Random signs and Hadamard matrices, four rounds: `4 d` bits, O(d log d) a vector.
    Hadamard,
    /// A random rotation, d^2 numbers.
    Random,
    /// Principal axes, shared out so that the parts of a product quantizer have like products of variances.
    Pca,
    /// Learned with the product quantizer (Ge and others 2013), starting from the principal axes or from nothing.
    Opq,
}

/// An isometry of vectors.
#[derive(Clone, Debug)]
pub enum Rotation {
    /// Signs, `[4, d]`.
    Hadamard(Array2<f32>),
    /// `[d, d]` in row order, with orthonormal rows: a vector `x` becomes `R x`.
    Matrix(Array2<f32>),
    /// As `Matrix`, and then a shift: `R x + b`.
    Affine {
        /// `[d, d]`, with orthonormal rows; none for the identity.
        matrix: Option<Array2<f32>>,
        /// `[d]`.
        shift: Array1<f32>,
    },
}

impl Rotation {
    /// Random signs.
    pub fn hadamard(dim: usize, seed: u64) -> Rotation {
        let mut rng = Rng::new(seed);
        Rotation::Hadamard(Array2::from_shape_simple_fn((ROUNDS, dim), || if rng.next_u64() & 1 == 0 { 1.0 } else { -1.0 }))
    }

    /// A random rotation, uniform.
    pub fn random(dim: usize, seed: u64) -> Rotation {
        let mut rng = Rng::new(seed);
        let gaussian = Array2::from_shape_simple_fn((dim, dim), || f64::from(rng.normal()));
        // The polar factor of a Gaussian matrix is uniform, as its Q with the right signs would be.
        Rotation::Matrix(scant_spectra::polar(gaussian.view()).unwrap_or_else(|| Array2::eye(dim)))
    }

    /// Principal axes of `x`; with `parts`, each next axis goes to the part with room whose variances have the smallest product.
    pub fn pca(x: ArrayView2<'_, f32>, parts: usize) -> Rotation {
        let dim = x.ncols();
        let Some((values, axes)) = scant_spectra::principal(linalg::covariance(x).view()) else {
            return Rotation::Matrix(Array2::eye(dim));
        };
        let (short, longer) = (dim / parts, dim % parts);
        let room = |j: usize| short + usize::from(j < longer);
        let mut members: Vec<(f64, Vec<usize>)> = vec![(0.0, vec![]); parts];
        for (axis, value) in values.iter().enumerate() {
            let open = members.iter().enumerate().filter(|(j, (_, own))| own.len() < room(*j));
            if let Some(j) = open.min_by(|a, b| a.1.0.total_cmp(&b.1.0)).map(|(j, _)| j) {
                members[j].0 += value.max(1e-30).ln();
                members[j].1.push(axis);
            }
        }
        let order: Vec<usize> = members.into_iter().flat_map(|(_, own)| own).collect();
        Rotation::Matrix(axes.select(Axis(0), &order))
    }

    /// Rotates each row.
    pub fn apply(&self, mut x: ArrayViewMut2<'_, f32>) {
        match self {
            Rotation::Hadamard(signs) => {
                let dim = signs.ncols();
                let part = if dim == 0 { 0 } else { 1usize << dim.ilog2() };
                let mut row_values = vec![0.0f32; dim];
                for mut row in x.rows_mut() {
                    row_values.iter_mut().zip(&row).for_each(|(to, from)| *to = *from);
                    for (round, signs) in signs.rows().into_iter().enumerate() {
                        row_values.iter_mut().zip(signs).for_each(|(v, s)| *v *= s);
                        let begin = if round % 2 == 0 { 0 } else { dim - part };
                        hadamard(&mut row_values[begin..begin + part]);
                    }
                    row.iter_mut().zip(&row_values).for_each(|(to, from)| *to = *from);
                }
            }
            Rotation::Matrix(matrix) => products(matrix.view(), x),
            Rotation::Affine { matrix, shift } => {
                if let Some(matrix) = matrix {
                    products(matrix.view(), x.view_mut());
                }
                x += shift;
            }
        }
    }

    /// Undoes [`apply`](Self::apply), to rounding.
    pub fn undo(&self, mut x: ArrayViewMut2<'_, f32>) {
        match self {
            Rotation::Hadamard(signs) => {
                let dim = signs.ncols();
                let part = if dim == 0 { 0 } else { 1usize << dim.ilog2() };
                for mut row in x.rows_mut() {
                    let mut values = row.to_vec();
                    for round in (0..signs.nrows()).rev() {
                        let begin = if round % 2 == 0 { 0 } else { dim - part };
                        hadamard(&mut values[begin..begin + part]);
                        values.iter_mut().zip(signs.row(round)).for_each(|(v, s)| *v *= s);
                    }
                    row.iter_mut().zip(&values).for_each(|(to, from)| *to = *from);
                }
            }
            Rotation::Matrix(matrix) => products(matrix.t(), x),
            Rotation::Affine { matrix, shift } => {
                x -= shift;
                if let Some(matrix) = matrix {
                    products(matrix.t(), x);
                }
            }
        }
    }

    pub(crate) fn save(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        match self {
            Rotation::Hadamard(signs) => {
                let byte = |bits: &[f32]| bits.iter().rev().fold(0u8, |byte, s| byte << 1 | u8::from(*s < 0.0));
                let all: Vec<f32> = signs.iter().copied().collect();
                let bits: Vec<u8> = all.chunks(8).map(byte).collect();
                Ok(writer.add("rotation.signs", Dtype::U8, [bits.len()], bits)?)
            }
            Rotation::Matrix(matrix) => save_f32(writer, "rotation", matrix.shape(), matrix.iter()),
            Rotation::Affine { matrix, shift } => {
                if let Some(matrix) = matrix {
                    save_f32(writer, "rotation", matrix.shape(), matrix.iter())?;
                }
                save_f32(writer, "rotation.shift", &[1, shift.len()], shift.iter())
            }
        }
    }

    /// The rotation of a file, which has none if neither tensor is there.
    pub(crate) fn load(file: &File, dim: usize) -> Result<Option<Rotation>, Error> {
        if file.contains("rotation.signs") {
            let bits = file.expect("rotation.signs", Dtype::U8, [(ROUNDS * dim).div_ceil(8)])?;
            let sign = |i: usize| if bits[i / 8] >> (i % 8) & 1 == 1 { -1.0 } else { 1.0 };
            return Ok(Some(Rotation::Hadamard(Array2::from_shape_fn((ROUNDS, dim), |(r, c)| sign(r * dim + c)))));
        }
        let load = |name: &str, rows: usize| {
            if !file.contains(name) {
                return Ok(None);
            }
            let all = file.typed::<f32>(name, [rows, dim])?;
            let matrix = Array2::from_shape_fn((rows, dim), |(r, c)| all[r * dim + c]);
            Error::check_finite(matrix.view(), 0)?;
            Ok::<_, Error>(Some(matrix))
        };
        let matrix = load("rotation", dim)?;
        Ok(match load("rotation.shift", 1)? {
            Some(shift) => Some(Rotation::Affine { matrix, shift: shift.row(0).to_owned() }),
            None => matrix.map(Rotation::Matrix),
        })
    }
}

fn save_f32<'a>(writer: &mut Writer<'_>, name: &str, shape: &[usize], values: impl Iterator<Item = &'a f32>) -> Result<(), Error> {
    let all: Vec<f32> = values.copied().collect();
    Ok(writer.add(name, Dtype::F32, shape, bytemuck::cast_slice(&all).to_vec())?)
}

/// Replaces each row by its products with the rows of `matrix`: one at a time, so that a row's bits do not depend on how many there are.
pub(crate) fn products(matrix: ArrayView2<'_, f32>, mut x: ArrayViewMut2<'_, f32>) {
    let matrix = matrix.as_standard_layout();
    let matrix = matrix.as_slice().unwrap_or_default();
    let mut out = vec![0.0; x.ncols()];
    for mut row in x.rows_mut() {
        keys(Metric::InnerProduct, &row.to_vec(), matrix, &mut out);
        row.iter_mut().zip(&out).for_each(|(to, key)| *to = -key);
    }
}

/// The normalised Hadamard transform of a power of two values.
fn hadamard(x: &mut [f32]) {
    let mut half = 1;
    while half < x.len() {
        for pair in x.chunks_exact_mut(2 * half) {
            let (a, b) = pair.split_at_mut(half);
            a.iter_mut().zip(b).for_each(|(a, b)| (*a, *b) = (*a + *b, *a - *b));
        }
        half *= 2;
    }
    let norm = 1.0 / (x.len() as f32).sqrt();
    x.iter_mut().for_each(|x| *x *= norm);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rotation_is_an_isometry_and_can_be_undone() {
        let mut rng = Rng::new(1);
        for dim in [1, 3, 50, 64] {
            let x = Array2::from_shape_simple_fn((40, dim), || rng.normal());
            for rotation in [Rotation::hadamard(dim, 2), Rotation::random(dim, 3), Rotation::pca(x.view(), dim.min(5))] {
                let mut y = x.clone();
                rotation.apply(y.view_mut());
                for (a, b) in x.rows().into_iter().zip(y.rows()) {
                    assert!((a.dot(&a) / b.dot(&b) - 1.0).abs() < 1e-5);
                }
                assert!(dim == 1 || x.iter().zip(&y).any(|(a, b)| (a - b).abs() > 0.1));
                rotation.undo(y.view_mut());
                assert!(x.iter().zip(&y).all(|(a, b)| (a - b).abs() < 1e-5));
            }
        }
    }

    #[test]
    fn principal_axes_come_in_order_and_are_shared_out() {
        let mut rng = Rng::new(5);
        let scales = [1.0, 8.0, 2.0, 4.0];
        let x = Array2::from_shape_fn((2000, 4), |(_, j)| scales[j] * rng.normal());
        let variances = |parts: usize| {
            let mut y = x.clone();
            Rotation::pca(x.view(), parts).apply(y.view_mut());
            y.var_axis(Axis(0), 0.0).mapv(f32::sqrt)
        };
        let ordered = variances(1);
        assert!(ordered.iter().zip([8.0, 4.0, 2.0, 1.0]).all(|(a, b)| (a / b - 1.0).abs() < 0.1), "{ordered}");
        // 8 goes to the first part, 4 and 2 to the second until it is full, 1 to the first: products 8 and 8.
        let shared = variances(2);
        assert!((shared[0] * shared[1] / (shared[2] * shared[3]) - 1.0).abs() < 0.2, "{shared}");
    }
}
