//! The description in a GGUF file's metadata.

use super::{Activation, Architecture, Config, KNOWN, LayerAttention, MAX_LAYERS, Rope, RopeScaling, interleaved};
use crate::Error;
use scant_quant::gguf::{File, FromValue};

impl Config {
    /// Reads the metadata of `file`.
    ///
    /// # Errors
    /// [`Error::UnknownArchitecture`], [`Error::MissingKey`], [`Error::BadKey`]; [`Error::Gguf`] for a key of another type.
    pub fn from_gguf(file: &File) -> Result<Config, Error> {
        let name: &str = required(file, "general.architecture")?;
        let architecture = match name {
            "llama" => Architecture::Llama,
            "qwen2" => Architecture::Qwen2,
            "gemma3" => Architecture::Gemma3,
            _ => return Err(Error::UnknownArchitecture { name: name.to_owned(), known: KNOWN }),
        };
        let key = |k: &str| format!("{name}.{k}");
        let count = |k: &str| required::<usize>(file, &key(k));
        let count_or = |k: &str, default: usize| Ok::<_, Error>(file.get_optional(&key(k))?.unwrap_or(default));
        let float = |k: &str| file.get_optional::<f32>(&key(k));

        let (hidden, heads) = (count("embedding_length")?, count("attention.head_count")?);
        let head_dim = count_or("attention.key_length", hidden.checked_div(heads).unwrap_or(0))?;
        for (k, want) in [("attention.value_length", head_dim), ("rope.dimension_count", head_dim)] {
            let got = count_or(k, want)?;
            if got != want {
                let want = format!("other widths than the {want} of a key are not supported");
                return Err(Error::BadKey { key: key(k), value: got.to_string(), want });
            }
        }
        let layers = count("block_count")?.min(MAX_LAYERS + 1); // `check` refuses more
        let base = float("rope.freq_base")?;
        let scaling = rope_scaling(file, &key, head_dim)?;
        let gemma = architecture == Architecture::Gemma3;
        let (ropes, layers) = if gemma {
            let local = Rope { base: float("rope.freq_base_swa")?.unwrap_or(1e4), scaling: RopeScaling::None };
            let pattern = count_or("attention.sliding_window_pattern", 6)?;
            (vec![local, Rope { base: base.unwrap_or(1e6), scaling }], interleaved(layers, pattern, count("attention.sliding_window")?))
        } else {
            let window = file.get_optional(&key("attention.sliding_window"))?;
            (vec![Rope { base: base.unwrap_or(1e4), scaling }], vec![LayerAttention { window, rope: 0 }; layers])
        };
        // The description may be silent on the vocabulary; the embedding is not.
        let vocabulary = match file.tensor("token_embd.weight") {
            Ok(embedding) => embedding.rows(),
            Err(_) => return Err(Error::MissingTensor { name: "token_embd.weight".to_owned() }),
        };
        let config = Config {
            architecture,
            vocabulary,
            hidden,
            ffn: count("feed_forward_length")?,
            heads,
            kv_heads: count_or("attention.head_count_kv", heads)?,
            head_dim,
            context: count("context_length")?,
            norm_eps: required(file, &key("attention.layer_norm_rms_epsilon"))?,
            activation: if gemma { Activation::GeluTanh } else { Activation::Silu },
            embedding_scale: if gemma { (hidden as f32).sqrt() } else { 1.0 },
            attention_scale: float("attention.scale")?.unwrap_or(1.0 / (head_dim.max(1) as f32).sqrt()),
            attention_softcap: float("attn_logit_softcapping")?,
            logit_softcap: float("final_logit_softcapping")?,
            tied: file.tensor("output.weight").is_err(),
            ropes,
            layers,
        };
        config.check(|field| match field {
            "vocabulary" => "token_embd.weight".to_owned(),
            "hidden" => key("embedding_length"),
            "ffn" => key("feed_forward_length"),
            "heads" => key("attention.head_count"),
            "kv_heads" => key("attention.head_count_kv"),
            "head_dim" => key("attention.key_length"),
            "context" => key("context_length"),
            "layers" => key("block_count"),
            "norm_eps" => key("attention.layer_norm_rms_epsilon"),
            "window" => key("attention.sliding_window"),
            "attention_scale" => key("attention.scale"),
            "attention_softcap" => key("attn_logit_softcapping"),
            "logit_softcap" => key("final_logit_softcapping"),
            "rope_scaling" => key("rope.scaling.factor"),
            _ => key("rope.freq_base"),
        })
    }
}

fn required<'a, T: FromValue<'a>>(file: &'a File, key: &str) -> Result<T, Error> {
    file.get_optional(key)?.ok_or_else(|| Error::MissingKey { key: key.to_owned() })
}

fn rope_scaling(file: &File, key: &dyn Fn(&str) -> String, head_dim: usize) -> Result<RopeScaling, Error> {
    if let Ok(divisors) = file.tensor("rope_freqs.weight") {
        let divisors = divisors.to_f32()?;
        if divisors.len() != head_dim / 2 {
            let (want, got) = (vec![head_dim / 2], vec![divisors.len()]);
            return Err(Error::TensorShape { name: "rope_freqs.weight".to_owned(), want, got });
        }
        return Ok(RopeScaling::Divisors(divisors));
    }
    match file.get_optional::<&str>(&key("rope.scaling.type"))? {
        Some("none") => Ok(RopeScaling::None),
        // As llama.cpp reads it: a factor alone is a linear one, and so is its older key.
        None => {
            let factor = file.get_optional::<f32>(&key("rope.scaling.factor"))?;
            let factor = factor.or(file.get_optional(&key("rope.scale_linear"))?);
            Ok(factor.filter(|f| *f != 0.0 && *f != 1.0).map_or(RopeScaling::None, RopeScaling::Linear))
        }
        Some("linear") => Ok(RopeScaling::Linear(required(file, &key("rope.scaling.factor"))?)),
        Some(other) => {
            let want = "known are none and linear".to_owned();
            Err(Error::BadKey { key: key("rope.scaling.type"), value: format!("`{other}`"), want })
        }
    }
}
