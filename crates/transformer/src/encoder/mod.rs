//! BERT encoders: sentence embeddings and learned sparse vectors, over the same sites as everything else.
//!
//! An [`Encoder`] is opened from a Hugging Face folder (MiniLM, SPLADE, any `bert`) or a file of [`Encoder::save`]. A [`Batch`] of token ids
//! becomes hidden states ([`Encoder::encode`]), unit vectors ([`Encoder::embed`]) or sparse vectors over the vocabulary
//! ([`Encoder::splade`]). Sequences lie one after the other, so nothing is computed for padding; every sequence attends to itself alone.

mod attention;
mod batch;
mod compress;
mod config;
mod forward;
mod kernels;
mod load;
mod pool;
mod save;
mod site;
mod splade;

pub use batch::Batch;
pub use compress::EncoderPlan;
pub use config::EncoderConfig;
pub use forward::Workspace;
pub use site::{EncoderPart, EncoderSite};
pub use splade::SparseVector;

use crate::{Error, Tokenizer};
use scant_tensor_core::{Footprint, Site};

/// A BERT encoder whose every matrix is in a [`Site`], so that a compressed encoder is the same encoder with other sites.
///
/// With a masked-language head it gives sparse vectors too.
#[derive(Clone, Debug)]
pub struct Encoder {
    config: EncoderConfig,
    tokenizer: Option<Tokenizer>,
    /// Why there is no tokenizer.
    no_tokenizer: String,
    words: Site,
    positions: Site,
    /// The row of the first token type.
    token_type: Vec<f32>,
    norm: Norm,
    blocks: Vec<Block>,
    head: Option<Head>,
}

/// Gain and bias of a LayerNorm.
#[derive(Clone, Debug)]
struct Norm {
    gain: Vec<f32>,
    bias: Vec<f32>,
}

#[derive(Clone, Debug)]
struct Block {
    /// In the order of [`EncoderPart::ALL`].
    sites: Vec<Site>,
    attention_norm: Norm,
    ffn_norm: Norm,
}

/// The masked-language head.
#[derive(Clone, Debug)]
struct Head {
    transform: Site,
    norm: Norm,
    /// `None` where it is the word table.
    decoder: Option<Site>,
}

impl Encoder {
    /// The description.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Text to tokens.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`] if the checkpoint has none: token ids work without.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        self.tokenizer.as_ref().ok_or_else(|| Error::NoTokenizer { looked_for: self.no_tokenizer.clone() })
    }

    /// Whether there is a masked-language head, which [`Encoder::splade`] needs.
    pub fn has_head(&self) -> bool {
        self.head.is_some()
    }

    /// Every site, in the order in which a forward pass meets them.
    pub fn sites(&self) -> Vec<EncoderSite> {
        let blocks = (0..self.blocks.len()).flat_map(|layer| EncoderPart::ALL.map(|part| EncoderSite::Block { layer, part }));
        let mut sites: Vec<_> = [EncoderSite::Words, EncoderSite::Positions].into_iter().chain(blocks).collect();
        if let Some(head) = &self.head {
            sites.push(EncoderSite::Transform);
            sites.extend(head.decoder.as_ref().map(|_| EncoderSite::Head));
        }
        sites
    }

    /// A site, if the encoder has it.
    pub fn site(&self, id: EncoderSite) -> Option<&Site> {
        match id {
            EncoderSite::Words => Some(&self.words),
            EncoderSite::Positions => Some(&self.positions),
            EncoderSite::Block { layer, part } => self.blocks.get(layer).map(|b| &b.sites[part as usize]),
            EncoderSite::Transform => self.head.as_ref().map(|h| &h.transform),
            EncoderSite::Head => self.head.as_ref().and_then(|h| h.decoder.as_ref()),
        }
    }

    /// Puts another site in the place of one.
    ///
    /// # Errors
    /// [`Error::EncoderSite`] if the encoder has no such site, or matrices of other shapes there.
    pub fn set_site(&mut self, id: EncoderSite, site: Site) -> Result<(), Error> {
        let place = match id {
            EncoderSite::Words => Some(&mut self.words),
            EncoderSite::Positions => Some(&mut self.positions),
            EncoderSite::Block { layer, part } => self.blocks.get_mut(layer).map(|b| &mut b.sites[part as usize]),
            EncoderSite::Transform => self.head.as_mut().map(|h| &mut h.transform),
            EncoderSite::Head => self.head.as_mut().and_then(|h| h.decoder.as_mut()),
        };
        let want: Vec<[usize; 2]> = place.iter().flat_map(|s| s.linears()).map(|l| l.shape()).collect();
        let got: Vec<[usize; 2]> = site.linears().iter().map(|l| l.shape()).collect();
        check_matrices(id, &want, &got)?;
        if let Some(place) = place {
            *place = site;
        }
        Ok(())
    }

    /// Hugging Face names of the matrices of a site, in the order of its linears: `encoder.layer.0.attention.self.query`.
    pub fn matrix_names(&self, id: EncoderSite) -> Vec<String> {
        id.matrices(&self.config).into_iter().map(|(name, _)| name).collect()
    }

    /// Exact bytes of all matrices and their biases.
    pub fn footprint(&self) -> Footprint {
        self.sites().into_iter().filter_map(|id| self.site(id)).map(Site::footprint).sum()
    }

    /// Weights of all matrices, norms and biases.
    pub fn parameters(&self) -> u64 {
        let linears = self.sites().into_iter().filter_map(|id| self.site(id)).flat_map(Site::linears);
        let matrices: u64 = linears.map(|l| (l.shape()[0] * l.shape()[1] + l.bias().map_or(0, <[f32]>::len)) as u64).sum();
        matrices + self.vectors().map(|(_, v)| v.len() as u64).sum::<u64>()
    }

    /// The head's parts.
    fn head(&self) -> Result<(&Head, EncoderSite, &Site), Error> {
        let head = self.head.as_ref().ok_or(Error::NoHead)?;
        Ok(match &head.decoder {
            Some(decoder) => (head, EncoderSite::Head, decoder),
            None => (head, EncoderSite::Words, &self.words),
        })
    }

    /// What is in no site, by Hugging Face's names.
    fn vectors(&self) -> impl Iterator<Item = (String, &[f32])> {
        fn norm(name: String, norm: &Norm) -> [(String, &[f32]); 2] {
            [(format!("{name}.weight"), &norm.gain), (format!("{name}.bias"), &norm.bias)]
        }
        let blocks = self.blocks.iter().enumerate().flat_map(|(layer, b)| {
            [norm(attention_norm(layer), &b.attention_norm), norm(ffn_norm(layer), &b.ffn_norm)].into_iter().flatten()
        });
        std::iter::once((TOKEN_TYPE.to_owned(), &*self.token_type))
            .chain(norm(EMBEDDING_NORM.to_owned(), &self.norm))
            .chain(blocks)
            .chain(self.head.iter().flat_map(|h| norm(HEAD_NORM.to_owned(), &h.norm)))
    }
}

const TOKEN_TYPE: &str = "embeddings.token_type_embeddings.first";
const EMBEDDING_NORM: &str = "embeddings.LayerNorm";
const HEAD_NORM: &str = "cls.predictions.transform.LayerNorm";

fn attention_norm(layer: usize) -> String {
    format!("encoder.layer.{layer}.attention.output.LayerNorm")
}

fn ffn_norm(layer: usize) -> String {
    format!("encoder.layer.{layer}.output.LayerNorm")
}

/// Fails unless a site has the matrices it should have.
fn check_matrices(id: EncoderSite, want: &[[usize; 2]], got: &[[usize; 2]]) -> Result<(), Error> {
    let check = scant_tensor_core::Error::check_shape("sides of the site's matrices", want.as_flattened(), got.as_flattened());
    check.map_err(|source| Error::EncoderSite { site: id, source })
}
