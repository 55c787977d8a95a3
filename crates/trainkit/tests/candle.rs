//! The graph of candle against the plain functions, and that nothing is left out of the gradient.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use candle_core::{Device, Tensor, Var};
use scant_trainkit::candle::{LlamaGraph, attention, cross_entropy, linear, rms_norm, swiglu};
use scant_trainkit::llama::{Batch, Llama, LlamaConfig, Tape};
use scant_trainkit::ops::{Heads, Rope};
use std::sync::Arc;

fn small() -> (Llama, Batch) {
    let config =
        LlamaConfig { vocab_size: 40, hidden: 16, layers: 2, heads: 4, kv_heads: 2, head_dim: 4, ffn: 24, ..LlamaConfig::EMBEDDED };
    let ids: Vec<u32> = (0..2 * 21).map(|i| (i * i * 7 + i) % 37).collect();
    let weights = (0..2 * 20).map(|i| if i % 5 == 0 { 4.0 } else { 1.0 }).collect();
    let part = |from: usize| [&ids[from..from + 20], &ids[21 + from..21 + from + 20]].concat();
    (Llama::new(config, 5).unwrap(), Batch::new(2, 20, part(0), part(1), weights).unwrap())
}

#[test]
fn graph_and_plain_functions_agree_in_loss_and_every_gradient() {
    let (model, batch) = small();
    let mut gradient = vec![0.0; model.weights().len()];
    let want = model.gradient(&batch, batch.weight(), &mut Tape::new(), &mut gradient).unwrap();

    let graph = LlamaGraph::new(&model).unwrap();
    let logits = graph.logits(batch.inputs(), batch.tokens()).unwrap();
    let loss = cross_entropy(&logits, batch.targets(), batch.weights()).unwrap();
    assert!((f64::from(loss.to_scalar::<f32>().unwrap()) - want).abs() < 1e-5);

    let gradients = loss.backward().unwrap();
    let mut at = 0;
    for var in graph.variables() {
        let got: Vec<f32> = gradients.get(var).expect("a variable without gradient").flatten_all().unwrap().to_vec1().unwrap();
        let plain = &gradient[at..at + got.len()];
        let largest = plain.iter().fold(0f32, |m, g| m.max(g.abs()));
        assert!(largest > 0.0, "no gradient at {at}");
        for (a, b) in got.iter().zip(plain) {
            assert!((a - b).abs() < 1e-4 * largest, "at {at}: graph {a}, plain {b}");
        }
        at += got.len();
    }
    assert_eq!(at, gradient.len());
}

#[test]
fn attention_equals_its_definition_in_candle_alone() {
    // Position 0 is not turned, so a sequence of one token needs no rotary embedding; longer ones are compared with theta so large that only
    // the first pair turns, by hand.
    let (heads, tokens) = (Heads { heads: 2, kv_heads: 1, head_dim: 2 }, 9);
    let rope = Arc::new(Rope::new(tokens, 2, 10_000.0));
    let x = Tensor::randn(0f32, 1.0, (tokens, heads.qkv_width()), &Device::Cpu).unwrap();
    let got = attention(&x, heads, &rope, tokens).unwrap().to_vec2::<f32>().unwrap();
    let rows = x.to_vec2::<f32>().unwrap();
    let turn = |a: &[f32], t: usize| {
        let (sin, cos) = (t as f32).sin_cos();
        [a[0] * cos - a[1] * sin, a[0] * sin + a[1] * cos]
    };
    for t in 0..tokens {
        for h in 0..2 {
            let q = turn(&rows[t][2 * h..], t);
            let scores: Vec<f32> = (0..=t)
                .map(|s| {
                    let k = turn(&rows[s][4..], s);
                    ((q[0] * k[0] + q[1] * k[1]) / 2f32.sqrt()).exp()
                })
                .collect();
            let sum: f32 = scores.iter().sum();
            for i in 0..2 {
                let want = scores.iter().enumerate().map(|(s, p)| p / sum * rows[s][6 + i]).sum::<f32>();
                assert!((got[t][2 * h + i] - want).abs() < 1e-4, "token {t}, head {h}: {} {want}", got[t][2 * h + i]);
            }
        }
    }
}

#[test]
fn tensors_of_any_strides_go_in_and_wrong_shapes_are_named() {
    let x = Tensor::randn(0f32, 1.0, (4, 6), &Device::Cpu).unwrap();
    let w = Var::randn(0f32, 1.0, (6, 3), &Device::Cpu).unwrap();
    let y = linear(&x, &w.t().unwrap()).unwrap();
    let want = x.matmul(&w).unwrap();
    let error = (y.clone() - want).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(error < 1e-5, "{error}");
    assert_eq!(y.sum_all().unwrap().backward().unwrap().get(&w).unwrap().dims(), [6, 3]);

    let message = |r: candle_core::Result<Tensor>| r.unwrap_err().to_string();
    assert!(message(linear(&x, &w)).contains("rows of 6 values, weights for 3"));
    assert!(message(rms_norm(&x, &w.get(0).unwrap(), 1e-5)).contains("rows of 6 values, 3 weights"));
    assert!(message(swiglu(&w)).contains("rows of 3"));
    assert!(message(cross_entropy(&x, &[0, 1, 2, 6], &[1.0; 4])).contains("4 rows of 6 logits"));
    let rope = Arc::new(Rope::new(4, 2, 1e4));
    assert!(message(attention(&x, Heads { heads: 1, kv_heads: 1, head_dim: 2 }, &rope, 3)).contains("4 rows of 6 values, sequences of 3"));
}
