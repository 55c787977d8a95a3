//! Fewer tokens from text, tables and passages, in process on a CPU.
#![forbid(unsafe_code)]

mod error;

pub use error::Error;

mod count;
pub mod sheet;

#[cfg(feature = "tiktoken")]
pub use count::Tiktoken;
pub use count::{Guess, TokenCounter};
