//! The model in the repository does what its log says, and the engine computes what it was trained as.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use scant_eval::stories::{HELD_OUT_SEEDS, StoryParams, text};
use scant_eval::{LanguageModel, perplexity, recall, windows};
use scant_examples::data::embedded_model;
use scant_tensor_core::file::File;
use scant_tensor_core::isa::Isa;
use scant_train_embedded::log::DISTANCES;
use scant_train_embedded::text::{BOS, EOS, Measured, encode, questions};

use scant_tensor_core::team::Team;
use scant_tensor_core::{Ctx, Mode};
use scant_trainkit::llama::{Llama, LlamaConfig, Tape};
use scant_transformer::{Options, Scorer, open};
use tokenizers::Tokenizer;

/// The stored weights as a model of trainkit.
fn stored() -> Llama {
    let file = File::read(embedded_model().join("model.safetensors")).unwrap();
    let mut model = Llama::new(LlamaConfig::EMBEDDED, 0).unwrap();
    for weight in model.layout().to_vec() {
        let tensor = file.tensor(&weight.name).unwrap();
        assert_eq!(tensor.shape[..], weight.shape[..], "{}", weight.name);
        model.weights_mut()[weight.range].copy_from_slice(&tensor.to_f32().unwrap());
    }
    assert_eq!(file.names().len(), model.layout().len());
    model
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_file(embedded_model().join("tokenizer.json")).unwrap()
}

#[test]
fn the_tokenizer_has_2048_pieces_and_gives_text_back() {
    let tokenizer = tokenizer();
    assert_eq!(tokenizer.get_vocab_size(true), 2048);
    assert_eq!((tokenizer.token_to_id(BOS), tokenizer.token_to_id(EOS)), (Some(0), Some(1)));
    let sample = text(&StoryParams::default(), HELD_OUT_SEEDS, 50_000);
    let ids = encode(&tokenizer, &sample).unwrap().ids;
    assert_eq!(tokenizer.decode(&ids, false).unwrap(), sample);
    assert!(sample.len() as f64 / ids.len() as f64 > 3.4, "characters per token");
}

#[test]
fn the_engine_recalls_and_predicts_as_the_log_says() {
    let (model, team) = (open(embedded_model()).unwrap(), Team::new(2));
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &team };
    let mut scorer = Scorer::new(&model, ctx, Options::default()).unwrap();
    let tokenizer = tokenizer();
    let items = questions(&tokenizer, 60).unwrap();
    for (r, (distance, _)) in recall(&mut scorer, &items, &DISTANCES.map(|(_, d)| d), &()).unwrap().iter().zip(DISTANCES) {
        let (right, guessing) = (r.accuracy(), r.guessing);
        assert!(r.items == 60 && right > 0.7 && guessing < 0.35, "at {distance}: {right} beside {guessing}");
    }
    let ids = encode(&tokenizer, &text(&StoryParams::default(), HELD_OUT_SEEDS, 20_000)).unwrap().ids;
    let result = perplexity(&mut scorer, &windows(&ids, 512).unwrap(), &()).unwrap().perplexity();
    assert!(result < 3.9, "perplexity {result}");
}

#[test]
fn engine_and_trainkit_agree_in_every_logit() {
    let (model, team) = (open(embedded_model()).unwrap(), Team::new(1));
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &team };
    let ids = encode(&tokenizer(), &text(&StoryParams::default(), HELD_OUT_SEEDS, 1500)).unwrap().ids;
    let logits = |model: &mut dyn LanguageModel| {
        let mut all = Vec::new();
        model.for_logits(&ids, &mut |_, block| all.extend(block.iter().copied())).unwrap();
        all
    };
    let options = Options { kv: scant_kvcache::KvType::F32, ..Options::default() };
    let engine = logits(&mut Scorer::new(&model, ctx, options).unwrap());
    let trained = logits(&mut Measured { model: &stored(), tape: Tape::new() });
    assert_eq!((engine.len(), trained.len()), (ids.len() * 2048, ids.len() * 2048));
    let largest = trained.iter().fold(0f32, |m, x| m.max(x.abs()));
    let error = engine.iter().zip(&trained).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(error < 1e-4 * largest, "largest difference {error} of {largest}");
}
