//! Byte-level vocabularies as GGUF metadata.

use super::gguf::{CONTROL, GPT2, NUMBER, USER_DEFINED, splits};
use super::{Tokenizer, failed};
use crate::Error;
use scant_quant::gguf::Writer;
use serde_json::Value;
use std::collections::HashMap;

/// `tokenizer.ggml.token_type`
const NORMAL: i32 = 1;
const UNUSED: i32 = 5;

#[derive(serde::Deserialize)]
struct Added {
    id: u32,
    content: String,
    special: bool,
}

#[derive(serde::Deserialize)]
struct Model {
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
pub(super) enum Merge {
    Pair(String, String),
    Line(String),
}

impl Merge {
    /// Both pieces with a space between.
    pub(super) fn line(&self) -> String {
        match self {
            Merge::Pair(a, b) => format!("{a} {b}"),
            Merge::Line(line) => line.clone(),
        }
    }

    /// The second piece.
    pub(super) fn second(&self) -> &str {
        match self {
            Merge::Pair(_, b) => b,
            Merge::Line(line) => line.split_once(' ').map_or("", |(_, b)| b),
        }
    }
}

impl Tokenizer {
    /// Sets the metadata of a byte-level BPE of `vocabulary` tokens; ids without a piece become unused ones.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for a vocabulary of another kind: its scores or rules have no place in `tokenizer.json`.
    pub(crate) fn write_gguf(&self, writer: &mut Writer<'_>, vocabulary: usize) -> Result<(), Error> {
        let json: Value = serde_json::from_str(&self.to_json()?).map_err(failed)?;
        let other =
            |what: &str| failed(format!("{what}: only byte-level BPE becomes GGUF metadata; give the GGUF file whose keys to copy"));
        if json["model"]["type"] != "BPE" {
            return Err(other(&format!("the model is {}", json["model"]["type"])));
        }
        if !json["normalizer"].is_null() {
            return Err(other("text is normalized first"));
        }
        let rules = Rules::read(&json["pre_tokenizer"]).ok_or_else(|| other("text is split in an unknown way"))?;
        let model: Model = serde_json::from_value(json["model"].clone()).map_err(failed)?;
        let added: Vec<Added> = serde_json::from_value(json["added_tokens"].clone()).map_err(failed)?;

        let mut tokens: Vec<Option<String>> = vec![None; vocabulary];
        let mut types = vec![UNUSED; vocabulary];
        let pieces = model.vocab.into_iter().map(|(piece, id)| (id, piece, NORMAL));
        let added = added.into_iter().map(|t| (t.id, t.content, if t.special { CONTROL } else { USER_DEFINED }));
        for (id, piece, kind) in pieces.chain(added) {
            let at = id as usize;
            if at >= vocabulary {
                return Err(Error::Token { token: id, vocabulary });
            }
            (tokens[at], types[at]) = (Some(piece), kind);
        }
        let tokens: Vec<String> = tokens.into_iter().enumerate().map(|(id, t)| t.unwrap_or_else(|| format!("[PAD{id}]"))).collect();
        let merges: Vec<String> = model.merges.iter().map(Merge::line).collect();

        writer.set("tokenizer.ggml.model", "gpt2")?;
        writer.set("tokenizer.ggml.pre", rules.pre)?;
        writer.set("tokenizer.ggml.tokens", &tokens[..])?;
        writer.set("tokenizer.ggml.token_type", &types[..])?;
        writer.set("tokenizer.ggml.merges", &merges[..])?;
        if let Some(bos) = self.bos() {
            writer.set("tokenizer.ggml.bos_token_id", bos)?;
        }
        for (name, id) in ["eos", "eot", "eom"].iter().zip(self.eos()) {
            writer.set(&format!("tokenizer.ggml.{name}_token_id"), *id)?;
        }
        let begins = self.bos().is_some() && self.encode_prompt("")?.first().copied() == self.bos();
        writer.set("tokenizer.ggml.add_bos_token", begins)?;
        writer.set("tokenizer.ggml.add_space_prefix", rules.add_space)?;
        Ok(())
    }
}

/// How text is split, as GGUF says it.
struct Rules {
    pre: &'static str,
    add_space: bool,
}

impl Rules {
    fn read(pre_tokenizer: &Value) -> Option<Rules> {
        let one = std::slice::from_ref(pre_tokenizer);
        let steps = pre_tokenizer["pretokenizers"].as_array().map_or(one, Vec::as_slice);
        let (mut patterns, mut bytes) = (vec![], None);
        for step in steps {
            match step["type"].as_str()? {
                "Split" if step["behavior"] == "Isolated" && step["invert"] == false => patterns.push(step["pattern"]["Regex"].as_str()?),
                "Digits" if step["individual_digits"] == true => patterns.push(NUMBER),
                "ByteLevel" => {
                    if step["use_regex"] != false {
                        patterns.push(GPT2);
                    }
                    bytes = Some(step["add_prefix_space"] == true);
                }
                _ => return None,
            }
        }
        let names = ["smollm", "llama-bpe", "qwen2", "gpt-2", "default"];
        let pre = names.into_iter().find(|pre| splits(pre).is_some_and(|(known, _)| known == patterns))?;
        Some(Rules { pre, add_space: bytes? })
    }
}
