//! Tensors of a GGUF file: quantized ones become grids without loss.

use super::{Checkpoint, always_biased, assemble, finite};
use crate::names::{BlockPart, Part};
use crate::tokenizer::Tokenizer;
use crate::{Architecture, Config, Error, Model};
use half::{bf16, f16};
use ndarray::Array2;
use scant_quant::gguf::parts::{Layout, RowParts, Scaling};
use scant_quant::gguf::{BlockType, File, Tensor, rope};
use scant_tensor_core::Term;
use scant_tensor_core::format::{Dense, DenseType, Grid, GridSpec, RowOffset, RowStat};

/// The model in a GGUF file that is open already, from memory for instance.
///
/// # Errors
/// Whatever is wrong with the file, by name.
pub fn from_gguf(file: File) -> Result<Model, Error> {
    let config = Config::from_gguf(&file)?;
    let tensors = Gguf { file: &file, architecture: config.architecture, head_dim: config.head_dim };
    assemble(config, &tensors, || Tokenizer::from_gguf(&file))
}

struct Gguf<'a> {
    file: &'a File,
    architecture: Architecture,
    head_dim: usize,
}

impl Gguf<'_> {
    fn find(&self, name: &str) -> Result<Option<Tensor<'_>>, Error> {
        match self.file.tensor(name) {
            Ok(tensor) => Ok(Some(tensor)),
            Err(scant_quant::Error::MissingTensor { .. }) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn vector(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>, Error> {
        let Some(tensor) = self.find(name)? else {
            return Ok(None);
        };
        if tensor.dims() != [len] {
            return Err(Error::TensorShape { name: name.to_owned(), want: vec![len], got: tensor.dims().to_vec() });
        }
        finite(name, tensor.to_f32()?).map(Some)
    }

    /// Which stored row is row `i`: llama files pair the rows of a head otherwise.
    fn stored_row(&self, part: Part, i: usize) -> usize {
        match part {
            Part::Block(_, BlockPart::Q | BlockPart::K) if self.architecture == Architecture::Llama => {
                rope::interleaved_row(i, self.head_dim)
            }
            _ => i,
        }
    }
}

impl Checkpoint for Gguf<'_> {
    fn name(&self, part: Part, kind: &str) -> String {
        format!("{}.{kind}", part.gguf())
    }

    fn wants_bias(&self, part: Part) -> bool {
        always_biased(self.architecture, part)
    }

    fn matrix(&self, part: Part, [m, n]: [usize; 2]) -> Result<Term, Error> {
        let name = self.name(part, "weight");
        let tensor = self.find(&name)?.ok_or_else(|| Error::MissingTensor { name: name.clone() })?;
        if tensor.dims() != [n, m] {
            // As rows and columns, which is how everything else speaks of matrices.
            let got = tensor.dims().iter().rev().copied().collect();
            return Err(Error::TensorShape { name, want: vec![m, n], got });
        }
        term(&tensor, [m, n], |i| self.stored_row(part, i))
    }

    fn bias(&self, part: Part, len: usize) -> Result<Option<Vec<f32>>, Error> {
        let stored = self.vector(&self.name(part, "bias"), len)?;
        Ok(stored.map(|b| (0..len).map(|i| b[self.stored_row(part, i)]).collect()))
    }

    fn gain(&self, part: Part, len: usize) -> Result<Vec<f32>, Error> {
        let name = self.name(part, "weight");
        self.vector(&name, len)?.ok_or(Error::MissingTensor { name })
    }
}

/// The tensor as a term with exactly its weights; row `i` of the term is row `row(i)` of the tensor.
fn term(tensor: &Tensor<'_>, shape: [usize; 2], row: impl Fn(usize) -> usize) -> Result<Term, Error> {
    let ty = tensor.block_type()?;
    let bad = |source| Error::Tensor { name: tensor.name().to_owned(), source };
    match ty {
        BlockType::F32 => {
            let mut values = Array2::zeros(shape);
            for (i, mut out) in values.rows_mut().into_iter().enumerate() {
                tensor.decode_row(row(i), out.as_slice_mut().expect("rows are contiguous"))?;
            }
            Dense::new(values.view(), DenseType::F32).map(Term::from).map_err(bad)
        }
        BlockType::F16 => Dense::from_f16(halves(tensor, shape, row, f16::from_bits)?).map(Term::from).map_err(bad),
        BlockType::BF16 => Dense::from_bf16(halves(tensor, shape, row, bf16::from_bits)?).map(Term::from).map_err(bad),
        _ => grid(tensor, ty, shape, row),
    }
}

fn halves<T: Clone + Default>(
    tensor: &Tensor<'_>,
    shape: [usize; 2],
    row: impl Fn(usize) -> usize,
    from_bits: impl Fn(u16) -> T,
) -> Result<Array2<T>, Error> {
    let mut values = Array2::default(shape);
    for (i, mut out) in values.rows_mut().into_iter().enumerate() {
        let pairs = tensor.row_bytes(row(i))?.as_chunks().0;
        out.iter_mut().zip(pairs).for_each(|(out, pair)| *out = from_bits(u16::from_le_bytes(*pair)));
    }
    Ok(values)
}

/// Codes and statistics of all rows, as the parts of a row come.
struct Stats {
    codes: Array2<u8>,
    d: Array2<f16>,
    m: Array2<f16>,
    scale_codes: Array2<u8>,
    min_codes: Array2<u8>,
}

fn grid(tensor: &Tensor<'_>, ty: BlockType, [m, n]: [usize; 2], row: impl Fn(usize) -> usize) -> Result<Term, Error> {
    let bad = |source| Error::Tensor { name: tensor.name().to_owned(), source };
    let mut parts = RowParts::default();
    let layout = parts.split(ty, tensor.row_bytes(row(0))?, n)?;
    let mut stats = Stats {
        codes: Array2::zeros((m, n)),
        d: Array2::default((m, parts.d.len())),
        m: Array2::default((m, parts.m.len())),
        scale_codes: Array2::zeros((m, parts.scale_codes.len())),
        min_codes: Array2::zeros((m, parts.min_codes.len())),
    };
    for i in 0..m {
        parts.split(ty, tensor.row_bytes(row(i))?, n)?;
        copy(&mut stats.codes, i, parts.codes.iter().copied());
        copy(&mut stats.d, i, parts.d.iter().copied().map(f16::from_bits));
        // A minimum is subtracted where there are two levels, and added where there is one.
        let sign = if layout.scaling.is_bilevel() { 0x8000 } else { 0 };
        copy(&mut stats.m, i, parts.m.iter().map(|bits| f16::from_bits(bits ^ sign)));
        copy(&mut stats.scale_codes, i, parts.scale_codes.iter().copied());
        copy(&mut stats.min_codes, i, parts.min_codes.iter().copied());
    }
    let (codes, scale, offset) = statistics(layout, stats);
    let spec = GridSpec::new([m, n], layout.bits, layout.group_size).map_err(bad)?;
    Grid::pack(spec, codes.view(), &scale, &offset).map(Term::from).map_err(bad)
}

fn copy<T>(to: &mut Array2<T>, i: usize, from: impl Iterator<Item = T>) {
    to.row_mut(i).iter_mut().zip(from).for_each(|(to, from)| *to = from);
}

/// The same numbers in a grid's terms.
fn statistics(layout: Layout, stats: Stats) -> (Array2<u8>, RowStat, RowOffset) {
    let Stats { codes, d, m, scale_codes, min_codes } = stats;
    let per = layout.scaling.groups_per_d();
    let levels = |bits, centre, codes, step| RowStat::Levels { bits, centre, codes, per, step, base: None };
    match layout.scaling {
        // The zero code of the symmetric types is the middle of the range, as a symmetric grid has it.
        Scaling::Symmetric { .. } => (codes, RowStat::F16(d), RowOffset::Symmetric),
        Scaling::Min => (codes, RowStat::F16(d), RowOffset::Min(RowStat::F16(m))),
        Scaling::BilevelSymmetric { .. } => (codes, levels(8, 128, scale_codes, d), RowOffset::Symmetric),
        Scaling::BilevelMin => (codes, levels(6, 0, scale_codes, d), RowOffset::Min(levels(6, 0, min_codes, m))),
    }
}
