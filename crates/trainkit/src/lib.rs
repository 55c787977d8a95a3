//! candle helpers for training small models on a CPU: fused operations with gradients, AdamW, losses, a trainable Llama.
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
