//! Statistics of a model's sites as an importance matrix for GGUF tools.

use crate::names::Part;
use crate::{Error, Model, SiteId, SiteKind};
use scant_quant::Imatrix;
use scant_quant::imatrix::InputSums;
use scant_tensor_core::stats::ActivationStats;

/// Tokens of a chunk where text was not cut into any: llama.cpp's default.
const CHUNK: u32 = 512;

impl Model {
    /// The mean squares that `stats` holds of this model's sites, under the names of its matrices in GGUF files. Matrices of a site share them.
    /// A tied head is named after the embedding.
    ///
    /// Statistics are of the inputs in front of a site's Pre, as [`calibrate`](crate::calibrate) gathers them. Sites that `stats` lacks, or whose mean
    /// squares it does not know, are left out.
    ///
    /// # Errors
    /// [`Error::Gguf`] for statistics that are not finite.
    pub fn imatrix(&self, stats: &ActivationStats) -> Result<Imatrix, Error> {
        let mut imatrix = Imatrix::new(CHUNK);
        let head = if self.config().tied { Part::Embedding } else { Part::Head };
        let blocks = (0..self.blocks().len()).flat_map(|layer| SiteKind::ALL.map(|kind| (layer, kind)));
        let blocks = blocks.map(|(layer, kind)| {
            let parts = kind.parts().iter().map(|part| Part::Block(layer, *part)).collect();
            (SiteId::Block { layer, kind }, parts)
        });
        for (site, parts) in blocks.chain([(SiteId::Head, vec![head])]) {
            let Some(site) = stats.sites.get(&site.to_string()) else { continue };
            let Some(mean_sq) = site.mean_sq() else { continue };
            #[expect(clippy::cast_possible_truncation, reason = "counts are f32 in the file")]
            let tokens = site.tokens() as f32;
            let sums = InputSums::from_mean_sq(&mean_sq, tokens)?;
            imatrix.chunks = imatrix.chunks.max((tokens / CHUNK as f32).ceil() as u32);
            for part in parts {
                imatrix.insert(format!("{}.weight", part.gguf()), sums.clone());
            }
        }
        Ok(imatrix)
    }
}
