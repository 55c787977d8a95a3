//! Compressed matrix formats and the SIMD kernels that run them.
#![deny(unsafe_code)]

pub mod isa;
pub mod progress;
pub mod rng;
pub mod simd;
