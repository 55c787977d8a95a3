//! What an encoder looks like.

use crate::Error;
use crate::config::hugging_face::{Keys, required};
use serde_json::Value;

/// Lengths of the attention's buffers on the stack.
pub(crate) const MAX_HEAD_DIM: usize = 256;

/// The description of a BERT encoder: learned positions, LayerNorm after each part, GELU in its exact form.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EncoderConfig {
    /// Pieces of the vocabulary.
    pub vocabulary: usize,
    /// Width of the stream.
    pub hidden: usize,
    /// Width of the feed-forward part.
    pub ffn: usize,
    /// Heads of the attention.
    pub heads: usize,
    /// Number of blocks.
    pub layers: usize,
    /// The longest sequence.
    pub positions: usize,
    /// Rows of the table of token types, of which the first is used.
    pub types: usize,
    /// Added to variances by norms.
    pub norm_eps: f32,
    /// A head that is there reads the word table.
    pub tied: bool,
}

impl EncoderConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`Error::UnknownArchitecture`], [`Error::MissingKey`], [`Error::BadKey`].
    ///
    /// ```
    /// use scant_transformer::encoder::EncoderConfig;
    /// let config = EncoderConfig::from_hugging_face(&serde_json::json!({
    ///     "model_type": "bert", "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 12,
    ///     "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
    /// }))?;
    /// assert_eq!((config.layers, config.head_dim()), (6, 32));
    /// # Ok::<(), scant_transformer::Error>(())
    /// ```
    pub fn from_hugging_face(json: &Value) -> Result<EncoderConfig, Error> {
        let keys = Keys(json);
        match required("model_type", keys.text("model_type")?)? {
            "bert" => (),
            other => return Err(Error::UnknownArchitecture { name: other.to_owned(), known: "bert, of encoders" }),
        }
        let only = |key: &str, default: &str| match keys.text(key)?.unwrap_or(default) {
            known if known == default => Ok(()),
            other => Err(Error::BadKey { key: key.to_owned(), value: format!("`{other}`"), want: format!("known is {default}") }),
        };
        only("hidden_act", "gelu")?;
        only("position_embedding_type", "absolute")?;
        let count = |key: &str| required(key, keys.count(key)?);
        let config = EncoderConfig {
            vocabulary: count("vocab_size")?,
            hidden: count("hidden_size")?,
            ffn: count("intermediate_size")?,
            heads: count("num_attention_heads")?,
            layers: count("num_hidden_layers")?,
            positions: count("max_position_embeddings")?,
            types: keys.count("type_vocab_size")?.unwrap_or(2),
            norm_eps: keys.float("layer_norm_eps")?.unwrap_or(1e-12),
            tied: keys.flag("tie_word_embeddings")?.unwrap_or(true),
        };
        config.check(|field| {
            let key = match field {
                "vocabulary" => "vocab_size",
                "hidden" => "hidden_size",
                "ffn" => "intermediate_size",
                "heads" => "num_attention_heads",
                "layers" => "num_hidden_layers",
                "positions" => "max_position_embeddings",
                "types" => "type_vocab_size",
                _ => "layer_norm_eps",
            };
            key.to_owned()
        })
    }

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.hidden / self.heads
    }

    /// `key` names a field in the source's terms.
    pub(crate) fn check(self, key: impl Fn(&str) -> String) -> Result<EncoderConfig, Error> {
        let bad =
            |name: &str, value: &dyn std::fmt::Display, want: String| Err(Error::BadKey { key: key(name), value: value.to_string(), want });
        let counts = [
            ("vocabulary", self.vocabulary, 1 << 24),
            ("hidden", self.hidden, 1 << 16),
            ("ffn", self.ffn, 1 << 20),
            ("heads", self.heads, 1 << 16),
            ("layers", self.layers, 4096),
            ("positions", self.positions, 1 << 24),
            ("types", self.types, 1 << 16),
        ];
        for (name, value, most) in counts {
            if value == 0 || value > most {
                return bad(name, &value, format!("it must be above 0 and at most {most}"));
            }
        }
        if !self.hidden.is_multiple_of(self.heads) {
            return bad("heads", &self.heads, format!("it must divide the width of the stream, {}", self.hidden));
        }
        if self.head_dim() > MAX_HEAD_DIM {
            return bad("heads", &self.heads, format!("heads are {} wide, at most {MAX_HEAD_DIM} are supported", self.head_dim()));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps >= 0.0) {
            return bad("norm_eps", &self.norm_eps, "it must be a number from 0 on".to_owned());
        }
        Ok(self)
    }
}
