//! Training small models on a CPU, with candle or without its graph.
//!
//! - [`ops`]: linear layers, RMSNorm, SwiGLU, causal attention with rotary embedding and weighted cross entropy, each a pair of plain functions
//!   `op` and `op_vjp` over slices;
//! - [`candle`]: the same as differentiable operations of candle, and a Llama made of them, for losses of your own;
//! - [`llama`]: a trainable Llama that is plain functions from end to end, with first weights that already match keys in their context;
//! - [`Trainer`]: steps over shards of a batch, one thread each, AdamW, a [`Schedule`] counted in tokens, checkpoints.
//!
//! Gradients of shards are added in their order, so the same batches give the same weights, run by run, on a given machine; products of dense
//! matrices depend on the CPU's tier.
//!
//! ```
//! use scant_trainkit::llama::{Batch, Llama, LlamaConfig};
//! use scant_trainkit::{AdamW, Trainer};
//! let config = LlamaConfig { vocab_size: 16, hidden: 16, layers: 1, heads: 2, kv_heads: 1, head_dim: 8, ffn: 16, ..LlamaConfig::EMBEDDED };
//! let mut trainer = Trainer::new(Llama::new(config, 1)?, AdamW::default(), 1.0, 2);
//! let batch = Batch::new(2, 3, vec![1, 2, 3, 4, 5, 6], vec![2, 3, 4, 5, 6, 7], vec![1.0; 6])?;
//! let first = trainer.step(&batch, 1e-2)?.loss;
//! for _ in 0..20 {
//!     trainer.step(&batch, 1e-2)?;
//! }
//! assert!(trainer.step(&batch, 1e-2)?.loss < 0.2 * first);
//! # Ok::<(), scant_trainkit::Error>(())
//! ```
#![forbid(unsafe_code)]

mod adamw;
pub mod candle;
mod error;
pub mod llama;
pub mod ops;
mod schedule;
mod trainer;

pub use adamw::{AdamW, Moments, Step};
pub use error::Error;
pub use schedule::Schedule;
pub use trainer::{StepReport, Trainer};
