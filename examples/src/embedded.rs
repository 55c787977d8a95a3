//! The embedded model's tokenizer, and a model in training as something `eval` can measure.

use ndarray::ArrayView2;
use scant_eval::stories::{CALIBRATION_SEEDS, Encoded, StoryParams, text};
use scant_eval::{LanguageModel, ModelError};
use scant_trainkit::llama::{Llama, Tape};
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

/// A byte-level BPE tokenizer of `pieces` pieces, trained on `chars` characters of generated text.
///
/// # Errors
/// If the text is too small for so many pieces.
pub fn train_tokenizer(pieces: usize, chars: usize) -> Result<Tokenizer, tokenizers::Error> {
    let special = [BOS, EOS].map(|s| AddedToken::from(s, true));
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(pieces)
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(special.to_vec())
        .build();
    let split = ByteLevel::new(false, true, true);
    let mut bpe = TokenizerBuilder::<ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>::new()
        .with_model(ModelWrapper::BPE(BPE::default()))
        .with_pre_tokenizer(Some(PreTokenizerWrapper::ByteLevel(split)))
        .with_decoder(Some(DecoderWrapper::ByteLevel(ByteLevel::default())))
        .build()?;
    let sample = text(&StoryParams { chars: 1200, recitals: 0.35, ..StoryParams::default() }, CALIBRATION_SEEDS, chars);
    let mut wrapped = tokenizers::models::TrainerWrapper::BpeTrainer(trainer.clone());
    trainer.show_progress = false;
    bpe.train(&mut wrapped, sample.lines())?;
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

/// A model in training, to be measured.
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
