//! Quantized Hugging Face checkpoints: GPTQ, AWQ and compressed-tensors, as grids and back, without loss.

mod awq;
mod compressed;
mod config;
mod gptq;
mod words;

pub use config::{Format, Quantization};

use crate::Error;
use ndarray::Array2;
use scant_tensor_core::file::{Dtype, Element, TensorView, Typed};
use scant_tensor_core::format::{Grid, GridSpec, Offset, RowOffset, RowStat};

/// A matrix of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Its columns are in the order in which they lie in groups.
    pub grid: Grid,
    /// Which input each column belongs to; absent if the order is that of the inputs. A permutation, as
    /// [`Step::Permute`](scant_tensor_core::Step::Permute) takes it.
    pub order: Option<Vec<u32>>,
}

/// A tensor to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    /// What follows the matrix's name and a dot.
    pub part: &'static str,
    /// Its type.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, little-endian.
    pub bytes: Vec<u8>,
}

impl Packed {
    fn new<T: Element>(part: &'static str, shape: &[usize], values: &[T]) -> Packed {
        Packed { part, dtype: T::DTYPE, shape: shape.to_vec(), bytes: bytemuck::cast_slice(values).to_vec() }
    }
}

/// Where tensors are found by name.
pub type Find<'a> = &'a dyn Fn(&str) -> Option<TensorView>;

impl Quantization {
    /// The matrix `name` of `shape` (outputs, inputs), from the tensors that `find` has.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::Corrupt`] for tensors of another type or shape than the configuration says, and whatever a grid cannot
    /// be, such as groups of columns that are no multiple of 16.
    pub fn read(&self, name: &str, shape: [usize; 2], find: Find<'_>) -> Result<Matrix, Error> {
        let parts = Parts { name, find };
        match self.format {
            Format::Gptq { v2 } => gptq::read(self, v2, &parts, shape),
            Format::Awq => awq::read(self, &parts, shape),
            Format::Packed { dense } => compressed::packed(self, dense, &parts, shape),
            Format::Int8 => compressed::int8(self, &parts, shape),
        }
    }

    /// The tensors of a matrix in this format, whose parameters the grid must have.
    ///
    /// # Errors
    /// [`Error::Unwritable`] for a grid that the format does not express: of another width or group, with minima, or with scales that are not f16.
    pub fn write(&self, name: &str, grid: &Grid) -> Result<Vec<Packed>, Error> {
        let spec = grid.spec();
        let bad = |detail: String| Error::Unwritable { what: format!("`{name}`"), detail };
        let want = self.group(spec.n);
        if (spec.bits, spec.group_size.min(spec.n)) != (self.bits, want.min(spec.n)) {
            let got = format!("{} bits in groups of {}", spec.bits, spec.group_size);
            return Err(bad(format!("it has {got}, the checkpoint {} bits in groups of {want}", self.bits)));
        }
        let codes = grid.codes();
        let RowStat::F16(scale) = grid.scale().unpack([spec.m, spec.groups()]) else {
            return Err(bad("its scales are not f16".to_owned()));
        };
        let zero = match grid.offset() {
            Offset::Symmetric => None,
            Offset::Zero(stat) => match stat.unpack([spec.m, spec.groups()]) {
                RowStat::Codes { codes, .. } => Some(codes),
                _ => return Err(bad("its zero points are no integers".to_owned())),
            },
            _ => return Err(bad("it has minima instead of zero points".to_owned())),
        };
        if let Some((at, z)) = zero.iter().flat_map(|z| z.indexed_iter()).find(|(_, z)| u32::from(**z) >> self.bits != 0) {
            return Err(bad(format!("zero point {z} at row {}, group {} does not fit {} bits", at.0, at.1, self.bits)));
        }
        let whole = Whole { spec, codes, scale, zero };
        match self.format {
            Format::Gptq { v2 } => gptq::write(self, v2, &whole).map_err(bad),
            Format::Awq => awq::write(&whole).map_err(bad),
            Format::Packed { .. } => compressed::write(self, &whole).map_err(bad),
            Format::Int8 => Err(bad("this form is only read: take pack-quantized".to_owned())),
        }
    }

    /// Columns of a group of a matrix with `n`.
    fn group(&self, n: usize) -> usize {
        self.group_size.unwrap_or(n).min(n)
    }
}

/// A grid row by row, to be written.
struct Whole {
    spec: GridSpec,
    codes: Array2<u8>,
    scale: Array2<half::f16>,
    zero: Option<Array2<u8>>,
}

impl Whole {
    /// The zero points, those of a symmetric grid too.
    fn zeros(&self) -> Array2<u8> {
        let centre = 1u8 << (self.spec.bits - 1);
        self.zero.clone().unwrap_or_else(|| Array2::from_elem((self.spec.m, self.spec.groups()), centre))
    }
}

/// The tensors of one matrix.
struct Parts<'a> {
    name: &'a str,
    find: Find<'a>,
}

impl Parts<'_> {
    fn find(&self, part: &str) -> Option<TensorView> {
        (self.find)(&format!("{}.{part}", self.name))
    }

    fn bad(&self, part: &str, detail: String) -> Error {
        Error::Corrupt { what: format!("tensor `{}.{part}`", self.name), detail }
    }

    fn tensor(&self, part: &str) -> Result<TensorView, Error> {
        self.find(part).ok_or_else(|| Error::MissingTensor { name: format!("{}.{part}", self.name) })
    }

    fn shaped(&self, part: &str, want: &[usize]) -> Result<TensorView, Error> {
        let tensor = self.tensor(part)?;
        if tensor.shape != want {
            return Err(self.bad(part, format!("want shape {want:?}, got {:?}", tensor.shape)));
        }
        Ok(tensor)
    }

    fn typed<T: Element>(&self, part: &str, want: &[usize]) -> Result<Typed<T>, Error> {
        Ok(self.shaped(part, want)?.typed::<T>()?)
    }

    /// Scales in the type that they are stored in; `at(row, group)` says where.
    fn scales(&self, part: &str, want: &[usize], dim: (usize, usize), at: impl Fn(usize, usize) -> usize) -> Result<RowStat, Error> {
        let tensor = self.shaped(part, want)?;
        Ok(match tensor.dtype {
            Dtype::F16 => {
                let x = tensor.typed::<half::f16>()?;
                RowStat::F16(Array2::from_shape_fn(dim, |(i, g)| x[at(i, g)]))
            }
            Dtype::Bf16 => {
                let x = tensor.typed::<half::bf16>()?;
                RowStat::Bf16(Array2::from_shape_fn(dim, |(i, g)| x[at(i, g)]))
            }
            _ => {
                let x = tensor.typed::<f32>()?;
                RowStat::F32(Array2::from_shape_fn(dim, |(i, g)| x[at(i, g)]))
            }
        })
    }

    fn grid(&self, spec: GridSpec, codes: &Array2<u8>, scale: &RowStat, offset: &RowOffset) -> Result<Grid, Error> {
        Ok(Grid::pack(spec, codes.view(), scale, offset)?)
    }

    /// The order in which the columns lie in groups, from the group of each column; absent if they do already.
    fn order(&self, part: &str, groups: &[i32], group: usize) -> Result<Option<Vec<u32>>, Error> {
        let mut order: Vec<u32> = (0..).take(groups.len()).collect();
        order.sort_by_key(|j| groups[*j as usize]);
        let misplaced = order.iter().enumerate().find(|(at, j)| usize::try_from(groups[**j as usize]).ok() != Some(at / group));
        match misplaced {
            Some((at, j)) => {
                let detail = format!("column {j} is of group {}, and {} is full", groups[*j as usize], at / group);
                Err(self.bad(part, detail))
            }
            None => Ok((!order.is_sorted()).then_some(order)),
        }
    }
}

/// Zero points as they are stored: of as many bits as they need.
fn zero_points(codes: Array2<u8>) -> RowOffset {
    let largest = codes.iter().copied().max().unwrap_or(0);
    RowOffset::Zero(RowStat::Codes { bits: (8 - largest.leading_zeros()).max(1), codes })
}

#[cfg(test)]
mod tests;
