//! Text to tokens and back, whatever the checkpoint stores its vocabulary as.

mod export;
mod gguf;
mod stream;
mod word_piece;

use crate::Error;
use crate::load::json;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

pub use stream::TextStream;

/// A vocabulary with its rules, over the `tokenizers` crate.
///
/// Cloning shares it.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: Arc<tokenizers::Tokenizer>,
    bos: Option<u32>,
    eos: Vec<u32>,
}

/// Without the cutting and padding that a file may carry from training: every text is encoded whole.
fn plain(mut inner: tokenizers::Tokenizer) -> Result<tokenizers::Tokenizer, Error> {
    inner.with_padding(None).with_truncation(None).map_err(failed)?;
    Ok(inner)
}

fn failed(e: impl std::fmt::Display) -> Error {
    Error::Tokenizer { detail: e.to_string() }
}

impl Tokenizer {
    /// Reads `tokenizer.json` of a Hugging Face folder, else BERT's `vocab.txt`, and which tokens begin and end a text from
    /// `generation_config.json` or `config.json`. Truncation and padding that the file asks for are left out: they are the caller's business.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`] without either file; [`Error::Tokenizer`], [`Error::Json`] for files that cannot be used.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Tokenizer, Error> {
        let folder = folder.as_ref();
        let path = folder.join("tokenizer.json");
        let vocabulary = folder.join("vocab.txt");
        let inner = match (path.exists(), vocabulary.exists()) {
            (true, _) => plain(tokenizers::Tokenizer::from_file(&path).map_err(failed)?)?,
            (false, true) => word_piece::from_folder(folder)?,
            (false, false) => return Err(Error::NoTokenizer { looked_for: format!("there is no {}", path.display()) }),
        };
        let (mut bos, mut eos) = (None, vec![]);
        for name in ["generation_config.json", "config.json"] {
            let path = folder.join(name);
            if path.exists() {
                let keys = json(&path)?;
                bos = bos.or_else(|| ids(keys.get("bos_token_id")).first().copied());
                if eos.is_empty() {
                    eos = ids(keys.get("eos_token_id"));
                }
            }
        }
        Ok(Tokenizer { inner: Arc::new(inner), bos, eos })
    }

    /// From the text of a `tokenizer.json`.
    pub(crate) fn from_json(json: &[u8], bos: Option<u32>, eos: Vec<u32>) -> Result<Tokenizer, Error> {
        let inner = plain(tokenizers::Tokenizer::from_bytes(json).map_err(failed)?)?;
        Ok(Tokenizer { inner: Arc::new(inner), bos, eos })
    }

    /// As the text of a `tokenizer.json`, whatever it was made from.
    pub(crate) fn to_json(&self) -> Result<String, Error> {
        self.inner.to_string(false).map_err(failed)
    }

    /// The token of a piece of the vocabulary, special ones included.
    pub fn id(&self, piece: &str) -> Option<u32> {
        self.inner.token_to_id(piece)
    }

    /// The piece of a token, as the vocabulary has it.
    pub fn piece(&self, token: u32) -> Option<String> {
        self.inner.id_to_token(token)
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The tokens after which a text has ended.
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }

    /// Tokens of `text` alone, nothing put before or after it. Names of special tokens in the text become those tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.encoded(text, false)
    }

    /// As [`encode`](Tokenizer::encode), with what the model expects at the beginning of a text.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.encoded(text, true)
    }

    fn encoded(&self, text: &str, special: bool) -> Result<Vec<u32>, Error> {
        self.inner.encode_fast(text, special).map(|e| e.get_ids().to_vec()).map_err(failed)
    }

    /// Text of `tokens`; special ones are left out, bytes that make no character become U+FFFD.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn decode(&self, tokens: &[u32]) -> Result<String, Error> {
        self.inner.decode(tokens, true).map_err(failed)
    }

    /// Decodes tokens as they come.
    pub fn stream(&self) -> TextStream<'_> {
        TextStream::new(self)
    }
}

/// A token id, or a list of them.
fn ids(value: Option<&Value>) -> Vec<u32> {
    let id = |v: &Value| v.as_u64().and_then(|v| u32::try_from(v).ok());
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(id).collect(),
        Some(v) => id(v).into_iter().collect(),
        None => vec![],
    }
}
