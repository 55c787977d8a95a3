//! What the training program and its tests share: the tokenizer and held-out questions, and the log of a run.
#![forbid(unsafe_code)]

pub mod log;
pub mod text;
