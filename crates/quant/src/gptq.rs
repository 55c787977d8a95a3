//! GPTQ: columns are rounded one at a time, and the columns behind make up for each one's error.

use crate::error::Error;
use crate::grid::{Encoder, GridParams, GroupSize, assemble, parse};
use ndarray::ArrayView2;
use scant_tensor_core::compress::{Compress, FitError, SiteFit};
use scant_tensor_core::obs::{InverseFactor, sweep};
use scant_tensor_core::progress::Progress;
use scant_tensor_core::stats::{SiteStats, StatSet, Statistic};
use scant_tensor_core::{Pre, Step};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// From this damping on, fewer calibration tokens than inputs are enough.
const DAMPED: f32 = 0.1;

/// Rounds to the nearest value of the grid, column by column, moving the later columns against the error (Frantar et al., 2022).
///
/// Scales of a group are fitted to its weights as they are when its turn comes. Unlike the published code, that holds for groups of any
/// size, and the order of falling activation is a permutation of the site's input, so groups stay contiguous and no index per column is kept.
///
/// ```
/// use scant_quant::Gptq;
/// let method = Gptq::new(3, 64).act_order();
/// assert_eq!(method.to_string(), "gptq-3-g64-act");
/// assert_eq!("gptq-3-g64-act".parse::<Gptq>()?, method);
/// # Ok::<(), scant_quant::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gptq {
    /// The grid.
    pub grid: GridParams,
    /// Rounds the inputs of largest mean square first.
    pub act_order: bool,
    /// Share of the mean of the Gram matrix's diagonal that is added to it.
    pub damping: f32,
}

impl Gptq {
    /// An integer zero point, the whole range, columns in their own order, damping 0.01.
    pub fn new(bits: u32, group: impl Into<GroupSize>) -> Gptq {
        GridParams::new(bits, group).into()
    }

    /// Rounds the inputs of largest mean square first.
    #[must_use]
    pub fn act_order(mut self) -> Gptq {
        self.act_order = true;
        self
    }

    /// Sets the damping.
    #[must_use]
    pub fn damping(mut self, damping: f32) -> Gptq {
        self.damping = damping;
        self
    }
}

impl From<GridParams> for Gptq {
    fn from(grid: GridParams) -> Gptq {
        Gptq { grid, act_order: false, damping: 0.01 }
    }
}

/// Inputs of largest mean square first; nothing to do if they are so already.
pub(crate) fn act_order(stats: &SiteStats) -> Result<Option<Pre>, FitError> {
    let Some(squares) = stats.mean_sq() else {
        return Ok(None);
    };
    let mut order: Vec<u32> = (0..).take(squares.len()).collect();
    // Stable: equal inputs keep their order.
    order.sort_by(|a, b| squares[*b as usize].total_cmp(&squares[*a as usize]));
    if order.is_sorted() {
        return Ok(None);
    }
    Pre::new(vec![Step::Permute(order.into())]).map(Some).map_err(FitError::at("act-order"))
}

/// Fails unless the calibration is enough for this damping, which must be a number.
pub(crate) fn check(method: &str, site: &SiteFit, damping: f32) -> Result<(), FitError> {
    let (n, tokens) = (site.stats().inputs(), site.stats().tokens());
    if !(damping >= 0.0 && damping.is_finite()) {
        let (parameter, value) = ("damping", f64::from(damping));
        return Err(FitError::Parameter { method: method.to_owned(), parameter, value, want: "a number from 0" });
    }
    if tokens < n as f64 && damping < DAMPED {
        return Err(FitError::TooFewSamples { site: site.name().to_owned(), have: tokens, need: n });
    }
    Ok(())
}

/// The inverse factor of the site, for calibration that is enough for this damping.
pub(crate) fn factor(method: &str, site: &mut SiteFit, damping: f32) -> Result<Arc<InverseFactor>, FitError> {
    check(method, site, damping)?;
    site.inverse_factor(damping)
}

impl Compress for Gptq {
    fn name(&self) -> String {
        self.to_string()
    }

    fn needs(&self) -> StatSet {
        Statistic::Gram.into()
    }

    fn pre(&self, _: &[ArrayView2<'_, f32>], stats: &SiteStats) -> Result<Option<Pre>, FitError> {
        if self.act_order { act_order(stats) } else { Ok(None) }
    }

    fn fit(&self, site: &mut SiteFit, progress: &dyn Progress) -> Result<(), FitError> {
        let factor = factor(&self.to_string(), site, self.damping)?;
        let total = site.matrices().len() as u64;
        for (matrix, done) in site.matrices_mut().iter_mut().zip(0..) {
            if progress.cancelled() {
                return Err(FitError::Cancelled { matrix: matrix.name().to_owned() });
            }
            progress.step(done, total, matrix.name());
            let spec = self.grid.spec(&self.to_string(), matrix.name(), matrix.shape())?;
            let new = |rows| Encoder::new(self.grid, spec, rows);
            let swept = sweep(matrix.residual(), Some(&factor), spec.group_size, new).map_err(FitError::at(matrix.name()))?;
            let grid = assemble(spec, self.grid, &swept.chunks).map_err(FitError::at(matrix.name()))?;
            matrix.push(grid)?;
            matrix.note("damping", f64::from(factor.damping()));
            matrix.note("dead_inputs", factor.dead_inputs() as f64);
            matrix.note("predicted_loss", swept.loss.iter().sum());
        }
        Ok(())
    }
}

impl fmt::Display for Gptq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let act = if self.act_order { "-act" } else { "" };
        let damping = if self.damping == 0.01 { String::new() } else { format!("-damp{}", self.damping) };
        f.pad(&format!("gptq-{}{act}{damping}", self.grid))
    }
}

impl FromStr for Gptq {
    type Err = Error;
    fn from_str(s: &str) -> Result<Gptq, Error> {
        let rest = s.strip_prefix("gptq-");
        let rest = rest.ok_or_else(|| Error::MethodName { name: s.to_owned(), detail: "it does not start with `gptq-`".to_owned() })?;
        let (mut act_order, mut damping) = (false, 0.01);
        let grid = parse(s, rest, |word| match word.strip_prefix("damp").map(str::parse) {
            Some(Ok(value)) => {
                damping = value;
                true
            }
            _ => {
                act_order |= word == "act";
                word == "act"
            }
        })?;
        Ok(Gptq { grid, act_order, damping })
    }
}
