//! What the parts of a model are called in Hugging Face checkpoints and in GGUF files.

use crate::Architecture;

/// A tensor of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Embedding,
    Head,
    FinalNorm,
    Block(usize, BlockPart),
}

/// A tensor of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockPart {
    Q,
    K,
    V,
    Output,
    Gate,
    Up,
    Down,
    QNorm,
    KNorm,
    /// Before attention.
    AttentionNorm,
    /// After attention, before it is added to the stream.
    PostAttentionNorm,
    /// Before the feed-forward part.
    FfnNorm,
    /// After the feed-forward part.
    PostFfnNorm,
}

impl Part {
    /// The Hugging Face name, without `.weight` or `.bias`.
    pub(crate) fn hugging_face(self, architecture: Architecture) -> String {
        let (layer, part) = match self {
            Part::Embedding => return "model.embed_tokens".to_owned(),
            Part::Head => return "lm_head".to_owned(),
            Part::FinalNorm => return "model.norm".to_owned(),
            Part::Block(layer, part) => (layer, part),
        };
        let name = match part {
            BlockPart::Q => "self_attn.q_proj",
            BlockPart::K => "self_attn.k_proj",
            BlockPart::V => "self_attn.v_proj",
            BlockPart::Output => "self_attn.o_proj",
            BlockPart::Gate => "mlp.gate_proj",
            BlockPart::Up => "mlp.up_proj",
            BlockPart::Down => "mlp.down_proj",
            BlockPart::QNorm => "self_attn.q_norm",
            BlockPart::KNorm => "self_attn.k_norm",
            BlockPart::AttentionNorm => "input_layernorm",
            BlockPart::PostAttentionNorm => "post_attention_layernorm",
            // What follows attention is the norm before the feed-forward part, unless there are four norms.
            BlockPart::FfnNorm if architecture != Architecture::Gemma3 => "post_attention_layernorm",
            BlockPart::FfnNorm => "pre_feedforward_layernorm",
            BlockPart::PostFfnNorm => "post_feedforward_layernorm",
        };
        format!("model.layers.{layer}.{name}")
    }

    /// The GGUF name, without `.weight` or `.bias`.
    pub(crate) fn gguf(self) -> String {
        let (layer, part) = match self {
            Part::Embedding => return "token_embd".to_owned(),
            Part::Head => return "output".to_owned(),
            Part::FinalNorm => return "output_norm".to_owned(),
            Part::Block(layer, part) => (layer, part),
        };
        let name = match part {
            BlockPart::Q => "attn_q",
            BlockPart::K => "attn_k",
            BlockPart::V => "attn_v",
            BlockPart::Output => "attn_output",
            BlockPart::Gate => "ffn_gate",
            BlockPart::Up => "ffn_up",
            BlockPart::Down => "ffn_down",
            BlockPart::QNorm => "attn_q_norm",
            BlockPart::KNorm => "attn_k_norm",
            BlockPart::AttentionNorm => "attn_norm",
            BlockPart::PostAttentionNorm => "post_attention_norm",
            BlockPart::FfnNorm => "ffn_norm",
            BlockPart::PostFfnNorm => "post_ffw_norm",
        };
        format!("blk.{layer}.{name}")
    }
}
