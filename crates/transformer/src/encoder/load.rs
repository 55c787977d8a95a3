//! Opening an encoder: a Hugging Face folder, or a file of our own.

use super::{Block, EMBEDDING_NORM, Encoder, EncoderConfig, EncoderPart, EncoderSite, HEAD_NORM, Head, Norm, attention_norm, ffn_norm};
use crate::load::{Tensors, finite, json};
use crate::{Error, Tokenizer};
use ndarray::Array1;
use rayon::prelude::*;
use scant_tensor_core::file::File;
use scant_tensor_core::{Linear, Post, Pre, Site};
use std::path::Path;

impl Encoder {
    /// Opens the encoder at `path`: a folder with `config.json` of model type `bert` and `model.safetensors` (whole or sharded), with or
    /// without `bert.` before the names, with or without a masked-language head; or a file of [`Encoder::save`].
    ///
    /// The vocabulary is that of `tokenizer.json`, else of `vocab.txt`. A head that is tied has the word table's matrix.
    ///
    /// # Errors
    /// [`Error::NotAModel`]; otherwise whatever is wrong with the checkpoint, by name.
    pub fn open(path: impl AsRef<Path>) -> Result<Encoder, Error> {
        let path = path.as_ref();
        let not = |detail: &str| Err(Error::NotAModel { path: path.to_owned(), detail: detail.to_owned() });
        if path.is_file() {
            return Encoder::from_file(&File::read(path)?);
        }
        if !path.join("config.json").exists() {
            return not("neither a file nor a folder with config.json");
        }
        let config = EncoderConfig::from_hugging_face(&json(&path.join("config.json"))?)?;
        let tensors = Tensors::of_folder(path)?;
        let tokenizer = match Tokenizer::from_folder(path) {
            Ok(tokenizer) => Ok(tokenizer),
            Err(Error::NoTokenizer { looked_for }) => Err(looked_for),
            Err(e) => return Err(e),
        };
        assemble(config, &Names(&tensors), tokenizer)
    }
}

/// Tensors by Hugging Face's names without `bert.`, whatever a checkpoint puts before them and calls the numbers of its norms.
struct Names<'a>(&'a Tensors);

impl Names<'_> {
    fn stored(&self, name: &str) -> String {
        let prefixed = format!("bert.{name}");
        if self.0.contains(&prefixed) { prefixed } else { name.to_owned() }
    }

    fn vector(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>, Error> {
        self.0.vector(&self.stored(name), len)
    }

    fn required(&self, name: &str, len: usize) -> Result<Vec<f32>, Error> {
        self.vector(name, len)?.ok_or_else(|| Error::MissingTensor { name: name.to_owned() })
    }

    fn norm(&self, name: &str, len: usize) -> Result<Norm, Error> {
        let either = |new: &str, old: &str| match self.vector(&format!("{name}.{old}"), len)? {
            Some(values) => Ok(values),
            None => self.required(&format!("{name}.{new}"), len),
        };
        Ok(Norm { gain: either("weight", "gamma")?, bias: either("bias", "beta")? })
    }

    fn linear(&self, id: EncoderSite, name: &str, shape: [usize; 2], bias: Option<Vec<f32>>) -> Result<Linear, Error> {
        let term = self.0.matrix(&self.stored(&format!("{name}.weight")), shape)?;
        Linear::new(vec![term], Post::None, bias).map_err(|source| Error::EncoderSite { site: id, source })
    }

    /// A site whose matrices have biases of their own.
    fn site(&self, c: &EncoderConfig, id: EncoderSite) -> Result<Site, Error> {
        let matrices = id.matrices(c);
        let linear = |(name, shape): &(String, [usize; 2])| {
            let bias = self.required(&format!("{name}.bias"), shape[0])?;
            self.linear(id, name, *shape, Some(bias))
        };
        into_site(id, matrices.par_iter().map(linear).collect::<Result<_, Error>>()?)
    }

    /// A site of one matrix with the given bias.
    fn table(&self, c: &EncoderConfig, id: EncoderSite, bias: Option<Vec<f32>>) -> Result<Site, Error> {
        let matrices = id.matrices(c);
        let linear = matrices.iter().map(|(name, shape)| self.linear(id, name, *shape, bias.clone()));
        into_site(id, linear.collect::<Result<_, Error>>()?)
    }
}

fn into_site(id: EncoderSite, linears: Vec<Linear>) -> Result<Site, Error> {
    Site::new(Pre::none(), linears).map_err(|source| Error::EncoderSite { site: id, source })
}

fn assemble(config: EncoderConfig, tensors: &Names<'_>, tokenizer: Result<Tokenizer, String>) -> Result<Encoder, Error> {
    let c = &config;
    let block = |layer: usize| {
        let sites = EncoderPart::ALL.into_par_iter().map(|part| tensors.site(c, EncoderSite::Block { layer, part }));
        Ok(Block {
            sites: sites.collect::<Result<_, Error>>()?,
            attention_norm: tensors.norm(&attention_norm(layer), c.hidden)?,
            ffn_norm: tensors.norm(&ffn_norm(layer), c.hidden)?,
        })
    };
    let blocks = (0..c.layers).into_par_iter().map(block).collect::<Result<_, Error>>()?;
    let [(transform, _)] = &EncoderSite::Transform.matrices(c)[..] else { unreachable!("the transform is one matrix") };
    let has_head = tensors.0.contains(&format!("{transform}.weight"));
    let bias = if has_head { tensors.vector("cls.predictions.bias", c.vocabulary)? } else { None };
    let own = has_head && !c.tied;
    let head = if has_head {
        Some(Head {
            transform: tensors.site(c, EncoderSite::Transform)?,
            norm: tensors.norm(HEAD_NORM, c.hidden)?,
            decoder: if own { Some(tensors.table(c, EncoderSite::Head, bias.clone())?) } else { None },
        })
    } else {
        None
    };
    let types = tensors.0.matrix(&tensors.stored("embeddings.token_type_embeddings.weight"), [c.types, c.hidden])?;
    let mut token_type = Array1::zeros(c.hidden);
    types.op().add_row(0, token_type.view_mut());
    let (tokenizer, no_tokenizer) = match tokenizer {
        Ok(tokenizer) => (Some(tokenizer), String::new()),
        Err(looked_for) => (None, looked_for),
    };
    Ok(Encoder {
        tokenizer,
        no_tokenizer,
        words: tensors.table(c, EncoderSite::Words, if own { None } else { bias })?,
        positions: tensors.table(c, EncoderSite::Positions, None)?,
        token_type: finite("embeddings.token_type_embeddings.weight", token_type.to_vec())?,
        norm: tensors.norm(EMBEDDING_NORM, c.hidden)?,
        blocks,
        head,
        config,
    })
}
