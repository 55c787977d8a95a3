//! Learned sparse and BM25 retrieval in one process.
//!
//! ```
//! use scant_sparse_index::{IndexBuilder, SparseVec, Vectors};
//! // Three documents as an encoder gives them: word pieces with weights.
//! let mut documents = Vectors::new();
//! documents.push(SparseVec::new(&[101, 2054, 3007], &[0.3, 1.2, 2.0])?)?;
//! documents.push(SparseVec::new(&[2054, 9000], &[0.8, 1.5])?)?;
//! documents.push(SparseVec::new(&[3007], &[2.4])?)?;
//! let index = IndexBuilder::new().build(&[1, 2, 3], &documents)?;
//!
//! let q = SparseVec::new(&[2054, 3007], &[1.0, 0.5])?;
//! let hits = index.search(q, 2, &Default::default())?;
//! assert_eq!((hits[0].id, hits[1].id), (1, 3));
//! assert!((hits[0].score - 2.2).abs() <= index.score_bound(q)); // 1.2 + 0.5 * 2.0
//! assert_eq!(index.explain(q, 1)?[0].term, 2054);
//! # Ok::<(), scant_sparse_index::Error>(())
//! ```
#![forbid(unsafe_code)]

mod analyze;
mod bm25;
mod build;
mod error;
mod forward;
mod fuse;
mod gaps;
mod index;
mod json_lines;
mod persist;
mod query;
mod query_table;
mod recall;
mod search;
mod shard;
mod synthetic;
#[cfg(test)]
mod tests;
mod vector;
mod windowed;

pub use analyze::{Analyzer, Lexicon};
pub use bm25::{Bm25, Bm25Text, Variant};
pub use build::{IndexBuilder, scales};
pub use error::Error;
pub use fuse::{Fusion, fuse};
pub use index::{Footprint, Index, Share};
pub use json_lines::{read_json_lines, write_json_lines};
pub use query_table::QueryTable;
pub use recall::Rung;
pub use search::{Effort, SearchOptions, Workspace};
pub use shard::Shards;
pub use synthetic::Generator;
pub use vector::{SparseVec, Vectors, keep_heaviest};
