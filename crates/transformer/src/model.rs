//! A model: its description, its sites and its norms.

use crate::names::{BlockPart, Part};
use crate::tokenizer::Tokenizer;
use crate::{Config, Error, SiteId, SiteKind};
use scant_tensor_core::{Footprint, Site};

/// A decoder whose every matrix is in a [`Site`], so that a compressed model is the same model with other sites.
///
/// Opened with [`open`](crate::open), run with a [`Session`](crate::Session).
#[derive(Clone, Debug)]
pub struct Model {
    config: Config,
    tokenizer: Option<Tokenizer>,
    /// Why there is no tokenizer.
    no_tokenizer: String,
    /// `None` where the head's matrix is read.
    embedding: Option<Site>,
    blocks: Vec<Block>,
    norm: Vec<f32>,
    head: Site,
}

/// The tensors of a block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// In the order of [`SiteKind::ALL`].
    pub(crate) sites: Vec<Site>,
    pub(crate) attention_norm: Vec<f32>,
    pub(crate) post_attention_norm: Option<Vec<f32>>,
    pub(crate) ffn_norm: Vec<f32>,
    pub(crate) post_ffn_norm: Option<Vec<f32>>,
    pub(crate) q_norm: Option<Vec<f32>>,
    pub(crate) k_norm: Option<Vec<f32>>,
}

impl Block {
    pub(crate) fn site(&self, kind: SiteKind) -> &Site {
        &self.sites[kind as usize]
    }
}

impl Model {
    pub(crate) fn new(
        embedding: Option<Site>,
        blocks: Vec<Block>,
        norm: Vec<f32>,
        head: Site,
        tokenizer: Result<Tokenizer, Error>,
        config: Config,
    ) -> Result<Model, Error> {
        let (tokenizer, no_tokenizer) = match tokenizer {
            Ok(tokenizer) => (Some(tokenizer), String::new()),
            Err(Error::NoTokenizer { looked_for }) => (None, looked_for),
            Err(e) => return Err(e),
        };
        Ok(Model { config, tokenizer, no_tokenizer, embedding, blocks, norm, head })
    }

    /// The description.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Text to tokens and back.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`] if the checkpoint has none: token ids work without.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        self.tokenizer.as_ref().ok_or_else(|| Error::NoTokenizer { looked_for: self.no_tokenizer.clone() })
    }

    /// Every site, in the order in which a forward pass meets them.
    pub fn sites(&self) -> impl Iterator<Item = SiteId> + use<> {
        let blocks = (0..self.blocks.len()).flat_map(|layer| SiteKind::ALL.map(|kind| SiteId::Block { layer, kind }));
        blocks.chain([SiteId::Head])
    }

    /// A site.
    ///
    /// # Panics
    /// If the model has no such layer.
    pub fn site(&self, id: SiteId) -> &Site {
        match id {
            SiteId::Block { layer, kind } => self.blocks[layer].site(kind),
            SiteId::Head => &self.head,
        }
    }

    /// Puts another site in the place of one. The head's is the embedding too where [`Config::tied`] says so.
    ///
    /// # Errors
    /// [`Error::SiteMatrices`] if there is no such layer or the number of matrices differs, [`Error::Site`] if a shape does.
    pub fn set_site(&mut self, id: SiteId, site: Site) -> Result<(), Error> {
        let place = match id {
            SiteId::Block { layer, kind } => self.blocks.get_mut(layer).map(|b| &mut b.sites[kind as usize]),
            SiteId::Head => Some(&mut self.head),
        };
        let got = site.linears().len();
        let place = place.ok_or(Error::SiteMatrices { site: id, want: 0, got })?;
        if place.linears().len() != got {
            return Err(Error::SiteMatrices { site: id, want: place.linears().len(), got });
        }
        for (old, new) in place.linears().iter().zip(site.linears()) {
            scant_tensor_core::Error::check_shape("matrix", &old.shape(), &new.shape())
                .map_err(|source| Error::Site { site: id, source })?;
        }
        *place = site;
        Ok(())
    }

    /// Joins the memory of small matrices in the order in which a token meets them ([`gather`](scant_tensor_core::gather)). What is opened from a
    /// GGUF file or a Hugging Face folder has been gathered; a model that was given other sites may want it again.
    pub fn gather(&mut self) {
        let blocks = self.blocks.iter_mut().flat_map(|block| &mut block.sites);
        scant_tensor_core::gather(blocks.chain([&mut self.head]).chain(self.embedding.as_mut()));
    }

    /// Hugging Face names of the matrices of a site, in the order of its linears: `model.layers.0.self_attn.q_proj`. A tied head has the
    /// embedding's name.
    pub fn matrix_names(&self, id: SiteId) -> Vec<String> {
        let name = |part: Part| part.hugging_face(self.config.architecture);
        match id {
            SiteId::Block { layer, kind } => kind.parts().iter().map(|p| name(Part::Block(layer, *p))).collect(),
            SiteId::Head => vec![name(if self.config.tied { Part::Embedding } else { Part::Head })],
        }
    }

    /// Exact bytes of all matrices: sites, and the embedding where it is not the head.
    pub fn footprint(&self) -> Footprint {
        self.sites().map(|id| self.site(id).footprint()).chain(self.embedding.as_ref().map(Site::footprint)).sum()
    }

    /// Weights of all matrices and norms.
    pub fn parameters(&self) -> u64 {
        let matrices = |s: &Site| s.linears().iter().map(|l| l.shape()[0] as u64 * l.shape()[1] as u64).sum::<u64>();
        let sites: u64 = self.sites().map(|id| matrices(self.site(id))).sum();
        let norms: usize = self.blocks.iter().flat_map(Block::gains).map(|(_, gain)| gain.len()).sum();
        sites + self.embedding.as_ref().map_or(0, matrices) + (norms + self.norm.len()) as u64
    }

    /// Why there is no tokenizer.
    pub(crate) fn no_tokenizer(&self) -> &str {
        &self.no_tokenizer
    }

    /// The embedding where it is not the head's matrix.
    pub(crate) fn own_embedding(&self) -> Option<&Site> {
        self.embedding.as_ref()
    }

    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The same model with other blocks.
    pub(crate) fn with_blocks(&self, blocks: Vec<Block>) -> Model {
        Model {
            config: self.config.clone(),
            tokenizer: self.tokenizer.clone(),
            no_tokenizer: self.no_tokenizer.clone(),
            embedding: self.embedding.clone(),
            blocks,
            norm: self.norm.clone(),
            head: self.head.clone(),
        }
    }

    pub(crate) fn norm(&self) -> &[f32] {
        &self.norm
    }

    /// Whose rows are the embeddings.
    pub(crate) fn embedding(&self) -> &Site {
        self.embedding.as_ref().unwrap_or(&self.head)
    }
}

impl Block {
    /// The gains of the norms that it has.
    pub(crate) fn gains(&self) -> impl Iterator<Item = (BlockPart, &[f32])> {
        let optional = [
            (BlockPart::PostAttentionNorm, &self.post_attention_norm),
            (BlockPart::PostFfnNorm, &self.post_ffn_norm),
            (BlockPart::QNorm, &self.q_norm),
            (BlockPart::KNorm, &self.k_norm),
        ];
        let optional = optional.into_iter().filter_map(|(part, gain)| Some((part, gain.as_deref()?)));
        [(BlockPart::AttentionNorm, &self.attention_norm[..]), (BlockPart::FfnNorm, &self.ffn_norm[..])].into_iter().chain(optional)
    }
}
