//! Quantizers (RTN, GPTQ) and the GGUF format, over scant-tensor-core's grids.
#![forbid(unsafe_code)]

mod error;
pub mod gguf;
mod gptq;
pub mod grid;
mod rtn;

pub use error::Error;
pub use gptq::Gptq;
pub use rtn::Rtn;
