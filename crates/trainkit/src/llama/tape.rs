//! The buffers of one shard: what the forward pass keeps for the gradient. They grow once and are used again every step, since
//! giving pages back to the system and taking them again would cost 40 % of the time.

use super::config::LlamaConfig;

/// Buffers for sequences of one shape; refilled at every pass.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    pub(super) layers: Vec<LayerTape>,
    /// Input of the last norm, and its result.
    pub(super) last: Vec<f32>,
    pub(super) normed: Vec<f32>,
    /// The running gradient of the residual stream, and scratch for gradients of one layer.
    pub(super) dx: Vec<f32>,
    pub(super) d_normed: Vec<f32>,
    pub(super) d_wide: Vec<f32>,
    pub(super) d_narrow: Vec<f32>,
    pub(super) scratch: Vec<f32>,
    pub(super) logits: Vec<f32>,
}

/// What one layer keeps.
#[derive(Clone, Debug, Default)]
pub(super) struct LayerTape {
    pub(super) x: Vec<f32>,
    pub(super) normed: Vec<f32>,
    pub(super) qkv: Vec<f32>,
    pub(super) p: Vec<f32>,
    pub(super) attended: Vec<f32>,
    pub(super) mid: Vec<f32>,
    pub(super) mid_normed: Vec<f32>,
    pub(super) gate_up: Vec<f32>,
    pub(super) hidden: Vec<f32>,
}

/// Rows of logits made at a time: they stay in the cache between the product, the loss and the two products of the gradient.
pub(super) const LOGIT_ROWS: usize = 128;

impl Tape {
    /// Empty buffers.
    pub fn new() -> Tape {
        Tape::default()
    }

    pub(super) fn fit(&mut self, c: &LlamaConfig, rows: usize, tokens: usize) {
        let (n, heads) = (rows * tokens, c.attention());
        let fit = |v: &mut Vec<f32>, len: usize| v.resize(len, 0.0);
        self.layers.resize_with(c.layers, LayerTape::default);
        for layer in &mut self.layers {
            for v in [&mut layer.x, &mut layer.normed, &mut layer.mid, &mut layer.mid_normed] {
                fit(v, n * c.hidden);
            }
            fit(&mut layer.qkv, n * heads.qkv_width());
            fit(&mut layer.p, heads.probabilities(rows, tokens));
            fit(&mut layer.attended, n * heads.width());
            fit(&mut layer.gate_up, n * 2 * c.ffn);
            fit(&mut layer.hidden, n * c.ffn);
        }
        for v in [&mut self.last, &mut self.normed, &mut self.dx, &mut self.d_normed] {
            fit(v, n * c.hidden);
        }
        fit(&mut self.d_wide, n * (2 * c.ffn).max(heads.qkv_width()));
        fit(&mut self.d_narrow, n * c.ffn.max(heads.width()));
        fit(&mut self.logits, LOGIT_ROWS.min(n) * c.vocab_size);
    }
}
