//! The two simplest methods: keep what is left as numbers, and make up for mean errors by the bias.

use super::{Compress, FitError, SiteFit};
use crate::format::{Dense, DenseType};
use crate::progress::Progress;
use crate::stats::{StatSet, Statistic};

/// Keeps what is left as a dense term. Named `f32`, `f16` or `bf16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep(pub DenseType);

impl Compress for Keep {
    fn name(&self) -> String {
        match self.0 {
            DenseType::F32 => "f32",
            DenseType::F16 => "f16",
            DenseType::Bf16 => "bf16",
        }
        .to_owned()
    }

    fn fit(&self, site: &mut SiteFit, _: &dyn Progress) -> Result<(), FitError> {
        for matrix in site.matrices_mut() {
            let term = Dense::new(matrix.residual(), self.0).map_err(FitError::at(matrix.name()))?;
            matrix.push(term)?;
        }
        Ok(())
    }
}

/// `b += (W - What) mean(x)`: the mean error of every output becomes 0, for any quantizer or pruner before it. Named `bias`.
///
/// Costs no bytes where there is a bias, else 4 per output. Applied again, it starts from the original bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BiasFix;

impl Compress for BiasFix {
    fn name(&self) -> String {
        "bias".to_owned()
    }

    fn needs(&self) -> StatSet {
        Statistic::Mean.into()
    }

    fn fit(&self, site: &mut SiteFit, _: &dyn Progress) -> Result<(), FitError> {
        let mean = site.mean()?;
        for matrix in site.matrices_mut() {
            matrix.shift_bias(&mean);
        }
        Ok(())
    }
}
