//! A small decoder engine over compressed matrices: load, run, calibrate and compress whole models.
//!
//! [`open`] takes a GGUF file or a Hugging Face folder and gives a [`Model`], whose every matrix is in a
//! [`Site`](scant_tensor_core::Site): a compressed model is the same model with other sites ([`Model::set_site`]). A [`Session`] runs one
//! sequence (prompt, then token by token), a [`Scorer`] measures, [`Model::block`] feeds calibration. Encoders (BERT) are in [`encoder`].
#![forbid(unsafe_code)]

mod calibrate;
mod compress;
mod config;
pub mod encoder;
mod error;
mod export;
mod forward;
mod generate;
mod hidden;
mod kernels;
mod load;
mod model;
mod names;
mod off_grid;
mod plain;
mod sample;
mod save;
mod score;
mod session;
mod site_id;
mod tokenizer;

pub use calibrate::calibrate;
pub use compress::{CompressPlan, Propagation, compress};
pub use config::{Activation, Architecture, Config, LayerAttention, Rope, RopeScaling};
pub use error::Error;
pub use export::GgufExport;
pub use forward::{Path, Scratch};
pub use generate::{Text, Tokens};
pub use load::{open, open_gguf};
pub use model::Model;
pub use sample::{Sampler, Sampling};
pub use score::Scorer;
pub use session::{Options, Session};
pub use site_id::{SiteId, SiteKind};
pub use tokenizer::{TextStream, Tokenizer};
