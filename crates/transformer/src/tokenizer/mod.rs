//! Text to tokens and back, whatever the checkpoint stores its vocabulary as.

mod damaged;
mod export;
mod gguf;
mod stream;
mod word_piece;

use crate::Error;
use crate::load::json;
use damaged::guarded;
use scant_tensor_core::file::Bytes;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

pub use stream::TextStream;

/// A vocabulary with its rules, over the `tokenizers` crate.
///
/// Cloning shares it. A damaged vocabulary gives [`Error::Tokenizer`], when it is read or when a text meets the damage. Only the time that a
/// regular expression of the file takes is its own affair.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: Arc<tokenizers::Tokenizer>,
    bos: Option<u32>,
    eos: Vec<u32>,
}

/// Checked, and without the cutting and padding that a file may carry from training: every text is encoded whole.
fn plain(mut inner: tokenizers::Tokenizer) -> Result<tokenizers::Tokenizer, Error> {
    damaged::check(&inner)?;
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
        let tokenizer = match (path.exists(), vocabulary.exists()) {
            (true, _) => Tokenizer::from_json(&Bytes::read(path)?, None, vec![])?,
            (false, true) => {
                let settings = folder.join("tokenizer_config.json");
                let settings = if settings.exists() { json(&settings)? } else { Value::Null };
                // Text is lowered unless the settings say otherwise.
                let lower = settings.get("do_lower_case").and_then(Value::as_bool).unwrap_or(true);
                Tokenizer::from_vocab_txt(&Bytes::read(vocabulary)?, lower)?
            }
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
        Ok(Tokenizer { bos, eos, ..tokenizer })
    }

    /// From the text of a `tokenizer.json`, and the tokens that begin and end a text. Truncation and padding are left out as in
    /// [`from_folder`](Tokenizer::from_folder).
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn from_json(json: &[u8], bos: Option<u32>, eos: Vec<u32>) -> Result<Tokenizer, Error> {
        damaged::check_json(json)?;
        let inner = guarded(|| plain(tokenizers::Tokenizer::from_bytes(json).map_err(failed)?))?;
        Ok(Tokenizer { inner: Arc::new(inner), bos, eos })
    }

    /// From the text of BERT's `vocab.txt`, a piece a line; `lower` if the model was trained on text in lower case.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn from_vocab_txt(text: &[u8], lower: bool) -> Result<Tokenizer, Error> {
        let inner = guarded(|| word_piece::from_text(text, lower))?;
        Ok(Tokenizer { inner: Arc::new(inner), bos: None, eos: vec![] })
    }

    /// As the text of a `tokenizer.json`, whatever it was made from.
    pub(crate) fn to_json(&self) -> Result<String, Error> {
        guarded(|| self.inner.to_string(false).map_err(failed))
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
        guarded(|| self.inner.encode_fast(text, special).map(|e| e.get_ids().to_vec()).map_err(failed))
    }

    /// Text of `tokens`; special ones are left out, bytes that make no character become U+FFFD.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn decode(&self, tokens: &[u32]) -> Result<String, Error> {
        guarded(|| self.inner.decode(tokens, true).map_err(failed))
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
