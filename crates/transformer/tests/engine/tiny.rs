//! Tiny random models, and the two forms in which they are stored.

use scant_quant::gguf::{BlockType, Writer, rope};
use scant_tensor_core::file::{Dtype, Writer as Safetensors};
use scant_tensor_core::rng::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A model as its Hugging Face checkpoint has it: a description, and tensors by name.
#[derive(Clone)]
pub(crate) struct Tiny {
    pub(crate) config: Value,
    pub(crate) tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    pub(crate) gemma: bool,
}

impl Tiny {
    /// Two blocks, grouped heads, tied embedding.
    pub(crate) fn llama() -> Tiny {
        Tiny::new(json!({
            "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 50, "max_position_embeddings": 64,
            "rms_norm_eps": 1e-5, "rope_theta": 1000.0, "tie_word_embeddings": true,
        }))
    }

    /// A head of its own, and biases on every matrix of the attention.
    pub(crate) fn llama_with_biases() -> Tiny {
        let mut tiny = Tiny::llama();
        tiny.config["tie_word_embeddings"] = json!(false);
        let mut rng = Rng::new(2);
        tiny.add(&mut rng, "lm_head.weight", &[50, 32]);
        for layer in 0..2 {
            for (name, len) in [("q_proj", 32), ("k_proj", 16), ("v_proj", 16), ("o_proj", 32)] {
                tiny.add(&mut rng, &format!("model.layers.{layer}.self_attn.{name}.bias"), &[len]);
            }
        }
        tiny
    }

    /// Biases on queries, keys and values, a tied embedding, and a window that the description names and does not use.
    pub(crate) fn qwen2() -> Tiny {
        let mut tiny = Tiny::llama();
        for (key, value) in [
            ("architectures", json!(["Qwen2ForCausalLM"])),
            ("rope_theta", json!(1e6)),
            ("sliding_window", json!(4)),
            ("use_sliding_window", json!(false)),
            ("max_window_layers", json!(1)),
        ] {
            tiny.config[key] = value;
        }
        let mut rng = Rng::new(4);
        for layer in 0..2 {
            for (name, len) in [("q_proj", 32), ("k_proj", 16), ("v_proj", 16)] {
                tiny.add(&mut rng, &format!("model.layers.{layer}.self_attn.{name}.bias"), &[len]);
            }
        }
        tiny
    }

    /// Four blocks, every third without a window; heads wider than the stream, four norms, capped scores and logits.
    pub(crate) fn gemma() -> Tiny {
        let kinds = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"];
        Tiny::new(json!({
            "architectures": ["Gemma3ForCausalLM"], "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
            "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 50, "max_position_embeddings": 64,
            "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "rope_local_base_freq": 500.0, "sliding_window": 6, "layer_types": kinds,
            "query_pre_attn_scalar": 9.0, "attn_logit_softcapping": 20.0, "final_logit_softcapping": 15.0,
            "hidden_activation": "gelu_pytorch_tanh",
        }))
    }

    fn new(config: Value) -> Tiny {
        let gemma = config["architectures"][0] == "Gemma3ForCausalLM";
        let mut tiny = Tiny { config, tensors: BTreeMap::new(), gemma };
        let [hidden, ffn] = [tiny.count("hidden_size"), tiny.count("intermediate_size")];
        let dim = tiny.head_dim();
        let [q, kv] = [tiny.count("num_attention_heads") * dim, tiny.count("num_key_value_heads") * dim];
        let mut rng = Rng::new(1);
        let mut add = |name: String, shape: &[usize]| tiny.add(&mut rng, &name, shape);
        add("model.embed_tokens.weight".to_owned(), &[50, hidden]);
        add("model.norm.weight".to_owned(), &[hidden]);
        let norms: &[&str] = if gemma {
            &["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"]
        } else {
            &["input_layernorm", "post_attention_layernorm"]
        };
        for layer in 0..tiny_layers(gemma) {
            let mut add = |name: &str, shape: &[usize]| add(format!("model.layers.{layer}.{name}.weight"), shape);
            add("self_attn.q_proj", &[q, hidden]);
            add("self_attn.k_proj", &[kv, hidden]);
            add("self_attn.v_proj", &[kv, hidden]);
            add("self_attn.o_proj", &[hidden, q]);
            add("mlp.gate_proj", &[ffn, hidden]);
            add("mlp.up_proj", &[ffn, hidden]);
            add("mlp.down_proj", &[hidden, ffn]);
            norms.iter().for_each(|norm| add(norm, &[hidden]));
            if gemma {
                add("self_attn.q_norm", &[dim]);
                add("self_attn.k_norm", &[dim]);
            }
        }
        tiny
    }

    /// Random multiples of 1/64, which every float type holds: matrices around 0, gains around 1 (for Gemma: stored around 0).
    fn add(&mut self, rng: &mut Rng, name: &str, shape: &[usize]) {
        let gain = shape.len() == 1 && !name.ends_with("bias");
        let centre = if gain && !self.gemma { 1.0 } else { 0.0 };
        let values = (0..shape.iter().product()).map(|_| ((16.0 * rng.normal()).clamp(-60.0, 60.0).round() / 64.0) + centre).collect();
        self.tensors.insert(name.to_owned(), (shape.to_vec(), values));
    }

    pub(crate) fn count(&self, key: &str) -> usize {
        self.config[key].as_u64().unwrap() as usize
    }

    pub(crate) fn head_dim(&self) -> usize {
        self.config["head_dim"].as_u64().map_or(self.count("hidden_size") / self.count("num_attention_heads"), |d| d as usize)
    }

    /// A folder with the checkpoint in `dtype`, its tensors dealt out to `shards` files.
    pub(crate) fn folder(&self, dtype: Dtype, shards: usize) -> Folder {
        let folder = Folder::new();
        folder.write("config.json", &serde_json::to_vec(&self.config).unwrap());
        let mut writers: Vec<_> = (0..shards).map(|_| Safetensors::new("tiny", 1)).collect();
        let mut map = serde_json::Map::new();
        for (i, (name, (shape, values))) in self.tensors.iter().enumerate() {
            let bytes: Vec<u8> = match dtype {
                Dtype::F16 => values.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect(),
                Dtype::Bf16 => values.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect(),
                _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            };
            writers[i % shards].add(name, dtype, shape.as_slice(), bytes).unwrap();
            map.insert(name.clone(), json!(format!("shard-{}.safetensors", i % shards)));
        }
        if shards == 1 {
            folder.write("model.safetensors", &writers[0].to_bytes().unwrap());
        } else {
            for (i, writer) in writers.iter().enumerate() {
                folder.write(&format!("shard-{i}.safetensors"), &writer.to_bytes().unwrap());
            }
            folder.write("model.safetensors.index.json", &serde_json::to_vec(&json!({ "weight_map": map })).unwrap());
        }
        folder
    }

    /// A GGUF file whose matrices are of type `ty` where their rows allow it.
    pub(crate) fn gguf(&self, ty: BlockType) -> Vec<u8> {
        let mut writer = self.gguf_head(ty);
        for (name, (shape, values)) in &self.tensors {
            let (shape, values) = self.for_gguf(name, shape, values);
            let matrix = shape.len() == 2 && shape[1].is_multiple_of(ty.block_size());
            let dims: Vec<usize> = shape.iter().rev().copied().collect();
            let name = self.gguf_name(name);
            if matrix && ty != BlockType::F32 {
                writer.encode(&name, ty, &dims, &values).unwrap();
            } else {
                // As bytes, since the encoder refuses what is not finite.
                let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
                writer.tensor(&name, BlockType::F32, &dims, bytes).unwrap();
            }
        }
        writer.to_bytes()
    }

    /// The metadata alone.
    pub(crate) fn gguf_head(&self, ty: BlockType) -> Writer<'static> {
        let mut writer = Writer::new(self.architecture(), ty);
        self.set_keys(&mut writer);
        writer
    }

    /// Metadata and tensors as f32, beside what `writer` holds already.
    pub(crate) fn fill_gguf(&self, writer: &mut Writer<'static>) {
        self.set_keys(writer);
        for (name, (shape, values)) in &self.tensors {
            let (shape, values) = self.for_gguf(name, shape, values);
            let dims: Vec<usize> = shape.iter().rev().copied().collect();
            writer.encode(&self.gguf_name(name), BlockType::F32, &dims, &values).unwrap();
        }
    }

    fn architecture(&self) -> &'static str {
        match self.config["architectures"][0].as_str() {
            Some("Gemma3ForCausalLM") => "gemma3",
            Some("Qwen2ForCausalLM") => "qwen2",
            _ => "llama",
        }
    }

    fn set_keys(&self, writer: &mut Writer<'static>) {
        let architecture = self.architecture();
        let mut set = |key: &str, value: u32| writer.set(&format!("{architecture}.{key}"), value).unwrap();
        set("embedding_length", self.count("hidden_size") as u32);
        set("feed_forward_length", self.count("intermediate_size") as u32);
        set("block_count", self.count("num_hidden_layers") as u32);
        set("context_length", self.count("max_position_embeddings") as u32);
        set("attention.head_count", self.count("num_attention_heads") as u32);
        set("attention.head_count_kv", self.count("num_key_value_heads") as u32);
        let float = |key: &str| self.config[key].as_f64().unwrap() as f32;
        if self.gemma {
            for (key, value) in [("key_length", 16), ("value_length", 16), ("sliding_window", 6), ("sliding_window_pattern", 3)] {
                set(&format!("attention.{key}"), value);
            }
            writer.set("gemma3.rope.freq_base_swa", float("rope_local_base_freq")).unwrap();
            writer.set("gemma3.attention.scale", 1.0 / float("query_pre_attn_scalar").sqrt()).unwrap();
            writer.set("gemma3.attn_logit_softcapping", float("attn_logit_softcapping")).unwrap();
            writer.set("gemma3.final_logit_softcapping", float("final_logit_softcapping")).unwrap();
        }
        writer.set(&format!("{architecture}.rope.freq_base"), float("rope_theta")).unwrap();
        writer.set(&format!("{architecture}.attention.layer_norm_rms_epsilon"), float("rms_norm_eps")).unwrap();
    }

    /// Llama rows of queries and keys in pairs, Gemma gains around 1.
    fn for_gguf(&self, name: &str, shape: &[usize], values: &[f32]) -> (Vec<usize>, Vec<f32>) {
        let mut values = values.to_vec();
        if self.gemma && shape.len() == 1 {
            values.iter_mut().for_each(|x| *x += 1.0);
        }
        if self.architecture() == "llama" && (name.contains("q_proj") || name.contains("k_proj")) {
            let columns = shape.get(1).copied().unwrap_or(1);
            let rows = (0..shape[0]).map(|row| rope::half_split_row(row, self.head_dim()));
            values = rows.flat_map(|row| values[row * columns..(row + 1) * columns].to_vec()).collect();
        }
        (shape.to_vec(), values)
    }

    pub(crate) fn gguf_name(&self, name: &str) -> String {
        let after_attention = if self.gemma { "post_attention_norm" } else { "ffn_norm" };
        let pairs = [
            ("model.embed_tokens", "token_embd"),
            ("model.norm", "output_norm"),
            ("lm_head", "output"),
            ("model.layers", "blk"),
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.k_proj", "attn_k"),
            ("self_attn.v_proj", "attn_v"),
            ("self_attn.o_proj", "attn_output"),
            ("self_attn.q_norm", "attn_q_norm"),
            ("self_attn.k_norm", "attn_k_norm"),
            ("mlp.gate_proj", "ffn_gate"),
            ("mlp.up_proj", "ffn_up"),
            ("mlp.down_proj", "ffn_down"),
            ("input_layernorm", "attn_norm"),
            ("post_attention_layernorm", after_attention),
            ("pre_feedforward_layernorm", "ffn_norm"),
            ("post_feedforward_layernorm", "post_ffw_norm"),
        ];
        pairs.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
    }
}

fn tiny_layers(gemma: bool) -> usize {
    if gemma { 4 } else { 2 }
}

/// A folder that goes away with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static SERIAL: AtomicUsize = AtomicUsize::new(0);
        let name = format!("scant-transformer-{}-{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
