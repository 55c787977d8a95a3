//! What happens to vectors in front of an index: a chain of transforms, made into one.

use super::bytes::{Output, Reader};
use crate::error::Error;
use crate::rotation::{Rotation, RotationKind};
use ndarray::{Array1, Array2};
use scant_tensor_core::rng::Rng;

const MOST: u64 = 16;
/// How much of a vector may be lost by a rotation and its inverse.
const TOLERANCE: f32 = 1e-3;
const READ: &str = "VNrm of norm 2 in the first place, VCnt, and LTra, rrot, PCAm, PcAm and Pcam that are rotations";

/// A chain as one step: vectors are normalised, or not, and then rotated and shifted.
#[derive(Default)]
pub(super) struct Before {
    pub(super) normalise: bool,
    kind: Option<RotationKind>,
    matrix: Option<Array2<f32>>,
    shift: Option<Array1<f32>>,
}

impl Before {
    /// The chain of an index of `dim` dimensions.
    pub(super) fn read(r: &mut Reader<'_>, dim: usize) -> Result<Before, Error> {
        let count = u64::from(r.i32()?.unsigned_abs());
        if count > MOST {
            return Err(Error::LimitExceeded { what: "transforms", value: count, limit: MOST });
        }
        let mut before = Before::default();
        for place in 0..count {
            before.step(r, dim, place == 0)?;
        }
        Ok(before)
    }

    fn step(&mut self, r: &mut Reader<'_>, dim: usize, first: bool) -> Result<(), Error> {
        let name = r.fourcc()?;
        match &name {
            b"LTra" => self.linear(r, dim, RotationKind::Opq)?,
            b"rrot" => self.linear(r, dim, RotationKind::Random)?,
            b"PCAm" | b"PcAm" | b"Pcam" => {
                // How it was found, which has grown twice; the matrix and the shift say what it does.
                r.take(if &name == b"Pcam" { 8 } else { 4 })?;
                r.bool("random_rotation of a transform")?;
                r.take(if &name == b"PCAm" { 0 } else { 4 })?;
                (0..3).try_for_each(|_| r.entries(4).map(drop))?;
                self.linear(r, dim, RotationKind::Pca)?;
            }
            b"VNrm" => {
                let norm = r.f32()?;
                if norm != 2.0 || !first {
                    return Err(r.unsupported("transform", format!("VNrm of norm {norm}, first: {first}"), READ));
                }
                self.normalise = true;
            }
            b"VCnt" => {
                let mean = Array1::from(r.floats("numbers in the mean of a transform", dim)?);
                self.follow(None, Some(-mean));
            }
            other => return Err(r.unsupported("transform", other.escape_ascii(), READ)),
        }
        let (from, to) = (r.dim("dimensions into a transform")?, r.dim("dimensions out of a transform")?);
        r.agree("dimensions into a transform", dim, from)?;
        r.agree("dimensions out of a transform", dim, to)?;
        r.trained()
    }

    fn linear(&mut self, r: &mut Reader<'_>, dim: usize, kind: RotationKind) -> Result<(), Error> {
        let has_shift = r.bool("have_bias of a transform")?;
        let entries = r.entries(4)?;
        if entries.len() != 4 * dim * dim {
            let rows = entries.len() / (4 * dim);
            return Err(r.unsupported("transform", format!("from {dim} to {rows} dimensions"), READ));
        }
        let entries = r.finite("numbers in the matrix of a transform", entries)?;
        let matrix = Array2::from_shape_fn((dim, dim), |(i, j)| entries[i * dim + j]);
        let lost = lost(&matrix);
        // NaN, where products overflow, is no rotation either.
        if lost.is_nan() || lost > TOLERANCE {
            return Err(r.unsupported("transform", format!("a matrix that loses {lost} of a vector"), READ));
        }
        let shift = r.entries(4)?;
        let shift = has_shift.then(|| r.finite("numbers in the shift of a transform", shift)).transpose()?;
        if let Some(shift) = &shift {
            r.agree("numbers in the shift of a transform", dim, shift.len())?;
        }
        self.follow(Some((kind, matrix)), shift.map(Array1::from));
        Ok(())
    }

    /// Appends a rotation, a shift, or both.
    fn follow(&mut self, rotation: Option<(RotationKind, Array2<f32>)>, shift: Option<Array1<f32>>) {
        if let Some((kind, next)) = rotation {
            self.kind.get_or_insert(kind);
            self.shift = self.shift.take().map(|shift| next.dot(&shift));
            self.matrix = Some(match self.matrix.take() {
                Some(matrix) => next.dot(&matrix),
                None => next,
            });
        }
        self.shift = match (self.shift.take(), shift) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
    }

    /// True if vectors do not stay as they are.
    pub(super) fn any(&self) -> bool {
        self.normalise || self.matrix.is_some() || self.shift.is_some()
    }

    /// The rotation of the whole chain.
    pub(super) fn rotation(self) -> Option<(RotationKind, Rotation)> {
        let rotation = match (self.matrix, self.shift) {
            (matrix, Some(shift)) => Rotation::Affine { matrix, shift },
            (Some(matrix), None) => Rotation::Matrix(matrix),
            (None, None) => return None,
        };
        Some((self.kind.unwrap_or(RotationKind::Pca), rotation))
    }
}

/// The largest share of a few random vectors that is not there after they were rotated there and back.
fn lost(matrix: &Array2<f32>) -> f32 {
    let mut rng = Rng::new(1);
    let x = Array2::from_shape_simple_fn((4, matrix.ncols()), || rng.normal());
    let mut back = x.clone();
    let rotation = Rotation::Matrix(matrix.clone());
    rotation.apply(back.view_mut());
    rotation.undo(back.view_mut());
    back -= &x;
    let lost = back.rows().into_iter().zip(x.rows()).map(|(lost, x)| (lost.dot(&lost) / x.dot(&x)).sqrt());
    lost.fold(0.0, |most: f32, v| if v.is_nan() { v } else { most.max(v) })
}

/// Writes a chain: the number of transforms, and each of them.
pub(super) fn write(out: &mut Output, dim: usize, normalise: bool, rotation: Option<&Rotation>) -> Result<(), Error> {
    out.i32(i32::from(normalise) + i32::from(rotation.is_some()));
    let end = |out: &mut Output| {
        out.dim(dim)?;
        out.dim(dim)?;
        out.put([1]);
        Ok::<(), Error>(())
    };
    if normalise {
        out.fourcc(b"VNrm");
        out.put(2.0f32.to_le_bytes());
        end(out)?;
    }
    match rotation {
        None => return Ok(()),
        Some(Rotation::Affine { matrix: None, shift }) => {
            out.fourcc(b"VCnt");
            out.floats(&shift.iter().map(|v| -v).collect::<Vec<_>>());
        }
        Some(rotation) => {
            out.fourcc(b"LTra");
            let (matrix, shift) = match rotation {
                Rotation::Affine { matrix, shift } => (matrix.clone(), shift.to_vec()),
                Rotation::Matrix(matrix) => (Some(matrix.clone()), vec![]),
                Rotation::Hadamard(_) => (None, vec![]),
            };
            out.put([u8::from(!shift.is_empty())]);
            let matrix = matrix.unwrap_or_else(|| {
                // The images of the axes are the columns of the matrix.
                let mut images = Array2::eye(dim);
                rotation.apply(images.view_mut());
                images.reversed_axes()
            });
            out.floats(&matrix.iter().copied().collect::<Vec<_>>());
            out.floats(&shift);
        }
    }
    end(out)
}
