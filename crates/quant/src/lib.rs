//! Quantizers (RTN, GPTQ, AWQ, HQQ, SpQR, AQLM, GGUF's own), importance matrices, the GGUF format and quantized checkpoints, over scant-tensor-core's
//! formats.
//!
//! [`Rtn`] and [`Gptq`] are methods of [`compress`](scant_tensor_core::compress::compress): matrices that read the same input go in with what
//! is known of that input, a [`Site`](scant_tensor_core::Site) comes out. Whole models are compressed by `scant-transformer`.
//!
//! ```
//! use ndarray::Array2;
//! use scant_quant::Gptq;
//! use scant_tensor_core::compress::{Compress, Weights, compress};
//! use scant_tensor_core::rng::Rng;
//! use scant_tensor_core::stats::{SiteStats, Statistic};
//! use scant_tensor_core::{Ctx, Mode, Workspace, isa::Isa, team::Team};
//!
//! let mut rng = Rng::new(1);
//! let mut random = |rows, columns| Array2::from_shape_simple_fn((rows, columns), || rng.normal());
//! let weights = random(48, 64); // outputs, inputs
//! let x = random(256, 64); // tokens, inputs
//!
//! // What GPTQ must know of the inputs; it wants at least as many tokens as there are inputs.
//! let mut stats = SiteStats::new(64, Statistic::Gram.into())?;
//! stats.observe(x.view())?;
//!
//! // 4-bit codes, a scale for every 32 columns.
//! let methods: [Box<dyn Compress>; 1] = [Box::new(Gptq::new(4, 32))];
//! let (site, reports) = compress("layer 0", vec![Weights::new("down_proj", weights.clone())], &stats, &methods, &())?;
//! assert!(reports[0].relative_loss.unwrap() < 0.01);
//! assert_eq!(site.footprint().bits_per_weight([48, 64]), 4.0 + (16.0 + 4.0) / 32.0); // code, and scale and zero point of its group
//!
//! // y = x W^T
//! let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &Team::new(2) };
//! let mut y = Array2::zeros((256, 48));
//! site.forward(&ctx, x.view(), &mut Workspace::default(), y.view_mut())?;
//! let want = x.dot(&weights.t());
//! let error = (&y - &want).mapv(|e| e * e).sum() / want.mapv(|v| v * v).sum();
//! assert!(error > 0.0 && error < 0.01);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod aqlm;
mod awq;
mod block_method;
pub mod checkpoint;
pub mod dkm;
mod error;
pub mod gguf;
mod gptq;
pub mod grid;
mod hqq;
pub mod imatrix;
mod rtn;
mod spqr;

pub use aqlm::Aqlm;
pub use awq::Awq;
pub use block_method::Blocks;
pub use error::Error;
pub use gptq::Gptq;
pub use hqq::Hqq;
pub use imatrix::Imatrix;
pub use rtn::Rtn;
pub use spqr::Spqr;
