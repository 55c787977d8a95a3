//! A trained Llama as a Hugging Face folder.

use super::model::Llama;
use crate::error::Error;
use half::f16;
use half::slice::HalfFloatSliceExt;
use scant_tensor_core::file::{FileError, Writer, replace};
use std::path::Path;

const KIND: &str = "llama";
const VERSION: u32 = 1;

impl Llama {
    /// Writes `config.json`, `generation_config.json` and `model.safetensors` (F16, Hugging Face's names, tied embeddings) to `folder`, which is made
    /// if it is missing. The tokenizer is the caller's.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn export(&self, folder: impl AsRef<Path>, bos: u32, eos: u32) -> Result<(), Error> {
        let (folder, c) = (folder.as_ref(), self.config());
        std::fs::create_dir_all(folder).map_err(|source| Error::Folder { folder: folder.to_owned(), source })?;
        let config = serde_json::json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float16",
            "vocab_size": c.vocab_size, "hidden_size": c.hidden, "intermediate_size": c.ffn, "num_hidden_layers": c.layers,
            "num_attention_heads": c.heads, "num_key_value_heads": c.kv_heads, "head_dim": c.head_dim,
            "max_position_embeddings": c.context, "rms_norm_eps": exact(c.rms_eps), "rope_theta": c.rope_theta, "rope_scaling": null,
            "hidden_act": "silu", "tie_word_embeddings": true, "attention_bias": false, "mlp_bias": false, "attention_dropout": 0.0,
            "use_cache": true, "bos_token_id": bos, "eos_token_id": eos,
        });
        write_json(&folder.join("config.json"), &config)?;
        write_json(&folder.join("generation_config.json"), &serde_json::json!({ "bos_token_id": bos, "eos_token_id": eos }))?;
        let mut writer = Writer::new(KIND, VERSION).parameters(c)?.metadata("format", "pt")?;
        for weight in self.layout() {
            let mut narrow = vec![f16::ZERO; weight.range.len()];
            narrow.convert_from_f32_slice(&self.weights()[weight.range.clone()]);
            let bytes: Vec<u8> = narrow.iter().flat_map(|x| x.to_le_bytes()).collect();
            writer.add(&weight.name, scant_tensor_core::file::Dtype::F16, &weight.shape, bytes)?;
        }
        Ok(writer.save(folder.join("model.safetensors"))?)
    }
}

/// The f64 that reads like `x`: 1e-5, not 9.999999747378752e-6.
fn exact(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(FileError::Description)? + "\n";
    Ok(replace(path, |out| out.write_all(text.as_bytes()))?)
}
