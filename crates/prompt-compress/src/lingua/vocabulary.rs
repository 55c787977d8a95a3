//! A tokenizer with what merging its tokens to words needs, and a memory of what it said.

use crate::{Error, TokenCounter};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

/// Markers `[NEW0]`, `[NEW1]`, ... which stand for texts that must stay.
pub(super) const MARKERS: usize = 100;
/// Entries of each memory.
const REMEMBERED: usize = 1 << 17;

/// How words are cut into tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Multilingual BERT: `##` continues a word.
    WordPiece,
    /// XLM-RoBERTa: `▁` begins one.
    SentencePiece,
}

/// A token and the bytes of the text it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) id: u32,
    pub(super) start: u32,
    pub(super) end: u32,
}

/// What there is to know about an id.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) text: String,
    /// One of the family's special tokens, which the package leaves out of the text.
    pub(super) special: bool,
    /// Holds a decimal digit.
    pub(super) digit: bool,
    /// Begins a word whatever is forced.
    pub(super) begins: bool,
    /// As the decoder writes it at the beginning of a text and further on.
    first: String,
    later: String,
}

impl Piece {
    /// Without the signs of its family before it.
    pub(super) fn pure(&self, family: Family) -> &str {
        match family {
            Family::WordPiece => self.text.trim_start_matches('#'),
            Family::SentencePiece => self.text.trim_start_matches('▁'),
        }
    }
}

/// A tokenizer of one of the two families of LLMLingua-2, with the markers added, and a memory of words met before.
pub struct Vocabulary {
    tokenizer: tokenizers::Tokenizer,
    family: Family,
    pieces: Vec<Piece>,
    cls: u32,
    sep: u32,
    unk: u32,
    markers: Vec<u32>,
    /// No token reaches across white space, and a word's tokens do not depend on its neighbours: words can be remembered.
    by_word: bool,
    words: RwLock<HashMap<Box<str>, Box<[Token]>>>,
    counts: RwLock<HashMap<Box<str>, u32>>,
}

impl std::fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vocabulary").field("family", &self.family).field("pieces", &self.pieces.len()).finish_non_exhaustive()
    }
}

impl Vocabulary {
    /// From the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`]; [`Error::MissingToken`] if it has neither family's special tokens.
    pub fn from_json(json: &[u8]) -> Result<Vocabulary, Error> {
        Vocabulary::new(tokenizers::Tokenizer::from_bytes(json).map_err(failed)?)
    }

    /// From `tokenizer.json` of a folder.
    ///
    /// # Errors
    /// As [`Vocabulary::from_json`].
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Vocabulary, Error> {
        Vocabulary::new(tokenizers::Tokenizer::from_file(folder.as_ref().join("tokenizer.json")).map_err(failed)?)
    }

    /// Takes a tokenizer as it is.
    ///
    /// # Errors
    /// As [`Vocabulary::from_json`].
    pub fn new(mut tokenizer: tokenizers::Tokenizer) -> Result<Vocabulary, Error> {
        let has = |name: &str| tokenizer.token_to_id(name).is_some();
        let (family, specials): (_, &[&'static str]) = if has("[CLS]") {
            (Family::WordPiece, &["[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]"])
        } else {
            (Family::SentencePiece, &["<s>", "</s>", "<unk>", "<pad>", "<mask>"])
        };
        let by_word = by_word(&tokenizer);
        let added: Vec<_> = (0..MARKERS).map(|i| tokenizers::AddedToken::from(format!("[NEW{i}]"), true).normalized(false)).collect();
        tokenizer.with_padding(None).with_truncation(None).map_err(failed)?;
        tokenizer.add_special_tokens(added).map_err(failed)?;
        let id = |name: &'static str| tokenizer.token_to_id(name).ok_or(Error::MissingToken(name));
        let (cls, sep, unk) = (id(specials[0])?, id(specials[1])?, id(specials[2])?);
        let markers = (0..MARKERS).map(|i| tokenizer.token_to_id(&format!("[NEW{i}]"))).collect::<Option<Vec<_>>>();
        let markers = markers.ok_or(Error::MissingToken("[NEW0]"))?;
        let len = tokenizer.get_vocab(true).values().map(|id| *id as usize + 1).max().unwrap_or(0);
        if len > 1 << 22 {
            return Err(Error::Tokenizer(format!("token ids reach {len}, at most {} are read", 1 << 22)));
        }
        let decode = |tokens: Vec<String>| match tokenizer.get_decoder() {
            Some(decoder) => tokenizers::Decoder::decode_chain(decoder, tokens).map_err(failed),
            None => Err(Error::Tokenizer("there is no decoder".to_owned())),
        };
        let piece = |i: usize| {
            let text = tokenizer.id_to_token(i as u32).unwrap_or_default();
            let first = decode(vec![text.clone()])?.concat();
            let later = decode(vec![String::new(), text.clone()])?.get(1..).unwrap_or_default().concat();
            let begins = match family {
                Family::WordPiece => !text.starts_with("##"),
                Family::SentencePiece => PUNCTUATION.contains(&*text) || text.starts_with('▁'),
            };
            Ok(Piece { special: specials.contains(&&*text), digit: text.chars().any(is_decimal), begins, first, later, text })
        };
        let pieces = (0..len).map(piece).collect::<Result<_, Error>>()?;
        Ok(Vocabulary { tokenizer, family, pieces, cls, sep, unk, markers, by_word, words: RwLock::default(), counts: RwLock::default() })
    }

    /// How words are cut.
    pub fn family(&self) -> Family {
        self.family
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub(super) fn piece(&self, id: u32) -> &Piece {
        &self.pieces[id as usize]
    }

    /// The tokens before and after a sequence. As released, the package looks for BERT's names in either family.
    pub(super) fn bounds(&self, as_released: bool) -> [u32; 2] {
        if as_released && self.family == Family::SentencePiece { [self.unk; 2] } else { [self.cls, self.sep] }
    }

    pub(super) fn marker(&self, i: usize) -> u32 {
        self.markers[i]
    }

    /// The tokens of a text, nothing before or after them.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<Token>, Error> {
        if !self.by_word {
            return self.encode_whole(text);
        }
        let mut tokens = Vec::with_capacity(text.len() / 3);
        let mut fresh: Vec<(Box<str>, Box<[Token]>)> = vec![];
        let known = self.words.read().unwrap_or_else(PoisonError::into_inner);
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if is_space(bytes[at]) {
                at += 1;
                continue;
            }
            let start = at;
            while at < bytes.len() && !is_space(bytes[at]) {
                at += 1;
            }
            let word = &text[start..at];
            let shift = start as u32;
            let mut extend = |of: &[Token]| tokens.extend(of.iter().map(|t| Token { start: t.start + shift, end: t.end + shift, ..*t }));
            match known.get(word) {
                Some(of) => extend(of),
                None => {
                    let of = self.encode_whole(word)?;
                    extend(&of);
                    if word.len() <= 64 {
                        fresh.push((word.into(), of.into()));
                    }
                }
            }
        }
        drop(known);
        if !fresh.is_empty() {
            let mut known = self.words.write().unwrap_or_else(PoisonError::into_inner);
            let room = REMEMBERED.saturating_sub(known.len());
            known.extend(fresh.into_iter().take(room));
        }
        Ok(tokens)
    }

    fn encode_whole(&self, text: &str) -> Result<Vec<Token>, Error> {
        let encoding = self.tokenizer.encode(text, false).map_err(failed)?;
        let token = |(id, (start, end)): (&u32, &(usize, usize))| Token { id: *id, start: *start as u32, end: *end as u32 };
        Ok(encoding.get_ids().iter().zip(encoding.get_offsets()).map(token).collect())
    }

    /// The tokens as the tokenizer's decoder writes them.
    pub(super) fn decode_ids(&self, tokens: &[Token]) -> String {
        let mut out = String::with_capacity(6 * tokens.len());
        for (i, token) in tokens.iter().enumerate() {
            let piece = self.piece(token.id);
            out.push_str(if i == 0 { &piece.first } else { &piece.later });
        }
        out
    }

    /// Adds a word to a text that the decoder would write.
    pub(super) fn decode_word(&self, word: &Word<'_>, first: bool, out: &mut String) -> Result<(), Error> {
        if let Word::Piece(id) = *word {
            let piece = self.piece(id);
            out.push_str(if first { &piece.first } else { &piece.later });
            return Ok(());
        }
        let Some(decoder) = self.tokenizer.get_decoder() else { return Ok(()) };
        let word = word.text(self).to_owned();
        let tokens = if first { vec![word] } else { vec![String::new(), word] };
        let decoded = tokenizers::Decoder::decode_chain(decoder, tokens).map_err(failed)?;
        out.push_str(&decoded.get(usize::from(!first)..).unwrap_or_default().concat());
        Ok(())
    }

    /// Tokens of each of `words`, by `counter`, remembered. The memory belongs to one counter.
    pub(super) fn counts(&self, words: &[Word<'_>], counter: &dyn TokenCounter, out: &mut Vec<u32>) {
        out.clear();
        let known = self.counts.read().unwrap_or_else(PoisonError::into_inner);
        let mut fresh: Vec<(Box<str>, u32)> = vec![];
        for word in words {
            let text = word.text(self);
            out.push(known.get(text).copied().unwrap_or_else(|| {
                let n = u32::try_from(counter.count(text)).unwrap_or(u32::MAX);
                fresh.push((text.into(), n));
                n
            }));
        }
        drop(known);
        if !fresh.is_empty() {
            let mut known = self.counts.write().unwrap_or_else(PoisonError::into_inner);
            let room = REMEMBERED.saturating_sub(known.len());
            known.extend(fresh.into_iter().take(room));
        }
    }
}

/// A word of a chunk: most are one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word<'a> {
    /// The piece of this id.
    Piece(u32),
    /// The text that a marker stands for.
    Forced(&'a str),
    /// Several pieces.
    Joined(String),
}

impl Word<'_> {
    pub(super) fn text<'a>(&'a self, vocabulary: &'a Vocabulary) -> &'a str {
        match self {
            Word::Piece(id) => &vocabulary.piece(*id).text,
            Word::Forced(text) => text,
            Word::Joined(text) => text,
        }
    }
}

/// Python's `string.punctuation`, whose substrings begin words.
const PUNCTUATION: &str = r##"!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"##;

fn failed(e: impl std::fmt::Display) -> Error {
    Error::Tokenizer(e.to_string())
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\n' | b'\r' | b'\t')
}

/// Whether words can be cut one by one: BERT's pre-tokenizer, or white space first and a sign before every word then.
fn by_word(tokenizer: &tokenizers::Tokenizer) -> bool {
    use tokenizers::pre_tokenizers::{PreTokenizerWrapper, metaspace::PrependScheme};
    match tokenizer.get_pre_tokenizer() {
        Some(PreTokenizerWrapper::BertPreTokenizer(_)) => true,
        Some(PreTokenizerWrapper::Sequence(parts)) => matches!(
            parts.as_ref(),
            [PreTokenizerWrapper::WhitespaceSplit(_), PreTokenizerWrapper::Metaspace(m)] if m.get_prepend_scheme() == PrependScheme::Always
        ),
        _ => false,
    }
}

/// Whether a character is a decimal digit (category Nd of Unicode 14, the one of the package's Python).
pub(super) fn is_decimal(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_digit();
    }
    let c = c as u32;
    let i = ZEROS.partition_point(|zero| *zero <= c);
    i > 0 && c - ZEROS[i - 1] < 10
}

/// The zeros of Unicode; nine more digits follow each.
const ZEROS: [u32; 65] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0,
    0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
    0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50,
    0x11d50, 0x11da0, 0x16a60, 0x16ac0, 0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];
