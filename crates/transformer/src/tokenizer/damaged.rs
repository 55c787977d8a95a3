//! Damaged vocabularies: the one door to the `tokenizers` crate, which trusts its files.

use super::export::Merge;
use super::failed;
use crate::Error;
use serde::Deserialize;
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokenizers::models::ModelWrapper;

/// Token ids are below this, as in a model's description: a vocabulary is saved by counting up to its greatest id.
const MOST_PIECES: u32 = 1 << 24;

/// The most characters of a word that WordPiece may look at: every part of it is looked up.
const LONGEST_WORD: usize = 1024;

/// How many times longer the rules may make a text. Those of models in use make a space three bytes, and a byte two.
const MOST_GROWTH: usize = 4096;

/// Runs `call`, which enters the `tokenizers` crate, and makes an error of a panic in there.
///
/// The crate unwraps on dozens of things that a damaged file may get wrong, from the shape of a decoder to the positions a regular expression
/// splits at, and each release has others: to check them all beforehand would be to write it again. A program built with `panic = "abort"`
/// ends there all the same. Unwinding is safe: nothing is changed through the shared tokenizer but a cache of words, of each thread its own.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let reason = panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
        let reason = reason.unwrap_or_else(|| "no reason given".to_owned());
        Err(failed(format!("the vocabulary is damaged, its parts do not fit each other ({reason})")))
    })
}

/// What has to be right in a `tokenizer.json` before the crate sees it, because no panic would tell.
#[derive(Deserialize)]
struct Outline {
    model: ModelOutline,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
}

#[derive(Deserialize)]
struct ModelOutline {
    continuing_subword_prefix: Option<String>,
}

#[derive(Deserialize)]
struct Merging {
    model: MergingModel,
}

#[derive(Deserialize)]
struct MergingModel {
    #[serde(default)]
    merges: Vec<Merge>,
}

/// Checks the text of a `tokenizer.json`.
pub(super) fn check_json(json: &[u8]) -> Result<(), Error> {
    let outline: Outline = serde_json::from_slice(json).map_err(failed)?;
    // The crate cuts the prefix off by its length and takes what is left for UTF-8.
    if let Some(prefix) = outline.model.continuing_subword_prefix.filter(|p| !p.is_empty()) {
        let merging: Merging = serde_json::from_slice(json).map_err(failed)?;
        let bad = merging.model.merges.iter().find(|merge| !merge.second().starts_with(&prefix));
        if let Some(merge) = bad {
            return Err(failed(format!("the second piece of merge `{}` does not begin with the prefix `{prefix}`", merge.line())));
        }
    }
    let rules = [
        ("normalizer", outline.normalizer),
        ("pre_tokenizer", outline.pre_tokenizer),
        ("post_processor", outline.post_processor),
        ("decoder", outline.decoder),
    ];
    for (name, rule) in rules {
        if growth(&rule) > MOST_GROWTH {
            return Err(failed(format!("the steps of `{name}` can make a text more than {MOST_GROWTH} times longer")));
        }
    }
    Ok(())
}

/// How many times longer a rule and all below it can make a text, one after the other.
fn growth(rule: &Value) -> usize {
    let one = match (rule["type"].as_str(), &rule["content"], &rule["single"]) {
        (Some("Replace"), Value::String(content), _) => content.len().max(1),
        (Some("TemplateProcessing"), _, Value::Array(parts)) => parts.len().max(1),
        (Some("ByteLevel"), ..) => 2,
        _ => 1,
    };
    let below: Box<dyn Iterator<Item = &Value>> = match rule {
        Value::Array(list) => Box::new(list.iter()),
        Value::Object(keys) => Box::new(keys.values()),
        _ => Box::new(std::iter::empty()),
    };
    below.map(growth).fold(one, usize::saturating_mul)
}

/// Checks a vocabulary however it was made.
pub(super) fn check(inner: &tokenizers::Tokenizer) -> Result<(), Error> {
    if let ModelWrapper::WordPiece(model) = inner.get_model()
        && model.max_input_chars_per_word > LONGEST_WORD
    {
        let longest = model.max_input_chars_per_word;
        return Err(failed(format!("`max_input_chars_per_word` is {longest}; words of at most {LONGEST_WORD} characters are looked at")));
    }
    match inner.get_vocab(true).into_iter().find(|(_, id)| *id >= MOST_PIECES) {
        Some((piece, id)) => Err(failed(format!("piece `{piece}` has the id {id}; ids are below {MOST_PIECES}"))),
        None => Ok(()),
    }
}
