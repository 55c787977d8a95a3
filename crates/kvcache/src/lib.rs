//! The KV cache seam: a cache trait, a dense f16/f32 store and attention over it.
#![forbid(unsafe_code)]
