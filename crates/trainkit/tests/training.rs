//! Steps, shards, checkpoints and export.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use ndarray::ArrayView2;
use scant_tensor_core::file::{Dtype, File};
use scant_tensor_core::rng::Rng;
use scant_trainkit::llama::{Batch, Llama, LlamaConfig, Tape};
use scant_trainkit::{AdamW, Error, Moments, Trainer};
use std::path::PathBuf;

const SMALL: LlamaConfig =
    LlamaConfig { vocab_size: 32, hidden: 16, layers: 2, heads: 4, kv_heads: 2, head_dim: 4, ffn: 24, ..LlamaConfig::EMBEDDED };

fn batch(step: u32) -> Batch {
    let id = |i: u32| (i * 7 + step * 5 + i / 8) % 32;
    Batch::new(4, 8, (0..32).map(id).collect(), (1..33).map(id).collect(), (0..32).map(|i| 1.0 + (i % 3) as f32).collect()).unwrap()
}

fn trainer(shards: usize) -> Trainer {
    Trainer::new(Llama::new(SMALL, 3).unwrap(), AdamW::default(), 1.0, shards)
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("scant-trainkit-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_same_batches_give_the_same_bytes_and_shards_the_same_gradient() {
    let run = |shards| {
        let mut trainer = trainer(shards);
        let reports: Vec<_> = (0..5).map(|i| trainer.step(&batch(i), 1e-3).unwrap()).collect();
        (trainer.model().weights().to_vec(), reports)
    };
    let (weights, reports) = run(2);
    assert_eq!((weights.clone(), reports.clone()), run(2));
    let (other, of_one) = run(1);
    let first = (reports[0], of_one[0]);
    assert!((first.0.loss - first.1.loss).abs() < 1e-6 && (first.0.norm - first.1.norm).abs() < 1e-4, "{first:?}");
    // AdamW's first steps divide by the gradient's size, so rounding may show where a gradient is nearly 0.
    let far = weights.iter().zip(&other).filter(|(a, b)| (*a - *b).abs() > 1e-4).count();
    assert!(far * 100 < weights.len(), "{far} of {}", weights.len());
}

#[test]
fn a_gradient_of_shards_is_that_of_the_whole() {
    let model = Llama::new(SMALL, 3).unwrap();
    let (whole, mut want, mut got) = (batch(0), vec![0.0; model.weights().len()], vec![0.0; model.weights().len()]);
    let loss = model.gradient(&whole, whole.weight(), &mut Tape::new(), &mut want).unwrap();
    let mut tape = Tape::new();
    let parts: f64 = whole.split(4).unwrap().iter().map(|part| model.gradient(part, whole.weight(), &mut tape, &mut got).unwrap()).sum();
    assert!((loss - parts).abs() < 1e-6);
    assert!(want.iter().zip(&got).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn a_run_that_is_resumed_ends_like_one_that_was_not() {
    let path = folder("resume").join("checkpoint.safetensors");
    let mut whole = trainer(2);
    (0..3).for_each(|i| {
        let _ = whole.step(&batch(i), 1e-3).unwrap();
    });
    whole.save(&path, serde_json::json!({ "rows": 12 })).unwrap();
    (3..6).for_each(|i| {
        let _ = whole.step(&batch(i), 1e-3).unwrap();
    });

    let mut resumed = trainer(2);
    assert_eq!(resumed.resume(&path).unwrap()["rows"], 12);
    assert_eq!((resumed.tokens(), resumed.steps()), (3 * 32, 3));
    (3..6).for_each(|i| {
        let _ = resumed.step(&batch(i), 1e-3).unwrap();
    });
    assert_eq!(whole.model().weights(), resumed.model().weights());

    let other = Llama::new(LlamaConfig { ffn: 8, ..SMALL }, 3).unwrap();
    let e = Trainer::new(other, AdamW::default(), 1.0, 2).resume(&path).unwrap_err().to_string();
    assert!(e.contains("ffn: 24") && e.contains("ffn: 8"), "{e}");
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

#[test]
fn an_exported_folder_holds_the_weights_in_f16_under_their_names() {
    let folder = folder("export");
    let model = Llama::new(SMALL, 3).unwrap();
    model.export(&folder, 0, 1).unwrap();
    let file = File::read(folder.join("model.safetensors")).unwrap();
    assert_eq!(file.names().len(), 1 + 2 * 9 + 1);
    for weight in model.layout() {
        let tensor = file.tensor(&weight.name).unwrap();
        assert_eq!((tensor.dtype, &tensor.shape[..]), (Dtype::F16, &weight.shape[..]), "{}", weight.name);
        for (stored, w) in tensor.to_f32().unwrap().iter().zip(&model.weights()[weight.range.clone()]) {
            assert!((stored - w).abs() <= w.abs() / 2048.0 + 1e-7, "{}: {stored} {w}", weight.name);
        }
    }
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    assert_eq!(
        (&config["num_key_value_heads"], &config["intermediate_size"], &config["tie_word_embeddings"]),
        (&2.into(), &24.into(), &true.into())
    );
    assert_eq!(config["rms_norm_eps"], 1e-5);
    let generation: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("generation_config.json")).unwrap()).unwrap();
    assert_eq!((&generation["bos_token_id"], &generation["eos_token_id"]), (&0.into(), &1.into()));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn adamw_takes_the_step_of_its_paper() {
    // Two steps by hand: gradient 2 then -1, rate 0.1.
    let (settings, mut moments) = (AdamW { beta1: 0.9, beta2: 0.98, eps: 1e-8, weight_decay: 0.1 }, Moments::new(2));
    let mut w = [1.0, 1.0];
    for g in [2.0, -1.0] {
        let mut step = settings.step(&mut moments, 0.1);
        step.update(0..1, &mut w, &[g, g], 1.0, true);
        step.update(1..2, &mut w, &[g, g], 1.0, false);
    }
    let (m, v) = ((0.9 * 0.2 - 0.1) / (1.0 - 0.81), (0.98f64 * 0.08 + 0.02) / (1.0 - 0.98 * 0.98));
    let plain = 0.9 - 0.1 * m / v.sqrt();
    let decayed = (0.99 - 0.1) * 0.99 - 0.1 * m / v.sqrt();
    assert!((f64::from(w[1]) - plain).abs() < 1e-5 && (f64::from(w[0]) - decayed).abs() < 1e-5, "{w:?} {plain} {decayed}");
}

#[test]
fn what_does_not_fit_is_named() {
    let message = |r: Result<Batch, Error>| r.unwrap_err().to_string();
    assert!(
        message(Batch::new(2, 3, vec![0; 6], vec![0; 5], vec![1.0; 6]))
            .contains("targets of the batch: 5 values, 2 rows of 3 tokens want 6")
    );
    assert!(message(Batch::new(1, 2, vec![0; 2], vec![0; 2], vec![0.0; 2])).contains("add up to 0"));
    assert!(message(Batch::new(1, 2, vec![0; 2], vec![0; 2], vec![f32::NAN, 1.0])).contains("NaN"));
    assert!(Batch::new(1, 2, vec![0; 2], vec![0; 2], vec![3.0, -1.0]).is_err());
    let e = Llama::new(LlamaConfig { kv_heads: 3, ..SMALL }, 1).unwrap_err().to_string();
    assert!(e.contains("heads and kv_heads: 4 and 3"), "{e}");

    let mut trainer = trainer(3);
    assert!(trainer.step(&batch(0), 1e-3).unwrap_err().to_string().contains("4 rows do not split into 3"));
    let mut trainer = self::trainer(1);
    let beyond = Batch::new(1, 2, vec![0, 32], vec![0; 2], vec![1.0; 2]).unwrap();
    assert!(trainer.step(&beyond, 1e-3).unwrap_err().to_string().contains("token 32 at 1: the vocabulary has 32"));
    let long = Batch::new(1, 2000, vec![0; 2000], vec![0; 2000], vec![1.0; 2000]).unwrap();
    assert!(trainer.step(&long, 1e-3).unwrap_err().to_string().contains("sequences of 2000 tokens: the context is 1024"));

    let mut model = Llama::new(SMALL, 3).unwrap();
    model.weights_mut()[0] = f32::NAN;
    let before: Vec<u32> = model.weights().iter().map(|w| w.to_bits()).collect();
    let mut trainer = Trainer::new(model, AdamW::default(), 1.0, 1);
    let e = trainer.step(&Batch::new(1, 1, vec![0], vec![1], vec![1.0]).unwrap(), 1e-3).unwrap_err();
    assert!(matches!(e, Error::Diverged { step: 0, .. }), "{e}");
    assert_eq!(before, trainer.model().weights().iter().map(|w| w.to_bits()).collect::<Vec<_>>());
}

/// Lists "k0: v0, k1: v1, ..." that are said twice, the second time in another order; 60 is the colon, 61 the comma.
fn lists(step: u32) -> Batch {
    let mut rng = Rng::new(u64::from(step));
    let (mut inputs, mut targets, mut weights) = (vec![], vec![], vec![]);
    for _ in 0..8 {
        let (mut keys, mut values): (Vec<u32>, Vec<u32>) = ((0..30).collect(), (30..60).collect());
        rng.shuffle(&mut keys);
        rng.shuffle(&mut values);
        let mut order: Vec<usize> = (0..5).collect();
        let first: Vec<u32> = order.iter().flat_map(|i| [keys[*i], 60, values[*i], 61]).collect();
        rng.shuffle(&mut order);
        let ids: Vec<u32> = first.into_iter().chain(order.iter().flat_map(|i| [keys[*i], 60, values[*i], 61])).collect();
        inputs.extend_from_slice(&ids[..39]);
        targets.extend_from_slice(&ids[1..]);
        weights.extend((1..40).map(|i| if i > 20 && i % 4 == 2 { 4.0 } else { 1.0 }));
    }
    Batch::new(8, 39, inputs, targets, weights).unwrap()
}

/// Values of lists never seen that are found by their key, of 5 each.
fn found(model: &Llama) -> f64 {
    let (mut right, mut asked) = (0.0, 0.0);
    for step in 1000..1010 {
        let batch = lists(step);
        let found = &mut |first: usize, logits: ArrayView2<'_, f32>| {
            for (i, row) in (first..).zip(logits.rows()).filter(|(i, _)| batch.weights()[*i] > 1.0) {
                let best = (0..64).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
                right += f64::from(u8::from(best as u32 == batch.targets()[i]));
                asked += 1.0;
            }
        };
        model.for_logits(batch.inputs(), batch.tokens(), &mut Tape::new(), found).unwrap();
    }
    right / asked
}

#[test]
fn with_matching_heads_a_model_learns_to_look_a_key_up() {
    let config = LlamaConfig { vocab_size: 64, layers: 3, ffn: 128, ..LlamaConfig::EMBEDDED };
    let learned = |model: Llama| {
        let mut trainer = Trainer::new(model, AdamW::default(), 1.0, 2);
        for step in 0..70 {
            trainer.step(&lists(step), 5e-4 * ((step + 1) as f32 / 50.0).min(1.0)).unwrap();
        }
        found(trainer.model())
    };
    let (with, without) = (learned(Llama::with_matching_heads(config, 1).unwrap()), learned(Llama::new(config, 1).unwrap()));
    assert!(with > 0.9 && without < 0.4, "with {with}, without {without}; guessing 0.2");
    let e = Llama::with_matching_heads(LlamaConfig { layers: 2, ..config }, 1).unwrap_err().to_string();
    assert!(e.contains("2 and 3"), "{e}");
}
