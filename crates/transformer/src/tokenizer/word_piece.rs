//! The vocabulary of BERT as `vocab.txt`: a piece a line, `##` before those that go on.

use super::failed;
use crate::Error;
use tokenizers::AddedToken;
use tokenizers::decoders::wordpiece::WordPiece as Decoder;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;

pub(super) fn from_text(text: &[u8], lower: bool) -> Result<tokenizers::Tokenizer, Error> {
    let text = std::str::from_utf8(text).map_err(failed)?;
    // The map of all kinds of vocabularies, which only this kind exports.
    let vocabulary: tokenizers::models::bpe::Vocab = text.lines().zip(0..).map(|(piece, id)| (piece.to_owned(), id)).collect();
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
    tokenizer.with_normalizer(Some(BertNormalizer::new(true, true, None, lower))).map_err(failed)?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_post_processor(Some(BertProcessing::new(sep, cls)));
    tokenizer.with_decoder(Some(Decoder::default()));
    tokenizer.add_special_tokens(special).map_err(failed)?;
    Ok(tokenizer)
}
