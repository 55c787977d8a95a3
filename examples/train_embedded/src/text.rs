//! The embedded model's tokenizer, its held-out questions, and a model in training as something `eval` can measure.

use crate::log::DISTANCES;
use ndarray::ArrayView2;
use scant_eval::stories::{CALIBRATION_SEEDS, Encoded, HELD_OUT_SEEDS, StoryParams, question, text};
use scant_eval::{LanguageModel, ModelError, RecallItem};
use scant_trainkit::llama::{Llama, Tape};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer, TokenizerBuilder,
};

/// Put before each text; its id is 0.
pub const BOS: &str = "<s>";
/// Put after each text; its id is 1.
pub const EOS: &str = "</s>";
/// A line break, as byte-level BPE writes it.
pub const LINE: &str = "\u{10A}";

/// A byte-level BPE tokenizer of `pieces` pieces, trained on `chars` characters of generated text. It puts [`BOS`] first if special pieces are
/// asked for.
///
/// # Errors
/// If the text is too small for so many pieces.
pub fn train_tokenizer(pieces: usize, chars: usize) -> Result<Tokenizer, tokenizers::Error> {
    type Builder = TokenizerBuilder<ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;
    let trainer = BpeTrainerBuilder::new()
        .vocab_size(pieces)
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens([BOS, EOS].map(|s| AddedToken::from(s, true)).to_vec())
        .build();
    let mut bpe = Builder::new()
        .with_model(ModelWrapper::BPE(BPE::default()))
        .with_pre_tokenizer(Some(PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true))))
        .with_decoder(Some(DecoderWrapper::ByteLevel(ByteLevel::default())))
        .build()?;
    let sample = text(&StoryParams { chars: 1200, recitals: 0.35, ..StoryParams::default() }, CALIBRATION_SEEDS, chars);
    bpe.train(&mut TrainerWrapper::BpeTrainer(trainer), sample.lines())?;
    let begin = TemplateProcessing::builder().try_single(format!("{BOS} $A"))?.special_tokens(vec![(BOS, 0)]).build()?;
    bpe.with_post_processor(Some(PostProcessorWrapper::Template(begin)));
    let tokenizer = Tokenizer::from(bpe);
    match tokenizer.get_vocab_size(true) {
        n if n == pieces => Ok(tokenizer),
        n => Err(format!("{chars} characters of text gave {n} pieces, {pieces} were asked for").into()),
    }
}

/// Cuts text into tokens, without special pieces.
///
/// # Errors
/// The tokenizer's.
pub fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Encoded, tokenizers::Error> {
    let encoding = tokenizer.encode(text, false)?;
    Ok(Encoded { ids: encoding.get_ids().to_vec(), offsets: encoding.get_offsets().to_vec() })
}

/// Held-out questions among 3 to 6 candidates, `each` for each of [`DISTANCES`].
///
/// # Errors
/// The tokenizer's.
pub fn questions(tokenizer: &Tokenizer, each: usize) -> Result<Vec<RecallItem>, tokenizers::Error> {
    let bos = tokenizer.token_to_id(BOS).ok_or_else(|| format!("the tokenizer has no piece {BOS}"))?;
    let (mut items, mut have) = (vec![], [0; DISTANCES.len()]);
    for seed in HELD_OUT_SEEDS {
        if have.iter().all(|n| *n >= each) {
            break;
        }
        // Characters of other sentences before the question: from none to about 400 tokens.
        let pause = [0, 0, 40, 120, 250, 500, 900, 1400][(seed % 8) as usize];
        let passage = question(3 + (seed / 8 % 4) as usize, pause, seed);
        let encoded = encode(tokenizer, &passage.text)?;
        let asked = passage.answers.last().ok_or("a question without an answer")?;
        let (answer, distance) = encoded.answer(asked);
        let Some(bucket) = DISTANCES.iter().position(|(_, d)| d.contains(&distance)).filter(|b| have[*b] < each) else { continue };
        have[bucket] += 1;
        let tokens = [vec![bos], encoded.ids].concat();
        items.push(RecallItem { tokens, answer: answer.start + 1..answer.end + 1, distance, candidates: asked.candidates });
    }
    Ok(items)
}

/// A model in training, to be measured.
#[derive(Debug)]
pub struct Measured<'a> {
    /// The model.
    pub model: &'a Llama,
    /// Its buffers.
    pub tape: Tape,
}

impl LanguageModel for Measured<'_> {
    fn vocab_size(&self) -> usize {
        self.model.config().vocab_size
    }

    fn context(&self) -> usize {
        self.model.config().context
    }

    fn for_logits(&mut self, tokens: &[u32], f: &mut dyn FnMut(usize, ArrayView2<'_, f32>)) -> Result<(), ModelError> {
        Ok(self.model.for_logits(tokens, tokens.len(), &mut self.tape, f)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(tokenizer: &Tokenizer) {
        let sample = text(&StoryParams::default(), HELD_OUT_SEEDS, 20_000);
        for text in [sample.as_str(), "Mira: Tarn,\n\n  naïve \u{1F98A} 1234 \"q\"!\t<|x|>", " ", ""] {
            let encoded = encode(tokenizer, text).unwrap();
            assert_eq!(tokenizer.decode(&encoded.ids, false).unwrap(), text);
            assert!(encoded.ids.iter().all(|id| *id >= 2), "special pieces do not come from text");
            assert_eq!(encoded.offsets.last().map_or(0, |(_, end)| *end), text.len());
        }
    }

    #[test]
    fn a_tokenizer_has_the_pieces_asked_for_and_gives_every_text_back() {
        let tokenizer = train_tokenizer(600, 100_000).unwrap();
        assert_eq!((tokenizer.token_to_id(BOS), tokenizer.token_to_id(EOS)), (Some(0), Some(1)));
        assert!(tokenizer.token_to_id(LINE).is_some());
        assert_eq!(tokenizer.encode("Mira", true).unwrap().get_ids()[0], 0);
        round_trip(&tokenizer);
        let e = train_tokenizer(60_000, 2_000).unwrap_err().to_string();
        assert!(e.contains("60000 were asked for"), "{e}");
    }

    #[test]
    fn questions_end_in_their_answer_at_the_distance_they_say() {
        let tokenizer = train_tokenizer(600, 100_000).unwrap();
        let items = questions(&tokenizer, 20).unwrap();
        assert_eq!(items.len(), 20 * DISTANCES.len());
        for item in items {
            let answer = &item.tokens[item.answer.clone()];
            let mention = item.answer.start - item.distance;
            // The value was said before, in the same tokens: every mention stands behind a space.
            assert_eq!(&item.tokens[mention..mention + answer.len()], answer);
            assert!((3..=6).contains(&item.candidates) && item.answer.end + 2 >= item.tokens.len() - 3);
        }
    }
}
