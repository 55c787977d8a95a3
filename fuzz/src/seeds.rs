//! Small valid files of every kind, made here from nothing.

use scant_quant::gguf::{BlockType, Writer};
use scant_quant::imatrix::{Imatrix, InputSums};
use scant_tensor_core::file::{self, Dtype};

const HIDDEN: usize = 32;
const PIECES: usize = 48;

/// Weights that are neither zero nor alike.
fn weights(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * 0.37).sin() * 0.2).collect()
}

/// The matrices of a block: names in a GGUF and in a folder, rows.
const MATRICES: [(&str, &str, usize); 7] = [
    ("attn_q", "self_attn.q_proj", HIDDEN),
    ("attn_k", "self_attn.k_proj", HIDDEN / 2),
    ("attn_v", "self_attn.v_proj", HIDDEN / 2),
    ("attn_output", "self_attn.o_proj", HIDDEN),
    ("ffn_gate", "mlp.gate_proj", HIDDEN),
    ("ffn_up", "mlp.up_proj", HIDDEN),
    ("ffn_down", "mlp.down_proj", HIDDEN),
];

/// A Llama of one block with a vocabulary: `llama` for pieces with scores, `gpt2` for merges.
pub fn gguf(vocabulary: &str, ty: BlockType) -> Vec<u8> {
    let mut w = Writer::new("llama", ty);
    let counts = [("context_length", 64), ("embedding_length", HIDDEN), ("block_count", 1), ("feed_forward_length", HIDDEN)];
    let heads = [("attention.head_count", 2), ("attention.head_count_kv", 1)];
    for (key, value) in counts.into_iter().chain(heads) {
        w.set(&format!("llama.{key}"), value as u32).expect("a new key");
    }
    w.set("llama.attention.layer_norm_rms_epsilon", 1e-5f32).expect("a new key");
    let mut pieces: Vec<String> = ["<unk>", "<s>", "</s>", "\u{2581}", "\u{120}"].map(str::to_owned).to_vec();
    pieces.extend(('a'..='z').map(String::from));
    pieces.extend((0..PIECES - pieces.len()).map(|i| format!("{}{}", (b'a' + i as u8) as char, (b'b' + i as u8) as char)));
    let mut kinds = vec![1i32; PIECES];
    kinds[..3].copy_from_slice(&[2, 3, 3]);
    w.set("tokenizer.ggml.model", vocabulary).expect("a new key");
    w.set("tokenizer.ggml.tokens", &pieces[..]).expect("a new key");
    w.set("tokenizer.ggml.token_type", &kinds[..]).expect("a new key");
    if vocabulary == "gpt2" {
        let merges: Vec<String> = pieces[31..].iter().map(|p| format!("{} {}", &p[..1], &p[1..])).collect();
        w.set("tokenizer.ggml.pre", "gpt-2").expect("a new key");
        w.set("tokenizer.ggml.merges", &merges[..]).expect("a new key");
    } else {
        let scores: Vec<f32> = (0..PIECES).map(|i| -(i as f32)).collect();
        w.set("tokenizer.ggml.scores", &scores[..]).expect("a new key");
    }
    w.set("tokenizer.ggml.bos_token_id", 1u32).expect("a new key");
    w.set("tokenizer.ggml.eos_token_id", 2u32).expect("a new key");
    let mut add = |name: &str, ty, dims: &[usize]| {
        w.encode(name, ty, dims, &weights(dims.iter().product())).expect("finite weights in whole blocks");
    };
    add("token_embd.weight", ty, &[HIDDEN, PIECES]);
    for (name, _, rows) in MATRICES {
        add(&format!("blk.0.{name}.weight"), ty, &[HIDDEN, rows]);
    }
    for name in ["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"] {
        add(name, BlockType::F32, &[HIDDEN]);
    }
    w.to_bytes()
}

/// A tensor of every type that is read only in blocks of its own, in one file without a model.
pub fn gguf_types() -> Vec<u8> {
    let mut w = Writer::new("seed", BlockType::F32);
    for ty in [BlockType::Q2_K, BlockType::Q3_K, BlockType::Q4_K, BlockType::Q5_K, BlockType::Q6_K, BlockType::Q8_0, BlockType::BF16] {
        w.encode(&ty.to_string(), ty, &[256], &weights(256)).expect("finite weights in whole blocks");
    }
    w.to_bytes()
}

/// The description of [`safetensors`] as a folder has it.
pub fn config() -> Vec<u8> {
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": HIDDEN, "intermediate_size": HIDDEN, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": PIECES, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
    });
    config.to_string().into_bytes()
}

/// A Llama of one block by Hugging Face's names.
pub fn safetensors() -> Vec<u8> {
    let mut w = file::Writer::new("seed", 1);
    let mut add = |name: &str, shape: &[usize]| {
        let bytes: Vec<u8> = weights(shape.iter().product()).into_iter().flat_map(f32::to_le_bytes).collect();
        w.add(name, Dtype::F32, shape, bytes).expect("a new name");
    };
    add("model.embed_tokens.weight", &[PIECES, HIDDEN]);
    for (_, name, rows) in MATRICES {
        add(&format!("model.layers.0.{name}.weight"), &[rows, HIDDEN]);
    }
    for name in ["model.layers.0.input_layernorm.weight", "model.layers.0.post_attention_layernorm.weight", "model.norm.weight"] {
        add(name, &[HIDDEN]);
    }
    w.to_bytes().expect("few tensors").to_vec()
}

/// An importance matrix of two entries, in both forms.
pub fn imatrix() -> [Vec<u8>; 2] {
    let mut imatrix = Imatrix::new(512);
    for name in ["blk.0.attn_q.weight", "blk.0.ffn_down.weight"] {
        let squares: Vec<f32> = weights(HIDDEN).iter().map(|w| w * w).collect();
        imatrix.insert(name, InputSums::from_mean_sq(&squares, 512.0).expect("squares"));
    }
    [imatrix.to_gguf().expect("two entries"), imatrix.to_dat().expect("two entries")]
}

/// A `tokenizer.json` of a few pieces.
pub fn tokenizer() -> Vec<u8> {
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": {"type": "NFC"},
        "added_tokens": [{"id": 3, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null, "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
    });
    json.to_string().into_bytes()
}

/// Two files in one input, as the folder's target takes it apart: the length of the first in two bytes, then both.
pub fn join(first: &[u8], second: &[u8]) -> Vec<u8> {
    let len = u16::try_from(first.len()).expect("a short first file");
    [&len.to_le_bytes(), first, second].concat()
}
