//! Quantizers (RTN, GPTQ) and the GGUF format, over scant-tensor-core's grids.
#![forbid(unsafe_code)]

mod error;
pub mod gguf;

pub use error::Error;
