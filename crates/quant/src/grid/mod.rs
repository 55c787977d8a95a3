//! Grids fitted to weights: what RTN and GPTQ share.

mod encode;
mod params;

pub use params::{GridParams, GroupSize, Search, Zero};

pub(crate) use encode::{Encoder, assemble};
pub(crate) use params::parse;
