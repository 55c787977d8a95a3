//! Low-rank terms: the best product of two thin matrices for a layer's own inputs, as a whole weight or on top of anything.
//!
//! LoRD, SVD-LLM, EoRA, ASVD and the plain SVD are one closed form, [`Fit`], that differs in what the error is weighed with. [`Factorize`] is
//! the method with their names, to be put in a row with others:
//!
//! ```
//! use ndarray::Array2;
//! use scant_lowrank::Factorize;
//! use scant_tensor_core::compress::{Compress, Keep, Weights, compress};
//! use scant_tensor_core::format::DenseType;
//! use scant_tensor_core::rng::Rng;
//! use scant_tensor_core::stats::{SiteStats, Statistic};
//! let mut rng = Rng::new(1);
//! let w = Array2::from_shape_fn((48, 64), |_| rng.normal());
//! let mut stats = SiteStats::new(64, Statistic::Gram.into())?;
//! stats.observe(Array2::from_shape_fn((500, 64), |(_, j)| rng.normal() / (1 + j) as f32).view())?;
//! // Half of the numbers, in the pivoted form.
//! let methods: [Box<dyn Compress>; 1] = [Box::new("svdllm-p0.5".parse::<Factorize>()?)];
//! let (site, reports) = compress("layer", vec![Weights::new("w", w)], &stats, &methods, &())?;
//! assert!(reports[0].relative_loss.unwrap() < 0.05);
//! // Two bytes each, and the order of the rows.
//! assert!(site.footprint().total() <= 48 * 64 / 2 * 2 + 48 * 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(unsafe_code)]

mod error;
mod factors;
mod fit;
mod method;
mod weighting;

pub use error::Error;
pub use factors::{Factors, Storage};
pub use fit::Fit;
pub use method::{Factorize, Size, Weight};
pub use weighting::Weighting;
