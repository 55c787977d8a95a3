//! A trainable Llama, all of it plain functions over flat arrays: no graph, no allocation once the buffers have grown.

mod batch;
mod config;
mod export;
mod init;
mod model;
mod tape;

pub use batch::Batch;
pub use config::{LlamaConfig, Weight};
pub use model::Llama;
pub use tape::Tape;
