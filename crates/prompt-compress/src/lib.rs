//! Fewer tokens from text, tables and passages, in process on a CPU.
#![forbid(unsafe_code)]

mod error;

pub use error::Error;
