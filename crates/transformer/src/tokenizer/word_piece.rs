//! The vocabulary of BERT as `vocab.txt`: a piece a line, `##` before those that go on.

use super::failed;
use crate::Error;
use crate::load::json;
use std::path::Path;
use tokenizers::AddedToken;
use tokenizers::decoders::wordpiece::WordPiece as Decoder;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;

/// Text is lowered unless `tokenizer_config.json` says otherwise.
pub(super) fn from_folder(folder: &Path) -> Result<tokenizers::Tokenizer, Error> {
    let bytes = scant_tensor_core::file::Bytes::read(folder.join("vocab.txt"))?;
    let text = std::str::from_utf8(&bytes).map_err(failed)?;
    // The map of all kinds of vocabularies, which only this kind exports.
    let vocabulary: tokenizers::models::bpe::Vocab = text.lines().zip(0..).map(|(piece, id)| (piece.to_owned(), id)).collect();
    let settings = folder.join("tokenizer_config.json");
    let lower = if settings.exists() { json(&settings)?.get("do_lower_case").and_then(serde_json::Value::as_bool) } else { None };
    let model = WordPiece::builder().vocab(vocabulary).unk_token("[UNK]".to_owned()).build().map_err(failed)?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    let special: Vec<_> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        .into_iter()
        .filter(|piece| tokenizer.token_to_id(piece).is_some())
        .map(|piece| AddedToken::from(piece, true))
        .collect();
    let id = |piece: &str| {
        let missing = || failed(format!("vocab.txt has no piece `{piece}`"));
        tokenizer.token_to_id(piece).map(|id| (piece.to_owned(), id)).ok_or_else(missing)
    };
    let (cls, sep) = (id("[CLS]")?, id("[SEP]")?);
    tokenizer.with_normalizer(Some(BertNormalizer::new(true, true, None, lower.unwrap_or(true)))).map_err(failed)?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_post_processor(Some(BertProcessing::new(sep, cls)));
    tokenizer.with_decoder(Some(Decoder::default()));
    tokenizer.add_special_tokens(special).map_err(failed)?;
    Ok(tokenizer)
}
