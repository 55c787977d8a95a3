//! How terms are fitted: a method takes the dense matrices of a site and what is known of their inputs, and leaves a sum of terms.
//!
//! Composition is addition. Each method sees what the ones before it left over, behind one `Pre` that is chosen before any term:
//!
//! ```
//! use ndarray::array;
//! use scant_tensor_core::compress::{BiasFix, Compress, Keep, Weights, compress};
//! use scant_tensor_core::format::DenseType;
//! use scant_tensor_core::stats::{SiteStats, Statistic};
//! let mut stats = SiteStats::new(2, Statistic::Gram.into())?;
//! stats.observe(array![[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]].view())?;
//!
//! let weights = Weights::new("q_proj", array![[0.1, 0.2], [0.3, 0.4]]);
//! let methods: [Box<dyn Compress>; 2] = [Box::new(Keep(DenseType::Bf16)), Box::new(BiasFix)];
//! let (site, reports) = compress("layer 0", vec![weights], &stats, &methods, &())?;
//! assert_eq!(site.outputs(), 2);
//! assert!(reports[0].relative_loss.unwrap() < 1e-4);
//! assert!(reports[1].loss <= reports[0].loss); // what the bias makes up for
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod fit;
mod report;
mod simple;

pub use error::FitError;
pub use fit::{MatrixFit, SiteFit, Weights};
pub use report::LayerReport;
pub use simple::{BiasFix, Keep};

use crate::progress::Progress;
use crate::site::Site;
use crate::stats::{SiteStats, StatSet};
use crate::transform::Pre;
use ndarray::ArrayView2;

/// A method that fits terms to the matrices of a site. The configured method is the value; a list of them is applied in order.
///
/// A fit is a function of weights, statistics and the value: no clock, no thread count, no hidden seed.
pub trait Compress: Send + Sync {
    /// The method with its parameters, such as `gptq-4-g64-act`. Parses back; keys resumption and reports.
    fn name(&self) -> String;

    /// The statistics it cannot do without; checked before work starts.
    fn needs(&self) -> StatSet {
        StatSet::NONE
    }

    /// A transform of the site's input that it wants, given the matrices and statistics behind whatever earlier methods chose. Asked once,
    /// before any term is fitted.
    ///
    /// # Errors
    /// [`FitError`].
    fn pre(&self, weights: &[ArrayView2<'_, f32>], stats: &SiteStats) -> Result<Option<Pre>, FitError> {
        let _ = (weights, stats);
        Ok(None)
    }

    /// Fits terms to the residuals of `site` and pushes them.
    ///
    /// # Errors
    /// [`FitError`].
    fn fit(&self, site: &mut SiteFit, progress: &dyn Progress) -> Result<(), FitError>;
}

/// Applies `methods` in order to the matrices of one site. The reports are one per method and matrix, in that order.
///
/// # Errors
/// [`FitError`]; then nothing is left behind.
pub fn compress(
    site: &str,
    matrices: Vec<Weights>,
    stats: &SiteStats,
    methods: &[Box<dyn Compress>],
    progress: &dyn Progress,
) -> Result<(Site, Vec<LayerReport>), FitError> {
    let mut fit = SiteFit::new(site, matrices, stats, methods)?;
    for method in methods {
        fit.apply(&**method, progress)?;
    }
    fit.finish()
}

#[cfg(test)]
mod tests;
