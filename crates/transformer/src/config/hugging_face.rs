//! The description in a Hugging Face `config.json`.

use super::{Activation, Architecture, Config, KNOWN, LayerAttention, MAX_LAYERS, Rope, RopeScaling, interleaved};
use crate::Error;
use serde_json::Value;

/// Typed access to the keys of an object; `null` counts as absent.
pub(crate) struct Keys<'a>(pub(crate) &'a Value);

impl<'a> Keys<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|v| !v.is_null())
    }

    fn read<T>(&self, key: &str, want: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>, Error> {
        let bad = |v: &Value| Error::BadKey { key: key.to_owned(), value: v.to_string(), want: format!("it should be {want}") };
        self.get(key).map(|v| read(v).ok_or_else(|| bad(v))).transpose()
    }

    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>, Error> {
        self.read(key, "a whole number", |v| v.as_u64().and_then(|v| v.try_into().ok()))
    }

    pub(crate) fn float(&self, key: &str) -> Result<Option<f32>, Error> {
        self.read(key, "a number", |v| v.as_f64().map(|v| v as f32))
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, Error> {
        self.read(key, "a string", Value::as_str)
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, Error> {
        self.read(key, "true or false", Value::as_bool)
    }
}

pub(crate) fn required<T>(key: &str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| Error::MissingKey { key: key.to_owned() })
}

impl Config {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`Error::UnknownArchitecture`], [`Error::MissingKey`], [`Error::BadKey`].
    ///
    /// ```
    /// use scant_transformer::{Architecture, Config};
    /// let config = Config::from_hugging_face(&serde_json::json!({
    ///     "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 5,
    ///     "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 512, "max_position_embeddings": 512,
    ///     "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
    /// }))?;
    /// assert_eq!((config.architecture, config.head_dim, config.layers.len()), (Architecture::Llama, 8, 5));
    /// # Ok::<(), scant_transformer::Error>(())
    /// ```
    pub fn from_hugging_face(json: &Value) -> Result<Config, Error> {
        let keys = Keys(json);
        let named = json.get("architectures").and_then(|a| a.get(0)).and_then(Value::as_str);
        let name = required("architectures", named.or(keys.text("model_type")?))?;
        let architecture = match name {
            "LlamaForCausalLM" | "MistralForCausalLM" | "llama" | "mistral" => Architecture::Llama,
            "Qwen2ForCausalLM" | "qwen2" => Architecture::Qwen2,
            "Gemma3ForCausalLM" | "gemma3_text" => Architecture::Gemma3,
            _ => return Err(Error::UnknownArchitecture { name: name.to_owned(), known: KNOWN }),
        };
        let gemma = architecture == Architecture::Gemma3;
        let count = |key: &str| required(key, keys.count(key)?);

        let (hidden, heads) = (count("hidden_size")?, count("num_attention_heads")?);
        let head_dim = keys.count("head_dim")?.unwrap_or(hidden.checked_div(heads).unwrap_or(0));
        let layers = count("num_hidden_layers")?.min(MAX_LAYERS + 1); // `check` refuses more
        // Newer descriptions gather what concerns positions, for Gemma once for each kind of layer.
        let parameters = json.get("rope_parameters");
        let object = |key: &str| parameters.and_then(|v| v.get(key)).filter(|v| v.is_object());
        let global = object("full_attention").or(parameters);
        let local = Keys(object("sliding_attention").unwrap_or(&Value::Null));
        let base = keys.float("rope_theta")?.or(Keys(global.unwrap_or(&Value::Null)).float("rope_theta")?);
        if let Some(scaling) = keys.get("rope_scaling").filter(|v| !v.is_object()) {
            let want = "it should be an object or null".to_owned();
            return Err(Error::BadKey { key: "rope_scaling".to_owned(), value: scaling.to_string(), want });
        }
        if let Some(part) = keys.float("partial_rotary_factor")?.filter(|part| *part != 1.0) {
            let want = "positions that turn a part of each head are not supported".to_owned();
            return Err(Error::BadKey { key: "partial_rotary_factor".to_owned(), value: part.to_string(), want });
        }
        let scaling = rope_scaling(&Keys(keys.get("rope_scaling").or(global).unwrap_or(&Value::Null)))?;
        let (ropes, layers) = if gemma {
            let local = keys.float("rope_local_base_freq")?.or(local.float("rope_theta")?).unwrap_or(1e4);
            let local = Rope { base: local, scaling: RopeScaling::None };
            let window = count("sliding_window")?;
            (vec![local, Rope { base: base.unwrap_or(1e6), scaling }], gemma_layers(&keys, layers, window)?)
        } else {
            let layers = match architecture {
                Architecture::Qwen2 => qwen2_layers(&keys, layers)?,
                _ => vec![LayerAttention { window: keys.count("sliding_window")?, rope: 0 }; layers],
            };
            (vec![Rope { base: base.unwrap_or(1e4), scaling }], layers)
        };
        let scale_of = keys.float("query_pre_attn_scalar")?.unwrap_or(head_dim.max(1) as f32);
        let config = Config {
            architecture,
            vocabulary: count("vocab_size")?,
            hidden,
            ffn: count("intermediate_size")?,
            heads,
            kv_heads: keys.count("num_key_value_heads")?.unwrap_or(heads),
            head_dim,
            context: count("max_position_embeddings")?,
            norm_eps: required("rms_norm_eps", keys.float("rms_norm_eps")?)?,
            activation: activation(&keys, gemma)?,
            embedding_scale: if gemma { (hidden as f32).sqrt() } else { 1.0 },
            attention_scale: 1.0 / scale_of.sqrt(),
            attention_softcap: keys.float("attn_logit_softcapping")?,
            logit_softcap: keys.float("final_logit_softcapping")?,
            tied: keys.flag("tie_word_embeddings")?.unwrap_or(gemma),
            ropes,
            layers,
        };
        let key = |field: &str| {
            let key = match field {
                "vocabulary" => "vocab_size",
                "hidden" => "hidden_size",
                "ffn" => "intermediate_size",
                "heads" => "num_attention_heads",
                "kv_heads" => "num_key_value_heads",
                "head_dim" => "head_dim",
                "context" => "max_position_embeddings",
                "layers" => "num_hidden_layers",
                "norm_eps" => "rms_norm_eps",
                "window" => "sliding_window",
                "attention_scale" => "query_pre_attn_scalar",
                "attention_softcap" => "attn_logit_softcapping",
                "logit_softcap" => "final_logit_softcapping",
                "rope_scaling" => "rope_scaling",
                _ => "rope_theta",
            };
            key.to_owned()
        };
        config.check(key)
    }
}

fn activation(keys: &Keys<'_>, gemma: bool) -> Result<Activation, Error> {
    let key = if keys.get("hidden_activation").is_some() { "hidden_activation" } else { "hidden_act" };
    match keys.text(key)? {
        None => Ok(if gemma { Activation::GeluTanh } else { Activation::Silu }),
        Some("silu") => Ok(Activation::Silu),
        Some("gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
        Some(other) => {
            Err(Error::BadKey { key: key.to_owned(), value: format!("`{other}`"), want: "known are silu and gelu_pytorch_tanh".to_owned() })
        }
    }
}

/// Descriptions name a window that is not used; where it is, layers from `max_window_layers` on have it.
fn qwen2_layers(keys: &Keys<'_>, layers: usize) -> Result<Vec<LayerAttention>, Error> {
    let window = if keys.flag("use_sliding_window")?.unwrap_or(false) { keys.count("sliding_window")? } else { None };
    let first = keys.count("max_window_layers")?.unwrap_or(0);
    Ok((0..layers).map(|i| LayerAttention { window: window.filter(|_| i >= first), rope: 0 }).collect())
}

/// A list with the kind of each layer, or a period.
fn gemma_layers(keys: &Keys<'_>, layers: usize, window: usize) -> Result<Vec<LayerAttention>, Error> {
    let Some(kinds) = keys.get("layer_types") else {
        return Ok(interleaved(layers, keys.count("sliding_window_pattern")?.unwrap_or(6), window));
    };
    let bad = |want: String| Error::BadKey { key: "layer_types".to_owned(), value: kinds.to_string(), want };
    let list = kinds.as_array().filter(|l| l.len() == layers).ok_or_else(|| bad(format!("it should be a list of {layers} names")))?;
    let layer = |kind: &Value| match kind.as_str() {
        Some("sliding_attention") => Ok(LayerAttention { window: Some(window), rope: 0 }),
        Some("full_attention") => Ok(LayerAttention { window: None, rope: 1 }),
        _ => Err(bad("known are sliding_attention and full_attention".to_owned())),
    };
    list.iter().map(layer).collect()
}

fn rope_scaling(keys: &Keys<'_>) -> Result<RopeScaling, Error> {
    let kind = keys.text("rope_type")?.or(keys.text("type")?);
    let float = |key: &str| required(key, keys.float(key)?);
    match kind {
        None | Some("default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear(float("factor")?)),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: float("factor")?,
            low: float("low_freq_factor")?,
            high: float("high_freq_factor")?,
            context: float("original_max_position_embeddings")?,
        }),
        Some(other) => Err(Error::BadKey {
            key: "rope_type".to_owned(),
            value: format!("`{other}`"),
            want: "known are default, linear and llama3".to_owned(),
        }),
    }
}
