//! Measures of language models: perplexity, bits per character, KL divergence and agreement with a reference, recall by distance, last words, rankings, with
//! intervals.
//!
//! A model is anything that implements [`LanguageModel`]; every claim is one number with an interval over windows of text. [`stories`] makes text
//! to measure on from a seed, with facts that are asked for later; [`retrieval`] judges encoders and indexes.
#![forbid(unsafe_code)]

mod bootstrap;
mod cloze;
mod compare;
mod error;
mod language_model;
mod needles;
mod perplexity;
mod recall;
pub mod retrieval;
mod row;
pub mod stories;
mod windows;

pub use bootstrap::Estimate;
pub use cloze::{Cloze, ClozeItem, Passage, cloze, passages};
pub use compare::{Comparison, WindowScore, compare};
pub use error::Error;
pub use language_model::{LanguageModel, ModelError};
pub use needles::{Needle, needle};
pub use perplexity::{Perplexity, perplexity};
pub use recall::{Recall, RecallItem, recall};
pub use windows::windows;
