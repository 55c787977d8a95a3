//! Shapes of a Llama, and where each weight lies.

use crate::error::Error;
use crate::ops::Heads;
use std::ops::Range;

/// A Llama with tied embeddings (Touvron et al. 2023).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LlamaConfig {
    /// Pieces of the vocabulary.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the feed-forward network.
    pub ffn: usize,
    /// Longest sequence, in tokens.
    pub context: usize,
    /// Epsilon of RMSNorm.
    pub rms_eps: f32,
    /// Base of the rotary embedding.
    pub rope_theta: f64,
}

impl LlamaConfig {
    /// The embedded model of this project: 2.9 million weights, shapes that every compressed format divides.
    pub const EMBEDDED: LlamaConfig = LlamaConfig {
        vocab_size: 2048,
        hidden: 256,
        layers: 4,
        heads: 4,
        kv_heads: 2,
        head_dim: 64,
        ffn: 512,
        context: 1024,
        rms_eps: 1e-5,
        rope_theta: 10_000.0,
    };

    /// The heads of each layer.
    pub fn attention(&self) -> Heads {
        Heads { heads: self.heads, kv_heads: self.kv_heads, head_dim: self.head_dim }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let bad = |what, left, right| Err(Error::Config { what, left, right });
        let sizes = [self.vocab_size, self.hidden, self.heads, self.kv_heads, self.head_dim, self.ffn, self.context];
        if let Some(zero) = sizes.iter().position(|n| *n == 0) {
            return bad("sizes that must not be 0 (which, value)", zero, 0);
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return bad("heads and kv_heads", self.heads, self.kv_heads);
        }
        if !self.head_dim.is_multiple_of(2) {
            return bad("head_dim and the halves of the rotary embedding", self.head_dim, 2);
        }
        Ok(())
    }
}

/// One weight: its Hugging Face name, shape and place in the flat array of all weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// The name in `model.safetensors`.
    pub name: String,
    /// `[out, in]`, or `[n]` for a norm.
    pub shape: Vec<usize>,
    /// Its values in the flat array.
    pub range: Range<usize>,
}

/// Ranges of one layer. Weights that read the same input lie behind one another and are multiplied as one matrix.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Range<usize>,
    pub(crate) qkv: Range<usize>,
    pub(crate) out: Range<usize>,
    pub(crate) ffn_norm: Range<usize>,
    pub(crate) gate_up: Range<usize>,
    pub(crate) down: Range<usize>,
}

/// Where everything lies.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) embedding: Range<usize>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Range<usize>,
    pub(crate) weights: Vec<Weight>,
    pub(crate) len: usize,
}

impl Places {
    pub(crate) fn new(c: &LlamaConfig) -> Places {
        let mut weights: Vec<Weight> = Vec::new();
        let mut len = 0;
        let mut add = |name: String, shape: &[usize]| {
            let start = len;
            len += shape.iter().product::<usize>();
            weights.push(Weight { name, shape: shape.to_vec(), range: start..len });
            start..len
        };
        let (d, q, kv) = (c.hidden, c.heads * c.head_dim, c.kv_heads * c.head_dim);
        let embedding = add("model.embed_tokens.weight".into(), &[c.vocab_size, d]);
        let layers = (0..c.layers)
            .map(|i| {
                let mut add = |name: &str, shape: &[usize]| add(format!("model.layers.{i}.{name}.weight"), shape);
                let attention_norm = add("input_layernorm", &[d]);
                let first = add("self_attn.q_proj", &[q, d]);
                add("self_attn.k_proj", &[kv, d]);
                let last = add("self_attn.v_proj", &[kv, d]);
                let out = add("self_attn.o_proj", &[d, q]);
                let ffn_norm = add("post_attention_layernorm", &[d]);
                let gate = add("mlp.gate_proj", &[c.ffn, d]);
                let up = add("mlp.up_proj", &[c.ffn, d]);
                let down = add("mlp.down_proj", &[d, c.ffn]);
                Layer { attention_norm, qkv: first.start..last.end, out, ffn_norm, gate_up: gate.start..up.end, down }
            })
            .collect();
        let norm = add("model.norm.weight".into(), &[d]);
        Places { embedding, layers, norm, weights, len }
    }
}
