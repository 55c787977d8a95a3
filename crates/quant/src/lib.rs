//! Quantizers (RTN, GPTQ, AWQ, HQQ, GGUF's own), importance matrices and the GGUF format, over scant-tensor-core's grids and palettes.
#![forbid(unsafe_code)]

mod awq;
mod block_method;
mod error;
pub mod gguf;
mod gptq;
pub mod grid;
mod hqq;
pub mod imatrix;
mod rtn;

pub use awq::Awq;
pub use block_method::Blocks;
pub use error::Error;
pub use gptq::Gptq;
pub use hqq::Hqq;
pub use imatrix::Imatrix;
pub use rtn::Rtn;
