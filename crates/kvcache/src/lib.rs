//! The KV cache seam: what holds the keys and values of a sequence, and attention over it.
//!
//! An engine drives a [`KvLayer`] per layer, gathered in a [`Cache`]: it appends the keys and values of a block of tokens and attends from
//! the same tokens. [`DenseLayer`] keeps every entry as it is, in f16 or f32. [`CompressedLayer`] packs entries with a [`Codec`], and keeps of
//! them what a [`Policy`] says; a [`KvType`] names either. Heads that share keys (grouped queries) are never expanded; sliding windows,
//! capped scores and any scale are part of the [`Geometry`].
//!
//! A lane is a token: keys lie in panels of 16 tokens, so scores need no sums across lanes, and a token decoded alone or within a prompt,
//! on any tier and any number of threads, gets the same bits from the same dense entries. Packed entries are multiplied as they are, in
//! integers, by a few queries; for many they are unpacked piece by piece, which gives the same up to rounding.
#![deny(unsafe_code)]

mod attend;
mod block;
mod cache;
mod codec;
mod compressed;
mod dense;
mod error;
mod geometry;
mod kernels;
mod layer;
mod packed;
mod policy;
mod repair;
mod spec;

pub use cache::{Cache, KvType};
pub use codec::Codec;
pub use compressed::CompressedLayer;
pub use dense::{DenseLayer, Stored};
pub use error::Error;
pub use geometry::Geometry;
pub use layer::{KvLayer, LayerBytes, Workspace};
pub use policy::{MergeKeys, Method, Policy};
pub use spec::Spec;
