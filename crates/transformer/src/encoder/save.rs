//! Encoders in a container of kind `encoder` (drawn in `docs/formats.md`).

use super::{Block, EMBEDDING_NORM, Encoder, EncoderConfig, EncoderPart, EncoderSite, HEAD_NORM, Head, Norm, TOKEN_TYPE};
use super::{attention_norm, check_matrices, ffn_norm};
use crate::Error;
use crate::load::finite;
use crate::save::Saved;
use scant_tensor_core::Site;
use scant_tensor_core::file::{Bytes, File, Writer};
use scant_tensor_core::format::SiteDescriptor;
use std::collections::BTreeMap;
use std::path::Path;

const KIND: &str = "encoder";
const VERSION: u32 = 1;

#[derive(serde::Serialize, serde::Deserialize)]
struct Parameters {
    config: EncoderConfig,
    tokenizer: Saved,
    /// By the names of sites.
    sites: BTreeMap<String, SiteDescriptor>,
}

impl Encoder {
    /// Saves the encoder, tokenizer included, through a temporary file: [`Encoder::open`] gives it back bit by bit.
    ///
    /// # Errors
    /// [`Error::EncoderSite`] for a site with terms of the caller's own; [`Error::File`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.writer()?.save(path)?)
    }

    /// The file that [`save`](Encoder::save) writes.
    ///
    /// # Errors
    /// As there.
    pub fn to_bytes(&self) -> Result<Bytes, Error> {
        Ok(self.writer()?.to_bytes()?)
    }

    /// The encoder in a file of [`save`](Encoder::save), whose bytes its matrices share.
    ///
    /// # Errors
    /// [`Error::File`] for a file of another kind or a damaged one; otherwise whatever does not fit the description, by name.
    pub fn from_file(file: &File) -> Result<Encoder, Error> {
        let Parameters { config, tokenizer, sites } = file.require_kind(KIND, VERSION)?.parameters()?;
        let config = config.check(|field| format!("config.{field}"))?;
        let c = &config;
        let optional = |id: EncoderSite| match sites.get(&id.to_string()) {
            Some(descriptor) => load_site(file, c, id, descriptor).map(Some),
            None => Ok(None),
        };
        let site = |id| optional(id)?.ok_or_else(|| Error::MissingKey { key: format!("sites.{id}") });
        let vector = |name: String, len: usize| finite(&name, file.typed::<f32>(&name, [len])?.to_vec());
        let norm = |name: String| {
            Ok::<_, Error>(Norm { gain: vector(format!("{name}.weight"), c.hidden)?, bias: vector(format!("{name}.bias"), c.hidden)? })
        };
        let block = |layer| {
            let sites = EncoderPart::ALL.into_iter().map(|part| site(EncoderSite::Block { layer, part }));
            Ok(Block {
                sites: sites.collect::<Result<_, Error>>()?,
                attention_norm: norm(attention_norm(layer))?,
                ffn_norm: norm(ffn_norm(layer))?,
            })
        };
        let head = match optional(EncoderSite::Transform)? {
            None => None,
            Some(transform) => {
                let decoder = if c.tied { None } else { Some(site(EncoderSite::Head)?) };
                Some(Head { transform, norm: norm(HEAD_NORM.to_owned())?, decoder })
            }
        };
        let blocks = (0..c.layers).map(block).collect::<Result<_, Error>>()?;
        let (tokenizer, no_tokenizer) = match tokenizer.load(file)? {
            Ok(tokenizer) => (Some(tokenizer), String::new()),
            Err(why) => (None, why),
        };
        Ok(Encoder {
            words: site(EncoderSite::Words)?,
            positions: site(EncoderSite::Positions)?,
            token_type: vector(TOKEN_TYPE.to_owned(), c.hidden)?,
            norm: norm(EMBEDDING_NORM.to_owned())?,
            tokenizer,
            no_tokenizer,
            blocks,
            head,
            config,
        })
    }

    fn writer(&self) -> Result<Writer<'_>, Error> {
        let mut writer = Writer::new(KIND, VERSION);
        let mut sites = BTreeMap::new();
        for id in self.sites() {
            let name = id.to_string();
            let site = self.site(id).expect("one of the encoder's own");
            let saved = site.save_into(&mut writer, &name, &self.matrix_names(id));
            sites.insert(name, saved.map_err(|source| Error::EncoderSite { site: id, source })?);
        }
        for (name, values) in self.vectors() {
            writer.add_elements(name, [values.len()], values)?;
        }
        let tokenizer = Saved::add(&mut writer, self.tokenizer.as_ref(), &self.no_tokenizer)?;
        Ok(writer.parameters(&Parameters { config: self.config.clone(), tokenizer, sites })?)
    }
}

fn load_site(file: &File, c: &EncoderConfig, id: EncoderSite, descriptor: &SiteDescriptor) -> Result<Site, Error> {
    // Before anything of the wrong size is read.
    let want: Vec<_> = id.matrices(c).into_iter().map(|(_, shape)| shape).collect();
    let got: Vec<_> = descriptor.matrices.iter().map(|m| m.shape).collect();
    check_matrices(id, &want, &got)?;
    Site::load_from(file, &id.to_string(), descriptor).map_err(|source| Error::EncoderSite { site: id, source })
}
