//! A vector index on compressed codes: rows of codes with ids, quantizers that make the codes, one scan that turns codes and a query into keys.
//!
//! ```
//! use ndarray::{Array2, s};
//! use scant_pq_index::quantizer::QuantizerKind;
//! use scant_pq_index::{Index, IndexBuilder, Metric, SearchOptions};
//! use scant_tensor_core::retrieve::{Column, Columns, Filter, Value};
//!
//! // A thousand vectors with an attribute each.
//! let x = Array2::from_shape_fn((1000, 16), |(i, j)| (((i + 1) * (j + 2)) as f32).sin());
//! let ids: Vec<u64> = (0..1000).collect();
//! let years = Columns::from([("year", Column::I64((0..1000).map(|i| 2000 + i % 20).collect()))])?;
//!
//! // builder -> train -> add -> finish
//! let builder = IndexBuilder::new(Metric::Cosine).quantizer(QuantizerKind::Product { m: 8, bits: 8 }).norm_factor();
//! let mut trained = builder.train(&x)?;
//! trained.add_with(&ids, x.view(), &years)?;
//! let index = trained.finish();
//! assert_eq!(index.bytes_per_vector().codes + index.bytes_per_vector().sides, 9.0); // of 64 in f32
//!
//! // Saved, opened, searched among the recent ones.
//! let file = scant_tensor_core::file::File::from_bytes(index.to_bytes()?)?;
//! let index = Index::from_file(&file)?;
//! let recent = Filter::at_least("year", Value::I64(2015));
//! let hits = index.search(x.slice(s![19..20, ..]), 5, &SearchOptions { filter: Some(&recent), ..Default::default() })?;
//! assert_eq!(hits[0][0].id, 19);
//! assert!(hits[0].iter().all(|hit| hit.id % 20 >= 15));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod beside;
mod binary;
mod builder;
mod cells;
pub mod cross;
pub mod cutoff;
mod error;
pub mod executor;
pub mod faiss;
mod flat;
mod index;
mod journal;
mod klt;
mod list;
mod live;
mod metric;
mod model;
mod norm;
mod opq;
mod osq;
mod persist;
pub mod quantizer;
mod rerank;
mod rotation;
mod scan;
mod search;
mod shard;
pub mod source;
mod squash;

pub use binary::{BinaryCodes, BinaryEncoder, BinaryIndex, Mlp, Scoring};
pub use builder::{IndexBuilder, Trained};
pub use error::Error;
pub use index::{BytesPerVector, Index};
pub use live::LiveIndex;
pub use metric::{Metric, UnknownMetric};
pub use opq::train_opq;
pub use osq::{Bounds, Osq};
pub use rerank::{CodeScores, FullVectors, ReadStats, Reranker, rescore};
pub use rotation::{Rotation, RotationKind};
pub use search::{Rerank, SearchOptions, exact};
pub use shard::Shards;
pub use squash::{Coarse, Squash, SquashBuilder, SquashOptions, StageReport, Stages};
