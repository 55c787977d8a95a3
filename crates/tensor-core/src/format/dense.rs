//! The matrix itself, row-major, in f32, f16 or bf16.

use crate::error::Error;
use crate::file::{Bytes, Typed};
use crate::simd::Simd;
use half::{bf16, f16};
use ndarray::{Array2, ArrayView2};

/// Storage type of a [`Dense`] matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DenseType {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// bfloat16.
    Bf16,
}

/// A matrix `[m, n]` in row order, computed with in f32.
///
/// ```
/// use ndarray::array;
/// use scant_tensor_core::format::{Dense, DenseType};
/// let w = Dense::new(array![[1.0, 2.0], [3.0, 4.0]].view(), DenseType::F16)?;
/// assert_eq!(w.shape(), [2, 2]);
/// # Ok::<(), scant_tensor_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    pub(crate) shape: [usize; 2],
    pub(crate) data: DenseData,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DenseData {
    F32(Typed<f32>),
    F16(Typed<f16>),
    Bf16(Typed<bf16>),
}

impl Dense {
    /// Stores `w` in the given type, rounded to nearest even.
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::NotFinite`] if a value is NaN or infinite, or becomes so in the type.
    pub fn new(w: ArrayView2<'_, f32>, kind: DenseType) -> Result<Dense, Error> {
        let shape = [w.nrows(), w.ncols()];
        let data = match kind {
            DenseType::F32 => DenseData::F32(w.iter().copied().collect()),
            DenseType::F16 => DenseData::F16(w.iter().map(|x| f16::from_f32(*x)).collect()),
            DenseType::Bf16 => DenseData::Bf16(w.iter().map(|x| bf16::from_f32(*x)).collect()),
        };
        Dense::from_data(shape, data)
    }

    /// Takes f16 values `[m, n]` as they are.
    ///
    /// # Errors
    /// As [`Dense::new`].
    pub fn from_f16(w: Array2<f16>) -> Result<Dense, Error> {
        Dense::from_data([w.nrows(), w.ncols()], DenseData::F16(w.iter().copied().collect()))
    }

    /// Takes bf16 values `[m, n]` as they are.
    ///
    /// # Errors
    /// As [`Dense::new`].
    pub fn from_bf16(w: Array2<bf16>) -> Result<Dense, Error> {
        Dense::from_data([w.nrows(), w.ncols()], DenseData::Bf16(w.iter().copied().collect()))
    }

    pub(crate) fn from_data(shape: [usize; 2], data: DenseData) -> Result<Dense, Error> {
        if shape.contains(&0) {
            return Err(Error::Empty { what: "dense matrix".to_owned(), shape });
        }
        let dense = Dense { shape, data };
        for i in 0..shape[0] {
            for j in 0..shape[1] {
                let value = dense.at(i * shape[1] + j);
                if !value.is_finite() {
                    return Err(Error::NotFinite { what: "dense matrix".to_owned(), row: i, column: j, value });
                }
            }
        }
        Ok(dense)
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// The storage type.
    pub fn kind(&self) -> DenseType {
        match self.data {
            DenseData::F32(_) => DenseType::F32,
            DenseData::F16(_) => DenseType::F16,
            DenseData::Bf16(_) => DenseType::Bf16,
        }
    }

    /// The matrix itself, where it is stored in f32.
    pub(crate) fn as_f32(&self) -> Option<ArrayView2<'_, f32>> {
        match &self.data {
            DenseData::F32(x) => ArrayView2::from_shape(self.shape, &x[..]).ok(),
            _ => None,
        }
    }

    /// Shows `f` the memory that holds it, to be put elsewhere.
    pub(crate) fn each_bytes(&mut self, f: &mut dyn FnMut(&mut Bytes)) {
        match &mut self.data {
            DenseData::F32(x) => x.each_bytes(f),
            DenseData::F16(x) => x.each_bytes(f),
            DenseData::Bf16(x) => x.each_bytes(f),
        }
    }

    /// Element `i` in row order.
    #[inline]
    pub(crate) fn at(&self, i: usize) -> f32 {
        match &self.data {
            DenseData::F32(x) => x[i],
            DenseData::F16(x) => x[i].to_f32(),
            DenseData::Bf16(x) => x[i].to_f32(),
        }
    }
}

/// A storage type that kernels widen to f32.
pub(crate) trait Element: Copy + Default {
    fn load<S: Simd>(s: S, x: &[Self; 16]) -> S::F;
}

impl Element for f32 {
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[f32; 16]) -> S::F {
        s.load(x)
    }
}

impl Element for f16 {
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[f16; 16]) -> S::F {
        s.load_f16(bytemuck::must_cast_ref(x))
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[bf16; 16]) -> S::F {
        s.load_bf16(bytemuck::must_cast_ref(x))
    }
}
