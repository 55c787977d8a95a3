//! The vocabulary inside a GGUF file: byte-level BPE with its merges, or SentencePiece pieces with scores.

use super::damaged::guarded;
use super::{Tokenizer, failed};
use crate::Error;
use scant_quant::gguf::{File, FromValue};
use std::collections::HashMap;
use std::sync::Arc;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, BpeBuilder, Merges, Vocab};
use tokenizers::normalizers::{Prepend, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::template::{SpecialToken, TemplateProcessing};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

/// What stands for a space inside SentencePiece pieces.
const SPACE: &str = "\u{2581}";

/// The most bytes of a piece: every way to cut it in two is looked up.
const LONGEST: usize = 1024;

/// `tokenizer.ggml.token_type`
pub(super) const CONTROL: i32 = 3;
pub(super) const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

/// One digit.
pub(super) const NUMBER: &str = r"\p{N}";
pub(super) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What text is split at before pieces are joined, one pattern after the other, for a `tokenizer.ggml.pre`; and whether words that are
/// pieces are taken whole.
pub(super) fn splits(pre: &str) -> Option<(&'static [&'static str], bool)> {
    Some(match pre {
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" => (&[NUMBER, GPT2], false),
        "llama-bpe" | "llama3" | "llama-v3" | "smaug-bpe" | "dbrx" => (&[LLAMA3], true),
        "qwen2" | "stablelm2" => (&[QWEN2], false),
        "gpt-2" | "gpt2" | "olmo" | "mpt" | "jais" | "scant" => (&[GPT2], false),
        "default" => (&[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"], false),
        _ => return None,
    })
}

/// The metadata that makes a vocabulary.
struct Metadata<'a> {
    file: &'a File,
    tokens: Vec<&'a str>,
    types: Vec<i32>,
}

impl Tokenizer {
    /// Builds the tokenizer that `file` carries.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`] if there is none; [`Error::Tokenizer`] for one of another kind, or whose parts do not fit each other.
    pub fn from_gguf(file: &File) -> Result<Tokenizer, Error> {
        let Some(model) = file.get_optional::<&str>("tokenizer.ggml.model")? else {
            return Err(Error::NoTokenizer { looked_for: "the file has no key `tokenizer.ggml.model`".to_owned() });
        };
        let metadata = Metadata::new(file)?;
        let inner = guarded(|| {
            let mut inner = match model {
                "gpt2" => metadata.byte_level()?,
                "llama" => metadata.sentence_piece()?,
                other => return Err(failed(format!("`tokenizer.ggml.model` is `{other}`; known are gpt2 and llama"))),
            };
            metadata.add_special(&mut inner, model)?;
            Ok(inner)
        })?;
        let mut eos: Vec<u32> = ["eos", "eot", "eom"].iter().filter_map(|k| metadata.id(k).transpose()).collect::<Result<_, _>>()?;
        eos.dedup();
        Ok(Tokenizer { inner: Arc::new(inner), bos: metadata.id("bos")?, eos })
    }
}

impl<'a> Metadata<'a> {
    fn new(file: &'a File) -> Result<Metadata<'a>, Error> {
        let tokens: Vec<&str> = file.get("tokenizer.ggml.tokens")?;
        let types: Vec<i32> = file.get_optional("tokenizer.ggml.token_type")?.unwrap_or_else(|| vec![1; tokens.len()]);
        let metadata = Metadata { file, tokens, types };
        metadata.as_long("token_type", metadata.types.len())?;
        Ok(metadata)
    }

    fn as_long(&self, key: &str, len: usize) -> Result<(), Error> {
        let tokens = self.tokens.len();
        if len == tokens { Ok(()) } else { Err(failed(format!("{tokens} tokens and {len} entries of `tokenizer.ggml.{key}`"))) }
    }

    fn get<T: FromValue<'a>>(&self, key: &str) -> Result<Option<T>, Error> {
        Ok(self.file.get_optional(&format!("tokenizer.ggml.{key}"))?)
    }

    fn id(&self, name: &str) -> Result<Option<u32>, Error> {
        match self.get::<u32>(&format!("{name}_token_id"))? {
            Some(id) if id as usize >= self.tokens.len() => {
                Err(failed(format!("`tokenizer.ggml.{name}_token_id` is {id}, and there are {} tokens", self.tokens.len())))
            }
            id => Ok(id),
        }
    }

    fn vocabulary(&self) -> Vocab {
        // Should a piece stand twice, the first one is it.
        self.tokens.iter().enumerate().rev().map(|(id, token)| ((*token).to_owned(), id as u32)).collect()
    }

    /// BPE over bytes written as letters, as GPT-2 has it.
    fn byte_level(&self) -> Result<tokenizers::Tokenizer, Error> {
        let lines: Vec<&str> = self.get("merges")?.ok_or_else(|| failed("there is no key `tokenizer.ggml.merges`"))?;
        let mut merges = Merges::with_capacity(lines.len());
        for line in lines {
            // The first piece may begin with a space only where it is nothing else: bytes are written as letters.
            let (a, b) = line.split_once(' ').ok_or_else(|| failed(format!("merge `{line}` is not two pieces")))?;
            merges.push((a.to_owned(), b.to_owned()));
        }
        let pre = self.get::<&str>("pre")?.unwrap_or("default");
        let Some((splits, ignore_merges)) = splits(pre) else {
            return Err(failed(format!("`tokenizer.ggml.pre` is `{pre}`; known are smollm, llama-bpe, qwen2, gpt-2 and default")));
        };
        let model = BpeBuilder::new().vocab_and_merges(self.vocabulary(), merges).ignore_merges(ignore_merges);
        let mut tokenizer = tokenizers::Tokenizer::new(model.build().map_err(failed)?);
        let mut pre_tokenizers: Vec<PreTokenizerWrapper> = vec![];
        for pattern in splits {
            let pattern = SplitPattern::Regex((*pattern).to_owned());
            pre_tokenizers.push(Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(failed)?.into());
        }
        let add_space = self.get("add_space_prefix")?.unwrap_or(false);
        pre_tokenizers.push(ByteLevel::new(add_space, true, false).into());
        tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(pre_tokenizers))).with_decoder(Some(ByteLevel::default()));
        Ok(tokenizer)
    }

    /// Pieces with scores: the pair whose union scores highest is joined first, so the unions, sorted by score, are the merges of a BPE.
    fn sentence_piece(&self) -> Result<tokenizers::Tokenizer, Error> {
        let scores: Vec<f32> = self.get("scores")?.ok_or_else(|| failed("there is no key `tokenizer.ggml.scores`"))?;
        self.as_long("scores", scores.len())?;
        let unknown = self.id("unknown")?.or_else(|| self.types.iter().position(|t| *t == 2).map(|i| i as u32));
        let mut model: BpeBuilder = BPE::builder()
            .vocab_and_merges(self.vocabulary(), self.merges(&scores)?)
            .byte_fallback(self.types.contains(&BYTE))
            .fuse_unk(true);
        if let Some(id) = unknown {
            model = model.unk_token(self.tokens[id as usize].to_owned());
        }
        let mut tokenizer = tokenizers::Tokenizer::new(model.build().map_err(failed)?);
        let spaces = Replace::new(" ", SPACE).map_err(failed)?;
        let mut decoders: Vec<DecoderWrapper> =
            vec![Replace::new(SPACE, " ").map_err(failed)?.into(), ByteFallback::new().into(), Fuse::new().into()];
        if self.get("add_space_prefix")?.unwrap_or(true) {
            let prepend = Prepend::new(SPACE.to_owned());
            tokenizer.with_normalizer(Some(Normalizers::new(vec![prepend.into(), spaces.into()]))).map_err(failed)?;
            decoders.push(Strip::new(' ', 1, 0).into());
        } else {
            tokenizer.with_normalizer(Some(spaces)).map_err(failed)?;
        }
        tokenizer.with_decoder(Some(Decoders::new(decoders)));
        Ok(tokenizer)
    }

    /// Every way in which a piece is two pieces, best scores first.
    fn merges(&self, scores: &[f32]) -> Result<Merges, Error> {
        let ids: HashMap<&str, u32> = self.tokens.iter().enumerate().rev().map(|(id, t)| (*t, id as u32)).collect();
        let mut pairs = vec![];
        if let Some(long) = self.tokens.iter().find(|piece| piece.len() > LONGEST) {
            let want = format!("a piece has at most {LONGEST} bytes");
            return Err(Error::BadKey { key: "tokenizer.ggml.tokens".to_owned(), value: format!("a piece of {} bytes", long.len()), want });
        }
        for (id, piece) in self.tokens.iter().enumerate() {
            // Control tokens and bytes are no text.
            if self.types[id] == 1 || self.types[id] == USER_DEFINED {
                let cuts = piece.char_indices().skip(1).map(|(at, _)| piece.split_at(at));
                pairs.extend(cuts.filter_map(|(a, b)| Some((id, *ids.get(a)?, *ids.get(b)?))));
            }
        }
        // Equal scores go by the pieces' ids, so that the order is the same everywhere.
        pairs.sort_by(|a, b| scores[b.0].total_cmp(&scores[a.0]).then(a.cmp(b)));
        Ok(pairs.into_iter().map(|(_, a, b)| (self.tokens[a as usize].to_owned(), self.tokens[b as usize].to_owned())).collect())
    }

    /// Tokens that are matched before anything else, and what begins a prompt.
    fn add_special(&self, tokenizer: &mut tokenizers::Tokenizer, model: &str) -> Result<(), Error> {
        let of = |kind: i32| self.tokens.iter().zip(&self.types).filter(move |(_, t)| **t == kind).map(|(token, _)| (*token).to_owned());
        let special: Vec<AddedToken> = of(CONTROL).map(|t| AddedToken::from(t, true).normalized(false)).collect();
        let defined: Vec<AddedToken> = of(USER_DEFINED).map(|t| AddedToken::from(t, false).normalized(false)).collect();
        tokenizer.add_special_tokens(special).map_err(failed)?;
        tokenizer.add_tokens(defined).map_err(failed)?;
        let Some(bos) = self.id("bos")?.filter(|_| self.file_adds_bos(model).unwrap_or(false)) else {
            return Ok(());
        };
        // Under a name of our own: in a template `$` and `:` of the token's name would mean something.
        let name = self.tokens[bos as usize].to_owned();
        let token = SpecialToken::new("bos".to_owned(), vec![bos], vec![name]).map_err(failed)?;
        let template =
            TemplateProcessing::builder().try_single("bos $A").map_err(failed)?.special_tokens(vec![token]).build().map_err(failed)?;
        tokenizer.with_post_processor(Some(template));
        Ok(())
    }

    /// SentencePiece models want the token that begins a text unless the file says otherwise.
    fn file_adds_bos(&self, model: &str) -> Result<bool, Error> {
        Ok(self.get("add_bos_token")?.unwrap_or(model == "llama"))
    }
}
