//! Tensors of a GGUF file: quantized ones become grids and palettes without loss.

use super::{Checkpoint, Matrix, always_biased, assemble, finite};
use crate::names::{BlockPart, Part};
use crate::tokenizer::Tokenizer;
use crate::{Architecture, Config, Error, Model};
use half::{bf16, f16};
use ndarray::Array2;
use scant_quant::gguf::{BlockType, File, Tensor, quantized_term, rope};
use scant_tensor_core::Term;
use scant_tensor_core::format::{Dense, DenseType};

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

    fn matrix(&self, part: Part, [m, n]: [usize; 2]) -> Result<Matrix, Error> {
        let name = self.name(part, "weight");
        let tensor = self.find(&name)?.ok_or_else(|| Error::MissingTensor { name: name.clone() })?;
        if tensor.dims() != [n, m] {
            // As rows and columns, which is how everything else speaks of matrices.
            let got = tensor.dims().iter().rev().copied().collect();
            return Err(Error::TensorShape { name, want: vec![m, n], got });
        }
        term(&tensor, [m, n], |i| self.stored_row(part, i)).map(Matrix::from)
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
        _ => quantized_term(ty, shape, |i| tensor.row_bytes(row(i))).map_err(|e| match e {
            scant_quant::Error::Term(source) => bad(source),
            other => other.into(),
        }),
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
