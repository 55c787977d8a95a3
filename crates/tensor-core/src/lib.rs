//! Compressed matrix formats and the SIMD kernels that run them: `y += W x`, where `W` is a sum of cheap terms.
#![deny(unsafe_code)]

mod error;
pub mod file;
pub mod format;
pub mod isa;
mod kernels;
#[cfg(feature = "fit")]
pub mod linalg;
mod linear;
mod prepared;
pub mod progress;
pub mod rng;
pub mod simd;
mod site;
pub mod team;
mod transform;

pub use error::Error;
pub use linear::{Footprint, Linear, LinearOp, Term};
pub use prepared::{Mode, Prepared, Wants};
pub use site::{Ctx, Site, Workspace};
pub use transform::{Hadamard, Post, Pre, Step};
