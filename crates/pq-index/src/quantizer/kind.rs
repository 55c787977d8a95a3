//! The quantizers by name.

use super::{Anisotropic, Layout, Levels, Lvq, ProductQuantizer, Quantizer, ResidualQuantizer, RotatedGrid, ScalarQuantizer};
use crate::error::Error;
use crate::osq::Osq;
use ndarray::ArrayView2;
use scant_tensor_core::file::{File, Writer};

/// Which quantizer, with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[non_exhaustive]
pub enum QuantizerKind {
    /// None: vectors as f32.
    Full,
    /// A [`ProductQuantizer`].
    Product {
        /// Subspaces.
        m: usize,
        /// 4 or 8.
        bits: u32,
    },
    /// An [`Anisotropic`] one.
    Anisotropic {
        /// Subspaces.
        m: usize,
        /// 4 or 8.
        bits: u32,
        /// How much more an error along the vector weighs than one across it.
        eta: u32,
    },
    /// A [`ScalarQuantizer`].
    Scalar {
        /// 4, 6 or 8.
        bits: u32,
    },
    /// A [`RotatedGrid`]; wants a rotation.
    Rotated {
        /// 1 to 8.
        bits: u32,
        /// The values.
        levels: Levels,
    },
    /// A [`ResidualQuantizer`].
    Residual {
        /// Codebooks.
        m: usize,
    },
    /// An [`Lvq`].
    Lvq {
        /// 4 or 8.
        bits: u32,
    },
    /// An [`Osq`], which has a rotation of its own.
    Osq {
        /// Of a whole vector.
        bits: usize,
    },
}

/// Any quantizer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Coder {
    /// Codebooks for parts of the vector.
    Product(ProductQuantizer),
    /// The same, for products with queries that are near.
    Anisotropic(Anisotropic),
    /// A range for each dimension.
    Scalar(ScalarQuantizer),
    /// One grid for all.
    Rotated(RotatedGrid),
    /// Codebooks one after the other.
    Residual(ResidualQuantizer),
    /// A range for each vector.
    Lvq(Lvq),
    /// Cells for each principal axis.
    Osq(Osq),
}

impl Coder {
    /// Trains the quantizer on the rows of `x`; `None` for [`QuantizerKind::Full`].
    ///
    /// # Errors
    /// What training gives.
    pub fn train(kind: QuantizerKind, x: ArrayView2<'_, f32>, seed: u64) -> Result<Option<Coder>, Error> {
        Ok(match kind {
            QuantizerKind::Full => None,
            QuantizerKind::Product { m, bits } => Some(Coder::Product(ProductQuantizer::train(x, m, bits, seed)?)),
            QuantizerKind::Anisotropic { m, bits, eta } => Some(Coder::Anisotropic(Anisotropic::train(x, m, bits, eta, seed)?)),
            QuantizerKind::Scalar { bits } => Some(Coder::Scalar(ScalarQuantizer::train(x, bits)?)),
            QuantizerKind::Rotated { bits, levels } => Some(Coder::Rotated(RotatedGrid::new(x.ncols(), bits, levels)?)),
            QuantizerKind::Residual { m } => Some(Coder::Residual(ResidualQuantizer::train(x, m, seed)?)),
            QuantizerKind::Lvq { bits } => Some(Coder::Lvq(Lvq::new(x.ncols(), bits)?)),
            QuantizerKind::Osq { bits } => Some(Coder::Osq(Osq::train(x, bits)?)),
        })
    }

    /// The trait.
    pub fn quantizer(&self) -> &dyn Quantizer {
        match self {
            Coder::Product(q) => q,
            Coder::Anisotropic(q) => q,
            Coder::Scalar(q) => q,
            Coder::Rotated(q) => q,
            Coder::Residual(q) => q,
            Coder::Lvq(q) => q,
            Coder::Osq(q) => q,
        }
    }

    /// Shorthand.
    pub fn layout(&self) -> Layout {
        self.quantizer().layout()
    }

    pub(crate) fn save(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        match self {
            Coder::Product(q) => q.save(writer),
            Coder::Anisotropic(q) => q.save(writer),
            Coder::Scalar(q) => q.save(writer),
            Coder::Residual(q) => q.save(writer),
            Coder::Osq(q) => q.save("osq.", writer),
            Coder::Rotated(_) | Coder::Lvq(_) => Ok(()),
        }
    }

    pub(crate) fn load(file: &File, kind: QuantizerKind, dim: usize) -> Result<Option<Coder>, Error> {
        Ok(match kind {
            QuantizerKind::Full => None,
            QuantizerKind::Product { m, bits } => Some(Coder::Product(ProductQuantizer::load(file, dim, m, bits)?)),
            QuantizerKind::Anisotropic { m, bits, eta } => Some(Coder::Anisotropic(Anisotropic::load(file, dim, m, bits, eta)?)),
            QuantizerKind::Scalar { bits } => Some(Coder::Scalar(ScalarQuantizer::load(file, dim, bits)?)),
            QuantizerKind::Rotated { bits, levels } => Some(Coder::Rotated(RotatedGrid::new(dim, bits, levels)?)),
            QuantizerKind::Residual { m } => Some(Coder::Residual(ResidualQuantizer::load(file, dim, m)?)),
            QuantizerKind::Lvq { bits } => Some(Coder::Lvq(Lvq::new(dim, bits)?)),
            QuantizerKind::Osq { .. } => Some(Coder::Osq(Osq::load("osq.", file, dim)?)),
        })
    }
}
