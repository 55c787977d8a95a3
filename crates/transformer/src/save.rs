//! Models in a container of kind `model` (drawn in `docs/formats.md`).

use crate::load::finite;
use crate::model::Block;
use crate::names::{BlockPart, Part};
use crate::tokenizer::Tokenizer;
use crate::{Architecture, Config, Error, Model, RopeScaling, SiteId, SiteKind};
use rayon::prelude::*;
use scant_tensor_core::Site;
use scant_tensor_core::file::{Bytes, Dtype, File, FileError, Writer};
use scant_tensor_core::format::SiteDescriptor;
use std::fmt::Display;
use std::path::Path;

pub(crate) const KIND: &str = "model";
const VERSION: u32 = 1;
const TOKENIZER: &str = "tokenizer";
const EMBEDDING: &str = "embedding";

#[derive(serde::Serialize, serde::Deserialize)]
struct Parameters {
    config: Config,
    tokenizer: Saved,
    embedding: Option<SiteDescriptor>,
    /// Those of a block in the order of [`SiteKind::ALL`].
    blocks: Vec<[SiteDescriptor; 4]>,
    head: SiteDescriptor,
}

/// What belongs to the tokenizer besides its JSON.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Saved {
    /// The tensor `tokenizer` has `bytes` bytes.
    Json { bytes: usize, bos: Option<u32>, eos: Vec<u32> },
    /// There is none, and why.
    Absent(String),
}

impl Saved {
    /// Adds the tokenizer to a file, or `why` there is none.
    pub(crate) fn add(writer: &mut Writer<'_>, tokenizer: Option<&Tokenizer>, why: &str) -> Result<Saved, Error> {
        let Some(tokenizer) = tokenizer else {
            return Ok(Saved::Absent(why.to_owned()));
        };
        let json = tokenizer.to_json()?.into_bytes();
        let bytes = json.len();
        writer.add(TOKENIZER, Dtype::U8, [bytes], json)?;
        Ok(Saved::Json { bytes, bos: tokenizer.bos(), eos: tokenizer.eos().to_vec() })
    }

    /// The tokenizer, or why there is none.
    pub(crate) fn load(self, file: &File) -> Result<Result<Tokenizer, String>, Error> {
        match self {
            Saved::Absent(why) => Ok(Err(why)),
            Saved::Json { bytes, bos, eos } => Tokenizer::from_json(&file.expect(TOKENIZER, Dtype::U8, [bytes])?, bos, eos).map(Ok),
        }
    }
}

impl Model {
    /// Saves the model, tokenizer included, through a temporary file: [`open`](crate::open) gives it back bit by bit.
    ///
    /// # Errors
    /// [`Error::Site`] for a site with terms of the caller's own; [`Error::File`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.writer()?.save(path)?)
    }

    /// The file that [`save`](Model::save) writes.
    ///
    /// # Errors
    /// As there.
    pub fn to_bytes(&self) -> Result<Bytes, Error> {
        Ok(self.writer()?.to_bytes()?)
    }

    /// The model in a file of [`save`](Model::save), whose bytes its matrices share.
    ///
    /// # Errors
    /// [`Error::File`] for a file of another kind or a damaged one; otherwise whatever does not fit the description, by name.
    pub fn from_file(file: &File) -> Result<Model, Error> {
        let saved: Parameters = file.require_kind(KIND, VERSION)?.parameters()?;
        let config = saved.config.check(|field| format!("config.{field}"))?;
        check_positions(&config)?;
        let c = &config;
        let vocabulary = [c.vocabulary, c.hidden];
        let embedding = match &saved.embedding {
            None => None,
            Some(descriptor) => Some(load_site(file, SiteId::Head, EMBEDDING, descriptor, &[vocabulary])?),
        };
        let wrong = |key: &str, value: &dyn Display, want| Error::BadKey { key: key.to_owned(), value: value.to_string(), want };
        if embedding.is_some() == c.tied {
            return Err(wrong("config.tied", &c.tied, "a model has an embedding of its own, or its head's".to_owned()));
        }
        if saved.blocks.len() != c.layers.len() {
            return Err(wrong("blocks", &saved.blocks.len(), format!("the description has {} layers", c.layers.len())));
        }
        let head = load_site(file, SiteId::Head, &SiteId::Head.to_string(), &saved.head, &[vocabulary])?;
        let blocks = saved.blocks.par_iter().enumerate().map(|(layer, sites)| load_block(file, c, layer, sites));
        let blocks = blocks.collect::<Result<Vec<_>, Error>>()?;
        let norm = load_gain(file, Part::FinalNorm, c.architecture, c.hidden)?;
        let tokenizer = saved.tokenizer.load(file)?.map_err(|looked_for| Error::NoTokenizer { looked_for });
        Model::new(embedding, blocks, norm, head, tokenizer, config)
    }

    fn writer(&self) -> Result<Writer<'_>, Error> {
        let mut writer = Writer::new(KIND, VERSION);
        let architecture = self.config().architecture;
        let embedding = match self.own_embedding() {
            None => None,
            Some(site) => {
                let name = Part::Embedding.hugging_face(architecture);
                Some(save_site(&mut writer, SiteId::Head, EMBEDDING, site, &[name])?)
            }
        };
        let mut blocks = vec![];
        for (layer, block) in self.blocks().iter().enumerate() {
            let mut save = |kind| {
                let id = SiteId::Block { layer, kind };
                save_site(&mut writer, id, &id.to_string(), block.site(kind), &self.matrix_names(id))
            };
            let [qkv, output, gate_up, down] = SiteKind::ALL.map(&mut save);
            blocks.push([qkv?, output?, gate_up?, down?]);
            for (part, gain) in block.gains() {
                add_gain(&mut writer, Part::Block(layer, part), architecture, gain)?;
            }
        }
        let head =
            save_site(&mut writer, SiteId::Head, &SiteId::Head.to_string(), self.site(SiteId::Head), &self.matrix_names(SiteId::Head))?;
        add_gain(&mut writer, Part::FinalNorm, architecture, self.norm())?;
        let tokenizer = Saved::add(&mut writer, self.tokenizer().ok(), self.no_tokenizer())?;
        Ok(writer.parameters(&Parameters { config: self.config().clone(), tokenizer, embedding, blocks, head })?)
    }
}

/// What [`Config::check`] leaves to the sources of a description.
fn check_positions(config: &Config) -> Result<(), Error> {
    let want = config.head_dim / 2;
    for rope in &config.ropes {
        if let RopeScaling::Divisors(divisors) = &rope.scaling
            && divisors.len() != want
        {
            let (key, value) = ("config.ropes".to_owned(), format!("{} divisors", divisors.len()));
            return Err(Error::BadKey { key, value, want: format!("half a head has {want} values") });
        }
    }
    Ok(())
}

fn save_site<'a>(writer: &mut Writer<'a>, id: SiteId, name: &str, site: &'a Site, names: &[String]) -> Result<SiteDescriptor, Error> {
    site.save_into(writer, name, names).map_err(|source| Error::Site { site: id, source })
}

fn load_site(file: &File, id: SiteId, name: &str, descriptor: &SiteDescriptor, shapes: &[[usize; 2]]) -> Result<Site, Error> {
    let got = descriptor.matrices.len();
    if got != shapes.len() {
        return Err(Error::SiteMatrices { site: id, want: shapes.len(), got });
    }
    // Before anything of the wrong size is read.
    for (matrix, shape) in descriptor.matrices.iter().zip(shapes) {
        scant_tensor_core::Error::check_shape(&format!("matrix `{}`", matrix.name), shape, &matrix.shape)
            .map_err(|source| Error::Site { site: id, source })?;
    }
    Site::load_from(file, name, descriptor).map_err(|source| Error::Site { site: id, source })
}

fn load_block(file: &File, c: &Config, layer: usize, sites: &[SiteDescriptor; 4]) -> Result<Block, Error> {
    let sites = SiteKind::ALL.iter().zip(sites).map(|(kind, descriptor)| {
        let id = SiteId::Block { layer, kind: *kind };
        let shapes: Vec<_> = kind.parts().iter().map(|part| c.shape(*part)).collect();
        load_site(file, id, &id.to_string(), descriptor, &shapes)
    });
    let gain = |part, len| load_gain(file, Part::Block(layer, part), c.architecture, len);
    let four = |part, len| if c.has_four_norms() { gain(part, len).map(Some) } else { Ok(None) };
    Ok(Block {
        sites: sites.collect::<Result<_, _>>()?,
        attention_norm: gain(BlockPart::AttentionNorm, c.hidden)?,
        post_attention_norm: four(BlockPart::PostAttentionNorm, c.hidden)?,
        ffn_norm: gain(BlockPart::FfnNorm, c.hidden)?,
        post_ffn_norm: four(BlockPart::PostFfnNorm, c.hidden)?,
        q_norm: four(BlockPart::QNorm, c.head_dim)?,
        k_norm: four(BlockPart::KNorm, c.head_dim)?,
    })
}

/// As it is multiplied with, which for Gemma is not how Hugging Face stores it: so it is no `weight`.
fn gain_name(part: Part, architecture: Architecture) -> String {
    format!("{}.gain", part.hugging_face(architecture))
}

fn add_gain<'a>(writer: &mut Writer<'a>, part: Part, architecture: Architecture, gain: &'a [f32]) -> Result<(), FileError> {
    writer.add_elements(gain_name(part, architecture), [gain.len()], gain)
}

fn load_gain(file: &File, part: Part, architecture: Architecture, len: usize) -> Result<Vec<f32>, Error> {
    let name = gain_name(part, architecture);
    finite(&name, file.typed::<f32>(&name, [len])?.to_vec())
}
