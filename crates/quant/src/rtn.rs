//! Round to nearest: the floor that every other method must beat.

use crate::error::Error;
use crate::grid::{Encoder, GridParams, GroupSize, assemble, parse};
use scant_tensor_core::compress::{Compress, FitError, SiteFit};
use scant_tensor_core::obs::sweep;
use scant_tensor_core::progress::Progress;
use std::fmt;
use std::str::FromStr;

/// Rounds each weight to the nearest value of its group's grid. Needs no data.
///
/// ```
/// use ndarray::Array2;
/// use scant_quant::Rtn;
/// use scant_tensor_core::compress::{Compress, Weights, compress};
/// use scant_tensor_core::rng::Rng;
/// use scant_tensor_core::stats::{SiteStats, StatSet};
/// let mut rng = Rng::new(1);
/// let w = Array2::from_shape_fn((32, 128), |_| rng.normal());
/// let methods: [Box<dyn Compress>; 1] = [Box::new("rtn-4-g64".parse::<Rtn>()?)];
/// let unseen = SiteStats::new(128, StatSet::NONE)?;
/// let (site, reports) = compress("layer", vec![Weights::new("w", w)], &unseen, &methods, &())?;
/// assert_eq!(reports[0].bits_per_weight, 4.0 + (16.0 + 4.0) / 64.0);
/// assert!(reports[0].relative_error.powi(2) < 0.01);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rtn {
    /// The grid.
    pub grid: GridParams,
}

impl Rtn {
    /// An integer zero point and the whole range; see [`GridParams`] for the rest.
    pub fn new(bits: u32, group: impl Into<GroupSize>) -> Rtn {
        Rtn { grid: GridParams::new(bits, group) }
    }
}

impl From<GridParams> for Rtn {
    fn from(grid: GridParams) -> Rtn {
        Rtn { grid }
    }
}

impl Compress for Rtn {
    fn name(&self) -> String {
        self.to_string()
    }

    fn fit(&self, site: &mut SiteFit, progress: &dyn Progress) -> Result<(), FitError> {
        let total = site.matrices().len() as u64;
        for (matrix, done) in site.matrices_mut().iter_mut().zip(0..) {
            progress.step(done, total, matrix.name());
            let spec = self.grid.spec(&self.to_string(), matrix.name(), matrix.shape())?;
            let at = FitError::at(matrix.name());
            let swept = sweep(matrix.residual(), None, spec.group_size, |rows| Encoder::new(self.grid, spec, rows)).map_err(&at)?;
            let grid = assemble(spec, self.grid, &swept.chunks).map_err(&at)?;
            drop(at);
            matrix.push(grid)?;
        }
        Ok(())
    }
}

impl fmt::Display for Rtn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("rtn-{}", self.grid))
    }
}

impl FromStr for Rtn {
    type Err = Error;
    fn from_str(s: &str) -> Result<Rtn, Error> {
        let rest = s.strip_prefix("rtn-");
        let rest = rest.ok_or_else(|| Error::MethodName { name: s.to_owned(), detail: "it does not start with `rtn-`".to_owned() })?;
        Ok(Rtn { grid: parse(s, rest, |_| false)? })
    }
}
