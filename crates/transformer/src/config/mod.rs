//! What a model looks like: widths, heads, norms, positions.

mod gguf;
pub(crate) mod hugging_face;

use crate::Error;
use crate::names::BlockPart;
use scant_kvcache::Geometry;

/// Families of models that can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Llama and what is built like it (SmolLM2, Mistral): RMSNorm before each part, rotary positions, SwiGLU.
    Llama,
    /// Qwen2 and 2.5: as Llama, with biases on queries, keys and values.
    Qwen2,
    /// Gemma 3: norms before and after each part and on queries and keys, GeGLU, sliding windows on most layers.
    Gemma3,
}

/// The names that checkpoints use, for messages.
pub(crate) const KNOWN: &str =
    "llama, qwen2 and gemma3 (Hugging Face: LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Gemma3ForCausalLM)";

/// More would be a damaged description.
const MAX_LAYERS: usize = 4096;

/// What gates the feed-forward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `x * sigmoid(x)`
    Silu,
    /// GELU in its tanh form.
    GeluTanh,
}

/// How the frequencies of rotary positions were stretched after training.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Positions divided by a factor.
    Linear(f32),
    /// Low frequencies divided by `factor`, high ones kept, those between blended (Llama 3.1).
    Llama3 {
        /// Divisor of low frequencies.
        factor: f32,
        /// Wavelengths above `context / low` are stretched.
        low: f32,
        /// Wavelengths below `context / high` are kept.
        high: f32,
        /// The context the model was first trained with.
        context: f32,
    },
    /// A divisor for each frequency, as a GGUF's `rope_freqs` has them.
    Divisors(Vec<f32>),
}

/// Rotary positions of some layers.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rope {
    /// Frequencies are `base^(-2 i / head_dim)`.
    pub base: f32,
    /// What was done to them.
    pub scaling: RopeScaling,
}

impl Rope {
    /// Frequencies in radians a token, `[head_dim / 2]`.
    pub fn frequencies(&self, head_dim: usize) -> Vec<f64> {
        let plain = (0..head_dim / 2).map(|i| f64::from(self.base).powf(-2.0 * i as f64 / head_dim as f64));
        match &self.scaling {
            RopeScaling::None => plain.collect(),
            RopeScaling::Linear(factor) => plain.map(|f| f / f64::from(*factor)).collect(),
            RopeScaling::Divisors(divisors) => plain.zip(divisors).map(|(f, d)| f / f64::from(*d)).collect(),
            RopeScaling::Llama3 { factor, low, high, context } => {
                let [factor, low, high, context] = [*factor, *low, *high, *context].map(f64::from);
                let stretch = |f: f64| {
                    let turns = context * f / std::f64::consts::TAU;
                    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    f * (kept + (1.0 - kept) / factor)
                };
                plain.map(stretch).collect()
            }
        }
    }
}

/// Attention of one layer, besides what all layers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LayerAttention {
    /// Tokens that a query sees, its own included; `None` for all.
    pub window: Option<usize>,
    /// Which of [`Config::ropes`].
    pub rope: usize,
}

/// The description of a model.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Config {
    /// The family.
    pub architecture: Architecture,
    /// Pieces of the vocabulary.
    pub vocabulary: usize,
    /// Width of the stream.
    pub hidden: usize,
    /// Width of the feed-forward part.
    pub ffn: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// The longest sequence.
    pub context: usize,
    /// Added to mean squares by norms.
    pub norm_eps: f32,
    /// What gates the feed-forward part.
    pub activation: Activation,
    /// Embeddings are multiplied with it.
    pub embedding_scale: f32,
    /// Dot products of queries and keys are multiplied with it.
    pub attention_scale: f32,
    /// Bound of attention scores.
    pub attention_softcap: Option<f32>,
    /// Bound of logits.
    pub logit_softcap: Option<f32>,
    /// The embedding is the head's matrix.
    pub tied: bool,
    /// Each kind of rotary positions.
    pub ropes: Vec<Rope>,
    /// Each layer.
    pub layers: Vec<LayerAttention>,
}

impl Config {
    /// Shape of the attention of a layer.
    ///
    /// # Errors
    /// [`Error::Cache`] for numbers that cannot be.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn geometry(&self, layer: usize) -> Result<Geometry, Error> {
        let mut geometry = Geometry::new(self.heads, self.kv_heads, self.head_dim)?.scale(self.attention_scale);
        geometry.softcap = self.attention_softcap;
        geometry.window = self.layers[layer].window;
        Ok(geometry)
    }

    /// Norms on queries and keys, and after each part.
    pub(crate) fn has_four_norms(&self) -> bool {
        self.architecture == Architecture::Gemma3
    }

    /// Rows and columns of a matrix of a block.
    pub(crate) fn shape(&self, part: BlockPart) -> [usize; 2] {
        let (q, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        match part {
            BlockPart::Q => [q, self.hidden],
            BlockPart::K | BlockPart::V => [kv, self.hidden],
            BlockPart::Output => [self.hidden, q],
            BlockPart::Down => [self.hidden, self.ffn],
            _ => [self.ffn, self.hidden],
        }
    }

    /// What every source must get right: numbers above zero that fit each other. `key` names a field in the source's terms.
    pub(crate) fn check(self, key: impl Fn(&str) -> String) -> Result<Config, Error> {
        let bad = |name: &str, value: &dyn std::fmt::Display, want: &str| {
            Err(Error::BadKey { key: key(name), value: value.to_string(), want: want.to_owned() })
        };
        let counts = [
            ("vocabulary", self.vocabulary),
            ("hidden", self.hidden),
            ("ffn", self.ffn),
            ("heads", self.heads),
            ("kv_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("context", self.context),
            ("layers", self.layers.len()),
        ];
        for (name, value) in counts {
            let most = if name == "layers" { MAX_LAYERS } else { 1 << 24 };
            if value == 0 || value > most {
                return bad(name, &value, &format!("it must be above 0 and at most {most}"));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return bad("kv_heads", &self.kv_heads, &format!("it must divide the number of query heads, {}", self.heads));
        }
        if !self.head_dim.is_multiple_of(2) {
            return bad("head_dim", &self.head_dim, "rotary positions need an even number");
        }
        if !(self.norm_eps.is_finite() && self.norm_eps >= 0.0) {
            return bad("norm_eps", &self.norm_eps, "it must be a number from 0 on");
        }
        for rope in &self.ropes {
            if !(rope.base.is_finite() && rope.base > 0.0) {
                return bad("rope_base", &rope.base, "it must be above 0");
            }
            let wrong = |x: &&f32| !(x.is_normal() && **x > 0.0);
            let (numbers, order) = match &rope.scaling {
                RopeScaling::None => (vec![], true),
                RopeScaling::Linear(factor) => (vec![*factor], true),
                RopeScaling::Divisors(divisors) => (divisors.clone(), true),
                RopeScaling::Llama3 { factor, low, high, context } => (vec![*factor, *low, *high, *context], low < high),
            };
            if let Some(number) = numbers.iter().find(wrong) {
                return bad("rope_scaling", number, "its numbers must be above 0");
            }
            if !order {
                return bad("rope_scaling", &format!("{:?}", rope.scaling), "the low factor must be below the high one");
            }
        }
        if let Some(rope) = self.layers.iter().map(|l| l.rope).find(|rope| *rope >= self.ropes.len()) {
            return bad("rope", &rope, &format!("there are {} kinds of positions", self.ropes.len()));
        }
        let positive = [
            ("embedding_scale", Some(self.embedding_scale)),
            ("attention_scale", Some(self.attention_scale)),
            ("attention_softcap", self.attention_softcap),
            ("logit_softcap", self.logit_softcap),
        ];
        for (name, value) in positive {
            if let Some(value) = value.filter(|v| !v.is_normal() || *v <= 0.0) {
                return bad(name, &value, "it must be a number above 0");
            }
        }
        if let Some(window) = self.layers.iter().find_map(|l| l.window.filter(|w| *w == 0)) {
            return bad("window", &window, "it must be above 0");
        }
        Ok(self)
    }
}

/// Gemma 3: all layers but every `pattern`-th have a window and the first kind of positions.
fn interleaved(layers: usize, pattern: usize, window: usize) -> Vec<LayerAttention> {
    let layer = |i: usize| {
        let global = pattern > 0 && (i + 1).is_multiple_of(pattern);
        LayerAttention { window: (!global).then_some(window), rope: usize::from(global) }
    };
    (0..layers).map(layer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_are_stretched_as_the_scaling_says() {
        let rope = |scaling| Rope { base: 10_000.0, scaling };
        let plain = rope(RopeScaling::None).frequencies(8);
        for (f, want) in plain.iter().zip([1.0, 0.1, 0.01, 0.001]) {
            assert!((f / want - 1.0).abs() < 1e-12, "{plain:?}");
        }
        assert_eq!(rope(RopeScaling::Linear(4.0)).frequencies(8)[0], 0.25);
        assert_eq!(rope(RopeScaling::Divisors(vec![1.0, 2.0, 4.0, 8.0])).frequencies(8)[3], plain[3] / 8.0);
        // Over 1,000 tokens the frequencies make 159, 15.9, 1.59 and 0.159 turns: the first two are kept, the last is divided.
        let scaled = rope(RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, context: 1000.0 }).frequencies(8);
        assert_eq!((scaled[0], scaled[1], scaled[3]), (plain[0], plain[1], plain[3] / 8.0));
        assert!(scaled[2] < plain[2] && scaled[2] > plain[2] / 8.0);
    }

    #[test]
    fn every_sixth_layer_sees_all() {
        let layers = interleaved(13, 6, 512);
        let global: Vec<usize> = (0..13).filter(|i| layers[*i].window.is_none()).collect();
        assert_eq!(global, [5, 11]);
        assert!(layers.iter().all(|l| l.window.is_none() == (l.rope == 1)));
    }
}
