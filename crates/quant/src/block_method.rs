//! The quantizers of GGUF as methods: what the format's tools make of a matrix, as a term.

use crate::error::Error;
use crate::gguf::{BlockType, blocks, quantized_term};
use scant_tensor_core::Term;
use scant_tensor_core::compress::{Compress, FitError, MatrixFit, SiteFit};
use scant_tensor_core::format::{Dense, DenseType};
use scant_tensor_core::progress::Progress;
use scant_tensor_core::stats::{StatSet, Statistic};
use std::fmt;
use std::str::FromStr;

/// Encodes each matrix as a GGUF block type and keeps the blocks as a grid with the same weights.
///
/// The mean squares of the inputs are the importance of the columns, as an importance matrix is for llama.cpp; [`plain`](Blocks::plain) needs no
/// statistics and takes all columns alike. Rows that are no whole blocks get the type that [`BlockType::for_rows_of`] names.
///
/// ```
/// use scant_quant::{Blocks, gguf::BlockType};
/// let method = Blocks::new(BlockType::Q4_K);
/// assert_eq!(method.to_string(), "q4_k");
/// assert_eq!("q4_k-plain".parse::<Blocks>()?, method.plain());
/// # Ok::<(), scant_quant::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Blocks {
    /// The type.
    pub block_type: BlockType,
    /// Whether columns weigh what statistics say.
    pub importance: bool,
}

impl Blocks {
    /// This type, with the mean squares of the inputs as importance of columns.
    pub fn new(block_type: BlockType) -> Blocks {
        Blocks { block_type, importance: true }
    }

    /// All columns alike, without statistics.
    #[must_use]
    pub fn plain(mut self) -> Blocks {
        self.importance = false;
        self
    }

    fn term(&self, matrix: &MatrixFit, importance: Option<&[f32]>) -> Result<Term, Error> {
        let [m, n] = matrix.shape();
        let weights = matrix.residual();
        let ty = self.block_type.for_rows_of(n);
        let kind = match ty {
            BlockType::F32 => Some(DenseType::F32),
            BlockType::F16 => Some(DenseType::F16),
            BlockType::BF16 => Some(DenseType::Bf16),
            _ => None,
        };
        if let Some(kind) = kind {
            return Ok(Dense::new(weights, kind)?.into());
        }
        let weights = weights.to_slice().expect("residuals are in row order");
        let row = ty.row_bytes(n)?;
        let mut bytes = vec![0; m * row];
        match importance {
            Some(importance) => blocks::encode_weighted(ty, weights, importance, &mut bytes)?,
            None => blocks::encode(ty, weights, &mut bytes)?,
        }
        quantized_term(ty, [m, n], |i| Ok(&bytes[i * row..][..row]))
    }
}

impl Compress for Blocks {
    fn name(&self) -> String {
        self.to_string()
    }

    fn needs(&self) -> StatSet {
        if self.importance { Statistic::MeanSq.into() } else { StatSet::NONE }
    }

    fn fit(&self, site: &mut SiteFit, progress: &dyn Progress) -> Result<(), FitError> {
        let importance = site.stats().mean_sq().filter(|_| self.importance);
        let total = site.matrices().len() as u64;
        for (matrix, done) in site.matrices_mut().iter_mut().zip(0..) {
            if progress.cancelled() {
                return Err(FitError::Cancelled { matrix: matrix.name().to_owned() });
            }
            progress.step(done, total, matrix.name());
            let term = self.term(matrix, importance.as_deref()).map_err(|e| match e {
                Error::Term(source) => FitError::At { name: matrix.name().to_owned(), source },
                // A type that cannot be encoded, or weights beyond f16.
                other => FitError::Method { method: format!("{self} at `{}`", matrix.name()), source: Box::new(other) },
            })?;
            matrix.push(term)?;
        }
        Ok(())
    }
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = if self.importance { "" } else { "-plain" };
        f.pad(&format!("{}{plain}", self.block_type.to_string().to_ascii_lowercase()))
    }
}

impl FromStr for Blocks {
    type Err = Error;
    fn from_str(s: &str) -> Result<Blocks, Error> {
        let (name, importance) = match s.strip_suffix("-plain") {
            Some(name) => (name, false),
            None => (s, true),
        };
        let block_type = name.parse().map_err(|e: Error| Error::MethodName { name: s.to_owned(), detail: e.to_string() })?;
        Ok(Blocks { block_type, importance })
    }
}
