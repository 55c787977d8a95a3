//! Compressed matrix formats and the SIMD kernels that run them.
#![deny(unsafe_code)]

pub mod file;
pub mod progress;
pub mod rng;
