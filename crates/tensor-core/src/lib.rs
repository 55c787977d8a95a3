//! Compressed matrix formats and the SIMD kernels that run them: `y += W x`, where `W` is a sum of cheap terms.
#![deny(unsafe_code)]

#[cfg(feature = "fit")]
pub mod compress;
mod error;
pub mod file;
pub mod format;
mod gather;
pub mod isa;
mod kernels;
#[cfg(feature = "fit")]
pub mod kmeans;
#[cfg(feature = "fit")]
pub mod linalg;
mod linear;
#[cfg(feature = "fit")]
pub mod obs;
mod prepared;
pub mod progress;
pub mod retrieve;
pub mod rng;
pub mod scan;
pub mod simd;
mod site;
#[cfg(feature = "fit")]
pub mod stats;
pub mod team;
mod transform;

pub use error::Error;
pub use gather::gather;
pub use linear::{Footprint, Linear, LinearOp, Term};
pub use prepared::{Mode, Prepared, Wants};
pub use site::{Ctx, Site, Workspace};
pub use transform::{Hadamard, Post, Pre, Step};
