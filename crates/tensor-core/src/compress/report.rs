//! What a method did to a matrix, in numbers.

use crate::linear::Footprint;
use std::collections::BTreeMap;

/// What one method did to one matrix. Saved as one line of JSON; losses are those of everything fitted so far.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LayerReport {
    /// The matrix.
    pub name: String,
    /// The method's name, which parses back to all that determines its result.
    pub method: String,
    /// Rows.
    pub m: usize,
    /// Columns.
    pub n: usize,
    /// Exact bytes of terms and bias so far. The site's Pre, which its matrices share, is not among them.
    pub footprint: Footprint,
    /// Of `footprint`.
    pub bits_per_weight: f64,
    /// `E |y - W x|^2` over the calibration inputs before the method; absent without a Gram matrix.
    pub loss_before: Option<f64>,
    /// The same after it: `tr(D H D^T)`, less what a bias made up for.
    pub loss: Option<f64>,
    /// `loss` relative to `tr(W H W^T)`.
    pub relative_loss: Option<f64>,
    /// `|D| / |W|`, Frobenius norms of error and original weights.
    pub relative_error: f64,
    /// The largest error of a weight.
    pub max_error: f32,
    /// Calibration tokens behind the statistics.
    pub tokens: f64,
    /// Time of the whole site's fit.
    pub seconds: f64,
    /// What else the method has to say: damping, predicted loss, rank, share of outliers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, f64>,
}
