//! Taking a quantized model off its grid without changing what it computes.
//!
//! Published models of this size are quantized already, so a quantizer of the same width only finds their grid again and looks lossless. Two
//! exact rewritings destroy it: gains of norms move into the matrices that read them, and between two matrices without a norm each channel is
//! scaled up in one and down in the other. Rows and columns keep their outliers, which is what a quantizer is measured on.

use crate::model::Block;
use crate::plain::Plain;
use crate::{Error, Model, SiteId, SiteKind};
use ndarray::{ArrayViewMut1, Axis};
use rayon::prelude::*;
use scant_tensor_core::rng::Rng;

/// Channels are scaled by `e^(SPREAD N(0, 1))`.
const SPREAD: f32 = 0.1;

impl Plain {
    /// Multiplies the columns of all matrices.
    fn scale_columns(&mut self, factors: impl Fn(usize) -> f32) {
        for w in &mut self.matrices {
            w.columns_mut().into_iter().enumerate().for_each(|(j, mut column)| column *= factors(j));
        }
    }

    /// Multiplies the outputs of matrix `i`.
    fn scale_rows(&mut self, i: usize, factors: impl Fn(usize) -> f32) {
        let scale = |(row, mut values): (usize, ArrayViewMut1<'_, f32>)| values *= factors(row);
        self.matrices[i].axis_iter_mut(Axis(0)).enumerate().for_each(scale);
        self.biases[i].iter_mut().flatten().enumerate().for_each(|(row, b)| *b *= factors(row));
    }

    /// Moves the gain of the norm before the site into its columns.
    fn take_gain(&mut self, gain: &mut [f32]) {
        self.scale_columns(|j| gain[j]);
        gain.fill(1.0);
    }
}

impl Model {
    /// The same function in f32 matrices that lie on no grid any more, for comparing quantizers on models that were published quantized.
    /// Spec 0.8a of the project: gains of the norms before attention and the feed-forward part move into the matrices, and the channels
    /// between values and output and between up and down are scaled by `e^(0.1 N(0, 1))` and its inverse. Logits agree to rounding.
    ///
    /// The embedding, a tied head and its norm stay as they are. Takes four bytes a weight of the blocks.
    ///
    /// # Errors
    /// [`Error::Site`] if a scaled weight is not finite.
    pub fn off_grid(&self, seed: u64) -> Result<Model, Error> {
        let blocks = self.blocks().par_iter().enumerate().map(|(layer, block)| {
            // A stream of its own for each block, so that the order of the threads does not matter.
            let mut rng = Rng::new(seed ^ (layer as u64) << 32);
            self.block_off_grid(layer, block, &mut rng)
        });
        let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        Ok(self.with_blocks(blocks))
    }

    fn block_off_grid(&self, layer: usize, block: &Block, rng: &mut Rng) -> Result<Block, Error> {
        let c = self.config();
        let id = |kind| SiteId::Block { layer, kind };
        let plain = |kind| Plain::of(id(kind), block.site(kind));
        let [mut qkv, mut output, mut gate_up, mut down] =
            [plain(SiteKind::Qkv)?, plain(SiteKind::Output)?, plain(SiteKind::GateUp)?, plain(SiteKind::Down)?];
        let mut new = block.clone();
        qkv.take_gain(&mut new.attention_norm);
        gate_up.take_gain(&mut new.ffn_norm);

        let mut factors = |n: usize| -> Vec<f32> { (0..n).map(|_| (SPREAD * rng.normal()).exp()).collect() };
        // Query heads that share values share their factors.
        let group = c.heads / c.kv_heads;
        let values = factors(c.kv_heads * c.head_dim);
        qkv.scale_rows(2, |row| 1.0 / values[row]);
        output.scale_columns(|j| values[j / c.head_dim / group * c.head_dim + j % c.head_dim]);
        let ffn = factors(c.ffn);
        gate_up.scale_rows(1, |row| 1.0 / ffn[row]);
        down.scale_columns(|j| ffn[j]);

        let sites = SiteKind::ALL.into_iter().zip([qkv, output, gate_up, down]);
        new.sites = sites.map(|(kind, plain)| plain.into_site(id(kind))).collect::<Result<_, _>>()?;
        Ok(new)
    }
}
