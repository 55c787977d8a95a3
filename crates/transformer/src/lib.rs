//! A small decoder engine over compressed matrices: load, run, calibrate and compress whole models.
//!
//! [`open`] takes a GGUF file or a Hugging Face folder and gives a [`Model`], whose every matrix is in a
//! [`Site`](scant_tensor_core::Site): a compressed model is the same model with other sites ([`Model::set_site`]). A [`Session`] runs one
//! sequence (prompt, then token by token), a [`Scorer`] measures, [`Model::block`] feeds calibration. Encoders (BERT) are in [`encoder`].
//!
//! ```no_run
//! use scant_quant::Gptq;
//! use scant_tensor_core::{Ctx, Mode, isa::Isa, team::Team};
//! use scant_transformer::{CompressPlan, Options, Sampler, Sampling, Session, SiteId, SiteKind, compress, open};
//!
//! let model = open("models/embedded")?; // of this repository; or a GGUF file, or a file of Model::save
//! let team = Team::new(2);
//! let ctx = Ctx { isa: Isa::best(), mode: Mode::Fast, team: &team };
//!
//! // Generate: up to 40 tokens behind a prompt.
//! let mut session = Session::new(&model, ctx, Options::default())?;
//! for text in session.generate_text("On Monday Mira", Sampler::new(Sampling::greedy())?, 40)? {
//!     print!("{}", text?);
//! }
//!
//! // Compress: sequences of tokens that are like those of the model's use, at least as many tokens as its widest matrix has inputs.
//! let tokens = model.tokenizer()?.encode(&std::fs::read_to_string("calibration.txt")?)?;
//! let sequences: Vec<Vec<u32>> = tokens.chunks(512).take(128).map(<[u32]>::to_vec).collect();
//! let plan = CompressPlan::new(vec![Box::new(Gptq::new(4, 64))]);
//! let (small, reports) = compress(&model, &sequences, &plan, &team, &())?;
//! println!("{} of {} bytes", small.footprint().total(), model.footprint().total());
//! println!("{} lost {:?} of its outputs' energy", reports[0].name, reports[0].relative_loss);
//! let site = small.site(SiteId::Block { layer: 0, kind: SiteKind::Down });
//! println!("{} matrix behind {} steps", site.linears().len(), site.pre().steps().len());
//!
//! // Save, and open again bit by bit.
//! small.save("small.safetensors")?;
//! let again = open("small.safetensors")?;
//! assert_eq!(again.to_bytes()?[..], small.to_bytes()?[..]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
pub use load::{open, open_gguf, open_hugging_face};
pub use model::Model;
pub use sample::{Sampler, Sampling};
pub use score::Scorer;
pub use session::{Options, Session};
pub use site_id::{SiteId, SiteKind};
pub use tokenizer::{TextStream, Tokenizer};
