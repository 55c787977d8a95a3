//! Learned sparse and BM25 retrieval in one process.
#![forbid(unsafe_code)]

mod error;

pub use error::Error;
